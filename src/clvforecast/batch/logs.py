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
EVENT, FIELDS = "clvforecast_event", "clvforecast_fields"
LogFormat = Literal["text", "json"]


def tell(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """One record: the event in a few words, and what is to know of it by name."""
    text = f"{event}: {fields['message']}" if "message" in fields else event  # for handlers that know of no fields
    LOGGER.log(level, text, extra={EVENT: event, FIELDS: fields})


def alert(message: str, **fields: Any) -> None:
    """A warning of the run."""
    tell("warning", logging.WARNING, message=message, **fields)


class AsJson(logging.Formatter):
    """One JSON object a line: time (UTC, ISO 8601), level, event, and the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = {"time": time, "level": record.levelname.lower(), "event": _event(record)}
        return json.dumps({**head, **getattr(record, FIELDS, {})}, default=str, ensure_ascii=False)


class AsText(logging.Formatter):
    """Day and clock of this machine, event and fields as ``name value``; of a warning its message."""

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, FIELDS, {}))
        message = " ".join(str(fields.pop("message", "")).splitlines())
        said = ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in fields.items())
        clock = datetime.fromtimestamp(record.created).strftime("%Y-%m-%d %H:%M:%S")
        return f"{clock}  {_event(record)}" + "".join(f": {part}" for part in (message, said) if part)


def _event(record: logging.LogRecord) -> str:
    return str(getattr(record, EVENT, record.getMessage()))


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
