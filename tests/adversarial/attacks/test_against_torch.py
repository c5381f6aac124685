"""Losses of adversarial training against torch's autograd: values and gradients of the parameters.

The oracles are the papers' formulas in float64. Where torch is missing, numbers that they gave hold the same losses.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisejax import adversarial
from noisejax._random import sample
from noisejax.adversarial import L2, Linf
from noisejax.adversarial._training import virtual

RNG = np.random.default_rng(11)
B, D, H, C = 5, 6, 8, 4
X = RNG.uniform(0.1, 0.9, size=(B, D)).astype(np.float32)
Y = RNG.integers(0, C, B).astype(np.int32)
PARAMS = {
    "w": RNG.normal(size=(D, H)).astype(np.float32),
    "a": RNG.normal(size=H).astype(np.float32) / 4,
    "v": RNG.normal(size=(H, C)).astype(np.float32),
    "b": RNG.normal(size=C).astype(np.float32) / 4,
}
START = RNG.uniform(-0.15, 0.15, size=(B, D)).astype(np.float32)  # some of it outside the ball
DIRECTION = RNG.normal(size=(B, D)).astype(np.float32)
U = RNG.uniform(-1, 1, size=(B, 3, 2)).astype(np.float32)
LENGTHS = np.array([3, 2, 3, 1, 3], np.int32)
EPS, STEP, STEPS = 0.1, 0.03, 5
CASES = ("trades", "mart", "alp", "vat", "vat of one iteration", "freelb")

# Per case: the losses, and for each parameter its gradient of their mean times cos(0, 1, 2, ...). From torch 2.13.0.
FROZEN = {
    "trades": (
        [5.6204023, 1.1268785, 3.5431439, 1.1389785, 2.4491763],
        [0.73680206, -0.50432448, -0.66375639, 0.29161094],
    ),
    "mart": (
        [7.3555049, 2.1925958, 3.5847367, 2.1137594, 2.1083136],
        [1.059713, -1.4417636, -0.35355297, 0.053009109],
    ),
    "alp": (
        [6.2414641, 1.4520384, 2.8352465, 1.441601, 2.3929993],
        [0.41747802, -0.84036759, -0.59410138, 0.19361079],
    ),
    "vat": (
        [1.4123831, 0.8165174, 0.63804309, 1.347601, 1.7981807],
        [-1.3257428, 0.29256368, -0.55115549, 0.18298644],
    ),
    "vat of one iteration": (
        [1.3509784, 0.42101866, 0.63871758, 1.2970919, 1.7818618],
        [-1.2648492, 0.019686956, -0.47933461, 0.11468853],
    ),
    "freelb": (
        [5.6726455, 0.86683348, 2.0765342, 0.99318046, 0.71850052],
        [0.57999951, -0.19545351, -0.30817145, 0.25995365],
    ),
}


def network(params, x):
    hidden = jnp.tanh(x.reshape(B, -1) @ params["w"] + params["a"][None])
    return hidden @ params["v"] + params["b"][None]


def started(key, loss, x, threat, step_size, args=(), *, start=None, **options):
    """PGD from a start that is no draw."""
    return adversarial.pgd(key, loss, x, threat, step_size, args, start=START, **options)


def ours(case, monkeypatch, key):
    linf, steps = Linf(EPS, (0, 1)), {"attack": started, "steps": STEPS}
    monkeypatch.setattr(virtual, "normal_start", lambda *_: jnp.asarray(DIRECTION))

    def objective(params):
        def predict(x):
            return network(params, x)

        if case in ("trades", "mart"):
            values = getattr(adversarial, case)(key, predict, X, Y, linf, 6.0, STEP, **steps)
        elif case == "alp":
            values = adversarial.alp(key, predict, X, Y, linf, 0.5, STEP, **steps)
        elif case == "freelb":
            monkeypatch.setattr(sample, "symmetric_uniform", lambda _: jnp.asarray(U))
            loss = lambda x, y: adversarial.cross_entropy(predict(x), y)  # noqa: E731
            x = jnp.asarray(X).reshape(B, 3, 2)
            values = adversarial.freelb(key, loss, x, L2(0.2, None), 0.1, 0.3, (Y,), lengths=LENGTHS)
        else:
            values = adversarial.vat(key, predict, X, L2(0.5, (0, 1)), steps=1 if "one" in case else 3)
        return jnp.mean(values), values

    grads, values = jax.jit(jax.grad(objective, has_aux=True))(PARAMS)
    return np.asarray(values), {name: np.asarray(grad) for name, grad in grads.items()}


def oracle(case):
    """The same in torch."""
    import torch
    from torch.nn.functional import cross_entropy, log_softmax

    def tensor(a):
        return torch.tensor(np.asarray(a, np.float64))

    p = {name: tensor(value).requires_grad_() for name, value in PARAMS.items()}
    x, y = tensor(X), torch.tensor(Y).long()

    def model(x):
        return torch.tanh(x.reshape(B, -1) @ p["w"] + p["a"]) @ p["v"] + p["b"]

    def ce(z):
        return cross_entropy(z, y, reduction="none")

    def kl(first, second):  # KL(first || second)
        first, second = log_softmax(first, 1), log_softmax(second, 1)
        return (first.exp() * (first - second)).sum(1)

    def slope(value, at):
        return torch.autograd.grad(value.sum(), at)[0]

    def length(a):
        return a.flatten(1).norm(dim=1).reshape((B,) + (1,) * (a.dim() - 1))

    def pgd(loss):
        point = x + tensor(START).clamp(-EPS, EPS)
        point = point.clamp(0, 1)
        for _ in range(STEPS):
            at = point.detach().requires_grad_()
            point = at + STEP * slope(loss(model(at)), at).sign()
            point = torch.min(torch.max(point, x - EPS), x + EPS).clamp(0, 1)
        return point.detach()

    clean = model(x)
    fixed = clean.detach()
    if case == "trades":
        values = ce(clean) + 6 * kl(clean, model(pgd(lambda z: kl(fixed, z))))
    elif case == "mart":
        z = model(pgd(ce))
        rows = torch.arange(B)
        q = z.softmax(1)
        others = q.clone()
        others[rows, y] = 0
        boosted = -q[rows, y].log() - (1.0001 - others.max(1).values + 1e-12).log()
        values = boosted + 6 * kl(clean, z) * (1.0000001 - clean.softmax(1)[rows, y])
    elif case == "alp":
        z = model(pgd(ce))
        values = ce(z) + 0.5 * ((clean - z) ** 2).sum(1)
    elif case == "freelb":
        given = (torch.arange(3) < torch.tensor(LENGTHS)[:, None])[:, :, None].double()
        sizes = 2 * tensor(LENGTHS).reshape(B, 1, 1)
        words, delta, values = x.reshape(B, 3, 2), 0.3 * tensor(U) * given / sizes.sqrt(), 0
        delta = delta * (0.2 / length(delta)).clamp(max=1)
        for _ in range(3):
            delta = delta.detach().requires_grad_()
            loss = ce(model(words + delta))
            values = values + loss / 3
            g = torch.autograd.grad(loss.sum(), delta, retain_graph=True)[0] * given
            delta = delta + 0.1 * g / length(g)
            delta = delta * (0.2 / length(delta)).clamp(max=1)
    else:
        d = tensor(DIRECTION)
        for _ in range(1 if "one" in case else 3):
            d = d / length(d)
            r = torch.zeros_like(x, requires_grad=True)
            g = torch.autograd.grad(kl(fixed, model(x + r)).sum(), r, create_graph=True)[0]
            d = slope(g * d, r).detach()  # the Hessian of the KL times d, by differentiating twice
        values = kl(fixed, model((x + 0.5 * d / length(d)).clamp(0, 1)))
    values.mean().backward()
    return values.detach().numpy(), {name: value.grad.numpy() for name, value in p.items()}


def summed(grads):
    """One number for each parameter, to which each of its elements has a weight of its own."""
    return [float(np.sum(grads[name].reshape(-1) * np.cos(np.arange(grads[name].size)))) for name in PARAMS]


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_those_that_torch_gave(case, monkeypatch, key):
    values, grads = ours(case, monkeypatch, key)
    np.testing.assert_allclose(values, FROZEN[case][0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(summed(grads), FROZEN[case][1], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_torchs(case, monkeypatch, key):
    pytest.importorskip("torch")
    expected, slopes = oracle(case)
    values, grads = ours(case, monkeypatch, key)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
    for name in PARAMS:
        np.testing.assert_allclose(grads[name], slopes[name], rtol=1e-5, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(expected, FROZEN[case][0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(summed(slopes), FROZEN[case][1], rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_the_virtual_direction_is_that_of_foolbox(monkeypatch, key):
    torch = pytest.importorskip("torch")
    foolbox = pytest.importorskip("foolbox")
    from eagerpy import astensor
    from foolbox.attacks import virtual_adversarial_attack as peer

    class Same(torch.nn.Module):
        def forward(self, x):
            p = {name: torch.tensor(value, dtype=x.dtype) for name, value in PARAMS.items()}
            return torch.tanh(x @ p["w"] + p["a"]) @ p["v"] + p["b"]

    # The same first direction. A finite difference, in float64 here: in float32 its xi of 1e-6 leaves no digits.
    monkeypatch.setattr(peer.ep, "normal", lambda x, **_: astensor(torch.tensor(DIRECTION, dtype=torch.float64)))
    monkeypatch.setattr(virtual, "normal_start", lambda *_: jnp.asarray(DIRECTION))
    model = foolbox.PyTorchModel(Same().eval(), bounds=(0, 1), device="cpu")
    x, y = torch.tensor(X, dtype=torch.float64), torch.tensor(Y).long()
    seen = []

    def spied(x):
        seen.append(x)
        return network(PARAMS, x)

    for steps in (1, 3):
        found = foolbox.attacks.VirtualAdversarialAttack(steps=steps, xi=1e-6).run(model, x, y, epsilon=0.5).numpy()
        for xi, atol in ((None, 2e-5), (1e-3, 5e-3)):
            seen.clear()
            adversarial.vat(key, spied, X, L2(0.5, (0, 1)), xi, steps=steps, attacked=lambda x: network(PARAMS, x))
            np.testing.assert_allclose(seen[-1], found, atol=atol)
