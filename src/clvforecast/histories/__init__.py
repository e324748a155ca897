"""Ledger to histories: contract terms, renewal decisions, exposures and money."""

from clvforecast.histories.build import build_histories
from clvforecast.histories.records import Histories

__all__ = ["Histories", "build_histories"]
