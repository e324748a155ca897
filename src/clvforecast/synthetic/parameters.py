"""The parameters of a synthetic company, named as the posterior's variables."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from clvforecast.errors import DatasetError

Vector = tuple[float, ...]
Rows = tuple[tuple[float, ...], ...]

ACTIVITIES = ("expansion", "contraction", "change_order", "referral")
RATES = (*ACTIVITIES, "reactivation", "termination")
DIRECTION_ROWS = ("first", "down", "flat", "up", "term_changed")

# What the company is made of, but no posterior variable speaks of.
COMPANY_FIELDS = (
    "first_mrr_mean",
    "first_mrr_sd",
    "first_term_length",
    "term_values",
    "size_edges",
    "lag_edges",
    "max_ratio",
    "grace_days",
    "first_year",
    "loyalty_correlation",
)


@dataclass(frozen=True, kw_only=True)
class CompanyParameters:
    """One company: a plausible contract business by default.

    A field with the name of a posterior variable has its meaning and its unit: rates are a year, sizes and
    effects are on the scale of their component (log or logit), tenure is in years. Effects are zero-sum
    within a column and have one value a segment level or a size class. Renewal's class effects enter exp(...)
    in w, so a positive one makes a renewal *less* likely; its segment effects are on the logit of the mean,
    so a positive one makes it more likely. The fields in ``COMPANY_FIELDS`` describe the company itself:

    - ``first_mrr_mean``, ``first_mrr_sd``: of the log of the first term's monthly recurring revenue;
    - ``first_term_length``: probabilities of ``term_values`` (months) for an account's first term;
    - ``size_edges``: cut points on log MRR between size classes (one class more than edges);
    - ``lag_edges``: booking lag bins in days, bin j is (edge j, edge j + 1];
    - ``renewal_year_effect``: log hazard of lapsing of the calendar years from ``first_year`` on; `simulate_events` draws them
      with ``renewal_year_sd``, about the mean of the years of the history;
    - ``loyalty_correlation``: of the normal scores of an account's theta and of its rate of expansion (a Gaussian copula): who
      stays also buys more. The model knows it only by what it sees, expansions before a decision;
    - ``max_ratio``: the largest MRR ratio of one renewal; ``grace_days``: None for a quarter of the term
      within 15..92.
    """

    first_mrr_mean: float = 6.6
    first_mrr_sd: float = 0.9
    first_term_length: Vector = (0.65, 0.30, 0.05)
    term_values: tuple[int, ...] = (12, 36, 60)
    size_edges: Vector = (5.9, 6.6, 7.3)
    lag_edges: tuple[int, ...] = (-61, -31, -15, -1, 0, 15, 31, 61, 92, 122)
    max_ratio: float = 20.0
    grace_days: int | None = None
    first_year: int = 0
    loyalty_correlation: float = 0.0

    renewal_mu: float = 0.85
    renewal_phi: float = 0.18
    renewal_c: float = 1.0
    renewal_segment_effect: Vector = (-0.35, 0.05, 0.30)
    renewal_second_spell_effect: float = -0.5
    renewal_term_effect: Vector = (0.0, -0.35, -0.6)
    renewal_number_effect: Vector = (0.0, -0.1, -0.15, -0.2, -0.25)
    renewal_expanded_effect: float = -0.3
    renewal_cut_effect: float = 0.35
    renewal_size_effect: Vector = (0.25, 0.05, -0.1, -0.2)
    renewal_year_sd: float = 0.2
    renewal_year_effect: Vector = ()
    booking_lag: Vector = (0.05, 0.08, 0.17, 0.15, 0.17, 0.13, 0.13, 0.08, 0.04)
    notice_share: float = 0.0
    notice_lag: Vector = (0.10, 0.15, 0.20, 0.20, 0.10, 0.10, 0.10, 0.03, 0.02)

    expansion_rate: float = 0.25
    expansion_rate_shape: float = 1.2
    expansion_rate_segment_effect: Vector = (-0.3, 0.0, 0.3)
    expansion_rate_size_effect: Vector = (-0.2, -0.05, 0.05, 0.2)
    contraction_rate: float = 0.06
    contraction_rate_shape: float = 1.0
    contraction_rate_segment_effect: Vector = (0.1, 0.0, -0.1)
    contraction_rate_size_effect: Vector = (0.0, 0.0, 0.0, 0.0)
    change_order_rate: float = 0.30
    change_order_rate_shape: float = 0.6
    change_order_rate_segment_effect: Vector = (-0.4, 0.0, 0.4)
    change_order_rate_size_effect: Vector = (-0.2, -0.1, 0.1, 0.2)
    referral_rate: float = 0.04
    referral_rate_shape: float = 0.5
    referral_rate_segment_effect: Vector = (0.2, 0.0, -0.2)
    referral_rate_size_effect: Vector = (0.0, 0.0, 0.0, 0.0)
    reactivation_rate: float = 0.06
    reactivation_rate_shape: float = 1.0
    reactivation_rate_segment_effect: Vector = (0.1, 0.0, -0.1)
    termination_rate: float = 0.01
    termination_rate_segment_effect: Vector = (0.2, 0.0, -0.2)
    termination_rate_size_effect: Vector = (0.0, 0.0, 0.0, 0.0)

    expansion_size_mean: float = -1.9
    expansion_size_sd: float = 0.9
    expansion_size_icc: float = 0.30
    expansion_size_segment_effect: Vector = (0.1, 0.0, -0.1)
    expansion_size_size_effect: Vector = (0.25, 0.1, -0.1, -0.25)
    contraction_size_mean: float = -1.2
    contraction_size_sd: float = 0.9
    contraction_size_icc: float = 0.20
    contraction_size_segment_effect: Vector = (0.0, 0.0, 0.0)
    contraction_size_size_effect: Vector = (0.0, 0.0, 0.0, 0.0)
    change_order_size_mean: float = 0.3
    change_order_size_sd: float = 1.0
    change_order_size_icc: float = 0.30
    change_order_size_segment_effect: Vector = (0.1, 0.0, -0.1)
    change_order_size_size_effect: Vector = (0.2, 0.1, -0.1, -0.2)
    referral_size_mean: float = -0.5
    referral_size_sd: float = 0.8
    referral_size_icc: float = 0.20
    referral_size_segment_effect: Vector = (0.0, 0.0, 0.0)
    referral_size_size_effect: Vector = (0.0, 0.0, 0.0, 0.0)
    return_value_mean: float = -0.15
    return_value_sd: float = 0.4
    return_value_segment_effect: Vector = (0.0, 0.0, 0.0)

    # Columns (down, up): log odds against flat.
    change_logit: Rows = ((-1.3, 0.0), (-0.6, -0.2), (-1.6, -0.7), (-1.1, 0.5), (1.0, 1.2))
    change_down_segment_effect: Vector = (0.2, 0.0, -0.2)
    change_up_segment_effect: Vector = (-0.2, 0.0, 0.2)
    change_down_size_class_effect: Vector = (-0.3, -0.1, 0.1, 0.3)
    change_up_size_class_effect: Vector = (-0.1, 0.0, 0.0, 0.1)
    change_up_size_mean: float = -2.5
    change_up_size_sd: float = 0.9
    change_up_size_reversion: float = 0.4
    change_up_size_term_slope: float = 0.3
    change_up_size_segment_effect: Vector = (0.0, 0.0, 0.0)
    change_up_size_size_class_effect: Vector = (0.3, 0.1, -0.1, -0.3)
    change_down_size_mean: float = -1.5
    change_down_size_sd: float = 0.9
    change_down_size_reversion: float = -0.4
    change_down_size_term_slope: float = 0.1
    change_down_size_segment_effect: Vector = (0.0, 0.0, 0.0)
    change_down_size_size_class_effect: Vector = (0.1, 0.0, 0.0, -0.1)
    persistence: float = 0.7
    persistence_segment_effect: Vector = (0.0, 0.0, 0.0)
    persistence_size_class_effect: Vector = (0.0, 0.0, 0.0, 0.0)

    # One row a value of the ended term, and a last row for a return after a lapse.
    term_length: Rows = ((0.90, 0.09, 0.01), (0.30, 0.65, 0.05), (0.25, 0.15, 0.60), (0.80, 0.18, 0.02))
    refund_share: float = 0.6

    def posterior_variables(self) -> dict[str, float | npt.NDArray[np.float64]]:
        """The parameters as the posterior names them: floats, and arrays for vectors and rows."""
        variables: dict[str, float | npt.NDArray[np.float64]] = {}
        for name in (field.name for field in fields(self) if field.name not in COMPANY_FIELDS):
            value = getattr(self, name)
            variables[name] = np.array(value, dtype=float) if isinstance(value, tuple) else float(value)
        return variables


def company_parameters(given: CompanyParameters | Mapping[str, Any] | None, n_segments: int) -> CompanyParameters:
    """The default company with the ``given`` fields instead, its unspoken vectors fitted to the sizes asked
    for.

    A default effect is interpolated to another number of segments or size classes, and default probabilities
    of term lengths or lags become even, when the levels they belong to are given and they are not. Raises
    DatasetError.
    """
    if isinstance(given, CompanyParameters):
        company, spoken = given, {field.name for field in fields(given)}
    else:
        overrides = {name: _as_tuple(value) for name, value in (given or {}).items()}
        _check_names(overrides)
        company, spoken = replace(CompanyParameters(), **overrides), set(overrides)
    fitted = {
        name: value
        for name, value in _values_for_sizes(company, n_segments).items()
        if name not in spoken and len(getattr(company, name)) != len(value)
    }
    company = replace(company, **fitted)
    check_parameters(company, n_segments)
    return company


def _as_tuple(value: Any) -> Any:
    """Lists and arrays as (nested) tuples, so that a company cannot change."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return tuple(_as_tuple(item) for item in value) if isinstance(value, (list, tuple)) else value


