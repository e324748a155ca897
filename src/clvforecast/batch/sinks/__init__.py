"""Sinks: the databases that a nightly run publishes to, one file each behind the interface `Sink`."""

from __future__ import annotations

import os
from pathlib import Path

from clvforecast.batch.sinks.duck import DuckSink
from clvforecast.batch.sinks.interface import Sink
from clvforecast.batch.sinks.postgres import PostgresSink

__all__ = ["DuckSink", "PostgresSink", "Sink", "sink_of"]


def sink_of(target: str | os.PathLike[str], schema: str = "clv") -> Sink:
    """The sink of a PostgreSQL URI ("postgresql://host/database") or of the path of a DuckDB file.

    schema: of the tables in PostgreSQL.
    """
    if isinstance(target, str) and target.startswith(("postgresql://", "postgres://")):
        return PostgresSink(target, schema)
    return DuckSink(Path(target))
