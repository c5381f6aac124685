"""Which type of noise helps what: error and calibration, in and out of distribution, after equal tuning.

    python -m experiments.noise_types               run or continue, and write results/noise_types.json
    python -m experiments.noise_types --smoke       a few rows and epochs, nothing is written: does it run?
    python -m experiments.noise_types_page          write docs/results/noise-types.md from the results

The study is that of Ferianc, Bohdal, Hospedales and Rodrigues, "Navigating noise: a study of how noise influences
generalisation and calibration of neural networks", TMLR 2024 (arXiv 2306.17630), on four small sets. Their noises,
ranges of amounts and choices are those of the authors' code. Protocol, fixed before the runs that are stored:

- Sets: Adult census and Satellite (classes), CASP protein (a number), and scikit-learn's 8x8 digits (images). Of each,
  1,500 rows are drawn once as the pool and 1,000 others (digits: 1,300 and 497) as the test rows, which nothing is
  chosen on. A seed splits the pool into 1,000 training and 500 validation rows (digits: 1,000 and 300). Inputs are
  standardized by the pool. All noises of a seed share its split, initial weights and order of rows, so that
  differences are paired.
- The network has two hidden layers of 64 rectified units, and is trained for 40 epochs of 10 batches of 100 rows by SGD
  with momentum 0.9, a cosine schedule, weight decay and gradients clipped to norm 5. A class is learnt by the
  cross-entropy, a number by the Gaussian likelihood of a mean and a variance, clipped to [1e-4, 1e4], whose logarithm
  the network gives. (In a first run of CASP the variance was clipped in a way that has no gradient where it overflows.
  Most of its noises diverged, and it was discarded.)
- Tuning: 16 random candidates per noise, each trained on 3 seeds that are used for nothing else. The one of the lowest
  mean validation NLL is chosen. First the learning rate (1e-3 to 0.3) and the weight decay (1e-7 to 1e-2), both log-
  uniform, are chosen likewise without noise, and then kept for all noises. Candidates are the same for all sets.
- Each noise acts on a batch with a probability, which is an amount as well (uniform on [0, 1]); shrinking always acts.
  Amounts, uniform unless marked log: input: Gaussian of std 1e-4 to 0.1 (log); ODS, a step of eta * sqrt(features),
  eta 1e-4 to 0.1 (log), along the gradient of random weights times the probabilities at a temperature of 0.5 to 5
  (log). Target: smoothing, 0 to 0.25. Input and target: mixup, alpha 0 to 1; for a number C-Mixup, alpha 0 to 1 and
  bandwidth 1e-4 to 100 (log). Activations: Gaussian of std 1e-4 to 0.1 (log); dropout, 0 to 1. Weights of hidden
  layers: Gaussian of std 1e-4 to 0.1 (log); DropConnect without rescaling, 0 to 1. Gradients: Gaussian of variance
  eta / (1 + epoch)**gamma, both 0 to 1. Model: shrink and perturb after every 1 to 20 epochs, by a factor of 0 to 1
  and std 1e-7 to 1e-3 (log). ODS and smoothing are for classes alone. `best two` is the two noises of the lowest
  validation NLL together, with the amounts that each was tuned to.
- Left out of the study: AugMix, crops and flips (images of eight pixels, and tables), text, transformers, 50 candidates
  of a Bayesian search (here 16 random ones).
- The chosen candidate of each noise, and no noise, are trained on 24 further seeds and judged on the test rows: the
  error (for a number the mean squared error in units of the pool's variance), the expected calibration error in 15 bins
  (classes) and the NLL. Out of distribution is the mean over nine shifts of the test rows, with the same draws for all:
  Gaussian noise of std 0.25, 0.5 and 1 (of the standardized inputs), multiplicative Gaussian noise of std 0.25, 0.5 and
  1, and masking at the rates 0.1, 0.25 and 0.5.
- Differences to no noise are paired over the 24 seeds, with 95 % t intervals that are not corrected for their number.
"""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import sklearn.datasets

import noisejax as nj
from experiments import measured
from experiments._tables import load
from noisejax import adversarial, optim

RESULTS = Path(__file__).parent / "results" / "noise_types.json"
SETS = ("Adult census", "Satellite", "CASP protein", "digits")
EPOCHS, STEPS, BATCH, HIDDEN = 40, 10, 100, 64
CANDIDATES, TUNING, SEEDS, TOGETHER = 16, 3, 24, 24
SHIFTS = [(name, level) for name, levels in (("gaussian", (0.25, 0.5, 1.0)), ("speckle", (0.25, 0.5, 1.0)),
                                             ("mask", (0.1, 0.25, 0.5))) for level in levels]  # fmt: skip

