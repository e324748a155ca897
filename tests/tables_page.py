"""`docs/tables.md`: the lists of columns in it come from the schema.

PYTHONPATH=tests python -m tables_page      # writes them anew
"""

from __future__ import annotations

import re
from pathlib import Path

from clvforecast.batch.schema import RUNS, TABLES, Table, as_markdown
from clvforecast.batch.sinks.views import View, views

PAGE = Path(__file__).parents[1] / "docs" / "tables.md"
BLOCK = re.compile(r"<!-- columns: (\w+) -->\n.*?<!-- columns end -->", flags=re.DOTALL)


def columns_of(name: str) -> str:
    """What the schema says of a table or view, in Markdown. Raises KeyError for another name."""
    if name in TABLES:
        return f"{TABLES[name].meaning}\n\n{as_markdown(TABLES[name])}"
    view = {view.name: view for view in views(())}[name]
    same = [table for table in TABLES.values() if table.names == view.names]
    if same and same[0] is not RUNS:
        return f"{view.meaning} Its columns are those of `{_source(view, same)}`."
    return (
        f"{view.meaning}\n\n{as_markdown(Table(view.name, view.meaning, tuple(column for _, column in view.columns)))}"
    )


def rendered(text: str) -> str:
    """The page with the schema's columns in its blocks."""
    return BLOCK.sub(lambda found: f"<!-- columns: {found[1]} -->\n{columns_of(found[1])}\n<!-- columns end -->", text)


def _source(view: View, same: list[Table]) -> str:
    return next(table.name for table in same if re.search(rf"\b{table.name}\b", view.source))


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
