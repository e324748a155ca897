"""What a run says while it works: one record an event, as text for people or as JSON lines for machines.

Records go to the logger ``clvforecast.batch``, so that a scheduler's own handlers get them; `log_to` adds one for a terminal.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

LOGGER = logging.getLogger("clvforecast.batch")
FIELDS = "clvforecast_fields"
LogFormat = Literal["text", "json"]


def tell(event: str, **fields: Any) -> None:
    """One record: the event in a few words, and what is to know of it by name."""
    LOGGER.info("%s", event, extra={FIELDS: fields})


def alert(message: str, **fields: Any) -> None:
    """A warning of the run."""
    LOGGER.warning("%s", message, extra={FIELDS: fields})


class AsJson(logging.Formatter):
    """One JSON object a line: time (UTC, ISO 8601), level, event, and the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said = {"event": record.getMessage()}
        if record.levelno >= logging.WARNING:
            said = {"event": "warning", "message": record.getMessage()}
        head = {"time": time, "level": record.levelname.lower(), **said}
        return json.dumps({**head, **getattr(record, FIELDS, {})}, default=str, ensure_ascii=False)


class AsText(logging.Formatter):
    """Clock, event and fields as ``name value``, in one line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, FIELDS, {})
        said = ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in fields.items())
        clock = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        warned = "warning: " if record.levelno >= logging.WARNING else ""
        return f"{clock}  {warned}{' '.join(record.getMessage().splitlines())}" + (f": {said}" if said else "")


def _short(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.1f}" if isinstance(value, float) else str(value)


@contextmanager
def log_to(stream: TextIO, form: LogFormat = "text", level: int = logging.INFO) -> Iterator[None]:
    """Write the records of the block's runs to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(AsJson() if form == "json" else AsText())
    before = LOGGER.level, LOGGER.propagate
    LOGGER.addHandler(handler)
    LOGGER.setLevel(level)
    LOGGER.propagate = False
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.level, LOGGER.propagate = before