def _check_names(overrides: Mapping[str, Any]) -> None:
    known = {field.name for field in fields(CompanyParameters)}
    unknown = sorted(set(overrides) - known)
    if unknown:
        raise DatasetError(
            f"simulate_events: unknown parameters {unknown}; the names are the fields of CompanyParameters, "
            "which are those of the posterior's variables"
        )


def _values_for_sizes(company: CompanyParameters, n_segments: int) -> dict[str, Any]:
    """Default vectors for this number of segments, size classes, term values and lag bins."""
    n_classes, n_terms, n_lags = (
        len(company.size_edges) + 1,
        len(company.term_values),
        len(company.lag_edges) - 1,
    )
    values: dict[str, Any] = {}
    for name in (field.name for field in fields(company)):
        if name.endswith("segment_effect"):
            values[name] = _stretched(getattr(CompanyParameters(), name), n_segments)
        elif name.endswith(("size_effect", "size_class_effect")):
            values[name] = _stretched(getattr(CompanyParameters(), name), n_classes)
    values["renewal_term_effect"] = (0.0,) * n_terms
    values["first_term_length"] = (1.0 / n_terms,) * n_terms
    values["term_length"] = ((1.0 / n_terms,) * n_terms,) * (n_terms + 1)
    values["booking_lag"] = values["notice_lag"] = (1.0 / n_lags,) * n_lags
    return values


