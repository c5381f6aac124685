"""Eager calls of the combinators that draw: one compiled dispatch, with the checks and results of any other call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj

X = jnp.asarray(np.random.default_rng(0).standard_normal((8, 4)), jnp.float32)
gaussian, mask = nj.bind(nj.gaussian, std=0.5), nj.bind(nj.mask, rate=0.4)
MAKERS = {
    "per_example": nj.per_example,
    "choose": lambda noise: nj.choose(noise, gaussian),
    "choose-batch": lambda noise: nj.choose(noise, gaussian, mode="batch"),
    "sometimes": lambda noise: nj.sometimes(noise, 0.7),
    "sometimes-batch": lambda noise: nj.sometimes(noise, 0.9, mode="batch"),
}
made = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@pytest.fixture
def runs(monkeypatch):
    """Counts how often Python runs the body of a combinator."""
    count = []

    def watch(noise):
        body = noise.function.body
        monkeypatch.setattr(noise.function, "body", lambda *args, **kwargs: (count.append(1), body(*args, **kwargs))[1])
        return count

    return watch


@made
def test_python_runs_for_the_first_call_of_a_structure_only(make, key, runs):
    noise = make(nj.chain(mask, gaussian))
    count = runs(noise)
    first = noise(key, X)
    assert count
    del count[:]
    np.testing.assert_array_equal(noise(key, X), first)
    equal = make(nj.chain(nj.bind(nj.mask, rate=0.4), nj.bind(nj.gaussian, std=0.5)))
    np.testing.assert_array_equal(equal(key, np.asarray(X)), first)
    assert not count
    assert bool((noise(jax.random.key(7), X) != first).any())
    np.testing.assert_allclose(first, jax.jit(noise)(key, X), rtol=1e-6, atol=1e-7)


@made
def test_amounts_are_data_of_the_program(make, key):
    results = [make(nj.bind(nj.gaussian, std=std))(key, X) - X for std in (0.25, 4.0)]
    assert bool((jnp.abs(results[0]) <= jnp.abs(results[1]) + 1e-6).all())
    assert bool((results[0] != results[1]).any())


@made
def test_amounts_on_the_host_are_checked_against_each_x(make, key):
    images = jnp.zeros((8, 4), jnp.uint8)
    for fill in (200.0, 300.0):
        make(nj.bind(nj.mask, rate=0.1, fill=fill))(key, X)
    if "choose" not in str(make(mask)):  # the other choice, gaussian, is no noise of integers
        make(nj.bind(nj.mask, rate=0.1, fill=200.0))(key, images)
    for _ in range(2):
        with pytest.raises(ValueError, match="fill"):
            make(nj.bind(nj.mask, rate=0.1, fill=300.0))(key, images)


@pytest.mark.parametrize("make", [MAKERS["choose"], MAKERS["sometimes"]], ids=["choose", "sometimes"])
def test_functions_of_the_user_run_in_every_call_and_see_values(make, key):
    seen = []

    def foreign(key, x):
        seen.append(float(x.sum()))
        return x + len(seen)

    for inside in (foreign, nj.chain(gaussian, foreign), nj.keyless(lambda x: foreign(None, x))):
        del seen[:]
        noise = make(inside)
        results = [noise(key, X) for _ in range(2)]
        assert len(seen) == 2
        assert bool((results[0] != results[1]).any())


def test_labels_on_the_host_are_checked_by_value(key):
    noise = nj.sometimes(nj.bind(nj.labels.flip, rate=0.5, num_classes=3), 0.5)
    for _ in range(2):
        noise(key, np.array([0, 1, 2]))
        with pytest.raises(ValueError, match="flip"):
            noise(key, np.array([0, 1, 3]))


@pytest.mark.slow
@made
def test_transformations_pass_through(make, key):
    noise = make(nj.bind(nj.speckle, std=0.5))
    noise(key, X)
    slope = jax.grad(lambda x: noise(key, x).sum())(X)
    _, tangent = jax.jvp(lambda x: noise(key, x), (X,), (jnp.ones_like(X),))
    np.testing.assert_allclose(slope, tangent, rtol=1e-6)
    keys = jax.random.split(key, 2)
    many = jax.vmap(noise, in_axes=(0, None))(keys, X)
    np.testing.assert_allclose(many[1], noise(keys[1], X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "noise",
    [
        nj.per_example(mask),
        nj.choose(mask, nj.bind(nj.mask, rate=0.9)),
        nj.choose(mask, nj.bind(nj.mask, rate=0.9), mode="batch"),
        nj.sometimes(mask, 0.7),
        nj.sometimes(mask, 0.9, mode="batch"),
    ],
    ids=MAKERS,
)
def test_hits_and_masks_are_replayed(noise, key):
    where = jnp.broadcast_to(jnp.arange(8)[:, None] < 6, X.shape)
    y, hit = noise(key, X, where=where), nj.hits(noise)(key, X, where=where)
    np.testing.assert_array_equal(hit, nj.changed(X, y))
    np.testing.assert_array_equal(y[6:], X[6:])
    assert bool(hit[:6].any())
