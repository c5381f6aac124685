"""Universal perturbations against a closed form, and spatial attacks against SciPy's interpolation and a plain loop."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import ndimage

from noisejax import adversarial
from noisejax.adversarial import L0, L1, L2, Linf
from noisejax.adversarial._attacks.spatial import turn_and_shift

# What is compiled here runs for milliseconds: LLVM's passes would take most of the time.
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
RNG = np.random.default_rng(11)
N, D = 24, 5
X = RNG.uniform(0.3, 0.7, size=(N, D)).astype(np.float32)
W = RNG.normal(size=D).astype(np.float32)
IMAGES = ndimage.gaussian_filter(RNG.uniform(size=(4, 7, 9, 2)), (0, 1, 1, 0)).astype(np.float32)


def test_one_perturbation_is_the_worst_of_a_linear_model(key):
    @quick
    def run(key, eps):
        threats = Linf(eps, (0, 1)), L2(eps, (0, 1)), L1(eps, (0, 1), mutable=np.arange(D) != 0)
        # An eps divided by ten divides into these epochs' steps.
        return [adversarial.universal(key, lambda x: x @ W, X, t, epochs=5, batch=8) for t in threats]

    for eps in (0.1, 0.2):
        flat, round_, sharp = run(key, eps)
        assert flat.shape == (1, D) and flat.dtype == jnp.float32
        np.testing.assert_allclose(flat[0], eps * np.sign(W), atol=1e-6)
        np.testing.assert_allclose(round_[0], eps * W / np.linalg.norm(W), atol=1e-6)
        free = np.where(np.arange(D) != 0, np.abs(W), 0)
        np.testing.assert_allclose(sharp[0], eps * (free == free.max()) * np.sign(W), atol=1e-6)
    assert run._cache_size() == 1
    with jax.transfer_guard("disallow"):
        jax.block_until_ready(run(*jax.device_put((key, 0.1))))


def test_minibatches_ceiling_and_any_transform(key):
    # Half of the examples gain a thousand times more by the other sign: above the ceiling they are left out.
    sign = np.where(np.arange(N) % 2 == 0, 1.0, -1000.0).astype(np.float32)
    above = np.where(sign < 0, 5000.0, 0.0).astype(np.float32)

    def loss(x, sign, above):
        return sign * x[:, 0] + above

    threat = Linf(0.2, (0, 1))

    @quick
    def run(key):
        common = key, loss, X, threat
        options = {"args": (sign, above), "epochs": 8, "batch": 12}  # of one sign in 1 of a million batches
        return (
            adversarial.universal(*common, **options),
            adversarial.universal(*common, **options, ceiling=10.0),
            adversarial.universal(*common, **options, tx=optax.adam(0.1), ceiling=10.0),
            adversarial.universal(*common, 0.01, **{**options, "epochs": 2}, ceiling=10.0),
        )

    drowned, spared, adam, small = (float(delta[0, 0]) for delta in run(key))
    np.testing.assert_allclose([drowned, spared, adam, small], [-0.2, 0.2, 0.2, 0.04], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threat": L0(2, (0, 1))}, "threat must be Linf or L2 or L1"),
        ({"threat": L2(np.ones(N), (0, 1))}, "all examples share one perturbation"),
        ({"batch": N + 1}, "batch must be an integer from 1 to the 24 examples"),
        ({"step_size": -1.0}, "step_size must be above 0"),
        ({"loss": lambda x: x.sum()}, "one number for each example of x"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_arguments_of_universal(change, message, key):
    arguments = {"key": key, "loss": lambda x: x @ W, "x": X, "threat": Linf(0.1, (0, 1)), "batch": 8} | change
    with pytest.raises((ValueError, TypeError), match=message):
        adversarial.universal(**arguments)


def resampled(image, degrees, down, right):
    """The same movement by SciPy: where each output pixel comes from."""
    angle, middle = np.deg2rad(degrees), (np.array(image.shape[:2]) - 1) / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = middle - turn @ (middle + np.array([down, right]))
    # With a border of zeros, SciPy too blends into what is outside, instead of cutting there.
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    offset = offset + 2
    return np.stack(
        [
            ndimage.affine_transform(padded[..., c], turn, offset, output_shape=image.shape[:2], order=1)
            for c in range(image.shape[2])
        ],
        axis=-1,
    )


def test_movements_are_those_of_scipy():
    ways = np.array([[0, 0, 0], [90, 0, 0], [30, 1, -2], [-7.5, 0.5, 1.25]], np.float32)
    run = quick(lambda x, ways: turn_and_shift(x, ways[:, 0] * (np.pi / 180), ways[:, 1], ways[:, 2], 0.0))
    got = np.asarray(run(IMAGES, ways))
    np.testing.assert_array_equal(got[0], IMAGES[0])
    for image, way, result in zip(IMAGES, ways, got, strict=True):
        np.testing.assert_allclose(result, resampled(image, *way), atol=1e-5)
    square = IMAGES[:1, :, :7]
    turned = np.asarray(turn_and_shift(square, jnp.full(1, np.pi / 2), jnp.zeros(1), jnp.zeros(1), 0.0))[0]
    np.testing.assert_allclose(turned, np.rot90(square[0], -1), atol=1e-5)


def test_a_grid_finds_the_worst_of_all_ways(key):
    weights = RNG.normal(size=IMAGES.shape[1:]).astype(np.float32)

    def loss(x, sign):
        return sign * jnp.sum(x * weights[None], axis=(1, 2, 3))

    sign = np.array([1, -1, 1, -1], np.float32)
    angle = np.array([20, 10, 0, 30], np.float32)  # one per image
    run = quick(lambda key, angle: adversarial.spatial(key, loss, IMAGES, angle, 2.0, (sign,), grid=(3, 3, 2)))
    got = np.asarray(run(key, angle))
    for i, image in enumerate(IMAGES):
        ways = itertools.product((-angle[i], 0, angle[i]), (-2, 0, 2), (-2, 2))
        results = [image, *(resampled(image, *way) for way in ways)]
        values = [sign[i] * np.sum(result * weights) for result in results]
        np.testing.assert_allclose(sign[i] * np.sum(got[i] * weights), max(values), rtol=1e-5)
        np.testing.assert_allclose(got[i], results[int(np.argmax(values))], atol=1e-5)


def test_drawn_movements(key):
    images = jnp.asarray(np.repeat(IMAGES[:1, ..., 0], 200, axis=0))  # (B, H, W)
    ids = np.arange(200)

    def middle(x):
        return -x[:, 3, 4]

    run = quick(lambda key, x, angle, shift, ids: adversarial.spatial(key, middle, x, angle, shift, trials=4, ids=ids))
    found = np.asarray(run(key, images, 15.0, 1.0, ids))
    assert found.shape == images.shape and np.all(middle(found) >= middle(images))
    assert len(np.unique(found.reshape(200, -1), axis=0)) > 150  # each has its own draws
    np.testing.assert_array_equal(run(key, images, 15.0, 1.0, ids[::-1]), found[::-1])
    np.testing.assert_array_equal(run(key, images, 0.0, 0.0, ids), images)
    assert run._cache_size() == 1
    # With a success, what succeeds comes before what has a higher loss.
    best = quick(
        lambda key, x: adversarial.spatial(key, middle, x, trials=6, success=lambda x: x[:, 0, 0] == IMAGES[0, 0, 0, 0])
    )(key, images[:3])
    np.testing.assert_array_equal(best, images[:3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": IMAGES[0, 0]}, r"x must be images of shape \(B, H, W, C\)"),
        ({"angle": -1.0}, "angle must be at least 0"),
        ({"shift": np.ones(3)}, "shift must be one number, or one for each example"),
        ({"grid": (3, 3)}, "grid must be the numbers"),
        ({"trials": 0}, "must be an integer, at least 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_arguments_of_spatial(change, message, key):
    arguments = {"key": key, "loss": lambda x: x.sum((1, 2, 3)), "x": IMAGES} | change
    with pytest.raises((ValueError, TypeError), match=message):
        adversarial.spatial(**arguments)