def _stretched(effect: Vector, size: int) -> Vector:
    """The effect's profile over ``size`` levels, centred to sum to zero."""
    profile = np.interp(np.linspace(0, 1, size), np.linspace(0, 1, len(effect)), effect)
    return tuple(float(value) for value in profile - profile.mean())


def check_parameters(company: CompanyParameters, n_segments: int) -> None:
    """Raise DatasetError for the first parameter that the model cannot have."""
    n_classes, n_terms, n_lags = (
        len(company.size_edges) + 1,
        len(company.term_values),
        len(company.lag_edges) - 1,
    )
    lengths = {
        "renewal_term_effect": n_terms,
        "renewal_number_effect": 5,
        "first_term_length": n_terms,
        "term_length": n_terms + 1,
        "booking_lag": n_lags,
        "notice_lag": n_lags,
        "change_logit": len(DIRECTION_ROWS),
    }
    for name in (field.name for field in fields(company)):
        value = getattr(company, name)
        if name.endswith("segment_effect"):
            _require(len(value) == n_segments, name, value, f"one value a segment level ({n_segments})")
        elif name.endswith(("size_effect", "size_class_effect")):
            _require(len(value) == n_classes, name, value, f"one value a size class ({n_classes})")
        if name in lengths:
            _require(len(value) == lengths[name], name, value, f"length {lengths[name]}")
        if name.endswith(("segment_effect", "size_effect", "size_class_effect")):
            _require(abs(sum(value)) < 1e-9, name, value, "zero-sum")
        if name.endswith(("_rate", "_sd")):
            _require(value >= 0, name, value, "at least 0")
        if name.endswith("_icc") or name in ("notice_share", "persistence", "refund_share"):
            _require(0 <= value <= 1, name, value, "within [0, 1]")
        if name.endswith("_shape") or name in ("renewal_c", "change_down_size_sd", "change_up_size_sd"):
            _require(value > 0, name, value, "positive")
    for name in ("renewal_mu", "renewal_phi"):
        _require(0 < getattr(company, name) < 1, name, getattr(company, name), "strictly between 0 and 1")
    for name, row in (
        ("first_term_length", company.first_term_length),
        ("booking_lag", company.booking_lag),
        ("notice_lag", company.notice_lag),
        *(("term_length", row) for row in company.term_length),
    ):
        _require(abs(sum(row) - 1) < 1e-9 and min(row) >= 0, name, row, "probabilities that sum to 1")
    for row in company.term_length:
        _require(len(row) == n_terms, "term_length", row, f"one probability a term value ({n_terms})")
    for name, edges in (("lag_edges", company.lag_edges), ("size_edges", company.size_edges)):
        _require(bool(np.all(np.diff(edges) > 0)), name, edges, "strictly increasing")
    _require(n_lags >= 1, "lag_edges", company.lag_edges, "at least two edges")
    _require(min(company.term_values) >= 1, "term_values", company.term_values, "at least one month")
    correlation = company.loyalty_correlation
    _require(-1 < correlation < 1, "loyalty_correlation", correlation, "strictly between -1 and 1")
    _require(company.max_ratio > 1, "max_ratio", company.max_ratio, "above 1")


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise DatasetError(f"simulate_events: parameter {name} must be {rule}, is {value}; change it in parameters=")
