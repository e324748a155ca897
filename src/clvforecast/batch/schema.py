"""The tables that a run publishes: every column with its type, unit and meaning.

One record a column is all there is: tables are checked against it, created from it in both databases, and described by it, in
the databases' own comments and in `as_markdown`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from clvforecast.intervals import QUANTILES
from clvforecast.simulation.slots import ORIGINS

TEXT, DAY, NUMBER, COUNT, FLAG = pa.string(), pa.date32(), pa.float64(), pa.int64(), pa.bool_()
MOMENT = pa.timestamp("us")
"""UTC without a zone: DuckDB's own reader of zones asks for a package that few have."""
SMALL = pa.int32()
MONEY, SHARE = "currency", "share, 0 to 1"
NO_SEGMENT = ("all", "origin")
"""Values of `segment` that are no column of the accounts: the portfolio, and where the revenue comes from."""


@dataclass(frozen=True)
class Column:
    """One column. filled: never NULL. optional: a run may come without it, and then it is NULL."""

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    filled: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Table:
    """One table. has_segments: the company's own columns, all text, follow the named ones."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    has_segments: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def arrow_schema(self) -> pa.Schema:
        """Of the named columns."""
        return pa.schema([pa.field(column.name, column.type, not column.filled) for column in self.columns])

    def with_segments(self, segments: tuple[str, ...]) -> Table:
        """The same with the company's columns behind its own."""
        own = tuple(Column(name, TEXT, "the company's own column of the accounts") for name in segments)
        return replace(self, columns=(*self.columns, *own))


KEYS = (
    Column("run_id", TEXT, "the run that the row belongs to", filled=True),
    Column("as_of", DAY, "last day of what the run knew", filled=True),
)
INTERVAL = (
    Column("ci_prob", NUMBER, "probability of the interval lower to upper", SHARE),
    Column("ci_kind", TEXT, '"eti": equal tails; "hdi": the narrowest'),
)


def _range(of: str, unit: str = MONEY, prefix: str = "") -> Iterator[Column]:
    """mean, sd, quantiles and interval of something."""
    yield Column(f"{prefix}mean", NUMBER, f"mean of {of}", unit)
    yield Column(f"{prefix}sd", NUMBER, f"standard deviation of {of}", unit)
    for name, probability in QUANTILES.items():
        yield Column(f"{prefix}{name}", NUMBER, f"{of} is below this with probability {probability:.2f}", unit)
    yield Column(f"{prefix}lower", NUMBER, f"lower end of the interval of {of}", unit)
    yield Column(f"{prefix}upper", NUMBER, f"upper end of the interval of {of}", unit)


def _origins() -> Iterator[Column]:
    for origin in ORIGINS:
        yield Column(f"from_{origin}", NUMBER, f"part of the mean that comes from {origin.replace('_', ' ')}", MONEY)


def _active(months: int) -> Column:
    return Column(
        f"p_active_{months}m",
        NUMBER,
        f"probability that the account is active on the last day of month {months}; NULL beyond the horizon",
        SHARE,
        optional=True,
    )


GROUP = (
    Column(
        "segment", TEXT, 'what the portfolio is split by: "all", "origin", or a column of the accounts', filled=True
    ),
    Column("level", TEXT, 'the level of that column, "all" of the portfolio; "not recorded" where an account has none'),
)
PERIOD = (
    Column("freq", TEXT, "month, quarter or year of the fiscal calendar, or total: the whole window", filled=True),
    Column("label", TEXT, 'the name of the period, such as "FY27 Q1"', filled=True),
    Column("period_start", DAY, "first day of the period inside the window", filled=True),
    Column("period_end", DAY, "last day of the period, also where the window ends before", filled=True),
)
PARTIAL = Column("partial", FLAG, "whether some days of the period are outside the window")
RECURRING = (
    *KEYS, *GROUP, *PERIOD,
    Column("basis", TEXT, '"actual", "part actual" (the period that is running) or "forecast"', filled=True),
    PARTIAL,
)  # fmt: skip

