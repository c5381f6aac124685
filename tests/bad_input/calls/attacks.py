"""`noisejax.adversarial`: threats, losses, attacks, training losses and certificates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import noisejax as nj
from bad_input.calls.call import KEY, LABELS, Call, X, array, call
from noisejax import adversarial

W = np.array([[4.0, -1, 0, 2, 1], [0, 3, -2, 1, 0], [1, 0, 5, -1, 2]], np.float32)
ROWS = X @ W
LINF, L2, L1 = adversarial.Linf(0.25, (0, 1)), adversarial.L2(0.5, (0, 1)), adversarial.L1(0.5, (0, 1))
BOX = {"eps": 0.25, "bounds": (0.0, 1.0)}
LAYERS = [(W, np.zeros(5, np.float32))]


def predict(x):
    return x @ jnp.asarray(W)


def loss(x, y):
    return adversarial.cross_entropy(predict(x), y)


def weighted(w, x, y):
    return adversarial.cross_entropy(x @ w, y)


def projected(threat):
    return threat.project(jnp.asarray(2 * X - 0.5), jnp.asarray(X))


def updated(tx):
    extra = {"value": jnp.zeros(4), "x": jnp.asarray(X), "threat": LINF}
    tx = optax.with_extra_args_support(tx)
    delta = jnp.zeros((4, 3))
    return tx.update(jnp.asarray(X) - 0.5, tx.init(delta), delta, **extra)[0]


def updated_sparsely(tx):
    extra = {"value": jnp.zeros(4), "x": jnp.asarray(X), "threat": L1}
    delta = jnp.zeros((4, 3))
    return tx.update(jnp.asarray(X) - 0.5, tx.init(delta), delta, **extra)[0]


def asked(function):
    return function(jnp.asarray(X), jnp.asarray(LABELS))


def guarded(guard):
    state = guard.init(0)
    for epoch, value in enumerate((0.4, 0.5, 0.02)):
        state = guard.update(state, epoch, value=value)
    return state


def fields(result):
    return {name: value for name, value in result._asdict().items() if isinstance(value, (np.ndarray, jax.Array))}


rows = {"classes": ("labels", "targets"), "batch": ("logits", "labels", "targets", "clean_logits", "other")}
made = {"heads": ("Linf", "L2", "L1", "L0", "eps"), "none": ("bounds",)}  # None: x may be any number
attacking = {
    "batch": ("labels",),
    "classes": ("labels",),
    "slow": (
        "steps",
        "restarts",
        "eot",
        "queries",
        "searches",
        "trials",
        "samples",
        "selection",
        "batch_size",
        "epochs",
        "batch",
        "slots",
        "candidates",
    ),
    "heads": ("Linf", "L2", "untargeted", "autoattack", "cross_entropy", "scale_by_step", "gaussian"),
}
A = {"key": KEY, "loss": loss, "x": X, "threat": LINF}
M = {"key": KEY, "logits_fn": predict, "x": X, "labels": LABELS, "threat": L2}
T = {"key": KEY, "predict": predict, "x": X, "labels": LABELS, "threat": LINF}
C = {"key": KEY, "predict": predict, "x": X, "noise": nj.bind(nj.gaussian, std=0.5)}
EMBEDDED = array(2, 3, 4)
TOKENS = {"where": np.array([[1, 1, 0], [1, 0, 0]], bool)[..., None]}


def pooled(x):
    return x.sum((1, 2)) ** 2


def averaged(x):
    return x.mean(1)


def moved(x):
    return x[:, 0, 1]


def calls() -> list[Call]:
    def gradient(name, **more):
        arguments = {
            **A,
            "step_size": 0.1,
            "args": (LABELS,),
            "steps": 2,
            "random_start": True,
            "restarts": 1,
            "eot": 0,
            **more,
        }
        return call(f"adversarial.{name}", a=arguments, expensive=True, **attacking)

    def least(name, **more):
        return call(f"adversarial.{name}", a={**M, **more}, expensive=True, none=("candidates", "targets"), **attacking)

    def training(name, **more):
        return call(f"adversarial.{name}", a={**T, **more}, expensive=True, **attacking)

    def smoothing(name, use=fields, **more):
        return call(
            f"adversarial.{name}",
            use,
            a={**C, "ids": np.arange(4), **more},
            expensive=True,
            **{**attacking, "batch": ("ids",), "heads": (*attacking.get("heads", ()), "guarantee", "per_example")},
        )

    fgsm = {name: value for name, value in gradient("fgsm").arguments.items() if name != "steps"}
    return [
        call("adversarial.Linf", projected, a={**BOX, "mutable": np.array([True, True, False])}, **made),
        call("adversarial.L2", projected, a=BOX, **made),
        call("adversarial.L1", projected, a={**BOX, "top": 0.5}, **made),
        call(
            "adversarial.L0",
            projected,
            a={**BOX, "eps": 2, "pixels": False},
            **made,
            # It is rounded down, as an eps that a schedule gives; a huge one allows all features.
            skip={"eps": ("float 2.5", "huge")},
        ),
        call(
            "adversarial.Tabular",
            lambda t: t.perturbed(jnp.asarray(X), jnp.full((4, 3), 0.1)),
            a={"threat": LINF, "integers": (0,), "categories": ((1, 2),)},
            **made,
        ),
        call("adversarial.cross_entropy", a={"logits": ROWS, "labels": LABELS}, **rows),
        call("adversarial.dlr", a={"logits": ROWS, "labels": LABELS}, **rows),
        call("adversarial.log_odds", a={"logits": ROWS, "labels": LABELS}, **rows),
        call("adversarial.margin", a={"logits": ROWS, "labels": LABELS}, **rows),
        call("adversarial.targeted_dlr", a={"logits": ROWS, "labels": LABELS, "targets": (LABELS + 1) % 3}, **rows),
        call("adversarial.kl", a={"logits": ROWS, "clean_logits": ROWS + 1}, **rows),
        call("adversarial.symmetric_kl", a={"logits": ROWS, "other": ROWS * 2}, **rows),
        call("adversarial.untargeted", asked, a={"predict": predict, "loss": adversarial.margin}, heads=("margin",)),
        call("adversarial.targeted", asked, a={"predict": predict, "loss": adversarial.margin}, heads=("margin",)),
        call("adversarial.classified_as", asked, a={"predict": predict}),
        call("adversarial.misclassified", asked, a={"predict": predict}),
        call(
            "adversarial.normalized",
            lambda f: f(jnp.asarray(X)),
            a={"predict": predict, "mean": 0.5, "std": 0.25},
            signed=("mean",),
            anything=("predict",),
        ),
        call("adversarial.for_each_example", updated, a={"tx": optax.clip_by_global_norm(1.0)}),
        call("adversarial.project_onto", updated, a={"threat": LINF, "x": X}),
        call("adversarial.scale_by_apgd", updated, a={"steps": 10, "rho": 0.75}),
        call("adversarial.scale_by_sparse_apgd", updated_sparsely, a={"steps": 10, "top": 0.5}),
        call("adversarial.scale_by_norm", updated, a={"order": 2}),
        call("adversarial.scale_by_reach", updated, a={"share": 0.25}),
        call("adversarial.scale_by_steepest", updated, a={}),
        call("adversarial.scale_by_step", updated, a={"step_size": 0.25}),
        call("adversarial.scale_by_top_sign", updated, a={"share": 0.5}),
        call("adversarial.overfitting_guard", guarded, a={"drop": 0.2}),
        call("adversarial.patch_mask", a={"x": array(2, 4, 4, 1), "corner": (1, 2), "size": (2, 2)}),
        call(
            "adversarial.interval_bounds",
            a={"layers": LAYERS, "lower": X - 0.1, "upper": X + 0.1},
            batch=("lower", "upper"),
            skip={"lower": ("booleans", "zero")},
        ),
        call(
            "adversarial.margin_bounds",
            a={"layers": LAYERS, "lower": X - 0.1, "upper": X + 0.1, "labels": LABELS},
            batch=("lower", "upper", "labels"),
            classes=("labels",),
        ),
        call(
            "adversarial.worst_case_logits",
            a={"lower": ROWS - 1, "upper": ROWS + 1, "labels": LABELS},
            batch=("lower", "upper", "labels"),
            classes=("labels",),
        ),
        call(
            "adversarial.guarantee",
            lambda g: g.radius(np.array([0.6, 0.9])),
            a={"noise": nj.bind(nj.gaussian, std=0.5), "shape": (4, 3)},
        ),
        gradient("pgd"),
        gradient("bim", random_start=False),
        gradient("mi_fgsm", random_start=False, decay=0.9),
        gradient("ni_fgsm", random_start=False, decay=0.9),
        gradient("adam_pgd", b1=0.9, b2=0.999),
        call(
            "adversarial.ods",
            a={"key": KEY, "predict": predict, "x": X, "ids": np.arange(4)},
            **attacking,
        ),
        call(
            "adversarial.odi",
            lambda start: start(KEY, jnp.asarray(X)),
            a={"predict": predict, "threat": LINF, "step_size": 0.1, "steps": 2, "random_start": True},
            expensive=True,
            **attacking,
        ),
        call("adversarial.fgsm", a={**fgsm, "random_start": False}, expensive=True, **attacking),
        call(
            "adversarial.apgd",
            a={**A, "args": (LABELS,), "steps": 3, "random_start": True, "restarts": 1, "eot": 0, "shrinking": False},
            expensive=True,
            **attacking,
        ),
        call(
            "adversarial.attack",
            a={
                "key": KEY,
                "tx": optax.sgd(0.1),
                "loss": loss,
                "x": X,
                "threat": LINF,
                "args": (LABELS,),
                "steps": 2,
                "random_start": True,
                "restarts": 1,
                "eot": 0,
                "keep": "last",
                "unroll": 1,
            },
            expensive=True,
            **attacking,
        ),
        call(
            "adversarial.evaluate",
            fields,
            a={
                "key": KEY,
                "tx": optax.sgd(0.1),
                "loss": loss,
                "x": X,
                "threat": LINF,
                "args": (LABELS,),
                "success": adversarial.misclassified(predict),
                "steps": 2,
                "slots": 2,
                "restarts": 1,
                "random_start": True,
                "eot": 0,
            },
            expensive=True,
            **attacking,
        ),
        least("cw", step_size=0.01, initial_const=0.01, confidence=0.0, steps=2, searches=2, targeted=False),
        least("ddn", initial_norm=1.0, gamma=0.05, steps=2, targeted=False, ids=np.arange(4)),
        least("deepfool", overshoot=0.02, steps=2, candidates=3),
        least("fab", steps=2, restarts=1, targets=2, alpha_max=0.1, eta=1.05, beta=0.9, refine=1),
        least("fmn", step_size=0.1, gamma=0.05, steps=2, targeted=False),
        least("square", queries=4, p_init=0.8, restarts=1, rescale=False, targeted=False, eot=0),
        training("trades", beta=6.0, step_size=0.1, std=0.001),
        training("mart", beta=6.0, step_size=0.1, std=0.001),
        training("alp", weight=0.5, step_size=0.1),
        call(
            "adversarial.vat",
            a={"key": KEY, "predict": predict, "x": X, "threat": adversarial.L2(0.5, None), "xi": 0.1, "steps": 1},
            expensive=True,
            **attacking,
        ),
        call(
            "adversarial.smart",
            a={
                "key": KEY,
                "predict": averaged,
                "x": EMBEDDED,
                "threat": adversarial.Linf(0.01, None),
                "step_size": 0.001,
                "std": 1e-3,
                "steps": 1,
                "lengths": np.array([2, 1]),
            },
            expensive=True,
            **attacking,
        ),
        call(
            "adversarial.freelb",
            a={
                "key": KEY,
                "loss": pooled,
                "x": EMBEDDED,
                "threat": adversarial.L2(0.5, None),
                "step_size": 0.1,
                "magnitude": 0.1,
                "steps": 2,
                **TOKENS,
            },
            expensive=True,
            **attacking,
        ),
        call(
            "adversarial.free_step",
            a={
                "loss": weighted,
                "params": W,
                "x": X,
                "threat": LINF,
                "delta": np.zeros((4, 3), np.float32),
                "step_size": 0.1,
                "args": (LABELS,),
                "has_aux": False,
            },
            expensive=True,
            **{**attacking, "batch": ("delta",)},
        ),
        call(
            "adversarial.gradient_alignment",
            a={"key": KEY, "loss": loss, "x": X, "threat": LINF, "args": (LABELS,)},
            expensive=True,
            **attacking,
        ),
        call(
            "adversarial.universal",
            signed=("ceiling",),  # losses may be negative
            a={
                "key": KEY,
                "loss": loss,
                "x": X,
                "threat": LINF,
                "step_size": 0.1,
                "args": (LABELS,),
                "ceiling": 5.0,
                "epochs": 1,
                "batch": 2,
            },
            expensive=True,
            **attacking,
        ),
        call(
            "adversarial.spatial",
            a={"key": KEY, "loss": moved, "x": array(2, 5, 5), "angle": 20.0, "shift": 1.0, "trials": 2, "fill": 0.0},
            expensive=True,
            **{**attacking, "batch": ()},
            signed=("fill",),
            anything=("fill",),
        ),
        smoothing("certify", samples=50, selection=10, alpha=0.01, num_classes=5, batch_size=16),
        smoothing("certify_at", radius=0.1, stages=(20, 50), selection=10, alpha=0.01, num_classes=5, batch_size=16),
        smoothing("smoothed_counts", lambda counts: counts, samples=20, first=0, num_classes=5, batch_size=16),
        smoothing("smoothed_predict", lambda counts: counts, samples=20, alpha=0.01, num_classes=5, batch_size=16),
        call(
            "adversarial.autoattack",
            lambda r: {"x": r.x, "robust": r.robust},
            a={
                "key": KEY,
                "logits_fn": predict,
                "x": X,
                "labels": LABELS,
                "threat": LINF,
                "version": "standard",
                "steps": 2,
                "queries": 3,
                "batch_size": 4,
            },
            expensive=True,
            **attacking,
        ),
    ]
