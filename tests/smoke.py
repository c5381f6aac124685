"""Install built packages into empty environments and try them: ``python tests/smoke.py dist/*.whl dist/*.tar.gz``.

Each archive gets an environment of its own, with what it declares and nothing else. The program runs outside the
checkout, so that the installed package is imported. It checks the version against the metadata and runs the first
Python block of the README, which needs jax alone.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PROGRAM = """
import importlib.metadata, pathlib, sys
import noisejax
home = pathlib.Path(noisejax.__file__).resolve()
assert pathlib.Path(sys.prefix).resolve() in home.parents, f"imported from {home}, not from the environment"
assert noisejax.__version__ == importlib.metadata.version("noisejax")
assert home.with_name("py.typed").exists(), "type checkers would ignore the package"
readme = importlib.metadata.metadata("noisejax").get_payload()
block = readme.split("```python\\n")[1].split("```")[0]
exec(compile(block, "README.md", "exec"))
print(f"noisejax {noisejax.__version__}: the README's first example runs")
"""


def smoke(archive: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts" if os.name == "nt" else "bin") / "python"
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLA_FLAGS")}
        environment["JAX_PLATFORMS"] = "cpu"
        for command in (["-m", "pip", "install", "--quiet", str(archive)], ["-W", "error", "-c", PROGRAM]):
            subprocess.run([python, *command], cwd=folder, env=environment, check=True)


if __name__ == "__main__":
    archives = [Path(name).resolve() for name in sys.argv[1:]]
    if not archives:
        sys.exit(__doc__)
    for path in archives:
        print(f"== {path.name}", flush=True)  # noqa: T201
        smoke(path)
