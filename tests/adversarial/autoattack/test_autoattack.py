"""AutoAttack's driver: closed forms, who is attacked when, fresh noise, and what it warns of."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec as P
from jax.tree_util import Partial

import noisejax as nj
from noisejax import adversarial
from noisejax.adversarial import L1, L2, Linf
from noisejax.adversarial._autoattack import run as module, suspicions
from noisejax.adversarial._autoattack.batches import Batches

RNG = np.random.default_rng(7)
N, D, C = 24, 6, 4
X = RNG.uniform(0.3, 0.7, size=(N, D)).astype(np.float32)
W = RNG.normal(size=(D, C)).astype(np.float32)
Y = np.argmax((X - 0.5) @ W, axis=1).astype(np.int32)
Y[:2] = (Y[:2] + 1) % C  # misclassified as they are
# Few classes are what makes these tests quick; that this is said is tested below, of found.warnings.
pytestmark = pytest.mark.filterwarnings("ignore:autoattack. with . classes:UserWarning")
SMALL = {"steps": 20, "queries": 20, "batch_size": 16}


def linear(params, x):
    return (x - 0.5) @ params


predict = Partial(linear, jnp.asarray(W))


def closed_form(w, eps, order):
    """Whether a linear model's answer holds in a ball that no bounds cut."""
    z = (X - 0.5) @ w
    gaps = z[np.arange(N), Y][:, None] - z
    reach = eps * np.linalg.norm(w.T[Y][:, None] - w.T[None], order, axis=-1)
    gaps[np.arange(N), Y] = np.inf
    return np.all(gaps > reach, axis=1)


EPS = 0.03


@pytest.mark.slow
def test_it_finds_the_robust_examples_of_a_linear_model(key):
    told = []
    found = adversarial.autoattack(key, predict, X, Y, Linf(EPS, (0, 1)), **SMALL, report=told.append)
    robust = closed_form(W, EPS, 1)
    assert 0.2 < robust.mean() < 0.8
    np.testing.assert_array_equal(found.robust, robust)
    assert found.accuracy["clean"] == pytest.approx(1 - 2 / N)
    assert found.accuracy["square"] == pytest.approx(robust.mean())
    assert list(found.accuracy) == ["clean", "apgd-ce", "apgd-t", "fab-t", "square"] and len(told) == 4
    assert "of 24 examples remain correct" in told[0]
    # Who fell, to whom, and where to.
    np.testing.assert_array_equal(found.found_by[:2], 0)
    np.testing.assert_array_equal(found.found_by == -1, robust)
    names = list(found.accuracy)
    for number, name in enumerate(names):
        left = found.accuracy[name]
        gone = (found.found_by >= 0) & (found.found_by <= number)
        assert left == pytest.approx(1 - gone.mean()), name
    x_adv = np.asarray(found.x)
    assert np.all(((x_adv - 0.5) @ W).argmax(1)[~robust] != Y[~robust])
    assert np.all(x_adv[found.found_by <= 0] == X[found.found_by <= 0])
    assert np.all(np.abs(x_adv - X) <= EPS + 1e-6)
    # Those that are left fit into one batch after the first attack: less work than all of them would be.
    assert found.evaluations["apgd-ce"] == 2 * 16 * (20 + 2)
    assert found.evaluations["apgd-t"] <= 3 * 16 * (20 + 3)
    assert found.warnings == ("with 4 classes there are 3 targets for each example, not 9.",)


FIRST = {"version": ("apgd-ce",), "steps": 20, "batch_size": 16}


@pytest.mark.slow
def test_results_do_not_depend_on_batches_devices_or_order(key):
    threat = Linf(np.linspace(0.01, 0.05, N, dtype=np.float32), (0, 1))
    whole = adversarial.autoattack(key, predict, X, Y, threat, **FIRST)
    part = np.arange(N)[::-1][:16]
    some = adversarial.autoattack(key, predict, X[part], Y[part], Linf(threat.eps[part], (0, 1)), ids=part, **FIRST)
    np.testing.assert_array_equal(some.robust, whole.robust[part])
    np.testing.assert_allclose(some.x, np.asarray(whole.x)[part], atol=2e-6)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(X, NamedSharding(mesh, P("batch")))
    spread = adversarial.autoattack(key, predict, sharded, Y, threat, **FIRST)
    np.testing.assert_array_equal(spread.robust, whole.robust)
    np.testing.assert_allclose(spread.x, whole.x, atol=2e-6)


