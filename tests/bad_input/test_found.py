"""Bad input that the generator found in long runs, each with its error."""

import functools
from decimal import Decimal
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

import noisejax as nj
import noisejax.nnx as njx
from noisejax import adversarial, frame, optim

KEY = jax.random.key(0)
GAUSSIAN = nj.bind(nj.gaussian, std=0.1)
LINF = adversarial.Linf(0.1, bounds=None)
IMAGES = np.zeros((2, 8, 8, 1), np.float32)


def gives_none(key, batch):
    return None


def swept(function, key=KEY):
    metric = nj.robustness.Metric("worst", function, over="set")
    family = nj.robustness.Family("noise", lambda level: nj.bind(nj.gaussian, std=level), [0.1])
    data = np.zeros((4, 3), np.float32), np.array([0, 1, 2, 0])
    return nj.robustness.sweep(key, lambda x: x, data, [family], metrics=metric)


def an_optimizer_step(updates):
    optimizer = optim.preconditioned_sgld(KEY, 0.1)
    return optimizer.update(updates, optimizer.init({"w": jnp.ones(2)}))


def a_model():
    return nnx.Sequential(njx.Dropout(0.5, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nj.image.elastic(KEY, IMAGES, -1.0), ValueError, "elastic: alpha"),
        (lambda: nj.cutmix(KEY, IMAGES, 1.0, axes=(-100, 2)), ValueError, "cutmix: axes must be distinct axes"),
        (lambda: nj.mixup_pairs(KEY, 4, np.ones((1, 1, 1))), ValueError, "mixup_pairs: alpha"),
        (
            lambda: nj.choose(lambda key, x: "a", lambda key, x: x)(KEY, jnp.ones((2, 3))),
            TypeError,
            "choose: the noises",
        ),
        (
            lambda: nj.on_entries((None, None))(KEY, {"image": IMAGES}),
            KeyError,
            "on_entries: the batch has no entry 0, which spec names",
        ),
        (
            lambda: nj.fused.dropout_residual_norm(
                KEY, IMAGES[0, 0], IMAGES[0, 0], 0.1, np.ones(1), implementation=np.ones((2, 2))
            ),
            ValueError,
            "dropout_residual_norm: implementation must be one of",
        ),
        (lambda: adversarial.targeted(lambda x: x, lambda: None), TypeError, "targeted: loss must take logits"),
        (lambda: nj.image.frost(KEY, IMAGES, 1.0, np.zeros((0, 8, 8, 3), np.float32)), ValueError, "frost: textures"),
        (
            lambda: adversarial.certify(
                KEY, lambda x: x, IMAGES[0, :, :, 0], nj.bind(nj.gaussian, std=1.0), alpha=np.complex64(0.05)
            ),
            ValueError,
            "certify: alpha",
        ),
        (lambda: nj.tabular.Column("a", high=[1.0]), ValueError, "Column: high of 'a' must be one number"),
        (lambda: nj.tabular.Schema({"a": np.ones((2, 2))}), TypeError, "Column: classes of 'a' must be hashable"),
        (lambda: jax.jit(nj.tabular.fit)(np.ones((3, 2))), TypeError, "fit: table must not be traced"),
        (lambda: nj.robustness.Metric("", lambda o, y: y), ValueError, "Metric: name must not be blank"),
        (lambda: adversarial.scale_by_apgd(2**70), ValueError, "scale_by_apgd: steps"),
        (
            lambda: nj.robustness.mlp(KEY, (np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])), gives_none, seeds=1),
            ValueError,
            "mlp: noise must return",
        ),
        (
            lambda: nj.clip(Fraction(1, 5), 1),
            TypeError,
            "clip: low must be a number or an array, got Fraction",
        ),
        (
            lambda: jax.jit(
                lambda std: adversarial.guarantee(nj.bind(nj.gaussian, std=std), (1, 4)).radius(np.array([0.9]))
            )(0.5),
            TypeError,
            "guarantee: noise must not be traced",
        ),
        (lambda: nj.tabular.fit([[1.0, 2.0], [3.0]]), ValueError, "fit: the rows of table must have one length"),
        (
            lambda: nj.image.geometry(nj.bind(nj.image.rotate, degrees=9.0), value=Fraction(1, 2))(KEY, IMAGES),
            TypeError,
            "geometry: value must be a number or an array, got Fraction",
        ),
        (lambda: nj.weights.Conv(kernel_dilation=(1, 2**70)), TypeError, "Conv: kernel_dilation must be an integer"),
        (lambda: nj.weights.Conv(padding=2**31), TypeError, "Conv: padding must be an integer"),
        (lambda: nj.tabular.Column(None), TypeError, "Column: name must be a name"),
        (
            lambda: nj.tabular.imbalance(KEY, (np.zeros((3, 2)), np.array([0, 1, 2])), (0.5, 0.5)),
            ValueError,
            "give shares one entry for every class",
        ),
        (
            lambda: jax.jit(
                lambda std: frame.numpy_door(nj.bind(nj.gaussian, std=std))(KEY, np.zeros((3, 2), np.float32))
            )(0.5),
            TypeError,
            "numpy_door: noise must not be traced",
        ),
        (
            lambda: nj.robustness.mlp(KEY, (np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])), nj.mixup),
            TypeError,
            "mlp: noise must be bound, such as nj.bind\\(nj.mixup",
        ),
        (
            lambda: nj.robustness.mlp(
                KEY, (np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])), learning_rate=1e300, seeds=1
            ),
            ValueError,
            "mlp: learning_rate must be in",
        ),
        (lambda: swept(lambda outputs, y: None), TypeError, "sweep: metric 'worst' must return one number, got None"),
        (lambda: swept(lambda outputs, y: "good"), TypeError, "sweep: metric 'worst' must return one number, got 'g"),
        (lambda: swept(lambda outputs, y: y), ValueError, "sweep: metric 'worst' must return one number, got shape"),
        (
            lambda: nj.shot(KEY, IMAGES, 1e300),
            ValueError,
            "shot: photons must be above 0 and at most 1e30, or inf, got",
        ),
        (
            lambda: nj.blend({"a": IMAGES}, 0.5, 1, keep=(np.zeros(0),)),
            KeyError,
            "blend: keep names float64\\[0\\], but",
        ),
        (
            lambda: nj.sometimes(GAUSSIAN, object()),
            TypeError,
            "sometimes: rate must be a number or an array, got <object",
        ),
        (lambda: nj.sometimes(GAUSSIAN, 0.5j), TypeError, "sometimes: rate must be a number or an array"),
        (lambda: nj.keyless(jnp.tanh, quux=1), TypeError, "keyless: function must take x and the arguments, and tanh"),
        (lambda: nj.keyless(lambda x, *, low=0: x, lwo=1), TypeError, "does not: got an unexpected keyword argument"),
        (lambda: nj.at_step(nj.gaussian, 1), TypeError, "at_step: bind gaussian first"),
        (
            lambda: adversarial.Linf(0.1, None, mutable=pd.Series([True, False])),
            TypeError,
            "Linf: mutable must be a JAX or NumPy array, got a pandas Series. Convert it: np.asarray\\(mutable\\)",
        ),
        (lambda: adversarial.Linf(0.1, None, mutable=[[1], [1, 2]]), TypeError, "Linf: mutable must be"),
        (
            lambda: adversarial.patch_mask(IMAGES, (1, 2), (2, 2**70)),
            ValueError,
            "patch_mask: size must be a height and",
        ),
        (
            lambda: nj.image.thin_plate(KEY, IMAGES, 3e38),
            ValueError,
            "thin_plate: std must be at least 0 and at most 1e30",
        ),
        (
            lambda: njx.dot_product_attention(*3 * [np.ones((1, 2, 1, 2), np.float32)], quux=1),
            TypeError,
            "dot_product_attention: got an unexpected keyword argument 'quux'",
        ),
        (
            lambda: jax.jit(functools.partial(njx.reseed, a_model()))(KEY),
            TypeError,
            "reseed: key must not change a model that was made outside of the transformation",
        ),
        (
            lambda: jax.jit(functools.partial(njx.set_amounts, a_model()))(rate=0.5),
            TypeError,
            "set_amounts: rate must not change a model",
        ),
        (
            lambda: adversarial.smoothed_counts(
                KEY, lambda x: x[:, 0] > 0, IMAGES[0, :, :, 0], GAUSSIAN, samples=5, num_classes=2**70
            ),
            ValueError,
            "smoothed_counts: num_classes must be the number of classes, got 1180591620717411303424",
        ),
        (
            lambda: adversarial.Tabular(LINF, categories=((0, 1),), switches=2**70),
            ValueError,
            "Tabular: switches must be an integer, at least 0 and below 2\\*\\*31",
        ),
        (
            lambda: adversarial.spatial(KEY, lambda x: x.sum((1, 2, 3)), IMAGES, grid=(2**70, 1, 1)),
            ValueError,
            "spatial: grid must be the numbers of angles, rows and columns",
        ),
        (
            lambda: nj.choose(GAUSSIAN, GAUSSIAN, weights=[[1], [1, 2]]),
            TypeError,
            "choose: weights must be",
        ),
        (
            lambda: nj.choose(GAUSSIAN, GAUSSIAN, weights=jax.random.split(KEY)),
            TypeError,
            "choose: weights must be an array of numbers, got key<fry>",
        ),
        (lambda: nj.tabular.fit(np.ones((4, 3)), where=KEY), TypeError, "fit: where must be booleans, got key<fry>"),
        (
            lambda: jax.jit(lambda where: nj.tabular.fit(np.ones((4, 3)), where=where))(np.ones((4, 3), bool)),
            TypeError,
            "fit: where must not be traced",
        ),
        (
            lambda: nj.tabular.fit(np.ones((4, 3)), where=np.ones(4, bool)),
            ValueError,
            "fit: where must broadcast to the shape of table, \\(4, 3\\), got shape \\(4,\\)",
        ),
        (
            lambda: jax.jit(nj.tabular.copula)(np.eye(2)),
            TypeError,
            "copula: correlation must be one number if it is traced",
        ),
        (lambda: nj.quantize(KEY, IMAGES, 0.5, np.nan), ValueError, "quantize: origin must be finite, got nan"),
        (
            lambda: adversarial.free_step(
                lambda w, x: x @ w, np.ones(2), np.ones((1, 2)), LINF, np.zeros((1, 2), complex)
            ),
            TypeError,
            "free_step: delta must be an array of numbers, got complex128",
        ),
        (
            lambda: jax.jit(
                lambda key: adversarial.autoattack(key, lambda x: x, IMAGES[0, :2, :, 0], np.zeros(2, int), LINF)
            )(KEY),
            TypeError,
            "autoattack: key must not be traced",
        ),
        (
            lambda: adversarial.pgd(KEY, lambda x: x.sum(1), np.zeros((1, 2), np.float32), LINF, unroll=2**70),
            ValueError,
            "pgd: unroll must be a number of steps, or None, got 1180591620717411303424",
        ),
        (lambda: nj.clip(0, Decimal("0.5")), TypeError, "clip: high must be a number or an array, got Decimal"),
        (
            lambda: nj.image.pixelate(KEY, np.zeros((1, 8, 3, 1), np.float32), 1.0),
            ValueError,
            "pixelate: x must have a height and width of at least 4",
        ),
        (lambda: nj.on_columns(nj.bind(nj.mask, rate=0.5), KEY), TypeError, "on_columns: columns must be an array of"),
        (
            lambda: jax.jit(lambda columns: nj.on_columns(nj.bind(nj.mask, rate=0.5), columns))(jnp.arange(2)),
            TypeError,
            "on_columns: columns must be known, got a traced array",
        ),
        (
            lambda: adversarial.fab(KEY, lambda x: x, IMAGES[0, :2, :, 0], np.zeros(2, int), LINF, targets=2**70),
            ValueError,
            "fab: targets must be an integer, at least 1 and below 2\\*\\*31",
        ),
        (
            lambda: optim.clipped_sum(np.ones((2, 2)), 1.0, where=np.ones(4, bool)),
            ValueError,
            "where must be booleans of shape \\(2,\\), one for each example of grads",
        ),
        (
            lambda: nj.robustness.by_column("a", nj.gaussian, 3),
            TypeError,
            "by_column: bind gaussian first: nj.bind\\(nj.gaussian",
        ),
        (
            lambda: an_optimizer_step({}),
            ValueError,
            "preconditioned_sgld: updates must have the structure of the params",
        ),
        (lambda: an_optimizer_step({"w": {"v": jnp.ones(2)}}), ValueError, "updates must have the structure of the"),
        (
            lambda: an_optimizer_step({"w": np.ones((2, 2))}),
            ValueError,
            "preconditioned_sgld: updates must have the shapes of the params of init, got float64\\[2, 2\\]",
        ),
        (
            lambda: optim.apply_updates(KEY, np.ones((3, 2)), np.ones((2, 2))),
            ValueError,
            "apply_updates: params must have the shapes of updates",
        ),
        (
            lambda: frame.augment(KEY, pd.DataFrame({"a": [1.0]}), [("a", GAUSSIAN)], copies=2**70),
            ValueError,
            "augment: copies must be an integer, at least 0 and below",
        ),
        (
            lambda: jax.jit(lambda x: frame.decode(x, nj.tabular.Schema({"a": "number"})))(np.ones((2, 1))),
            TypeError,
            "decode: x must be known",
        ),
        (lambda: nj.tabular.Schema(KEY), TypeError, "Schema: columns must be Column values or a dict"),
        (lambda: nj.tabular.Schema({"a": KEY}), TypeError, "Column: classes of 'a' must be a tuple of classes"),
        (
            lambda: jax.jit(lambda rate: nj.text.on_strings(nj.bind(nj.text.typos, rate=rate))(KEY, ["a"]))(0.5),
            TypeError,
            "on_strings: noise must not be traced",
        ),
        (
            lambda: jax.jit(lambda key: swept(lambda outputs, y: 1.0, key))(KEY),
            TypeError,
            "sweep: key must be known",
        ),
        (
            lambda: nj.tabular.category(KEY, np.zeros((3, 1), np.float32), 0.5, num_classes=2**70),
            ValueError,
            "category: x of float32 cannot hold the .* codes of num_classes exactly",
        ),
        (
            lambda: nj.tabular.fit(np.full((3, 1), 7.0), nj.tabular.Schema({"c": 3})),
            ValueError,
            "fit: the column 'c' of table must hold the codes 0 to 2, got 7",
        ),
        (
            lambda: nj.tabular.missing(KEY, IMAGES[0, :, :, 0], 0.5, mechanism=nj.tabular.bursty(np.full(7, 2.0))),
            ValueError,
            "bursty: burst of shape \\(7,\\) does not broadcast to x of shape \\(8, 8\\)",
        ),
        (lambda: nj.tabular.copula([[1], [1, 2]]), TypeError, "copula: correlation must be a number or an array"),
        (
            lambda: nj.tabular.fit_text_errors({"a": ["x"], "b": ["y"]}, {"a": ["x"]}),
            ValueError,
            "fit_text_errors: dirty has no column 'b' of clean",
        ),
        (
            lambda: nj.tabular.fit_text_errors({"a": KEY}, {"a": ["x"]}),
            TypeError,
            "fit_text_errors: the column 'a' of clean must be a list of cells",
        ),
    ],
)
def test_what_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
