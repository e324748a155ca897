"""Read and validate revenue events: the accepted ones, and the rejected ones with their reasons."""

from clvforecast.ledger.read import read_ledger
from clvforecast.ledger.records import Ledger, Totals

__all__ = ["Ledger", "Totals", "read_ledger"]