@pytest.mark.slow
def test_other_weights_and_radii_compile_nothing(key):
    compiled = []

    def listen(event, seconds, **about):
        if event.endswith("backend_compile_duration"):
            compiled.append(about)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        # Functions of its own, which nothing before has compiled.
        model = Partial(lambda params, x: linear(params, x), jnp.asarray(W))
        adversarial.autoattack(key, model, X, Y, Linf(0.02, (0, 1)), **FIRST)
        before = len(compiled)
        w = W * np.array([1.0, 1.1, 0.9, 1.0], np.float32)
        found = adversarial.autoattack(key, Partial(model.func, jnp.asarray(w)), X, Y, Linf(0.03, (0, 1)), **FIRST)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert 2 <= before == len(compiled)
    right = ((X - 0.5) @ w).argmax(1) == Y
    assert found.accuracy["clean"] == pytest.approx(right.mean()) and 0 < found.robust.sum() < right.sum()


@pytest.mark.slow
def test_noise_is_judged_by_fresh_draws(key):
    # One answer in ten is wrong whatever x is: no reason to call an example fooled, and a single look would.
    def unreliable(key, x):
        logits = (x - 0.5) @ jnp.asarray(W)
        wrong = jax.random.bernoulli(key, 0.1, x.shape[:1])
        return jnp.where(wrong[:, None], -logits, logits)

    found = adversarial.autoattack(key, unreliable, X[2:], Y[2:], Linf(1e-4, (0, 1)), version="rand", steps=3)
    assert found.robust.all() and list(found.accuracy) == ["clean", "apgd-ce", "apgd-dlr"]
    assert found.evaluations["clean"] == 20 * (N - 2)


