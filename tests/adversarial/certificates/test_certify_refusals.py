"""What certificates refuse or warn about: wrong arguments, models that are no classifiers, labels that are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from half_space import KEY, at_margin, gaussian, linear

import noisejax as nj
from noisejax import adversarial
from noisejax._statistics import clopper_pearson
from noisejax.adversarial import certify, certify_at, guarantee, smoothed_counts, smoothed_predict


def test_what_is_wrong_is_said():
    key, x = jax.random.key(0), at_margin([0.1, 0.2])
    with pytest.raises(TypeError, match="no certificate is known"):
        certify(key, linear, x, nj.bind(nj.speckle, std=0.1), num_classes=2)
    with pytest.raises(ValueError, match="Pass the number of classes"):
        certify(key, linear, x, gaussian)
    with pytest.raises(ValueError, match="num_classes must be"):
        smoothed_counts(key, lambda x: x, x, gaussian, samples=3, num_classes=2)
    with pytest.raises(ValueError, match="predict must return"):
        smoothed_counts(key, lambda x: x[0], x, gaussian, samples=3)
    with pytest.raises(ValueError, match=r"alpha must be in \(0, 1\)"):
        certify(key, linear, x, gaussian, num_classes=2, alpha=0.0)
    with pytest.raises(ValueError, match="samples must be an integer"):
        certify(key, linear, x, gaussian, num_classes=2, samples=0)
    with pytest.raises(ValueError, match="stages must be increasing"):
        certify_at(key, linear, x, gaussian, 0.5, num_classes=2, stages=(10, 10))
    with pytest.raises(ValueError, match="radius must be at least 0"):
        certify_at(key, linear, x, gaussian, -0.5, num_classes=2)
    with pytest.raises(ValueError, match="std of gaussian must be above 0"):
        guarantee(nj.bind(nj.gaussian, std=0.0), (1, 3))
    with pytest.raises(TypeError, match="key must be a JAX key"):
        smoothed_counts(0, linear, x, gaussian, samples=3, num_classes=2)


def test_a_function_of_the_same_name_is_not_certified():
    def gaussian(key, x, std):
        return x

    with pytest.raises(TypeError, match="no certificate is known"):
        guarantee(nj.bind(gaussian, std=1.0), (1, 3))


@pytest.mark.parametrize(
    "predict", [lambda x: 4 * x[:, :1], lambda x: jax.nn.sigmoid(x[:, :1]), lambda x: x.sum(1, keepdims=True)]
)
def test_one_logit_is_no_classifier(key, predict):
    x = np.float32([[0.5, 0.25], [-3.0, 0.25]])
    calls = {
        "certify": lambda f, **options: certify(key, f, x, gaussian, samples=100, **options),
        "certify_at": lambda f, **options: certify_at(key, f, x, gaussian, 0.1, stages=(50, 100), **options),
        "smoothed_predict": lambda f, **options: smoothed_predict(key, f, x, gaussian, samples=100, **options),
        "smoothed_counts": lambda f, **options: smoothed_counts(key, f, x, gaussian, samples=100, **options),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=f"{name}: predict must return at least 2 logits"):
            call(predict)
    followed = certify(key, lambda x: predict(x)[:, 0] > 0.25, x, gaussian, samples=100, num_classes=2)
    assert followed.prediction.shape == (2,)
    with pytest.raises(TypeError, match=r"certify: predict must return one array, got a tuple"):
        certify(key, lambda x: (x, x), x, gaussian, samples=100)


def test_labels_that_abstain_are_no_labels(key):
    x = np.float32([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0]])
    found = certify(key, linear, x, nj.bind(nj.gaussian, std=5.0), samples=100, num_classes=2)
    decided = certify_at(key, linear, x, gaussian, 0.1, stages=(50,), num_classes=2)
    for labels in ([-1, 1], np.array([1, -100])):
        with pytest.raises(ValueError, match="labels must be at least 0"):
            found.accuracy(labels, 0.0)
        with pytest.raises(ValueError, match="labels must be at least 0"):
            decided.accuracy(labels)
    with pytest.raises(TypeError, match="labels must be integers of shape"):
        found.accuracy(np.eye(2), 0.0)


@pytest.mark.slow
def test_models_that_depend_on_their_batch_are_warned_about(key):
    x = np.float32(np.random.default_rng(0).normal(size=(6, 3)))
    for model in (
        lambda x: x - x.mean(0, keepdims=True),
        lambda x: x + x[:1],
        lambda x: x * jnp.cos(jnp.arange(len(x)))[:, None],
    ):
        with pytest.warns(UserWarning, match="depend on the other examples of its batch"):
            smoothed_counts(key, model, x, gaussian, samples=10)


@pytest.mark.parametrize("wrong", [(np.nan, 10), (5, np.nan), (5, np.inf), (-1, 10), ([1, np.nan], 10)])
def test_counts_that_are_no_numbers_have_no_bound(wrong):
    with pytest.raises(ValueError, match=r"must be whole numbers of at least 0|successes must lie in"):
        clopper_pearson(*wrong, 0.05)


@pytest.mark.parametrize("name", ["certify", "certify_at", "smoothed_predict"])
def test_results_of_the_host_need_known_arguments(name):
    x = jnp.ones((2, 3))
    more = {"certify_at": {"radius": 0.5}}.get(name, {})

    def call(key=KEY, x=x, std=0.5, ids=None):
        noise = nj.bind(nj.gaussian, std=std)
        return getattr(adversarial, name)(key, lambda x: x, x, noise, ids=ids, **more)

    for argument, value in {"x": x, "std": 0.5, "key": KEY, "ids": jnp.arange(2)}.items():
        shown = "noise" if argument == "std" else argument
        with pytest.raises(TypeError, match=rf"^{name}: {shown} must not be traced"):
            jax.jit(lambda value, argument=argument: call(**{argument: value}))(value)


def test_outputs_that_are_no_logits():
    noise = nj.bind(nj.gaussian, std=0.5)
    for predict in (lambda x: "cat", lambda x: None, lambda x: (x, "cat")):
        with pytest.raises(TypeError, match=r"^smoothed_counts: predict must return one array, got "):
            smoothed_counts(KEY, predict, jnp.ones((2, 3)), noise, samples=4)
