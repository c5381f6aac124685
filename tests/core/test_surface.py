"""Laws 3, 4 and 10: imports run one way, every public name has one address, a docstring, an example and a row."""

import ast
import doctest
import importlib
import inspect
import operator
import pathlib
import pkgutil
import subprocess
import sys

import pytest

import noisejax as nj
from cases import CASES

PACKAGE = pathlib.Path(nj.__file__).parent
MODULES = ["noisejax"] + [m.name for m in pkgutil.walk_packages([str(PACKAGE)], "noisejax.") if not m.ispkg]
INIT = ast.parse((PACKAGE / "__init__.py").read_text()).body
PUBLIC = sorted(alias.asname for node in INIT if isinstance(node, ast.ImportFrom) for alias in node.names)
ROOMS = {"adversarial", "labels", "linen", "nnx", "optim", "weights"}  # modules with a door of their own

# Who may import whom: each floor only those before it. A module that is not named here fails the test.
FLOORS = [
    ["_checks"],
    ["_generators"],
    ["_stream"],
    ["_keys", "_sample"],
    ["_contract"],
    ["_noise"],
    ["_choose", "_compose", "_levels", "_shards"],
    ["_batch", "_blocks", "_masking", "_numeric", "_regions"],
    ["_continuous", "_mixing", "_penalty", "labels"],
    ["_cutmix", "_hidden", "weights"],
    ["_hooks"],
    ["adversarial", "linen", "nnx", "optim", "robustness"],
]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "noisejax":
            yield from (f"noisejax.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_imports_run_in_one_direction():
    floor = {name: level for level, names in enumerate(FLOORS) for name in names}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts == ("__init__",):
            continue
        for imported in imports(path):
            if imported.startswith("noisejax."):
                target = imported.split(".")[1]
                same_room = len(parts) > 1 and target == parts[0]
                assert same_room or floor[target] < floor[parts[0]], f"{path.name} imports {imported}"


def test_init_is_a_map_and_nothing_else():
    for node in INIT:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert is_docstring or isinstance(node, (ast.Import, ast.ImportFrom)), ast.unparse(node)


def test_importing_costs_jax_alone():
    doors = "('flax', 'optax', 'matplotlib', 'pandas', 'scipy.stats')"
    loaded = []
    for imported in ("noisejax", "jax.numpy"):
        code = f"import sys, {imported}; print([m for m in {doors} if m in sys.modules])"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        loaded.append(run.stdout)
    assert loaded[0] == loaded[1]


def test_one_address_per_name():
    names = {}
    for name in PUBLIC:
        value = getattr(nj, name)
        if inspect.ismodule(value):
            continue
        names.setdefault(id(value), []).append(name)
        assert value.__module__.startswith("noisejax._"), f"nj.{name} is also {value.__module__}.{name}"
    assert all(len(aliases) == 1 for aliases in names.values()), names
    for room in ROOMS:
        module = importlib.import_module(f"noisejax.{room}")
        shared = set(module.__all__) & set(PUBLIC)
        for name in shared:
            assert getattr(module, name) is not getattr(nj, name), f"nj.{room}.{name} is also nj.{name}"


def test_public_surface_is_the_one_written_down():
    assert PUBLIC == SURFACE


def test_every_array_noise_has_its_row():
    rows = {case.function for case in CASES}
    noises = {name for name in PUBLIC if hasattr(getattr(nj, name), "__noise__")}
    noises -= {"cutmix", "mixup"}  # noises of whole batches, which tests/noises/test_mixing.py holds
    for room in ROOMS - {"labels"}:  # labels are no features: tests/test_labels.py holds their laws
        module = importlib.import_module(f"noisejax.{room}")
        noises |= {f"{room}.{n}" for n in module.__all__ if hasattr(getattr(module, n), "__noise__")}
    missing = {name for name in noises if operator.attrgetter(name)(nj) not in rows}
    assert not missing


@pytest.mark.parametrize("name", [n for n in PUBLIC if not inspect.ismodule(getattr(nj, n))])
def test_public_names_are_documented_with_an_example(name):
    value = getattr(nj, name)
    assert value.__doc__, f"nj.{name} has no docstring"
    if callable(value) and name not in WITHOUT_EXAMPLE:
        assert ">>> " in value.__doc__, f"nj.{name} has no example"


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    module = importlib.import_module(name)
    assert module.__doc__ or name == "noisejax", f"{name} does not say what it is"
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


WITHOUT_EXAMPLE = {"Noise", "Marginals", "Adaptive", "AdaptiveState"}
SURFACE = [
    "Adaptive",
    "AdaptiveState",
    "Marginals",
    "Noise",
    "adaptive",
    "alpha_dropout",
    "at",
    "at_step",
    "bind",
    "blend",
    "chain",
    "changed",
    "channel_dropout",
    "choose",
    "clip",
    "coarse_dropout",
    "colored",
    "cutmix",
    "cutout",
    "drop_block",
    "drop_path",
    "dropout",
    "entries",
    "freq_mask",
    "gaussian",
    "gaussian_dropout",
    "gaussian_snr",
    "grid_mask",
    "hits",
    "impulse",
    "in_shard_map",
    "key",
    "keyless",
    "labels",
    "laplace",
    "linear_rates",
    "marginals",
    "mask",
    "mixup",
    "mixup_pairs",
    "nonfinite",
    "patch_dropout",
    "per_example",
    "pixel_dropout",
    "quantize",
    "random_erasing",
    "reduce_precision",
    "salt_and_pepper",
    "shot",
    "sometimes",
    "spatial_dropout",
    "speckle",
    "student_t",
    "swap",
    "tikhonov_estimate",
    "tikhonov_penalty",
    "time_mask",
    "uniform",
    "weights",
]
