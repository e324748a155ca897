"""Imports point one way: events, ledger, histories, cells, components, posterior, simulation, forecast."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "clvforecast"

# The data's way. A file or folder may import from earlier layers and from itself, never from its own layer's
# others.
LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "errors",
        "arithmetic",
        "machine",
        "progress",
        "triangles",
        "durable",
        "sealed",
        "provenance",
        "posterior_check",
        "arrow_streams",
        "sql",
    ),
    ("intervals", "calendars"),
    ("events",),
    ("ledger",),
    ("adapters", "datasets"),
    ("histories",),
    ("cells",),
    ("likelihoods", "overview", "fictional"),
    ("components",),
    ("laplace",),
    ("sampling", "posterior_file", "summary"),
    ("posterior", "posterior_upgrade"),
    ("simulation",),
    ("synthetic", "plans", "new_customers"),
    ("reduction", "readiness", "scenarios"),
    ("periods",),
    ("portfolio", "account_tables"),
    ("metrics",),
    ("steering", "new_business"),
    ("forecast",),
    ("forecast_parts", "pooled"),
    ("forecast_file",),
    ("actuals", "scenario_file", "comparison", "plan_value", "calibration", "baselines", "predictive", "prospects"),
    ("scores",),
    ("backtest",),
    ("report", "batch"),
    ("spark",),
    ("demo",),
    ("cli",),
    ("__init__",),
    ("__main__",),
)
# Forecasts, backtests, checks, plans, prospects and reports of the data draw themselves, and a forecast saves itself: the method
# asks for the picture or the writer when it is called, and its file reads them.
ASKED_FOR_LATER = {
    ("forecast", "forecast_file"),
    ("forecast", "report"),
    ("backtest", "report"),
    ("comparison", "report"),
    ("plan_value", "report"),
    ("plans", "report"),
    ("prospects", "report"),
    ("predictive", "report"),
    ("overview", "report"),
}
LAYER = {unit: number for number, layer in enumerate(LAYERS) for unit in layer}


def unit_of(path: Path) -> str:
    """The file or folder right under the package that a source file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_units(path: Path) -> set[str]:
    """The units a source file imports when it runs (not those only for type checkers)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for child in ast.walk(statement)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the full name"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        found |= {unit_named(module) for module in modules if module.split(".")[0] == "clvforecast"}
    return found


def unit_named(module: str) -> str:
    """`clvforecast.cells.frame` -> `cells`; a name that the package itself defines -> `__init__`."""
    _, *parts = module.split(".")
    is_unit = len(parts) > 1 or (parts and file_of(module) is not None)
    return parts[0] if is_unit else "__init__"


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_one_way(path: Path) -> None:
    unit = unit_of(path)
    assert unit in LAYER, f"{unit} has no place in LAYERS: add it where the data reaches it"
    for imported in imported_units(path) - {unit}:
        if (unit, imported) in ASKED_FOR_LATER:
            continue
        assert LAYER[imported] < LAYER[unit], f"{unit} imports {imported}, which comes later in the data's way"


def test_nothing_imports_in_a_circle() -> None:
    """Among single files, too: each can be put in an order in which it only imports earlier ones."""
    imports = {path: imported_files(path) - {path} for path in SOURCES}
    while imports:
        ready = {path for path, needed in imports.items() if not needed & imports.keys()}
        assert ready, "a circle among " + ", ".join(str(path.relative_to(PACKAGE)) for path in imports)
        imports = {path: needed for path, needed in imports.items() if path not in ready}


def imported_files(path: Path) -> set[Path]:
    """The files whose top-level code a source file needs when it is imported."""
    found: set[Path] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("clvforecast"):
            assert node.module is not None
            found |= {file_of(f"{node.module}.{alias.name}") or file_of(node.module) or path for alias in node.names}
    return found


def file_of(module: str) -> Path | None:
    base = PACKAGE.joinpath(*module.split(".")[1:])
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)