# The amounts of each noise: (low, high, whether log-uniform). All are 0 where a noise does not act.
NOISES = {
    "input Gaussian": {"input_std": (1e-4, 0.1, True)},
    "input ODS": {"eta": (1e-4, 0.1, True), "temperature": (0.5, 5.0, True)},
    "label smoothing": {"smoothing": (0.0, 0.25, False)},
    "mixup": {"alpha": (0.0, 1.0, False)},
    "C-Mixup": {"alpha": (0.0, 1.0, False), "bandwidth": (1e-4, 1e2, True)},
    "activation Gaussian": {"activation_std": (1e-4, 0.1, True)},
    "dropout": {"dropout": (0.0, 1.0, False)},
    "weight Gaussian": {"weight_std": (1e-4, 0.1, True)},
    "DropConnect": {"drop_connect": (0.0, 1.0, False)},
    "gradient Gaussian": {"gradient_eta": (0.0, 1.0, False), "gradient_gamma": (0.0, 1.0, False)},
    "shrink and perturb": {"shrink": (0.0, 1.0, False), "perturb_std": (1e-7, 1e-3, True), "every": (1, 20, False)},
}
ONLY_CLASSES, ONLY_NUMBERS = ("input ODS", "label smoothing", "mixup"), ("C-Mixup",)
SILENT = {"temperature": 1.0, "bandwidth": 1.0, "shrink": 1.0, "every": 1000.0}  # where 0 would act or fail
NAMES = [name for amounts in NOISES.values() for name in amounts]


def noises_for(classes: int) -> list[str]:
    return [name for name in NOISES if name not in (ONLY_NUMBERS if classes else ONLY_CLASSES)]


def candidates(name: str) -> list[dict]:
    """Random amounts of a noise, the same for every set."""
    rng = np.random.default_rng(list(NOISES).index(name))

    def one(low, high, log):
        return float(np.exp(rng.uniform(np.log(low), np.log(high))) if log else rng.uniform(low, high))

    found = []
    for _ in range(CANDIDATES):
        amounts = {amount: one(*between) for amount, between in NOISES[name].items()}
        amounts |= {"every": float(round(amounts["every"]))} if "every" in amounts else {}
        found.append({"amounts": amounts, "probability": {name: 1.0 if "shrink" in amounts else float(rng.uniform())}})
    return found


def rates() -> list[tuple[float, float]]:
    rng = np.random.default_rng(100)
    return [tuple(np.exp(rng.uniform(np.log((1e-3, 1e-7)), np.log((0.3, 1e-2)))).tolist()) for _ in range(CANDIDATES)]


def data_of(name: str) -> tuple[tuple, tuple, int, int] | str:
    """The pool, the test rows, the number of classes (0 for a number) and of training rows; or why there are none."""
    if name == "digits":
        x, y = sklearn.datasets.load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(y))
        x, y = x[order].astype(np.float32), y[order].astype(np.int32)
        x = (x - x[:1300].mean()) / x[:1300].std()  # all pixels alike, as images are
        return (x[:1300], y[:1300]), (x[1300:], y[1300:]), 10, 1000
    table = load(name)
    if isinstance(table, str):
        return table
    rows = table.split(0, (1500, 1, 1000))
    return rows.train, rows.test, table.classes, 1000


def init(key, sizes):
    keys = jax.random.split(key, len(sizes) - 1)
    layers = zip(keys, sizes[:-1], sizes[1:], strict=True)
    return [{"kernel": jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, "bias": jnp.zeros(b)} for k, a, b in layers]


def apply(params, x, key=None, std=0.0, rate=0.0):
    for n, layer in enumerate(params[:-1]):
        x = jax.nn.relu(x @ layer["kernel"] + layer["bias"])
        if key is not None:
            x = nj.gaussian(jax.random.fold_in(key, 2 * n), x, std)
            x = nj.dropout(jax.random.fold_in(key, 2 * n + 1), x, rate)
    return x @ params[-1]["kernel"] + params[-1]["bias"]


def nll(output, y, classes):
    """For each row; y holds rows of classes, or numbers (B, 1)."""
    if classes:
        return -jnp.sum(y * jax.nn.log_softmax(output), axis=-1)
    # Clipped before the exponential: where that overflows, the gradient of its clipped value would be NaN.
    log = jnp.clip(output[:, 1], np.log(1e-4), np.log(1e4))
    return 0.5 * (np.log(2 * np.pi) + log + jnp.square(output[:, 0] - y[:, 0]) * jnp.exp(-log))


def calibration_error(probabilities, right, bins=15):
    """The expected calibration error: bins of equal width, closed on the right."""
    sure = probabilities.max(-1)
    of = jax.nn.one_hot(jnp.clip(jnp.ceil(sure * bins).astype(jnp.int32) - 1, 0, bins - 1), bins)
    return jnp.abs((sure - right) @ of).sum() / len(sure)


