"""Faults of tables over eight devices: the same cells, without communication where counts do not need it."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import noisejax as nj
from noisejax import tabular

X = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
COLUMNS = tabular.fit(X)
BERNOULLI = {
    "missing": nj.bind(tabular.missing, rate=0.3),
    "at random": nj.bind(tabular.missing, rate=0.3, mechanism=tabular.at_random(COLUMNS, 0)),
    "not at random": nj.bind(tabular.missing, rate=0.3, mechanism=tabular.not_at_random(COLUMNS, shape="upper")),
    "block": nj.bind(tabular.missing, rate=0.3, mechanism=tabular.block(COLUMNS)),
    "copula": nj.bind(tabular.missing, rate=0.3, mechanism=tabular.copula(COLUMNS.correlation)),
    "outlier": nj.bind(tabular.outlier, rate=0.3, columns=COLUMNS),
    "digit": nj.bind(tabular.digit, rate=0.3, decimals=2),
    "swap_columns": nj.bind(tabular.swap_columns, rate=0.3, pairs=((0, 1),)),
    "drift": nj.bind(tabular.drift, shift=1.0, position=30.0, width=9.0, kind="gradual"),
}
READS_ROWS = {
    "exact": nj.bind(tabular.missing, rate=0.3, exact=True),
    "exact, at random": nj.bind(tabular.missing, rate=0.3, mechanism=tabular.at_random(COLUMNS, 0), exact=True),
    "bursty": nj.bind(tabular.missing, rate=0.3, mechanism=tabular.bursty(3.0)),
    "permute_rows": nj.bind(tabular.permute_rows, rate=0.5),
    "duplicate": nj.bind(tabular.duplicate, rate=0.5),
}
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")


def over_eight(noise, key, axis_type=AxisType.Auto):
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(axis_type,))
    with jax.set_mesh(mesh):
        sharded = jax.device_put(X, NamedSharding(mesh, P("rows")))
        compiled = jax.jit(noise).lower(key, sharded).compile()
        return np.asarray(compiled(key, sharded)), compiled.as_text()


@pytest.mark.parametrize(
    "axis_type", [AxisType.Auto, pytest.param(AxisType.Explicit, marks=pytest.mark.slow)], ids=["auto", "explicit"]
)
@pytest.mark.parametrize("name", [*BERNOULLI, *READS_ROWS])
def test_eight_devices_hit_the_same_cells(name, axis_type, key):
    noise = {**BERNOULLI, **READS_ROWS}[name]
    y, text = over_eight(noise, key, axis_type)
    np.testing.assert_allclose(y, jax.jit(noise)(key, X), rtol=2e-6, atol=2e-6)
    if name in BERNOULLI:
        assert not [collective for collective in COLLECTIVES if collective in text]


def test_exact_counts_reduce_one_number_per_column_and_step(key):
    """The program moves counts and no cells: each of its few all-reduces is of one row, or of the flag that ends it."""
    _, text = over_eight(READS_ROWS["exact"], key)
    assert not [c for c in COLLECTIVES if c != "all-reduce" and c in text]
    reduced = [
        line.split("=", 1)[1] for line in text.splitlines() if " all-reduce(" in line or " all-reduce-start(" in line
    ]
    assert 0 < len(reduced) <= 33
    for line in reduced:
        shape = line.strip().split(" ", 1)[0]
        sizes = [int(n) for n in shape[shape.index("[") + 1 : shape.index("]")].split(",") if n]
        assert int(np.prod(sizes)) <= X.shape[1], line


@pytest.mark.parametrize("name", READS_ROWS)
def test_what_reads_rows_is_refused_inside_shard_map(name, key):
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Auto,))
    inside = jax.shard_map(
        nj.in_shard_map(READS_ROWS[name], P("rows")), mesh=mesh, in_specs=(P(), P("rows")), out_specs=P("rows")
    )
    with pytest.raises(ValueError, match="sharded"):
        inside(key, X)
