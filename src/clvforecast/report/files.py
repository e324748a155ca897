"""Forecasts as files.  Each is written whole or not at all: to a temporary name first, then put in place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from clvforecast.durable import put_in_place
from clvforecast.forecast import Forecast
from clvforecast.forecast_file import describe_forecast

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACCOUNTS_SCHEMA_VERSION = 2
"""1 had no as_of, currency and timing."""
WHOLE = "portfolio"
"""In the column ``by``: no group, but all."""
MONEY_DIGITS = 2
FORMULA_SIGNS = (*"=+-@", *"＝＋－＠", "\t", "\r", "\n")
PLAIN_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
MONEY_COLUMNS = ("mean", "sd", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "lower", "upper")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """`put_in_place`, in a folder that is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with put_in_place(path) as temporary:
        yield temporary


def write_accounts(forecast: Forecast, path: Path, ci_prob: float = 0.9, ci_kind: str = "eti") -> None:
    """`Forecast.accounts` as Parquet, with the columns as_of, currency and timing in front.

    The file's metadata (key ``clvforecast``) is a JSON of its schema version, as_of, currency, settings (the seed among them),
    policies (how it counts, in words), warnings and provenance: fingerprints of ledger and posterior, and package versions.
    """
    table = pa.Table.from_pandas(forecast.accounts(ci_prob, ci_kind), preserve_index=False)
    for place, (name, value) in enumerate(_circumstances(forecast).items()):
        table = table.add_column(place, name, pa.repeat(pa.scalar(value), len(table)))
    described = {
        "schema_version": ACCOUNTS_SCHEMA_VERSION,
        **describe_forecast(forecast),
        "policies": forecast.policies(),
    }
    metadata = {**(table.schema.metadata or {}), b"clvforecast": json.dumps(described).encode()}
    with replacing(path) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), temporary)


def write_portfolio(
    forecast: Forecast,
    path: Path,
    freq: str | None = "quarter",
    by: str | list[str] | None = None,
    ci_prob: float = 0.9,
    ci_kind: str = "eti",
) -> None:
    """`Forecast.portfolio` as CSV, money to cents, with the columns as_of, currency, timing and by in front.

    ``by`` is "portfolio" in rows of the whole portfolio, which come first and are empty in the groups' columns; in rows of
    groups it names these columns. Ranges of groups do not add up to the portfolio's, so both are there.
    """
    names = [] if by is None else [by] if isinstance(by, str) else list(by)
    table = forecast.portfolio(freq, None, ci_prob, ci_kind).assign(by=WHOLE)
    if names:
        groups = forecast.portfolio(freq, names, ci_prob, ci_kind).assign(by=",".join(names))
        table = pd.concat([table.reindex(columns=groups.columns), groups], ignore_index=True)
    table = table.round(dict.fromkeys(MONEY_COLUMNS, MONEY_DIGITS))
    table.insert(0, "by", table.pop("by"))
    for place, (name, value) in enumerate(_circumstances(forecast).items()):
        table.insert(place, name, value)
    write_csv(table, path)


def _circumstances(forecast: Forecast) -> dict[str, Any]:
    """What every row needs that may be laid beside those of other files."""
    return {"as_of": forecast.as_of, "currency": forecast.currency, "timing": forecast.settings.timing}


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Any table as UTF-8 CSV, dates as YYYY-MM-DD.

    Texts and column names that a spreadsheet would run as a formula begin with an apostrophe.
    """
    with replacing(path) as temporary:
        safe = table.apply(lambda column: column.map(without_formula) if _holds_text(column) else column)
        safe.columns = [without_formula(name) for name in table.columns]
        safe.to_csv(temporary, index=False, date_format="%Y-%m-%d", lineterminator="\n")


def without_formula(value: object) -> object:
    """A text that a spreadsheet reads as text: what begins as a formula, and is no number, gets an apostrophe in front.

    OWASP, "CSV Injection": =, +, -, @, also in full width, tab, carriage return and line feed begin one.
    """
    if not isinstance(value, str) or not value.startswith(FORMULA_SIGNS) or PLAIN_NUMBER.fullmatch(value):
        return value
    return "'" + value


def _holds_text(column: pd.Series) -> bool:
    return not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column))


def write_plot(axes: Axes, path: Path) -> None:
    """The figure that the axes are on as PNG, 150 dots an inch."""
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes of a plot are on a figure"
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