def metrics(output, y, classes):
    found = {"nll": nll(output, y, classes).mean()}
    if classes:
        right = (output.argmax(-1) == y.argmax(-1)).astype(jnp.float32)
        return found | {"error": 1 - right.mean(), "ece": calibration_error(jax.nn.softmax(output), right)}
    return found | {"error": jnp.square(output[:, 0] - y[:, 0]).mean()}


def program(pool, test, classes: int, rows: int, ods: bool, epochs: int = EPOCHS) -> Callable:
    """A compiled function of stacked members: (seed, rates, amounts, probabilities) -> validation NLL and metrics."""
    noises = noises_for(classes)
    x, y = pool[0], (np.eye(classes, dtype=np.float32)[pool[1]] if classes else pool[1][:, None])
    x_test, y_test = test[0], (np.eye(classes, dtype=np.float32)[test[1]] if classes else test[1][:, None])
    made = {"gaussian": nj.gaussian, "speckle": nj.speckle, "mask": nj.mask}
    shifted = [made[name](jax.random.key(1000 + n), x_test, level) for n, (name, level) in enumerate(SHIFTS)]
    sizes = (x.shape[1], HIDDEN, HIDDEN, classes or 2)
    hidden = ("0/kernel", "1/kernel")

    def noisy_step(key, params, a, x, y, epoch):
        """The gradient of a batch under all noises; those whose amounts are 0 do nothing."""
        k = dict(zip(("input", "ods", "mix", "hidden", "weights", "gradient"), jax.random.split(key, 6), strict=True))
        x = nj.gaussian(k["input"], x, a["input_std"])
        if ods:
            soft = adversarial.ods(k["ods"], lambda x: jax.nn.softmax(apply(params, x) / a["temperature"]), x)
            x = x + a["eta"] * x.shape[1] ** 0.5 * soft
        if classes:
            y = y * (1 - a["smoothing"]) + a["smoothing"] / classes
            x, y = nj.mixup(k["mix"], (x, y), a["alpha"])
        else:
            x, y = nj.mixup(k["mix"], (x, y), a["alpha"], a["bandwidth"], pairing="similar", targets=1)
        noise = nj.chain(
            nj.bind(nj.gaussian, std=a["weight_std"]),
            nj.bind(nj.weights.drop_connect, rate=a["drop_connect"], rescale=False),
        )

        def loss(params):
            params = nj.weights.perturb(k["weights"], params, noise, only=hidden)
            return nll(apply(params, x, k["hidden"], a["activation_std"], a["dropout"]), y, classes).mean()

        std = jnp.sqrt(a["gradient_eta"] / (1 + epoch) ** a["gradient_gamma"])
        return nj.weights.perturb(k["gradient"], jax.grad(loss)(params), nj.bind(nj.gaussian, std=std))

    def fit(seed, rate, decay, a, probability):
        split_key, init_key, order_key, noise_key = jax.random.split(jax.random.key(seed), 4)
        order = jax.random.permutation(split_key, len(x))
        schedule = optax.cosine_decay_schedule(1.0, epochs * STEPS)
        optimizer = optax.chain(
            optax.clip_by_global_norm(5.0), optax.add_decayed_weights(decay), optax.trace(0.9),
            optax.scale_by_schedule(lambda n: -rate * schedule(n)),
        )  # fmt: skip

        def step(carry, now):
            params, state = carry
            rows, key, epoch = now
            on = jax.random.uniform(jax.random.fold_in(key, 1), (len(NOISES),)) < probability
            here = dict(a)
            for name, acts in zip(NOISES, on, strict=True):
                here |= {amount: jnp.where(acts, a[amount], SILENT.get(amount, 0.0)) for amount in NOISES[name]
                         if name in noises and name != "shrink and perturb"}  # fmt: skip
            grads = noisy_step(key, params, here, jnp.asarray(x)[rows], jnp.asarray(y)[rows], epoch)
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        def one_epoch(carry, epoch):
            batches = jax.random.permutation(jax.random.fold_in(order_key, epoch), order[:rows])
            keys = jax.random.split(jax.random.fold_in(noise_key, epoch), STEPS)
            now = batches[: STEPS * BATCH].reshape(STEPS, BATCH), keys, jnp.full(STEPS, epoch)
            (params, state), _ = jax.lax.scan(step, carry, now)
            due = (epoch % a["every"] == 0) & (epoch > 0)
            shrink, std = jnp.where(due, a["shrink"], 1.0), jnp.where(due, a["perturb_std"], 0.0)
            params = optim.shrink_and_perturb(jax.random.fold_in(noise_key, epochs + epoch), params, shrink, std)
            return (params, state), None

        params = init(init_key, sizes)
        (params, _), _ = jax.lax.scan(one_epoch, (params, optimizer.init(params)), jnp.arange(epochs))
        valid = nll(apply(params, jnp.asarray(x)[order[rows:]]), jnp.asarray(y)[order[rows:]], classes).mean()
        clean = metrics(apply(params, x_test), y_test, classes)
        shifts = [metrics(apply(params, z), y_test, classes) for z in shifted]
        out = jax.tree.map(lambda *values: jnp.stack(values).mean(), *shifts)
        return valid, {"in": clean, "out": out}

    return jax.jit(jax.vmap(fit))