@pytest.mark.slow
def test_two_classes_have_other_losses(key):
    w = W[:, 2:] - W[:, :2]
    y = np.argmax((X - 0.5) @ w, axis=1).astype(np.int32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = adversarial.autoattack(
            key, lambda x: (x - 0.5) @ jnp.asarray(w), X, y, L2(0.05, (0, 1)), version=("apgd-t", "apgd-dlr"), steps=20
        )
    assert [f"autoattack: {text}" for text in found.warnings] == [str(w.message) for w in caught]
    for text in ("targeted DLR loss needs 4 classes", "maximizes the margin instead", "there are 1 targets"):
        assert any(text in warning for warning in found.warnings)
    gaps = np.abs((X - 0.5) @ (w[:, 0] - w[:, 1]))
    np.testing.assert_array_equal(found.robust, gaps > 0.05 * np.linalg.norm(w[:, 0] - w[:, 1]))


@pytest.mark.slow
def test_the_short_run_fools_those_that_the_whole_one_does(key, monkeypatch):
    # Most fall in the first steps and some only later: 100 steps against those that lie near the ball's end.
    options = {"version": ("apgd-ce",), "steps": 100, "batch_size": 16}
    short = adversarial.autoattack(key, predict, X, Y, Linf(EPS, (0, 1)), **options)
    monkeypatch.setattr(module, "_SHORT", 1000)
    whole = adversarial.autoattack(key, predict, X, Y, Linf(EPS, (0, 1)), **options)
    np.testing.assert_array_equal(short.robust, whole.robust)
    left = 16 * -(-whole.robust.sum() // 16)
    assert short.evaluations["apgd-ce"] >= 32 * 12 + left * 102
    assert short.evaluations["apgd-ce"] < whole.evaluations["apgd-ce"] == 32 * 102


@pytest.mark.slow
@pytest.mark.parametrize("last", [-1.0, -np.inf])
def test_one_program_of_auto_pgd_climbs_each_loss(last):
    logits = jnp.array([[2.0, 1.0, 0.5, last]])
    losses = ("apgd-ce", "apgd-dlr", "apgd-t")
    run = module._Run("apgd", 20, 2, 1, 0)

    def climbed(loss, turn):
        model = Partial(lambda x: logits + jnp.pad(x, ((0, 0), (0, 1))))
        x, zero = jnp.zeros((1, 3)), jnp.array([0])
        threat = Linf(0.1, None)
        key = jax.random.key(0)
        numbers = (losses.index(loss), turn, 20)
        return module._attacked(model, key, x, zero, threat, zero, *numbers, run=run, losses=losses)[0][0]

    np.testing.assert_allclose(climbed("apgd-ce", 0), [-0.1, 0.1, 0.1], atol=1e-6)
    # The margin to the runner-up, over the distance of the first to the third. An infinite logit leaves the targeted
    # loss without a gradient, which must not spoil those of the others.
    np.testing.assert_allclose(climbed("apgd-dlr", 0), [-0.1, 0.1, -0.1], atol=1e-6)
    if np.isfinite(last):
        np.testing.assert_allclose(climbed("apgd-t", 0)[:2], [-0.1, 0.1], atol=1e-6)
        np.testing.assert_allclose(climbed("apgd-t", 1)[::2], [-0.1, 0.1], atol=1e-6)


def test_batches_have_the_size_that_takes_the_shortest_time(key):
    data = Batches(predict, key, X, Y, Linf(EPS, (0, 1)), None, 256)
    assert data.sizes == [16, 32, 64, 128, 256]
    # An accelerator: one batch, as small as it can be, and else of the largest size.
    assert [data._chosen(count, set()) for count in (9, 17, 128, 129, 300, 10_000)] == [16, 32, 128, 256, 256, 256]
    # Two cores that are busy with 16: ten batches of 16 take five turns; five of 32 would take three of twice the time.
    data.least, data.workers = 16, 2
    assert [data._chosen(count, set()) for count in (9, 147, 256)] == [16, 16, 128]
    # What is compiled already goes on, unless another size takes less than half of the time.
    used = {256}
    assert data._chosen(128, used) == 64 and used == {64, 256}
    assert data._chosen(129, {128}) == 128 and data._chosen(129, {256}) == 16


@pytest.mark.parametrize("workers", [1, 3])
def test_each_example_is_in_one_batch_whoever_works_on_it(key, workers):
    data = Batches(predict, key, X, Y, Linf(EPS, (0, 1)), None, 16)
    data.least, data.workers = 1, workers
    program = jax.jit(lambda model, key, x, labels, threat, ids, add: (ids + add, model(x)))
    which = np.arange(N)[::-2]
    seen = {}
    for part, (ids, logits) in data.run_each(which, program, (100,)):
        np.testing.assert_array_equal(ids, part + 100)
        seen |= dict(zip(part.tolist(), logits, strict=True))
    assert sorted(seen) == sorted(which)
    np.testing.assert_allclose([seen[i] for i in which], (X[which] - 0.5) @ W, atol=1e-6)
    assert not [*data.run_each(which[:0], program, (100,))]


def test_the_runs_of_each_version():
    def runs(version, threat):
        names, eot = module._plan(version, None, 100, 5000, 256)
        targets = 5 if isinstance(threat, L1) and version == "standard" else 9
        found = [r for n in names for r in module._runs(n, version, 100, 5000, targets, eot, threat)]
        return [(r.attack, r.steps, r.targets, r.restarts, r.eot) for r, _ in found]

    box = (0, 1)
    standard = runs("standard", Linf(0.1, box))
    assert standard == [
        ("apgd-ce", 100, 9, 1, 0),
        *[("apgd-t", 100, 9, 1, 0)] * 9,
        ("fab-t", 100, 9, 1, 0),
        ("square", 5000, 0, 1, 0),
    ]
    assert [r[0] for r in runs("standard", L1(1.0, box))].count("apgd-ce") == 5
    assert [r[0] for r in runs("standard", L1(1.0, box))].count("apgd-t") == 5
    plus = runs("plus", Linf(0.1, box))
    assert [r[0] for r in plus].count("apgd-dlr") == 5 and ("fab", 100, 9, 5, 0) in plus
    assert runs("rand", Linf(0.1, box)) == [("apgd-ce", 100, 9, 1, 20), ("apgd-dlr", 100, 9, 1, 20)]


def test_what_makes_a_model_suspicious(key):
    x = jnp.asarray(X)

    def counted():
        calls = []

        def model(x):
            calls.append(0)
            return x @ W + len(calls)

        return model

    assert not [*suspicions.randomness(predict, x)]
    assert "differ from call to call" in next(suspicions.randomness(counted(), x))
    frozen = jax.random.key(0)
    for model in (
        lambda x: x @ W + jax.random.normal(frozen, (1, C)),
        jax.jit(lambda x: nj.gaussian(frozen, x, 0.1) @ W),
    ):
        assert "a key of its own" in next(suspicions.randomness(model, x))
    p = np.asarray(jax.nn.softmax(x @ W))
    assert "probabilities" in next(suspicions.of_logits(p))
    assert not [*suspicions.of_logits(X @ W)]
    assert "logits of 1 clean" in next(suspicions.of_logits(np.array([[np.nan, 1], [0, 1]])))
    accuracy = {"clean": 0.9, "apgd-ce": 0.5, "square": 0.4}
    assert "lowered the accuracy by 10.00%" in next(suspicions.of_square(accuracy))
    assert not [*suspicions.of_square({**accuracy, "square": 0.499})]
    assert not [*suspicions.of_square({"clean": 0.9, "square": 0.4})]


@pytest.mark.slow
def test_a_model_without_gradient_is_noticed(key):
    def steps(x):
        return jnp.round((x - 0.5) * 20) @ W

    y = np.asarray(steps(X).argmax(1), np.int32)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        found = adversarial.autoattack(
            key, steps, X, y, Linf(0.1, (0, 1)), version=("apgd-ce", "square"), steps=5, queries=100
        )
    assert found.accuracy["square"] < found.accuracy["apgd-ce"] and len(found.warnings) == 2
    assert "gradient of the loss is 0 at 24 of 24 correctly classified examples" in found.warnings[0]
    assert "Square Attack, which uses no gradient" in found.warnings[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "fast"}, "version must be one of 'standard'"),
        ({"version": ("pgd",)}, "or a tuple of some of 'apgd-ce'"),
        ({"threat": adversarial.L0(1, (0, 1))}, "threat must be Linf, L2 or L1"),
        ({"steps": 0}, "steps must be an integer"),
        ({"eot": 3}, "fab-t, square cannot average over keys"),
        ({"version": "rand", "eot": 0}, "eot must be at least 1"),
        ({"labels": Y.astype(np.float32)}, "labels must be integers"),
        ({"labels": Y + C}, r"labels must lie in \[0, 4\)"),
        ({"x": X * 255}, "x must lie inside the bounds"),
        ({"x": X[:0], "labels": Y[:0]}, "at least one example"),
        ({"ids": np.arange(3)}, "ids must be integers"),
        ({"logits_fn": lambda x: x.sum(-1)}, r"logits of shape \(24, classes\)"),
        ({"key": 0}, "key must be a JAX key"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_bad_arguments_say_what_is_wrong(change, message, key):
    arguments = {"key": key, "logits_fn": predict, "x": X, "labels": Y, "threat": Linf(0.1, (0, 1))} | change
    with pytest.raises((ValueError, TypeError), match=message):
        adversarial.autoattack(**arguments)


def test_it_is_no_part_of_a_compiled_function(key):
    with pytest.raises(TypeError, match=r"Call it outside jax\.jit"):
        jax.jit(lambda x: adversarial.autoattack(key, predict, x, Y, Linf(0.1, (0, 1))).x)(X)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        lambda x: 8 * (x - x.mean(0, keepdims=True)) / (x.std(0, keepdims=True) + 1e-3),
        lambda x: x + 0.1 * x[:1],
        lambda x: x * (1 + 0.01 * jnp.arange(len(x), dtype=x.dtype))[:, None],
    ],
)
@pytest.mark.parametrize("rows", [1, 5])
def test_a_model_that_depends_on_its_batch_is_warned_about(key, model, rows):
    x = jnp.asarray(np.random.default_rng(0).uniform(0.2, 0.8, size=(rows, 4)), jnp.float32)
    labels, threat = jnp.zeros(rows, jnp.int32), Linf(0.01, (0, 1))
    options = {"version": ("apgd-dlr",), "steps": 2}
    if rows > 1:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            found = adversarial.autoattack(key, model, x, labels, threat, **options)
        assert any("depend on the other examples of its batch" in str(w.message) for w in seen)
        assert any("depend on the other examples of its batch" in text for text in found.warnings)
    found = adversarial.autoattack(key, lambda x: 4 * x, x, labels, threat, **options)
    assert found.warnings == ()


