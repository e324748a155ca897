"""A forecast as the tables that a run publishes (`schema`): accounts, periods, ARR, retention."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.batch.schema import (
    ACCOUNT_FAILURES,
    ACCOUNT_RANGES,
    ARR_RANGES,
    PERIOD_RANGES,
    RETENTION_RANGES,
    Table,
)
from clvforecast.forecast import Forecast

FREQUENCIES = ("month", "quarter", "year")
TOTAL = "total"
PORTFOLIO = "all"
ORIGIN = "origin"
JOINED = ", "
"""Between the columns, and their levels, of a segment of several columns."""


class RunKey(NamedTuple):
    """What every row of a run begins with, and the interval that it asks for."""

    run_id: str
    as_of: date
    ci_prob: float
    ci_kind: str


def account_rows(forecast: Forecast, key: RunKey) -> pa.Table:
    """`account_ranges` of the forecast's accounts, the group columns last."""
    frame = forecast.accounts(key.ci_prob, key.ci_kind)
    segments = tuple(str(name) for name in forecast.groups.columns)
    return conformed(frame, ACCOUNT_RANGES.with_segments(segments), key)


def failure_rows(failures: Sequence[dict[str, str]], key: RunKey) -> pa.Table:
    names = ("account_id", "error", "message")
    return conformed(pd.DataFrame(list(failures), columns=list(names)), ACCOUNT_FAILURES, key)


def period_rows(forecast: Forecast, key: RunKey) -> pa.Table:
    """`period_ranges`: of the portfolio, of every origin, and of every level of the group columns; by month, quarter, year and
    in all; revenue and discounted (by origin not where accounts have a cost, which origins have not)."""
    parts = []
    for discounted in (False, True):
        origins = [] if discounted and forecast.settings.cost_to_serve else [ORIGIN]
        for by in (None, *origins, *_splits(forecast)):
            for freq in (*FREQUENCIES, None):
                frame = forecast.portfolio(freq, by, key.ci_prob, key.ci_kind, discounted)
                told = _segment_columns(frame, by, freq or TOTAL)
                parts.append(told.assign(value="discounted" if discounted else "revenue"))
    return _together(parts, PERIOD_RANGES, key)


def arr_rows(forecast: Forecast, key: RunKey) -> pa.Table:
    """`arr_ranges`, of the periods of the forecast; none where ARR was not followed."""
    return _recurring(
        forecast, key, ARR_RANGES, lambda freq, by: forecast.bridge(freq, by, key.ci_prob, key.ci_kind, 0)
    )


def retention_rows(forecast: Forecast, key: RunKey) -> pa.Table:
    """`retention_ranges`, of the periods of the forecast; none where ARR was not followed."""
    return _recurring(
        forecast,
        key,
        RETENTION_RANGES,
        lambda freq, by: forecast.retention(freq, by, False, key.ci_prob, key.ci_kind, 0),
    )


def _recurring(forecast: Forecast, key: RunKey, table: Table, of: Any) -> pa.Table:
    asked = (
        [(by, freq) for by in (None, *_splits(forecast)) for freq in FREQUENCIES] if forecast.settings.bridge else []
    )
    parts = [_segment_columns(of(freq, by), by, freq) for by, freq in asked]
    return _together(parts, table, key)


def _splits(forecast: Forecast) -> Iterator[list[str]]:
    """Every group column, and where there are several all of them together."""
    names = [str(name) for name in forecast.groups.columns]
    yield from ([name] for name in names)
    if len(names) > 1:
        yield names


def _segment_columns(frame: pd.DataFrame, by: str | list[str] | None, freq: str) -> pd.DataFrame:
    """The table with segment, level and freq in place of the columns it is split by."""
    names = [] if by is None else [by] if isinstance(by, str) else by
    level: Any = PORTFOLIO
    if len(names) == 1:
        level = frame[names[0]].astype(object)
    elif names:
        texts = [frame[name].astype(object).where(frame[name].notna(), "") for name in names]
        level = [joined(levels) for levels in zip(*texts, strict=True)]
    told = frame.drop(columns=names).rename(columns={"period": "period_end"})
    return told.assign(segment=JOINED.join(names) or PORTFOLIO, level=level, freq=freq)


def joined(levels: Iterable[Any]) -> str:
    """Levels of several columns as one text; one that has a comma or a quotation mark is quoted, so that no two are alike."""
    plain = (str(level) for level in levels)
    return JOINED.join(
        f'"{level.replace(chr(34), 2 * chr(34))}"' if {",", '"'} & {*level} else level for level in plain
    )


def _together(parts: Iterable[pd.DataFrame], table: Table, key: RunKey) -> pa.Table:
    """Kept apart until they are Arrow: pandas would drop what is empty in one of them."""
    found = [conformed(part, table, key) for part in parts]
    return pa.concat_tables(found) if found else table.arrow_schema.empty_table()


def conformed(frame: pd.DataFrame, table: Table, key: RunKey) -> pa.Table:
    """The table's columns in its order and types; what the frame does not have is empty, NaN too."""
    known = {"run_id": key.run_id, "as_of": key.as_of}
    columns = []
    for column in table.columns:
        if column.name in known:
            columns.append(pa.repeat(pa.scalar(known[column.name], column.type), len(frame)))
        elif column.name in frame:
            columns.append(_typed(frame[column.name], column.type))
        else:
            columns.append(pa.nulls(len(frame), column.type))
    return pa.Table.from_arrays(columns, schema=table.arrow_schema)


def _typed(values: pd.Series, kind: pa.DataType) -> pa.Array:
    """NaN as empty; days without their clock."""
    found = pa.array(values, from_pandas=True)
    found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    return pc.cast(found, kind, safe=not pa.types.is_date(kind))
