"""The numbers that the page's script reads: small tables as JSON, the accounts as typed arrays.

Money of the accounts is whole cents, of everything else the exact float64. Nothing in it can end the script element it
stands in: ``<``, ``>`` and ``&`` are written as JSON's own escapes, and so is all that is not ASCII.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvforecast.metrics.bridge import SUBTRACTED
from clvforecast.report.page.data import LINES, PageData
from clvforecast.simulation.slots import ORIGINS

QUANTILES = ("q05", "q10", "q25", "q50", "q75", "q90", "q95")
MONEY = (
    "clv_to_date",
    "booked_to_date",
    "paid_to_date",
    "mean",
    *QUANTILES,
    "lower",
    "upper",
    "discounted_mean",
    "discounted_lower",
    "discounted_upper",
    "beyond_horizon",
    *(f"from_{origin}" for origin in ORIGINS),
)
SHARES = ("p_zero", "p_active_12m", "p_active_24m", "p_active_36m", "p_next_renewal", "p_next_renewal_q05")
SHARES_AND_MONTHS = (*SHARES, "p_next_renewal_q95", "active_months")
UNSAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def as_json(value: object) -> str:
    """JSON in ASCII that may stand inside a script element.

    Examples
    --------
    >>> as_json("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).translate(UNSAFE)


def payload(data: PageData) -> dict[str, Any]:
    """Everything the script needs."""
    return {
        "currency": data.currency,
        "as_of": data.as_of.isoformat(),
        "ci_prob": data.ci_prob,
        "horizon_months": data.horizon_months,
        "has_cost": data.has_cost,
        "counted": data.counted._asdict(),
        "headline": columns_of(data.headline),
        "portfolio": tables_of(data.portfolio),
        "history": tables_of(data.history),
        "bridge": tables_of(data.bridge),
        "lines": {line: {"name": name, "sign": -1 if line in SUBTRACTED else 1} for line, name in LINES.items()},
        "existing_only": data.new_customers is None,
        "retention": tables_of(data.retention),
        "scenarios": tables_of(data.scenarios),
        "totals": None if data.backtest_totals is None else columns_of(data.backtest_totals),
        "accounts": accounts_of(data),
        "plans": None if data.plans is None else columns_of(data.plans),
    }


def tables_of(tables: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, list[Any]]]:
    return {name: columns_of(table) for name, table in tables.items()}


def columns_of(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Column -> its values: floats exactly, days as YYYY-MM-DD, what is missing as null."""
    return {str(name): [_plain(value) for value in table[name].tolist()] for name in table.columns}


def _plain(value: Any) -> Any:
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if hasattr(value, "strftime"):
        return value.strftime("%Y-%m-%d")
    return str(value)


def accounts_of(data: PageData) -> dict[str, Any]:
    """n, ids, segments by column (levels and each account's code), numbers by column, and what every year brought."""
    table = data.accounts
    numbers = {name: _cents(table[name]) for name in MONEY if name in table}
    numbers |= {name: _packed(table[name].to_numpy(np.float32)) for name in SHARES_AND_MONTHS if name in table}
    years = None
    if data.account_years is not None:
        years = {str(name): _packed(_narrow(column.to_numpy())) for name, column in data.account_years.items()}
    return {
        "n": len(table),
        "ids": table["account_id"].astype(str).tolist(),
        "segments": {name: _levels(table[name]) for name in data.segments},
        "numbers": numbers,
        "years": years,
    }


def _levels(column: pd.Series) -> dict[str, Any]:
    codes, levels = pd.factorize(column, sort=True)
    return {
        "levels": [str(level) for level in levels],
        "codes": _packed(codes.astype(np.int16 if len(levels) < 2**15 else np.int32)),
    }


def _cents(amounts: pd.Series) -> dict[str, Any]:
    """Whole cents, in four bytes where they fit; in float64 where they do not, or where some are not known."""
    return _packed(_narrow(np.rint(amounts.to_numpy(np.float64) * 100.0)))


def _narrow(whole: NDArray[Any]) -> NDArray[Any]:
    fits = np.isfinite(whole).all() and (np.abs(whole) < 2**31).all()
    return whole.astype(np.int32) if fits else whole.astype(np.float64)


def _packed(values: NDArray[Any]) -> dict[str, Any]:
    """A typed array in base64, little-endian; of values that are all the same only one."""
    if len(values) and (values == values[0]).all():
        return {"same": float(values[0])}
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"))
    return {"type": values.dtype.name, "base64": base64.b64encode(little.tobytes()).decode("ascii")}