RUNS = Table(
    "runs",
    "One row a published run.",
    (
        *KEYS,
        Column("currency", TEXT, "currency of all money of the run, ISO 4217"),
        Column("accounts", COUNT, "accounts that were scored", "accounts"),
        Column("failed", COUNT, "accounts that could not be scored, see account_failures", "accounts"),
        Column("draws", SMALL, "posterior draws that every account was simulated under", "draws"),
        Column("horizon_months", SMALL, "length of the window from the day after as_of", "months"),
        Column(
            "timing", TEXT, 'what counts as revenue, and when: "recognised" as served, "booked", or "cash" when due'
        ),
        Column("annual_discount_rate", NUMBER, "of all discounted numbers", "share a year"),
        Column("gross_margin", NUMBER, "in all discounted numbers; revenue is without it", SHARE),
        Column("seed", COUNT, "key of the random numbers"),
        *INTERVAL,
        Column("posterior", TEXT, "checksum of the posterior"),
        Column("ledger", TEXT, "fingerprint of the ledger"),
        Column("settings", TEXT, "settings of the forecast, JSON"),
        Column("warnings", TEXT, "what to know of the data, a JSON list"),
        Column("version", TEXT, "version of clvforecast"),
    ),
)
ACCOUNT_RANGES = Table(
    "account_ranges",
    "One row an account: what it has brought, and the range of what it will bring in the window.",
    (
        *KEYS,
        Column("account_id", TEXT, "the account", filled=True),
        Column("clv_to_date", NUMBER, "revenue recognised until as_of", MONEY),
        Column("booked_to_date", NUMBER, "revenue booked until as_of", MONEY),
        Column("paid_to_date", NUMBER, "money due until as_of; NULL unless cash is counted", MONEY, optional=True),
        *_range("forward revenue of the window"),
        *INTERVAL,
        Column("clv", NUMBER, "to date plus the mean of forward revenue", MONEY),
        Column("clv_lower", NUMBER, "to date plus lower", MONEY),
        Column("clv_upper", NUMBER, "to date plus upper", MONEY),
        *_range("the discounted forward value, with the gross margin", prefix="discounted_"),
        Column("p_zero", NUMBER, "probability of no revenue at all in the window", SHARE),
        Column("beyond_horizon", NUMBER, "mean discounted value after the window; NULL without discounting", MONEY),
        Column("beyond_share", NUMBER, "part of beyond_horizon in the discounted value of window and beyond", SHARE),
        *(_active(months) for months in (12, 24, 36)),
        Column(
            "p_next_renewal",
            NUMBER,
            "probability of the next renewal (of several contracts: of the one that ends first); NULL where no decision is "
            "open",
            SHARE,
        ),
        Column("p_next_renewal_q05", NUMBER, "its 5% posterior quantile", SHARE),
        Column("p_next_renewal_q95", NUMBER, "its 95% posterior quantile", SHARE),
        Column("active_months", NUMBER, "mean time under contract in the window", "months"),
        *_origins(),
    ),
    has_segments=True,
)
PERIOD_RANGES = Table(
    "period_ranges",
    "One row a period of the fiscal calendar and segment level: the range of revenue, of summed draws.",
    (
        *KEYS, *GROUP, *PERIOD,
        Column("days", SMALL, "how many days of the period are in the window", "days"),
        PARTIAL,
        Column("value", TEXT, '"revenue", or "discounted": with the gross margin', filled=True),
        *_range("revenue of the period"), *INTERVAL,
    ),
)  # fmt: skip
ARR_RANGES = Table(
    "arr_ranges",
    "The bridge of annual recurring revenue (ARR): one row a period, segment level and line. Empty unless asked for.",
    (
        *RECURRING,
        Column(
            "line",
            TEXT,
            "start + new + expansion + reactivation + late_renewals - contraction - churn = end: one of these",
            filled=True,
        ),
        *_range("the line", "currency a year"), *INTERVAL,
    ),
)  # fmt: skip
RETENTION_RANGES = Table(
    "retention_ranges",
    "Rates of retention: one row a period, segment level and measure. Empty unless asked for.",
    (
        *RECURRING,
        Column("measure", TEXT, "nrr, grr, gross_renewal_rate or logo_churn", filled=True),
        *_range("the rate; NULL where nothing is to be retained", "share, 0 or more"), *INTERVAL,
    ),
)  # fmt: skip
ACCOUNT_FAILURES = Table(
    "account_failures",
    "One row an account that could not be scored.",
    (
        *KEYS,
        Column("account_id", TEXT, "the account", filled=True),
        Column("error", TEXT, "class of the error"),
        Column("message", TEXT, "what is wrong, and what to do"),
    ),
)
RANGE_CHECKS = Table(
    "range_checks",
    "How the ranges of earlier runs held against what has come since.",
    (
        *KEYS,
        Column("checked_run", TEXT, "the earlier run", filled=True),
        Column("checked_as_of", DAY, "last day of what it knew", filled=True),
        Column("window_end", DAY, "last day of what is compared", filled=True),
        Column("accounts", COUNT, "accounts that are compared", "accounts"),
        Column("ci_prob", NUMBER, "probability of the accounts' intervals", SHARE),
        Column(
            "coverage",
            NUMBER,
            "part of the accounts whose revenue fell into its interval (equal tails); what is equal to draws at its end counts "
            "in part",
            SHARE,
        ),
        Column("expected_low", NUMBER, "coverage below this would be a surprise if the ranges were right", SHARE),
        Column("crps", NUMBER, "continuous ranked probability score, mean over accounts; lower is better", MONEY),
        Column("crps_expected", NUMBER, "its mean if the ranges were right", MONEY),
        Column("crps_high", NUMBER, "a score above this would be a surprise if the ranges were right", MONEY),
        Column("portfolio_actual", NUMBER, "revenue of all accounts that came", MONEY),
        Column("portfolio_lower", NUMBER, "lower end of its interval", MONEY),
        Column("portfolio_upper", NUMBER, "upper end of its interval", MONEY),
        Column("slipped", FLAG, "whether the ranges no longer hold"),
        Column("message", TEXT, "the finding in a sentence"),
    ),
)

TABLES = {
    table.name: table
    for table in (
        RUNS, ACCOUNT_RANGES, PERIOD_RANGES, ARR_RANGES, RETENTION_RANGES, ACCOUNT_FAILURES, RANGE_CHECKS,
    )
}  # fmt: skip
ADDED = (
    Column("publication", COUNT, "1, 2, 3, ...: the order in which runs were published", filled=True),
    Column("published_at", MOMENT, "when the run was published, UTC", filled=True),
    Column(
        "superseded_by",
        TEXT,
        "the run that took its place: of mended data of the same day, or gone back to; NULL where none did",
    ),
)
"""Columns that the databases add to `runs`."""
TYPE_WORDS = {
    TEXT: "text", DAY: "date", NUMBER: "double", COUNT: "int64", SMALL: "int32", FLAG: "bool", MOMENT: "timestamp",
}  # fmt: skip


def as_markdown(table: Table) -> str:
    """The table's columns as a Markdown table."""
    added = ADDED if table is RUNS else ()
    rows = [
        f"| `{column.name}` | {TYPE_WORDS[column.type]} | {column.unit} | {column.meaning} |"
        for column in (*table.columns, *added)
    ]
    if table.has_segments:
        rows.append("| ... | text | | the company's own columns of the accounts, behind all others |")
    return "\n".join(["| column | type | unit | meaning |", "|---|---|---|---|", *rows])
