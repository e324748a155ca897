"""Machine code that is kept on disk has a key of every source file it is compiled from."""

import ast
import importlib.util
from pathlib import Path

import pytest

from clvforecast.arithmetic import sources_in
from clvforecast.components import target
from clvforecast.simulation import kernel

DENSITIES = ("*_density.py", "*_likelihood.py", "native*.py")
KERNEL = (
    "kernel.py",
    "terms.py",
    "life.py",
    "latents.py",
    "beyond.py",
    "revenue.py",
    "billing.py",
    "random.py",
    "slots.py",
)


def imported(path: Path) -> set[Path]:
    """Files of this package that a file imports from."""
    names = {
        node.module
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("clvforecast")
    }
    specs = [importlib.util.find_spec(name) for name in names]
    return {Path(spec.origin) for spec in specs if spec and spec.origin}


@pytest.mark.parametrize(("module", "patterns"), [(target, DENSITIES), (kernel, KERNEL)])
def test_the_key_knows_every_source(module, patterns) -> None:
    known = set(sources_in(*module.SOURCES))
    compiled = [path for pattern in patterns for path in Path(module.__file__).parent.glob(pattern)]
    assert len(compiled) >= 5
    for path in compiled:
        assert path in known
        assert imported(path) <= known | {Path(module.__file__).parent / "__init__.py"}, path
