"""Noises that are written down: as code, as JSON, and compared."""

import copy
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

import noisejax as nj
from cases import CASES

X = jnp.ones((6, 4))


def ramp(step):
    return 0.1 * step


def shifted(key, x, by, *, twice=False):
    """A user's own noise."""
    return x + (2 * by if twice else by) * jax.random.normal(key, x.shape)


def doubled(key, x):
    return 2 * x


gaussian, mask = nj.bind(nj.gaussian, std=0.1), nj.bind(nj.mask, rate=0.3, fill=-1.0)
OF_NOISES = [
    nj.chain(gaussian, mask),
    nj.chain(gaussian, nj.chain(mask), nj.clip(0, 1)),
    nj.clip(high=2.5),
    nj.choose(gaussian, mask, weights=(0.8, 0.2)),
    nj.choose(gaussian, mask, mode="batch"),
    nj.sometimes(mask, 0.25),
    nj.sometimes(mask, np.array([0.1, 0.5, 1 / 3, 0.0, 1.0, 0.2])),
    nj.on_entries({"x": gaussian, "y": None}),
    nj.on_entries((gaussian, None), shared=True),
    nj.on_columns(mask, (0, -1)),
    nj.on_columns(mask, slice(0, 2), axis=0),
    nj.per_example(gaussian),
    nj.per_example(gaussian, np.arange(6) * 7),
    nj.keyless(jnp.tanh),
    nj.learnable(nj.chain(gaussian, nj.sometimes(mask, 0.5))),
    nj.in_shard_map(gaussian, P("a", None)),
    nj.bind(nj.gaussian, std=nj.scheduled(ramp)),
    nj.bind(nj.gaussian, std=np.array([[0.1], [np.inf]]).astype(np.float32)[:1]),
    nj.bind(nj.student_t, scale=0.1, df=float("inf")),
    nj.bind(nj.nonfinite, rate=0.1, kinds=("nan",)),
    nj.bind(nj.patch_dropout, rate=0.5),
    nj.bind(nj.labels.flip, rate=0.2, num_classes=10),
    nj.bind(nj.mixup, alpha=0.2, num_classes=10, keep=("id",)),
    nj.bind(shifted, by=0.3, twice=True),
    nj.chain(doubled, gaussian),
]
NAMES = {
    "nj": nj, "np": np, "jax": jax, "tanh": jnp.tanh, "ramp": ramp, "shifted": shifted, "doubled": doubled
}  # fmt: skip
FUNCTIONS = {"tanh": jnp.tanh, "ramp": ramp, "shifted": shifted, "doubled": doubled}
# Fitted values and long arrays are described in a repr, and not written out.
FITTED = [
    case
    for case in CASES
    if any(isinstance(value, nj.Fitted) or np.size(value) > 16 for value in case.amounts.values())
]


def noises(cases):
    return pytest.mark.parametrize(
        "noise", [*OF_NOISES, *(c.bind() for c in cases)], ids=lambda noise: repr(noise)[:80]
    )


every_noise = noises(CASES)


@noises([case for case in CASES if case not in FITTED])
def test_the_repr_is_code_that_makes_the_noise(noise):
    again = eval(repr(noise), NAMES)
    assert again == noise
    assert repr(again) == repr(noise)


@every_noise
@pytest.mark.parametrize("sort_keys", [False, True])
def test_json_gives_the_noise_back(noise, sort_keys):
    text = json.dumps(noise.to_dict(), sort_keys=sort_keys, allow_nan=False)
    again = nj.from_dict(json.loads(text), functions=FUNCTIONS)
    assert again == noise
    assert hash(again) == hash(noise)
    assert jax.tree.structure(again) == jax.tree.structure(noise)


def test_what_came_from_json_draws_the_same(key):
    noise = nj.chain(gaussian, nj.bind(nj.mask, rate=0.5, fill=nj.marginals(np.eye(4, dtype=np.float32))))
    again = nj.from_dict(json.loads(json.dumps(noise.to_dict())))
    assert again == noise
    np.testing.assert_array_equal(again(key, X), noise(key, X))


class Means(nj.Fitted):
    mean: jax.Array


def centred(key, x, means):
    return x - means.mean[None]


def test_a_fitted_class_of_the_user_is_given_by_name(key):
    noise = nj.bind(centred, means=Means(jnp.arange(4.0)))
    functions = {"centred": centred, "Means": Means}
    again = nj.from_dict(json.loads(json.dumps(noise.to_dict())), functions)
    np.testing.assert_array_equal(again(key, X), noise(key, X))
    with pytest.raises(ValueError, match="Means"):
        nj.from_dict(noise.to_dict(), {"centred": centred})


