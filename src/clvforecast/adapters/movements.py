"""Movements of a monthly amount: each holds until the next one of its line."""

from __future__ import annotations

import duckdb

from clvforecast.adapters.joined import Source
from clvforecast.adapters.typed import ONLY_ONE, RULE_PLACES
from clvforecast.ledger.tables import NUMBER, ROW, counts

KEEPS_A_LINE = ("not_revenue", "duplicate_id")
"""Rules whose rows say nothing of what holds."""


IN_TURN = f"event_date, rank, event_date_text, {NUMBER}"
"""Movements of one day by their rank, else by the time that is written, else as they stand."""


def movements_as_periods(connection: duckdb.DuckDBPyConnection, source: Source) -> tuple[str, ...]:
    """Let each movement hold until the next one of its line: none of that day but the last, and 0 not at all.

    What holds is not known where a row of the line cannot be used: then none of it is.
    """
    saying_nothing = ", ".join(str(ONLY_ONE[name]) for name in KEEPS_A_LINE)
    connection.execute(
        f"""
        UPDATE typed SET rule = {ONLY_ONE["broken_line"]} FROM (
            SELECT DISTINCT account_id AS broken, contract_id AS of_contract FROM typed
            WHERE rule IS NOT NULL AND rule NOT IN ({saying_nothing}) AND account_id IS NOT NULL
        ) WHERE rule IS NULL AND account_id = broken AND contract_id = of_contract
        """
    )
    warnings = _missing_movements(connection, source) if "change" in source.columns else ()
    line = f"PARTITION BY account_id, contract_id, rule IS NULL ORDER BY {IN_TURN}"
    connection.execute(
        f"""
        CREATE TABLE following AS
        SELECT {NUMBER} AS number, amount_cents, lead(event_date) OVER ({line}) AS next_date,
               lag(amount_cents) OVER ({line}) AS before
        FROM typed WHERE rule IS NULL
        """
    )
    connection.execute(
        f"""
        UPDATE typed SET start_date = event_date, end_date = next_date, holds = following.amount_cents > 0,
               rule = CASE WHEN next_date = event_date THEN {RULE_PLACES["superseded", "event_date"]}
                           WHEN following.amount_cents = 0 AND coalesce(before, 0) = 0 THEN {ONLY_ONE["nothing_ended"]} END
        FROM following WHERE {NUMBER} = number
        """
    )
    return warnings


def _missing_movements(connection: duckdb.DuckDBPyConnection, source: Source) -> tuple[str, ...]:
    """A warning where movements do not lead from one monthly amount to the next, or do not say from which."""
    wrong, silent, first = counts(
        connection,
        f"""
        SELECT count(*) FILTER (WHERE off), count(*) FILTER (WHERE off IS NULL), min({ROW}) FILTER (WHERE off) FROM (
            SELECT {ROW}, given - lag(given, 1, 0) OVER (
                PARTITION BY account_id, contract_id ORDER BY {IN_TURN}) <> change AS off
            FROM typed JOIN (SELECT {NUMBER}, {ROW} FROM {source.raw.name}) USING ({NUMBER}) WHERE rule IS NULL
        )
        """,
    )
    return (
        *(
            (
                f"export: {wrong} movements do not lead from the amount before to theirs (the first in row {first}): rows seem "
                "to be missing; the amounts after them count",
            )
            if wrong
            else ()
        ),
        *((f"export: {silent} movements have no readable change and are not checked",) if silent else ()),
    )
