"""Adversarial training on a table, against valid rows only.

    python examples/adversarial_tabular.py

Adult census: does a person earn over $50,000? An applicant may claim up to 5 hours per week more or less, and change
one of workclass, education and occupation. The years of education follow from the education, hours are integers, and
age, sex and all other columns stay fixed. If that table is not available, scikit-learn's diabetes table is used
instead.
"""

import functools
import os
import time
from typing import NamedTuple

import _tables
import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_diabetes

import noisejax as nj
from noisejax import adversarial

QUICK = bool(os.environ.get("NOISEJAX_QUICK"))
STEPS, BATCH, WIDTH, ASCENT = (30, 64, 16, 2) if QUICK else (1500, 256, 64, 10)
EVAL_STEPS, RESTARTS = (3, 1) if QUICK else (50, 5)
if QUICK:
    jax.config.update("jax_disable_most_optimizations", True)  # compiling takes longer than running


class Task(NamedTuple):
    name: str
    columns: list[str]
    train: tuple[np.ndarray, np.ndarray]  # rows in their own units
    test: tuple[np.ndarray, np.ndarray]
    threat: adversarial.Tabular


def adult() -> Task | None:
    member = "dataprep/datasets/data/adult.csv"
    options = {"skipinitialspace": True, "na_values": "?"}
    frame = _tables.carried("dataprep==0.4.1", member, not QUICK, **options)
    if frame is None:
        return None
    frame = frame.drop(columns=["fnlwgt", "native-country"]).dropna()
    y = (frame.pop("class").str.strip(".") == ">50K").to_numpy().astype(np.int32)
    years = frame.groupby("education")["education-num"].first()
    columns, blocks, groups = [], [], {}
    for name in frame:
        if frame[name].dtype != object and frame[name].dtype != "str":
            columns, blocks = [*columns, name], [*blocks, frame[[name]].to_numpy(np.float32)]
        else:
            values = sorted(frame[name].unique())
            groups[name] = tuple(range(len(columns), len(columns) + len(values)))
            columns += [f"{name} {value}" for value in values]
            blocks.append((frame[[name]].to_numpy() == np.array(values, object)).astype(np.float32))
    x = np.concatenate(blocks, axis=1)
    years_of = jnp.asarray([years[columns[c].removeprefix("education ")] for c in groups["education"]], jnp.float32)
    hours, place = columns.index("hours-per-week"), columns.index("education-num")

    def derive(x):
        return x.at[:, place].set(x[:, np.array(groups["education"])] @ years_of)

    eps = np.zeros((1, len(columns)), np.float32)
    eps[0, hours] = 5
    mutable = np.zeros(len(columns), bool)
    mutable[[hours, *groups["workclass"], *groups["education"], *groups["occupation"]]] = True
    ball = adversarial.Linf(eps, (x.min(0), x.max(0)), mutable=mutable)
    threat = adversarial.Tabular(
        ball, integers=(hours,), categories=tuple(groups.values()), switches=1, derive=derive, derived=(place,)
    )
    return split("Adult census", columns, x, y, threat, 5000)


def diabetes() -> Task:
    """Measurements with small errors. The ratio s4 follows from two of them; age and sex are exact."""
    frame = load_diabetes(as_frame=True, scaled=False).frame
    y = (frame.pop("target") > 140).to_numpy().astype(np.int32)
    columns, x = list(frame), frame.to_numpy(np.float32)
    s1, s3, s4 = (columns.index(name) for name in ("s1", "s3", "s4"))

    def derive(x):
        return x.at[:, s4].set(x[:, s1] / x[:, s3])

    x = np.asarray(derive(jnp.asarray(x)))
    eps = 0.2 * x.std(0, keepdims=True)
    mutable = np.array([name not in ("age", "sex") for name in columns])
    ball = adversarial.Linf(eps, (x.min(0), x.max(0)), mutable=mutable)
    threat = adversarial.Tabular(ball, integers=(columns.index("s6"),), derive=derive, derived=(s4,))
    return split("diabetes", columns, x, y, threat, 142)


def split(name, columns, x, y, threat, test) -> Task:
    order = np.random.default_rng(0).permutation(len(x))
    rows, held = order[test:], order[:test]
    return Task(name, columns, (x[rows], y[rows]), (x[held], y[held]), threat)


task = adult() or diabetes()
mean, std = task.train[0].mean(0), task.train[0].std(0) + 1e-6
x, y = (jnp.asarray(a) for a in task.train)


def network(params, x):
    x = (x - mean) / std  # inside the network, so that threats have the units of the table
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    return x @ params[-1][0] + params[-1][1]


@jax.jit
def train(key, attacked):
    sizes = (len(mean), WIDTH, WIDTH, 2)
    shapes = zip(jax.random.split(key, 3), sizes[:-1], sizes[1:], strict=True)
    params = [(nj.gaussian(k, jnp.zeros((a, b)), (2 / a) ** 0.5), jnp.zeros(b)) for k, a, b in shapes]
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, STEPS))

    def step(carry, key):
        params, state = carry
        rows = jax.random.randint(key, (BATCH,), 0, len(x))

        def loss(params):
            net = functools.partial(network, params)
            attack = functools.partial(adversarial.pgd, key, adversarial.untargeted(net), x[rows], task.threat)
            seen = jax.lax.cond(attacked, lambda: attack(args=(y[rows],), steps=ASCENT, keep="best"), lambda: x[rows])
            return adversarial.cross_entropy(net(seen), y[rows]).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, STEPS))[0][0]


@jax.jit
def attack(params, x, y):
    net = functools.partial(network, params)
    x_adv = adversarial.pgd(
        jax.random.key(1),
        adversarial.untargeted(net),
        x,
        task.threat,
        args=(y,),
        steps=EVAL_STEPS,
        restarts=RESTARTS,
        success=adversarial.misclassified(net),
    )
    return x_adv, net(x).argmax(-1) == y, net(x_adv).argmax(-1) == y, task.threat.contains(x_adv - x, x, 1e-4)


started = time.perf_counter()
x_test, y_test = (jnp.asarray(a) for a in task.test)
table = Table("training", "clean", f"PGD-{EVAL_STEPS}-{RESTARTS}", "valid adversarial rows")
found = {}
for name, attacked in (("plain", False), ("against PGD", True)):
    x_adv, clean, robust, valid = found[name] = attack(train(jax.random.key(0), attacked), x_test, y_test)
    table.add_row(name, f"{clean.mean():.1%}", f"{robust.mean():.1%}", f"{valid.mean():.1%}")
Console(width=110).print(f"{task.name}: {len(x)} training rows, {len(x_test)} test rows", table)

x_adv, clean, robust, _ = found["plain"]
for row in np.flatnonzero(clean & ~robust)[:3]:
    before, after = np.asarray(x_test[row]), np.asarray(x_adv[row])
    changes = [
        f"{name} {a:g} -> {b:g}"
        for name, a, b in zip(task.columns, before, after, strict=True)
        if abs(a - b) > 1e-4 * (1 + abs(a))
    ]
    print(f"The plain network misclassifies row {row} after: {', '.join(changes)}")
print(f"{time.perf_counter() - started:.0f} s")
