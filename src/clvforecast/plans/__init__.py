"""Lifecycle plans: the steps that customer-success managers expect of accounts, and how far such plans can be relied on."""

from __future__ import annotations

from clvforecast.plans.read import read_plans
from clvforecast.plans.records import Plans

__all__ = ["Plans", "read_plans"]