@pytest.mark.parametrize("shape", [(2, 3, 4, 4, 1), (3,), (2, 1, 1, 1, 1, 4)])
def test_square_is_refused_before_the_other_attacks_run(key, shape):
    x, labels, calls = jnp.full(shape, 0.5), jnp.zeros(shape[0], jnp.int32), []

    def model(x):
        calls.append(1)
        return 4 * jnp.stack([x.reshape(len(x), -1).sum(1), jnp.ones(len(x)), jnp.zeros(len(x)), jnp.zeros(len(x))], 1)

    for version in ("standard", "plus", ("apgd-ce", "square")):
        with pytest.raises(ValueError, match="autoattack: square needs x of shape") as raised:
            adversarial.autoattack(key, model, x, labels, Linf(0.1, (0, 1)), version=version)
        assert "version=('apgd-ce'" in str(raised.value)
    assert not calls


@pytest.mark.slow
@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_what_was_found_before_a_failure_is_not_lost(key, kind):
    told = []

    def report(text):
        told.append(text)
        if len(told) == 2:
            raise kind("the disk is full")

    with pytest.raises(kind) as caught:
        adversarial.autoattack(key, predict, X, Y, Linf(EPS, (0, 1)), **SMALL, report=report)
    found = caught.value.result
    assert list(found.accuracy) == ["clean", "apgd-ce", "apgd-t"]
    assert found.robust.mean() == found.accuracy["apgd-t"] < found.accuracy["clean"]
    fell = found.found_by > 0
    assert fell.any() and (np.argmax(np.asarray(predict(found.x)), 1)[fell] != Y[fell]).all()
    assert "apgd-t failed" in caught.value.__notes__[0] and "attribute `result`" in caught.value.__notes__[0]
