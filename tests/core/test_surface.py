"""Laws 3, 4 and 10: imports run one way, every public name has one address, a docstring, an example and a row."""

import ast
import doctest
import importlib
import inspect
import pathlib
import pkgutil
import re
import subprocess
import sys

import pytest

import noisejax as nj
from cases import CASES
from cases.padded import PADDED
from cases.text import TEXT

PACKAGE = pathlib.Path(nj.__file__).parent
MODULES = ["noisejax"] + [m.name for m in pkgutil.walk_packages([str(PACKAGE)], "noisejax.") if not m.ispkg]
INIT = ast.parse((PACKAGE / "__init__.py").read_text()).body
MAPPED = [node for node in INIT if isinstance(node, ast.ImportFrom) and node.module.startswith("noisejax")]
PUBLIC = sorted(alias.asname for node in MAPPED for alias in node.names)
ATTRIBUTES = {
    "fused",
    "image",
    "labels",
    "robustness",
    "signal",
    "tabular",
    "text",
    "weights",
}  # public modules that need jax alone
ROOMS = ATTRIBUTES | {"adversarial", "frame", "linen", "nnx", "optim"}

# Who may import whom: each floor only those before it. A module that is not named here fails the test.
FLOORS = [
    ["_checks", "_sharding"],
    ["_padded"],
    ["_calls", "_random", "_statistics"],
    ["_contract"],
    ["_batch", "_noise"],
    ["_combinators", "_levels", "_serialize"],
    ["_noises", "labels"],
    ["image", "signal", "tabular", "text", "weights"],
    ["fused"],
    ["_layers"],
    ["adversarial", "frame", "linen", "nnx", "optim", "robustness"],
    ["_command"],
    ["__main__"],
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
        is_version = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
        is_suggestion = isinstance(node, ast.If) and ast.unparse(node.test) == "not TYPE_CHECKING"
        is_import = isinstance(node, (ast.Import, ast.ImportFrom))
        assert is_docstring or is_version or is_suggestion or is_import, ast.unparse(node)


def test_the_top_of_the_package_holds_few_private_files_and_no_folder_many():
    private = [path.name for path in PACKAGE.iterdir() if re.match(r"_[a-z]", path.name)]
    assert len(private) <= 16, private
    folders = {path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE}
    assert all(len(list(folder.glob("*.py"))) <= 12 for folder in folders)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gaussain", "noisejax.gaussian?"),
        ("Gaussian", "noisejax.gaussian?"),
        ("cutout", "noisejax.image.cutout?"),
        ("GaussianSNR", "noisejax.signal.gaussian_snr?"),
        ("per_exmaple", "noisejax.per_example?"),
        ("frequency_mask", "has no attribute 'frequency_mask'"),
        ("quuxify", "has no attribute 'quuxify'."),
    ],
)
def test_a_misspelt_attribute_suggests_the_right_name(name, meant):
    with pytest.raises(AttributeError, match=re.escape(meant)):
        getattr(nj, name)


def test_a_module_that_needs_another_package_says_how_it_is_imported():
    code = "import noisejax as nj; nj.optim"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "import it by name, import noisejax.optim" in run.stderr
    assert not hasattr(nj, "__wrapped__")  # what inspect and doctest ask of every module gets a plain answer


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


def test_every_noise_has_its_row():
    tables = {"array": {case.function for case in CASES}, "padded": {case.function for case in PADDED}}
    for case in TEXT:
        tables[case.function.__noise__.kind].add(case.function)
    missing = []
    for module in [nj, *(importlib.import_module(f"noisejax.{room}") for room in ROOMS - {"labels"})]:
        # Labels are no features: tests/test_labels.py holds their laws, tests/noises/test_mixing.py those of batches.
        for name in PUBLIC if module is nj else module.__all__:
            spec = getattr(getattr(module, name), "__noise__", None)
            if spec is not None and spec.kind != "batch" and getattr(module, name) not in tables[spec.kind]:
                missing.append(name)
    assert not missing


@pytest.mark.parametrize("name", [n for n in PUBLIC if hasattr(getattr(nj, n), "__noise__")])
def test_the_signature_is_that_of_the_source(name):
    function = getattr(nj, name)
    source = inspect.getsource(inspect.unwrap(function))
    (definition,) = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef) and node.name == name
    )
    written = [arg.arg for arg in (*definition.args.args, *definition.args.kwonlyargs)]
    assert list(inspect.signature(function).parameters) == written
    assert ("where" in written) == (function.__noise__.kind == "array")
    assert ("lengths" in written) == (function.__noise__.kind != "batch")


@pytest.mark.parametrize("name", [n for n in PUBLIC if not inspect.ismodule(getattr(nj, n))])
def test_public_names_are_documented_with_an_example(name):
    value = getattr(nj, name)
    assert value.__doc__, f"nj.{name} has no docstring"
    if callable(value) and name not in WITHOUT_EXAMPLE:
        assert ">>> " in value.__doc__, f"nj.{name} has no example"


# Examples of the modules at the top compile little; those of a domain or a door take seconds each.
LONG = tuple(f"noisejax.{room}." for room in ROOMS - {"labels"})


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * name.startswith(LONG)) for name in MODULES]
)
def test_docstring_examples_run(name):
    module = importlib.import_module(name)
    assert module.__doc__ or name == "noisejax", f"{name} does not say what it is"
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


WITHOUT_EXAMPLE = {"Noise", "Marginals", "Adaptive", "AdaptiveState"}
