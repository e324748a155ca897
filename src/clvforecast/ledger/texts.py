"""The texts that rows share, numbered: accounts and contracts."""

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from clvforecast.ledger.checks import key_sql, numbered
from clvforecast.ledger.tables import RawTable


@dataclass(frozen=True)
class Texts:
    """The text of every number of an account and of a contract, in order; of contracts, none ('') is number 0."""

    accounts: pa.Array
    contracts: pa.Array


def number_texts(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> Texts:
    """Make the tables that `checks.numbered` names, (text, number), of a raw events table."""
    return Texts(_numbered(connection, raw, "account_id"), _numbered(connection, raw, "contract_id"))


def _numbered(connection: duckdb.DuckDBPyConnection, raw: RawTable, column: str) -> pa.Array:
    found = [f"SELECT DISTINCT {key_sql(raw, column)} AS text FROM {raw.name}"] if column in raw.columns else []
    none = ["SELECT '' AS text"] if column == "contract_id" else []
    connection.execute(
        f"""
        CREATE TABLE {numbered(column)} AS
        SELECT text, CAST(row_number() OVER (ORDER BY text) - 1 AS INTEGER) AS number
        FROM ({" UNION ".join([*found, *none])}) WHERE text IS NOT NULL
        """
    )
    texts = connection.sql(f"SELECT text FROM {numbered(column)} ORDER BY number").to_arrow_table()
    return texts["text"].combine_chunks()