def stacked(members: list[dict]) -> tuple:
    """Members, each with a seed, rates, and one candidate, as arrays with a leading axis."""
    amounts = {n: np.array([m["amounts"].get(n, SILENT.get(n, 0.0)) for m in members], np.float32) for n in NAMES}
    probability = np.array([[m["probability"].get(n, 0.0) for n in NOISES] for m in members], np.float32)
    seeds = np.array([m["seed"] for m in members], np.int32)
    rate, decay = np.array([m["rates"] for m in members], np.float32).T
    return seeds, rate, decay, amounts, probability


NOTHING = {"amounts": {}, "probability": {}}


def study(name: str, found: dict, save: Callable, seeds: int = SEEDS, together: int = TOGETHER, **small) -> None:
    """All phases of one set. Each finished part is in `found`, and is saved before the next one begins."""
    data = data_of(name)
    if isinstance(data, str):
        print(data)
        return
    pool, test, classes, rows = data
    kinds = (False, True) if classes else (False,)
    programs = {ods: program(pool, test, classes, rows, ods, **small) for ods in kinds}

    def run(members):
        """Parts of one size, so that a program is compiled once; the last member fills up the last part."""
        train = programs[any("eta" in m["amounts"] for m in members)]
        filled = members + members[-1:] * (-len(members) % together)
        parts = [train(*stacked(filled[n : n + together])) for n in range(0, len(filled), together)]
        valid, result = jax.tree.map(lambda *p: np.concatenate(p)[: len(members)], *jax.device_get(parts))
        return [float(v) for v in valid], jax.tree.map(lambda v: [round(float(n), 5) for n in v], result)

    def tuned(choices):
        """The mean validation NLL of each choice; a run that diverged counts as infinitely bad."""
        members = [{"seed": 10_000 + s, **choice} for choice in choices for s in range(TUNING)]
        scores = np.reshape(run(members)[0], (len(choices), TUNING)).mean(1)
        return [float(v) if np.isfinite(v) else 1e9 for v in scores]

    if "rates" not in found:
        found["tuning"] = {"no noise": tuned([{**NOTHING, "rates": r} for r in rates()])}
        found["rates"] = rates()[int(np.argmin(found["tuning"]["no noise"]))]
        save()
    chosen = {"no noise": NOTHING}
    for noise in noises_for(classes):
        if noise not in found["tuning"]:
            found["tuning"][noise] = tuned([{**c, "rates": found["rates"]} for c in candidates(noise)])
            save()
        chosen[noise] = candidates(noise)[int(np.argmin(found["tuning"][noise]))]
    first, second = sorted(list(chosen)[1:], key=lambda n: min(found["tuning"][n]))[:2]
    chosen["best two"] = {part: chosen[first][part] | chosen[second][part] for part in NOTHING}
    found.setdefault("final", {})
    for noise, choice in chosen.items():
        if noise not in found["final"]:
            found["final"][noise] = run([{**choice, "seed": s, "rates": found["rates"]} for s in range(seeds)])[1]
            save()
    found |= {"classes": classes, "chosen": chosen, "best two": [first, second], "done": True}
    save()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="two epochs on digits, nothing is written")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    if given.smoke:
        study("digits", {}, lambda: None, 2, 8, epochs=2)
        return
    result: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {"sets": {}}

    def save():
        given.out.parent.mkdir(parents=True, exist_ok=True)
        temporary = given.out.with_suffix(".tmp")
        text = re.sub(r"\[[^][]*\]", lambda numbers: " ".join(numbers[0].split()), json.dumps(result, indent=1))
        temporary.write_text(text + "\n")
        temporary.replace(given.out)

    for name in SETS:
        found = result["sets"].setdefault(name, {})
        if not found.get("done"):
            study(name, found, save)
            print(f"{name}: {'done' if found.get('done') else 'skipped'}", flush=True)
    result |= {"command": "python -m experiments.noise_types", "measured": measured()}
    result["sets"] = {name: result["sets"][name] for name in SETS if result["sets"][name]}
    save()


if __name__ == "__main__":
    main()
