"""Lifecycle plans: the steps that customer-success managers expect of accounts, and how far such plans can be relied on."""

from __future__ import annotations

from clvforecast.plans.file import load_plan_reliability
from clvforecast.plans.outcomes import PlanOutcomes
from clvforecast.plans.priors import PlanPriors
from clvforecast.plans.read import read_plans
from clvforecast.plans.records import Plans
from clvforecast.plans.reliability import PlanReliability, fit_plan_reliability

__all__ = [
    "PlanOutcomes",
    "PlanPriors",
    "PlanReliability",
    "Plans",
    "fit_plan_reliability",
    "load_plan_reliability",
    "read_plans",
]
