"""No file of this package can run code: nothing in it reads pickles, evaluates texts, or imports what does so for it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "clvforecast"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "dbm",
    "yaml",
    "jsonpickle",
}
CALLS = {"eval", "exec", "__import__", "read_pickle", "to_pickle", "read_hdf"}
KEYWORDS = {"allow_pickle"}
NUMPY_FILES = {"load", "save", "savez", "savez_compressed", "fromregex", "tofile", "fromfile"}


def faults_of(source: str) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            last = name.split(".")[-1]
            found += [name] if last in CALLS or (name.startswith("np.") and last in NUMPY_FILES) else []
            found += [str(keyword.arg) for keyword in node.keywords if keyword.arg in KEYWORDS]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_source_reads_what_could_run(path: Path) -> None:
    assert faults_of(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import yaml as y",
        "np.load('x', allow_pickle=True)",
        "pd.read_pickle('x')",
        "eval('1')",
        "exec(text)",
        "import marshal",
    ],
)
def test_such_a_source_would_be_told(source: str) -> None:
    assert faults_of(source)


LOADING = """
import gzip, sys
from pathlib import Path
import clvforecast as clv

fixtures, folder = Path(sys.argv[1]), Path(sys.argv[2])
for name in ("posterior-schema-3.nc", "forecast-schema-1.clv", "forecast-schema-2.clv"):
    (folder / name).write_bytes(gzip.decompress((fixtures / f"{name}.gz").read_bytes()))
found = []
sys.addaudithook(lambda event, arguments: found.append(event) if event == "pickle.find_class" else None)
clv.load_posterior(folder / "posterior-schema-3.nc")
clv.load_forecast(folder / "forecast-schema-1.clv")
clv.load_forecast(folder / "forecast-schema-2.clv")
assert not found, found
"""


def test_loading_unpickles_nothing(tmp_path: Path) -> None:
    """Dependencies may import pickle for themselves; nothing is unpickled while a posterior and a forecast are loaded."""
    subprocess.run([sys.executable, "-c", LOADING, str(Path(__file__).parent / "fixtures"), str(tmp_path)], check=True)
