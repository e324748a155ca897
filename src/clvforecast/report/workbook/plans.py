"""The sheet of plans: what was agreed with customers, how likely it is, and what it changes."""

from __future__ import annotations

from typing import Any

import pandas as pd

from clvforecast.report.planned import ADDS, EXPECTED, STATED_AND_LEARNED, head_of, shown_columns
from clvforecast.report.workbook.contents import Contents, ends_of
from clvforecast.report.workbook.page import Page, is_missing, width_of

SHEET = "Plans"
SAMPLE = 2000
LONGEST = {"account_id": 36.0, "note": 40.0}
"""Characters of columns of texts, which go on in the next line."""
KINDS = {
    **dict.fromkeys(("account_id", "step_id", "kind", "note"), "text"),
    "date": "date",
    "term_months": "count",
    **dict.fromkeys(("stated", "probability", "lower", "upper", "ci_prob"), "percent"),
    **dict.fromkeys(("amount", "expected_amount", "added", "added_lower", "added_upper", "clv_added"), "amount"),
}
"""How the columns of `PlanValue.steps` and `Forecast.planned` are shown; lower and upper are ends of the probability."""


def write_plans(page: Page, contents: Contents, plans: pd.DataFrame) -> None:
    """One row a planned step: what was agreed, how likely it is as stated and in the forecast, and what it changes."""
    names = shown_columns(plans)
    ends = ends_of(float(plans["ci_prob"].iloc[0])) if "ci_prob" in plans and len(plans) else contents.ends
    heads = [head_of(name, ends, contents.noun) for name in names]
    kinds = [kind_of(name, plans[name]) for name in names]
    widths = [_width(name, kind, head, plans[name]) for name, head, kind in zip(names, heads, kinds, strict=True)]
    page.set_columns(widths)
    page.head(
        "Plans",
        f"{counted_steps(len(plans))} planned with customers, as of {contents.as_of}; money in whole {contents.currency}. "
        "Empty: not told.",
        STATED_AND_LEARNED,
        *([EXPECTED] if "expected_amount" in names else []),
        *([ADDS] if "added" in names else []),
    )
    head_row = page.row
    page.heads(heads, tuple(kinds), height=42.0, indent=1)
    for values in plans[names].itertuples(index=False, name=None):
        _step(page, values, kinds, widths)
    page.sheet.freeze_panes(head_row + 1, 1)
    page.sheet.repeat_rows(head_row)
    if len(plans):
        page.sheet.autofilter(head_row, 0, page.row - 1, len(heads) - 1)
        page.book.name(
            "plans_table", page.area(head_row, 0, page.row - 1, len(heads) - 1), "planned steps, with their heads"
        )
    page.printed()


def _step(page: Page, values: tuple[Any, ...], kinds: list[str], widths: list[float]) -> None:
    """A row as high as its longest text, which goes on in the next line."""
    lines = 1
    for column, (value, kind) in enumerate(zip(values, kinds, strict=True)):
        page.put(column, value, kind, indent=1, **({"text_wrap": True} if kind == "text" else {}))
        if kind == "text" and not is_missing(value):
            lines = max(lines, -(-len(str(value)) // max(int(0.85 * widths[column]) - 2, 1)))
    if lines > 1:
        page.sheet.set_row(page.row, 13.0 * lines)
    page.next()


def counted_steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count:,} steps"


def kind_of(name: str, values: pd.Series) -> str:
    """How a column is shown: a known one by its name; of others probabilities, months as counts, other numbers as money.

    Examples
    --------
    >>> kind_of("lower", pd.Series([0.4])), kind_of("added_lower", pd.Series([900.0]))
    ('percent', 'amount')
    """
    if name in KINDS:
        return KINDS[name]
    if pd.api.types.is_datetime64_any_dtype(values):
        return "date"
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return "date" if str(name).endswith("date") else "text"
    name = str(name)
    if "probability" in name or "share" in name or name.startswith("p_"):
        return "percent"
    if "month" in name or pd.api.types.is_integer_dtype(values):
        return "count"
    return "amount"


def _width(name: str, kind: str, head: str, values: pd.Series) -> float:
    if kind == "text":
        most = LONGEST.get(name, 24.0)
        return width_of([max(head.split(), key=len, default=""), *values.dropna().head(SAMPLE)], least=11.0, most=most)
    return width_of([max(head.split(), key=len, default="")], least=13.0 if kind == "amount" else 11.5)
