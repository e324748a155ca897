"""Nightly scoring: from events and a posterior to published ranges, once and whole, whatever happens meanwhile.

    run = clvforecast.batch.score("clvforecast.toml")

`run` is the line of a run, `settings` what it is asked for, `schema` the tables that it publishes, `sinks` the databases.
"""

from clvforecast.batch.history import activate, runs
from clvforecast.batch.logs import log_to
from clvforecast.batch.run import Run, score
from clvforecast.batch.settings import BatchSettings, read_settings
from clvforecast.batch.sinks import DuckSink, PostgresSink, Sink

__all__ = [
    "BatchSettings",
    "DuckSink",
    "PostgresSink",
    "Run",
    "Sink",
    "activate",
    "log_to",
    "read_settings",
    "runs",
    "score",
]
