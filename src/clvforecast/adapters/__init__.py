"""Exports of other systems become revenue events."""

from clvforecast.adapters.mapping import Mapping
from clvforecast.adapters.read import read_export

__all__ = ["Mapping", "read_export"]
