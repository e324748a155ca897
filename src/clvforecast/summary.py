"""Posterior parameters in the field's words: what each means, its unit, and how much the data say of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

Diagnose = Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]]
"""Draws (chain, draw, ...) -> rhat, ess_bulk, ess_tail."""

CI_PROB = 0.95
LEAST_SHARE = 0.05
"""Rows of term lengths rarer than this are left to the draws: with fifty lengths there are hundreds."""
SIZE_SCALE = {
    "expansion": "log of the amount over the term's money at the spell's base",
    "contraction": "logit of the share of the MRR in force that is lost",
    "change_order": "log of the amount over the spell's base MRR",
    "referral": "log of the amount over the spell's base MRR",
    "return_value": "log of the MRR over the MRR before the lapse",
    "change_down": "logit of the share of the carried MRR that is lost at renewal",
    "change_up": "log of the raise over the carried MRR at renewal",
}
_EVENT = "expansion|contraction|change_order|referral|reactivation|termination"
_RULES: tuple[tuple[str, str, str], ...] = (
    (r"renewal_mu", "average probability that a one-year contract is renewed at its first decision", "probability"),
    (r"renewal_phi", "polarisation 1/(a+b+1): 0 all accounts alike, 1 each stays for ever or leaves at once", "0 to 1"),
    (r"renewal_c", "exponent of tenure: above 1 lapsing grows likelier with tenure within an account", "exponent"),
    (r"renewal_second_spell_effect", "renewal of contracts after a return, against first ones", "log odds"),
    (r"renewal_tenure_unknown_effect", "renewal of accounts whose earlier tenure is unknown", "log odds"),
    (
        r"renewal_term_effect",
        "hazard of lapsing by term class, against the commonest",
        "log hazard; above 0 lapses more",
    ),
    (
        r"renewal_number_effect",
        "hazard of lapsing by decision number, against the first",
        "log hazard; above 0 lapses more",
    ),
    (r"renewal_expanded_effect", "hazard of lapsing after an expansion in the term", "log hazard; above 0 lapses more"),
    (r"renewal_cut_effect", "hazard of lapsing when the last change was a cut", "log hazard; above 0 lapses more"),
    (r"renewal_size_effect", "hazard of lapsing by size class of the contract", "log hazard; above 0 lapses more"),
    (r"renewal_size_sd", "spread of the size-class effects on the hazard of lapsing", "log hazard"),
    (
        r"renewal_year_effect",
        "hazard of lapsing by calendar year, against the average year",
        "log hazard; above 0 lapses more",
    ),
    (r"renewal_year_sd", "spread of good and bad years in the hazard of lapsing, also of those to come", "log hazard"),
    (r"renewal_segment_effect", "renewal by segment level, against the average level", "log odds; above 0 renews more"),
    (r"renewal_segment_sd", "spread of the segment levels' renewal", "log odds"),
    (r"booking_lag", "share of renewals booked in the lag bin (days from the term's end)", "share"),
    (r"notice_share", "share of lapses that are told by a churn event", "probability"),
    (r"notice_lag", "share of notices booked in the lag bin (days from the term's end)", "share"),
    (rf"({_EVENT})_rate", "{0} events of an average account", "per year of exposure"),
    (
        rf"({_EVENT})_rate_shape",
        "how alike accounts are in their rate of {0}: gamma shape, small is very unlike",
        "shape",
    ),
    (rf"({_EVENT})_rate_segment_effect", "rate of {0} by segment level, against the average level", "log rate"),
    (rf"({_EVENT})_rate_segment_sd", "spread of the segment levels' rate of {0}", "log rate"),
    (rf"({_EVENT})_rate_size_effect", "rate of {0} by size class of the account's first base", "log rate"),
    (rf"({_EVENT})_rate_size_sd", "spread of the size classes' rate of {0}", "log rate"),
    (r"(return_value)_(mean|sd)", "{1} of the value on return", "{scale}"),
    (r"(return_value)_segment_effect", "value on return by segment level, against the average level", "{scale}"),
    (r"(return_value)_segment_sd", "spread of the segment levels' value on return", "{scale}"),
    (
        r"(change_down|change_up)_size_reversion",
        "pull back towards the account's own past, per log unit above it",
        "slope",
    ),
    (r"(change_down|change_up)_size_term_slope", "change of size with log(new term / old term)", "slope"),
    (r"(\w+?)_size_size_effect", "size of {0} by size class of the account's first base", "{scale}"),
    (r"(\w+?)_size_size_sd", "spread of the size classes' size of {0}", "{scale}"),
    (r"(\w+?)_size_icc", "share of the variance of sizes of {0} that is between accounts", "0 to 1"),
    (r"(\w+?)_size_(mean|sd)", "{1} of the size of {0}", "{scale}"),
    (r"(\w+?)_size_segment_effect", "size of {0} by segment level, against the average level", "{scale}"),
    (r"(\w+?)_size_segment_sd", "spread of the segment levels' size of {0}", "{scale}"),
    (
        r"change_logit",
        "odds of a lower or higher MRR at renewal against a flat one, by the previous direction",
        "log odds",
    ),
    (r"change_(down|up)_segment_effect", "odds of going {0} at renewal by segment level", "log odds"),
    (r"change_(down|up)_segment_sd", "spread of the segment levels' odds of going {0}", "log odds"),
    (r"change_(down|up)_size_class_effect", "odds of going {0} at renewal by size class of the ended term", "log odds"),
    (r"change_(down|up)_size_class_sd", "spread of the size classes' odds of going {0}", "log odds"),
    (r"(change_down|change_up)_size_size_class_effect", "size of {0} by size class of the ended term", "{scale}"),
    (r"(change_down|change_up)_size_size_class_sd", "spread of the size classes' size of {0}", "{scale}"),
    (r"persistence_size_class_effect", "persistence by size class of the ended term", "log odds"),
    (r"persistence_size_class_sd", "spread of the size classes' persistence", "log odds"),
    (r"persistence", "probability that an amendment lasts beyond the term it was made in", "probability"),
    (r"persistence_segment_effect", "persistence by segment level, against the average level", "log odds"),
    (r"persistence_segment_sd", "spread of the segment levels' persistence", "log odds"),
    (r"term_length", "length of the next term by the class of the ended one", "share"),
    (r"refund_share", "share of early terminations that de-book at least half of what was not served", "probability"),
)


def meaning_of(name: str) -> tuple[str, str]:
    """(meaning, unit) of a posterior variable."""
    for pattern, meaning, unit in _RULES:
        match = re.fullmatch(pattern, name)
        if match:
            groups = match.groups()
            words = [group.replace("_", " ") for group in groups]
            scale = SIZE_SCALE.get(groups[0], "") if groups else ""
            return meaning.format(*words), unit.format(*words, scale=scale)
    raise KeyError(f"no description for the posterior variable {name!r}")


def summary_table(
    posterior: xr.Dataset, prior_sd: xr.Dataset, notes: dict[str, str], diagnose: Diagnose
) -> pd.DataFrame:
    """One row a scalar parameter, see `Posterior.summary`."""
    rows = [row for name in posterior.data_vars for row in _rows(posterior[name], prior_sd, notes, diagnose)]
    return pd.DataFrame(rows)


def _rows(
    variable: xr.DataArray, prior_sd: xr.Dataset, notes: dict[str, str], diagnose: Diagnose
) -> Iterator[dict[str, object]]:
    name = str(variable.name)
    values = variable.transpose("chain", "draw", ...).values
    meaning, unit = meaning_of(name)
    component, n_data = str(variable.attrs["component"]), int(variable.attrs["n_data"])
    flat = values.reshape(values.shape[0] * values.shape[1], *values.shape[2:])
    tail = (1.0 - CI_PROB) / 2.0
    lower, upper = np.quantile(flat, [tail, 1.0 - tail], axis=0)
    figures = diagnose(values)
    learnt = contraction(name, flat, prior_sd[name].values)
    labels = [variable[dim].values for dim in variable.dims[2:]]
    for at in product(*(range(size) for size in values.shape[2:])):
        draws = np.moveaxis(flat, 0, -1)[at]
        if name == "term_length" and draws.mean() < LEAST_SHARE:
            continue
        label = ", ".join(str(labels[axis][i]) for axis, i in enumerate(at))
        yield {
            "parameter": f"{name}[{label}]" if at else name,
            "component": component,
            "meaning": meaning,
            "unit": unit,
            "mean": float(draws.mean()),
            "sd": float(draws.std(ddof=1)),
            "lower": float(lower[at]),
            "upper": float(upper[at]),
            "ci_prob": CI_PROB,
            "ci_kind": "eti",
            "rhat": float(figures["rhat"][at]),
            "ess_bulk": float(figures["ess_bulk"][at]),
            "ess_tail": float(figures["ess_tail"][at]),
            "contraction": float(learnt[at]),
            "n_data": n_data,
            "note": notes.get(component, "") or ("" if n_data else "no data: the prior alone"),
        }


def scale_of_learning(name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rates and shapes are compared as logarithms: their priors' own variance is that of a few huge draws."""
    if re.fullmatch(rf"({_EVENT})_rate(_shape)?", name):
        return np.log(np.maximum(values, 1e-300))
    return values


def contraction(name: str, draws: NDArray[np.float64], prior_sd: NDArray[np.float64]) -> NDArray[np.float64]:
    """``1 - posterior variance / prior variance``: 1 learnt from the data, 0 the prior. NaN for what does not vary."""
    sd = scale_of_learning(name, draws).std(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where((prior_sd > 0) & (sd > 0), 1.0 - (sd / prior_sd) ** 2, np.nan), float)
