"""Arguments of types that are not ours: lists as options, arrays of other libraries, strings, streams of Flax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj

KEY = jax.random.key(0)
X = np.ones((2, 3), np.float32)


class Tensor:
    """An array of a different library, as far as NumPy needs it."""

    dtype, ndim, shape = "tensor.float32", 2, (2, 3)

    def __init__(self, values=X):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        if self.values is None:
            raise RuntimeError("it is on a GPU")
        return np.asarray(self.values, dtype)


class TestOptions:
    @pytest.mark.parametrize(
        ("call", "options"),
        [
            (lambda **o: nj.dropout(KEY, X, 0.5, **o), {"broadcast_dims": [1]}),
            (lambda **o: nj.mask(KEY, X, 0.5, **o), {"groups": np.array([0, 0, 1])}),
            (lambda **o: nj.swap(KEY, X, 0.5, **o), {"groups": [0, 0, 1]}),
            (lambda **o: nj.nonfinite(KEY, X, 0.5, **o), {"kinds": ["nan"]}),
            (lambda **o: nj.image.random_erasing(KEY, X[..., None, None], 0.5, **o), {"area": [0.1, 0.5]}),
            (lambda **o: nj.image.cutout(KEY, np.ones((2, 8, 8, 3)), 4, **o), {"axes": [1, 2]}),
            (lambda **o: nj.cutmix(KEY, (np.ones((2, 8, 8, 3)),), 1.0, **o), {"axes": np.array([1, 2])}),
            (lambda **o: nj.weights.stuck_at(KEY, X, 0.5, **o), {"value": ["min", "max"]}),
            (lambda **o: nj.bind(nj.mask, 0.5, **o)(KEY, X), {"groups": [0, 0, 1]}),
        ],
    )
    def test_lists_and_arrays_are_tuples(self, call, options):
        tuples = {name: tuple(np.asarray(value).tolist()) for name, value in options.items()}
        assert str(call(**options)) == str(call(**tuples))

    @pytest.mark.parametrize("groups", [{0: 1}, jnp.array([0, 0, 1]), {0, 1}])
    def test_others_are_refused(self, groups):
        for call in (lambda: nj.mask(KEY, X, 0.5, groups=groups), lambda: nj.bind(nj.mask, 0.5, groups=groups)):
            with pytest.raises(TypeError, match="mask: groups is an option: it is static"):
                call()


class TestArrays:
    @pytest.mark.parametrize(
        ("call", "words"),
        [
            (lambda: nj.gaussian(KEY, Tensor(), 1.0), r"gaussian: x must be a JAX or NumPy array.*np\.asarray\(x\)"),
            (lambda: nj.mixup(KEY, (X, Tensor()), 1.0), r"mixup: entry \[1\] must be a JAX or NumPy array"),
            (lambda: nj.blend(Tensor(), 0.5, 1), "blend: the batch must be a JAX or NumPy array"),
            (lambda: nj.Padded(Tensor(), [1, 2]), "Padded: values must be a JAX or NumPy array"),
            (lambda: nj.gaussian(KEY, X, 1.0, where=Tensor()), "gaussian: where must be a JAX or NumPy array"),
            (lambda: nj.gaussian(KEY, X, 1.0, lengths=Tensor()), "gaussian: lengths must be a JAX or NumPy array"),
            (lambda: nj.gaussian(KEY, X, Tensor(None)), "std must be a number or an array, got a Tensor.*GPU"),
            (lambda: nj.labels.smooth(Tensor(), 0.1), "smooth: labels must be a JAX or NumPy array"),
            (lambda: nj.gaussian(KEY, X.astype(">f4"), 1.0), "byte order, got >f4"),
            (lambda: nj.mixup(KEY, {"a": X.astype(">f4")}, 1.0), r"entry \['a'\] must have.*byte order"),
            (lambda: nj.labels.flip(KEY, np.ones(2, ">i4"), 0.5, num_classes=2), "byte order, got >i4"),
            (lambda: nj.gaussian(KEY, X.astype(object), 1.0), r"must hold numbers, got object.*astype\(np.float32\)"),
            (lambda: nj.gaussian(KEY, np.array(["1", "2"]), 1.0), "must hold numbers, got <U1"),
            (lambda: nj.labels.flip(KEY, np.array(["cat", "dog"]), 0.5, num_classes=2), "flip: x must.*np.unique"),
            (lambda: nj.labels.missing(KEY, np.array(["cat", "dog"]), 0.5), "missing: x must.*np.unique"),
            (lambda: nj.labels.smooth(np.array(["a"]), 0.5, num_classes=2), "smooth: labels must.*np.unique"),
            (lambda: nj.mixup(KEY, (X, np.array(["a", "b"])), 1.0, num_classes=2), r"entry \[1\] must hold numbers"),
        ],
    )
    def test_they_are_refused_with_the_conversion(self, call, words):
        with pytest.raises(TypeError, match=words):
            call()

    def test_the_advice_works(self):
        right = nj.gaussian(KEY, X, 1.0)
        big = X.astype(">f4")
        assert (nj.gaussian(KEY, np.asarray(Tensor()), 1.0) == right).all()
        assert (nj.gaussian(KEY, big.astype(big.dtype.newbyteorder("=")), 1.0) == right).all()
        x = np.array(["cat", "dog", "cat"])
        assert nj.labels.flip(KEY, np.unique(x, return_inverse=True)[1], 0.0, num_classes=2).tolist() == [0, 1, 0]

    def test_amounts_are_read(self):
        right = nj.gaussian(KEY, X, 2 * X)
        for std in (Tensor(2 * X), (2 * X).astype(">f4"), (2 * X).astype(">f8")):
            assert (nj.gaussian(KEY, X, std) == right).all()
        assert (nj.mask(KEY, X, 1.0, (2 * X).astype(">f4")) == 2).all()

    def test_pandas(self):
        pandas = pytest.importorskip("pandas")
        with pytest.raises(TypeError, match="got a pandas Series"):
            nj.gaussian(KEY, pandas.Series([1.0, 2.0]), 1.0)
        with pytest.raises(TypeError, match="got a pandas DataFrame"):
            nj.gaussian(KEY, pandas.DataFrame({"a": ["x"]}), 1.0)
        assert (nj.gaussian(KEY, X, pandas.Series([1.0, 2.0, 3.0])) == nj.gaussian(KEY, X, np.arange(1.0, 4))).all()

    def test_torch(self):
        torch = pytest.importorskip("torch")
        with pytest.raises(TypeError, match="got a torch Tensor"):
            nj.gaussian(KEY, torch.ones(2, 3), 1.0)
        assert (nj.gaussian(KEY, X, torch.full((3,), 2.0)) == nj.gaussian(KEY, X, 2 * X[0])).all()


class TestAmounts:
    @pytest.mark.parametrize(
        "rate", ["0.5", None, b"1", ["a"], object(), {"a": 1}, 1j, np.array(["1"]), nj.scheduled(lambda step: step)]
    )
    def test_other_types_are_refused(self, rate):
        with pytest.raises(TypeError, match="mask: rate must be a number or an array"):
            nj.mask(KEY, X, rate)
        if not callable(getattr(rate, "function", None)):  # which `bind` accepts
            with pytest.raises(TypeError, match="mask: rate must be a number or an array"):
                nj.bind(nj.mask, rate=rate)

    def test_a_fill_that_is_none(self):
        with pytest.raises(TypeError, match="mask: fill must be a number or an array, got None"):
            nj.mask(KEY, X, 0.5, None)


class TestKeys:
    def test_streams_of_flax_are_refused(self):
        nnx = pytest.importorskip("flax.nnx")
        rngs = nnx.Rngs(0)
        for call in (lambda key: nj.mask(key, X, 0.5), nj.bind(nj.mask, 0.5), lambda key: nj.mixup(key, X, 1.0)):
            for key, words in ((rngs, r"an nnx Rngs.*rngs\.noise\(\)"), (rngs.noise, r"an nnx RngStream.*stream\(\)")):
                with pytest.raises(TypeError, match=words):
                    call(*((key,) if not isinstance(call, nj.Noise) else (key, X)))
        assert nj.mask(rngs.noise(), X, 0.5).shape == X.shape