def test_functions_without_names_of_their_own_are_named_by_the_caller():
    slow, fast = optax.linear_schedule(0.0, 1.0, 100), optax.linear_schedule(0.0, 1.0, 10)
    noise = nj.chain(nj.bind(nj.gaussian, std=nj.scheduled(slow)), nj.bind(nj.gaussian, std=nj.scheduled(fast)))
    with pytest.raises(ValueError, match=r"two functions are called 'schedule'.*functions="):
        noise.to_dict()
    named = {"slow": slow, "fast": fast}
    assert nj.from_dict(noise.to_dict(named), named) == noise
    with pytest.raises(ValueError, match="no name"):
        nj.bind(nj.gaussian, std=nj.scheduled(lambda step: step)).to_dict()
    with pytest.raises(ValueError, match="'slow'"):
        nj.from_dict(noise.to_dict(named), {"fast": fast})


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda d: {}, "to_dict"),
        (lambda d: [1], "to_dict"),
        (lambda d: {**d, "noisejax": 99}, "version 99"),
        (lambda d: {**d, "noise": {"function": "noisejax.gaussian"}}, "amounts"),
        (lambda d: {**d, "noise": {**d["noise"], "function": "noisejax._noise.apply"}}, "public name"),
        (lambda d: {**d, "noise": {**d["noise"], "function": "noisejax.changed"}}, "noise of noisejax"),
        (lambda d: {**d, "noise": {**d["noise"], "function": "noisejax.absent"}}, "absent"),
        (lambda d: {**d, "noise": {**d["noise"], "function": "os.system"}}, "os.system"),
        (lambda d: {**d, "noise": {**d["noise"], "amounts": {"sigma": 1}}}, "sigma"),
        (
            lambda d: {
                **d,
                "noise": {
                    **d["noise"],
                    "amounts": {"std": {"array": {"dtype": "float32", "shape": [], "data": [-1.0]}}},
                },
            },
            "std must be at least 0",
        ),
        (lambda d: {**d, "noise": {**d["noise"], "amounts": {"std": {"mystery": 1}}}}, "mystery"),
    ],
)
def test_other_documents_are_refused(spoil, match):
    with pytest.raises(ValueError, match=match):
        nj.from_dict(spoil(gaussian.to_dict()))


def test_traced_amounts_have_no_form_in_json():
    with pytest.raises(TypeError, match="traced"):
        jax.jit(lambda noise: noise.to_dict() and 0)(gaussian)


def test_equality_is_that_of_structure_and_arrays():
    assert gaussian == nj.bind(nj.gaussian, std=np.float32(0.1)) == nj.bind(nj.gaussian, std=jnp.float32(0.1))
    assert gaussian != nj.bind(nj.gaussian, std=0.2)
    assert gaussian != nj.bind(nj.speckle, std=0.1)
    assert gaussian != nj.learnable(gaussian)
    assert nj.bind(nj.dropout, rate=0.1) != nj.bind(nj.dropout, rate=0.1, broadcast_dims=(1,))
    assert nj.bind(nj.gaussian, std=np.nan_to_num(np.nan)) == nj.bind(nj.gaussian, std=0.0)
    assert nj.bind(nj.student_t, scale=1.0, df=np.inf) == nj.bind(nj.student_t, scale=1.0, df=np.inf)
    assert nj.bind(nj.gaussian, std=jnp.ones(3)) != nj.bind(nj.gaussian, std=jnp.ones((3, 1)))
    assert gaussian != "nj.bind(nj.gaussian, std=0.1)"
    assert copy.deepcopy(gaussian) == gaussian
    assert nj.bind(nj.gaussian, std=nj.scheduled(ramp)) == nj.bind(nj.gaussian, std=nj.scheduled(ramp))
    assert nj.bind(functools.partial(shifted, twice=True), by=0.1) != nj.bind(shifted, by=0.1)


def test_the_hash_is_that_of_the_structure():
    assert hash(gaussian) == hash(nj.bind(nj.gaussian, std=7.0)) != hash(nj.bind(nj.speckle, std=0.1))
    assert len({gaussian, nj.bind(nj.gaussian, std=0.1), nj.bind(nj.gaussian, std=0.3)}) == 2


def test_tracers_are_compared_by_identity():
    found = []

    @jax.jit
    def run(std):
        noise = nj.bind(nj.gaussian, std=std)
        found.extend([noise == noise, noise == nj.bind(nj.gaussian, std=std + 0)])
        return std

    run(0.1)
    assert found == [True, False]


def test_long_arrays_are_abbreviated():
    noise = nj.bind(nj.gaussian, std=np.ones((4, 5), np.float32))
    assert repr(noise) == "nj.bind(nj.gaussian, std=float32[4,5])"
    assert repr(nj.bind(nj.gaussian, std=np.float32([0.1, 2]))) == (
        "nj.bind(nj.gaussian, std=np.array([0.1, 2.0], 'float32'))"
    )
