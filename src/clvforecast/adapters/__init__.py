"""Exports of other systems become revenue events."""

from clvforecast.adapters.mapping import Mapping
from clvforecast.adapters.read import read_export
from clvforecast.adapters.sources import holds_events

__all__ = ["Mapping", "holds_events", "read_export"]
