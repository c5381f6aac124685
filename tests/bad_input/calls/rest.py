"""`noisejax.weights`, `noisejax.optim` and `noisejax.robustness`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import noisejax as nj
from bad_input.calls.call import KEY, Call, X, array, call
from noisejax import optim, robustness

W, B = array(3, 2), array(2)
PARAMS = {"kernel": W, "bias": B}
GRADS = {"kernel": W - 0.5, "bias": B - 0.5}
ROWS = {"kernel": array(4, 3, 2), "bias": array(4, 2)}
GAUSSIAN = nj.bind(nj.gaussian, std=0.1)
LABELS = np.array([0, 1, 0, 1])


def device(tree):
    return jax.tree.map(jnp.asarray, tree)


def value(w):
    return jnp.sum(w["kernel"] ** 2) + jnp.sum(w["bias"] ** 4)


VALUE_AND_GRAD = jax.value_and_grad(value)


def stepped(tx):
    """Two updates, so that a schedule or a state is used."""
    params = device(PARAMS)
    tx = optax.with_extra_args_support(tx)
    state = tx.init(params)
    for _ in range(2):
        updates, state = tx.update(device(GRADS), state, params, value_and_grad_fn=VALUE_AND_GRAD)
    return updates


def private(tx):
    params = device(PARAMS)
    return tx.update(device(ROWS), tx.init(params), params)[0]


def rounded(tx):
    params = jax.tree.map(lambda w: w.astype(jnp.bfloat16), device(PARAMS))
    updates = jax.tree.map(lambda w: w.astype(jnp.bfloat16), device(GRADS))
    return tx.update(updates, tx.init(params), params)[0]


def loss(params, x):
    return jnp.mean((x @ params["kernel"] + params["bias"][None]) ** 2)


def noisy_gradients(function):
    return function(KEY, device(PARAMS), jnp.asarray(X))


def scored(report):
    scores = {family: report.scores(family) for family in report.levels}
    return {"levels": report.levels, "scores": scores, "clean": report.scores(None)}


def predict(x):
    return x[:, 0] > 0.5


def at(std):
    return nj.bind(nj.gaussian, std=std)


SAME = nj.on_entries((GAUSSIAN, None))
FAMILIES = [robustness.Family("gaussian", at, [0.0, 0.1])]


def centred(key, data, noise):
    """A model that is trained: a threshold at the mean of noisy rows."""
    return jax.tree_util.Partial(above, noise(key, data[0]).mean())


def above(threshold, x):
    return x[:, 0] > threshold


def reports():
    return {name: robustness.sweep(KEY, predict, (X, LABELS), FAMILIES) for name in ("a", "b")}


def differences(rows):
    return {name: (row.clean, row.difference) for name, row in rows.items()}


def drawn(figure):
    import matplotlib.pyplot as plt

    plt.close(figure)
    return [len(figure.axes)]


def calls() -> list[Call]:
    product = {"key": KEY, "x": X, "w": W, "std": 0.1, "product": "...i,io->...o", "mode": "example"}
    products = {
        "skip": {"product": ("'...i,io->...o '",)},  # an einsum may have spaces
        "heads": ("flipout", "local_reparam", "low_rank", "low_rank_factors", "noisy_net", "product"),
        "signed": ("bias",),
    }
    optimizing = {"heads": ("adversarial_weights", "update", "apply_noise", "gaussian")}
    found = [
        *(call(f"weights.{name}", a=product, **products) for name in ("flipout", "local_reparam")),
        call(
            "weights.low_rank",
            a={**product, "rank": 2},
            **{**products, "signed": ("std", "bias")},  # as for noisy_net
            slow=("rank",),
        ),
        call(
            "weights.low_rank_factors",
            a={**{n: v for n, v in product.items() if n != "std"}, "rank": 2},
            **products,
            slow=("rank",),
        ),
        call(
            "weights.noisy_net",
            a={"key": KEY, "x": X, "w": W, "std": 0.1, "bias": B, "bias_std": 0.1, "mode": "example"},
            **{**products, "signed": ("std", "bias", "bias_std")},  # a negative factor mirrors the noise
        ),
        call(
            "weights.Conv",
            lambda conv: nj.weights.flipout(KEY, array(2, 5, 5, 3), array(3, 3, 3, 2), 0.1, product=conv),
            a={"strides": 1, "padding": "SAME", "input_dilation": 1, "kernel_dilation": 1, "feature_group_count": 1},
            **{
                **products,
                "heads": (*products["heads"], "Conv"),
                "skip": {"padding": ("a number",)},  # it may be one
            },
        ),
        call(
            "weights.perturb",
            a={"key": KEY, "tree": PARAMS, "noise": GAUSSIAN, "only": "k*"},
            heads=("gaussian",),
            none=("tree",),
        ),
        call("optim.add_noise", stepped, a={"key": KEY, "std": 0.1}, **optimizing),
        call("optim.add_anticorrelated_noise", stepped, a={"key": KEY, "std": 0.1}, **optimizing),
        call(
            "optim.add_langevin_noise", stepped, a={"key": KEY, "learning_rate": 0.1, "temperature": 1.0}, **optimizing
        ),
        call("optim.sgld", stepped, a={"key": KEY, "learning_rate": 0.1, "temperature": 1.0}, **optimizing),
        call(
            "optim.preconditioned_sgld",
            stepped,
            a={"key": KEY, "learning_rate": 0.1, "temperature": 1.0, "decay": 0.9, "eps": 1e-5},
            **optimizing,
        ),
        call(
            "optim.add_private_noise",
            stepped,
            a={"key": KEY, "l2_norm_clip": 1.0, "noise_multiplier": 0.5, "batch_size": 4.0},
            **optimizing,
            slow=("batch_size",),
        ),
        call(
            "optim.differentially_private_aggregate",
            private,
            a={"key": KEY, "l2_norm_clip": 1.0, "noise_multiplier": 0.5, "batch_size": 4.0},
            **optimizing,
            slow=("batch_size",),
        ),
        call("optim.annealed_std", lambda std: std(3), a={"eta": 0.1, "gamma": 0.55}),
        call("optim.apply_noise", stepped, a={"key": KEY, "noise": GAUSSIAN}, **optimizing),
        call("optim.apply_updates", a={"key": KEY, "params": PARAMS, "updates": GRADS}),
        call(
            "optim.clipped_sum",
            a={"grads": ROWS, "l2_norm_clip": 1.0, "where": np.array([True, True, False, True])},
            batch=("where",),
        ),
        call(
            "optim.shrink_and_perturb",
            a={"key": KEY, "params": PARAMS, "shrink": 0.5, "std": 0.1},
            heads=("perturb",),
            none=("params",),
        ),
        call(
            "optim.shrink_and_perturb",
            a={"key": KEY, "params": PARAMS, "shrink": 0.5, "std": 0.1, "only": "kernel"},
            note="some",
            only=("only",),
            heads=("perturb",),
        ),
        call("optim.stochastic_round", a={"key": KEY, "x": X, "dtype": jnp.bfloat16}),
        call("optim.stochastic_rounding", rounded, a={"key": KEY}),
        call("optim.trainable", a={"tree": {"w": W, "noise": GAUSSIAN}}, anything=("tree",)),
        call(
            "optim.perturbed_gradients",
            noisy_gradients,
            a={"grad_fn": jax.grad(loss), "noise": 0.1, "only": "kernel"},
            heads=("gaussian", "perturb"),
            anything=("grad_fn",),
        ),
        call(
            "optim.adversarial_weights",
            stepped,
            a={"inner": optax.sgd(0.1), "adversary": optax.sgd(0.1), "steps": 1, "alternate": False},
            **optimizing,
            slow=("steps",),
        ),
        call(
            "optim.sam",
            stepped,
            a={"inner": optax.sgd(0.1), "rho": 0.1, "only": "kernel", "alternate": False, "synchronize": False},
            **optimizing,
        ),
        call(
            "optim.asam",
            stepped,
            a={"inner": optax.sgd(0.1), "rho": 0.1, "eta": 0.01, "only": "kernel", "alternate": False},
            **optimizing,
        ),
        call(
            "optim.gsam",
            stepped,
            a={"inner": optax.sgd(0.1), "rho": 0.1, "alpha": 0.1, "alternate": False},
            **optimizing,
        ),
        call("optim.awp", stepped, a={"inner": optax.sgd(0.1), "gamma": 0.1, "alternate": False}, **optimizing),
        call(
            "robustness.sweep",
            scored,
            a={
                "key": KEY,
                "predict": predict,
                "data": (X, LABELS),
                "families": FAMILIES,
                "metrics": "accuracy",
                "draws": 1,
                "batch_size": 2,
                "resamples": 100,
            },
            heads=("gaussian", "Family"),
            slow=("draws", "batch_size", "resamples"),
            expensive=True,
        ),
        call(
            "robustness.Family",
            lambda family: scored(robustness.sweep(KEY, predict, (X, LABELS), family, resamples=100)),
            a={"name": "a", "noise_at": at, "levels": [0.0, 0.1], "on": "x"},
            heads=("sweep",),
            anything=("name",),
            expensive=True,
        ),
        call(
            "robustness.by_column",
            lambda family: [family.name, family.labels],
            a={"name": "a", "noise": GAUSSIAN, "columns": ["a", "b", "c"]},
            anything=("name",),
            skip={"columns": ("a number",)},  # of columns
        ),
        call(
            "robustness.Metric",
            lambda metric: [metric.name, metric.best],
            a={"name": "a", "function": differences, "over": "set", "higher_is_better": True, "best": 1.0},
            signed=("best",),
            anything=("name", "function"),
            skip={"function": ("takes nothing",)},  # a sweep calls it
        ),
        call(
            "robustness.compare",
            differences,
            a={"reports": reports(), "baseline": "a", "level": 0.1, "share": 0.95, "confidence": 0.95},
            heads=("Report", "interval", "passes", "difference", "at"),
        ),
        call(
            "robustness.mlp",
            lambda trained: [trained(X)],
            a={
                "key": KEY,
                "data": (X, LABELS),
                "noise": SAME,
                "dropout": 0.1,
                "fgsm": 0.1,
                "classes": 3,
                "hidden": (2,),
                "seeds": 1,
                "epochs": 1,
                "batch_size": 4,
                "learning_rate": 0.01,
                "weight_decay": 0.01,
            },
            none=("noise", "classes"),
            slow=("seeds", "epochs", "batch_size"),
            expensive=True,
        ),
        call(
            "robustness.mlp_adaptive",
            lambda fit: [fit.predict(X), fit.level],
            a={
                "key": KEY,
                "data": (X, LABELS),
                "noise_at": lambda level: SAME,
                "validation": (X, LABELS),
                "ceiling": 0.5,
                "tolerance": 0.01,
                "classes": 3,
                "hidden": (2,),
                "seeds": 1,
                "epochs": 1,
                "batch_size": 4,
            },
            none=("classes",),
            slow=("seeds", "epochs", "batch_size"),
            expensive=True,
        ),
        call(
            "robustness.advise",
            lambda advice: [a.evidence for a in advice],
            a={"x": X, "y": LABELS, "schema": nj.tabular.Schema({"a": "number", "b": "number", "c": "number"})},
            anything=("x",),
            none=("schema",),
            skip={"y": ("of strings",)},  # names of classes
        ),
        call(
            "robustness.Space",
            lambda space: [space.at(0.5)],
            a={"make": at, "ranges": {"std": (0.1, 0.9)}},
            only=("make", "ranges"),
            heads=("gaussian",),
        ),
        call(
            "robustness.tune",
            lambda best: [best.gain, best.cost],
            a={
                "key": KEY,
                "train": centred,
                "data": (X, LABELS),
                "candidates": robustness.Space(at, {"std": (0.1, 0.9)}),
                "deployment": FAMILIES,
                "budget": 2,
                "clean_cost": 0.1,
                "search": "random",
                "metric": "accuracy",
                "draws": 1,
                "at_once": 2,
                "validation": 0.25,
                "test": 0.25,
            },
            heads=("gaussian", "Family", "sweep"),
            slow=("budget", "draws", "at_once"),
            expensive=True,
        ),
        call(
            "robustness.plot",
            drawn,
            a={
                "reports": reports(),
                "threshold": 0.9,
                "chance": 0.5,
                "faint": (),
                "percent": False,
                "confidence": 0.95,
            },
            signed=("threshold", "chance"),
            skip={"faint": ("str in it",)},  # the name of a model
            heads=("Report", "interval", "passes"),
        ),
        call(
            "robustness.plot_features",
            drawn,
            a={"before": X, "after": {"noisy": X + 0.1}, "names": ["a", "b", "c"], "bins": 5},
            slow=("bins",),
            skip={"before": ("of strings",)},  # categories
        ),
    ]
    for name, tx in {
        "add_noise": optim.add_noise(KEY, 0.1),
        "add_anticorrelated_noise": optim.add_anticorrelated_noise(KEY, 0.1),
        "add_langevin_noise": optim.add_langevin_noise(KEY, 0.1),
        "sgld": optim.sgld(KEY, 0.1),
        "preconditioned_sgld": optim.preconditioned_sgld(KEY, 0.1),
        "apply_noise": optim.apply_noise(KEY, GAUSSIAN),
        "stochastic_rounding": optim.stochastic_rounding(KEY),
    }.items():
        state = tx.init(device(PARAMS))

        def updated(updates, state, params, tx=tx):
            return tx.update(updates, state, params)[0]

        found.append(
            Call(
                f"optim.{name}",
                {"updates": device(GRADS), "state": state, "params": device(PARAMS)},
                note="update",
                function=updated,
                only=("updates",),
                heads=("update", name),
                none=("params", "updates"),
            )
        )
    return found
