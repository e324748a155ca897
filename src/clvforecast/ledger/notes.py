"""The warnings of a ledger: what was rejected, mended or left out, with counts."""

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from clvforecast.events import EVENT_SCHEMA
from clvforecast.ledger.tables import RawTable, counts


def counts_by_rule(rejected: pa.Table) -> str:
    return rules_in_words({c["values"]: c["counts"] for c in rejected["rule"].value_counts().to_pylist()})


def rules_in_words(rows: Mapping[str, int]) -> str:
    """Rules with how many rows break each, the most first."""
    return ", ".join(f"{rule} {n}" for rule, n in sorted(rows.items(), key=lambda found: (-found[1], found[0])))


def first_reason(rejected: pa.Table) -> str:
    """The first rejected row, and what to do about it."""
    first = rejected.slice(0, 1).to_pylist()[0]
    place = f"row {first['row']} of {first['source']}"
    if first["column"] is None:  # the record as a whole is broken
        return f"The first is {place}: {first['rule']}; {first['hint']}."
    return f"The first is {place}: {first['column']} is {first['value']!r}; {first['hint']}."


def none_usable(label: str, rows: int, rejected: pa.Table, done: str = "used") -> str:
    """What to say of rows not one of which can be used: by rule, and what to do about the first."""
    return f"{label}: none of {rows} rows can be {done} ({counts_by_rule(rejected)}). {first_reason(rejected)}"


def rejection_warnings(rejected: pa.Table) -> list[str]:
    if rejected.num_rows == 0:
        return []
    return [f"events: {rejected.num_rows} rows rejected ({counts_by_rule(rejected)}); see ledger.rejected"]


def value_warnings(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> list[str]:
    """What was changed in accepted rows: sub-cent amounts, times of day, term lengths of co-termed events."""
    (suspects,) = counts(
        connection, "SELECT count(*) FROM parsed WHERE changed_by IS NOT NULL OR has_clock OR unused_term"
    )
    return [*(_changed_values(connection) if suspects else ()), *_copy_warnings(connection, raw)]


def _changed_values(connection: duckdb.DuckDBPyConnection) -> list[str]:
    rounded, difference, clocks, terms = counts(
        connection,
        "SELECT count(changed_by), sum(changed_by), count(*) FILTER (WHERE has_clock), count(*) FILTER (WHERE unused_term) "
        "FROM unbroken",
    )
    warnings = []
    if rounded:
        warnings.append(
            f"events: {rounded} amounts with fractions of a cent were rounded half-even to the cent; "
            "together they "
            f"changed by {float(difference):+.4f}"
        )
    if clocks:
        warnings.append(f"events: {clocks} rows have a time of day in a date column; only the day is used")
    if terms:
        warnings.append(
            f"events: {terms} expansion, contraction or churn rows give term_months; they run to the end of "
            "their "
            "term, so it is not used"
        )
    return warnings


def _copy_warnings(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> list[str]:
    if "event_id" in raw.columns:
        return []
    numbered = {"account_id": "account", "contract_id": "contract"}
    content = ", ".join(numbered.get(name, name) for name in EVENT_SCHEMA.names if name != "event_id")
    (copies,) = counts(
        connection,
        f"SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM unbroken GROUP BY {content}) WHERE n > 1",
    )
    if not copies:
        return []
    return [f"events: {copies} rows repeat another row and all count; give event_id to load each event once"]
