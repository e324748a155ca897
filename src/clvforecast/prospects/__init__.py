"""Customers not yet won: what one of them, or a cohort, is worth, when it has paid back what it cost to win, what it may cost."""

from clvforecast.prospects.result import Prospects as Prospects
from clvforecast.prospects.result import prospects as prospects
