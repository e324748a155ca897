"""Whether a ledger can be scored with a posterior, and what a reader of the scores should know."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.errors import ForecastError
from clvforecast.events import TERM_KINDS
from clvforecast.ledger import Ledger
from clvforecast.posterior import Posterior
from clvforecast.simulation.structures import NewLevels

QUIET_DAYS = 92
OLD_DAYS = 366
"""So old a posterior is told of: a whole year of renewals has come since."""
MOST_UNSEEN = 0.2  # of terms whose length, or accounts whose level, training has not seen
FAR_PRICE = 5.0
"""Times the outermost edges of the size classes; with many equal prices the middle one may lie outside them."""
LEVELS_SHOWN = 5
ANOTHER = "is this posterior that of another company?"


def check_ledger(posterior: Posterior, ledger: Ledger) -> None:
    """Raise `ForecastError` when the posterior does not fit the ledger's currency or columns."""
    if posterior.currency != ledger.currency:
        raise ForecastError(
            f"the ledger is in {ledger.currency}, the posterior was trained in {posterior.currency}: the size classes "
            "would not fit. Convert the ledger or fit again."
        )
    missing = [name for name in posterior.frame.segments if name not in ledger.accounts.column_names]
    if missing:
        there = [name for name in ledger.accounts.column_names if name not in ("account_id", "observed_from")]
        raise ForecastError(
            f"the posterior was trained with the segments {', '.join(posterior.frame.segments)}; the accounts have no "
            f"column {', '.join(missing)} (columns there: {', '.join(there) or 'none'}). Give the accounts table with them."
        )


def _unlike_terms(posterior: Posterior, ledger: Ledger) -> list[str]:
    """A warning where many terms have a length that training has not seen: most likely the posterior of another company."""
    months = ledger.events["term_months"].filter(pc.is_in(ledger.events["kind"], pa.array(TERM_KINDS)))
    known = pa.array(posterior.frame.term_values, pa.int32())
    unseen = months.filter(pc.invert(pc.is_in(months, known)))
    if len(unseen) <= MOST_UNSEEN * len(months):
        return []
    counted = unseen.value_counts().to_pylist()
    commonest = max(counted, key=lambda length: length["counts"])["values"]
    return [
        f"{len(unseen):,} of {len(months):,} terms have a length that was not in the training data (most of them {commonest} "
        f"months, where training had {', '.join(map(str, posterior.frame.term_values[:6].tolist()))}): {ANOTHER}"
    ]


def _unlike_prices(posterior: Posterior, ledger: Ledger) -> list[str]:
    """A warning where the middle price is far outside the size classes' edges, which are quantiles of the training's prices."""
    edges = np.exp(posterior.frame.size_edges)
    terms = ledger.events.filter(pc.is_in(ledger.events["kind"], pa.array(TERM_KINDS)))
    if not len(edges) or not len(terms):
        return []
    monthly = terms["amount_cents"].to_numpy() / 100.0 / terms["term_months"].to_numpy()
    middle = float(np.median(monthly))
    if edges[0] / FAR_PRICE <= middle <= edges[-1] * FAR_PRICE:
        return []
    return [
        f"half of the terms bring {middle:,.2f} a month or {'less' if middle < edges[0] else 'more'}, where the size classes of "
        f"training are cut between {edges[0]:,.2f} and {edges[-1]:,.2f}: check the unit of amount and term_months, and {ANOTHER}"
    ]


def _unlike_levels(posterior: Posterior, ledger: Ledger, new_levels: NewLevels) -> list[str]:
    """A warning a column in which many accounts have a level that training has not seen."""
    warnings = []
    for column in dict.fromkeys(column for column, _ in new_levels):
        levels = [level for name, level in new_levels if name == column]
        n = pc.sum(pc.is_in(ledger.accounts[column], pa.array(levels, pa.string()))).as_py() or 0
        if n > MOST_UNSEEN * len(ledger.accounts):
            warnings.append(
                f"{n:,} of {len(ledger.accounts):,} accounts have a {column} that was not in the training data: {ANOTHER}"
            )
    return warnings


def scoring_warnings(posterior: Posterior, ledger: Ledger, new_levels: NewLevels) -> tuple[str, ...]:
    """The ledger's own warnings, then what speaks of another company's posterior, then `model_warnings`."""
    return (
        *ledger.warnings,
        *_unlike_prices(posterior, ledger),
        *_unlike_levels(posterior, ledger, new_levels),
        *model_warnings(posterior, ledger, new_levels),
    )


def model_warnings(posterior: Posterior, ledger: Ledger, new_levels: NewLevels) -> tuple[str, ...]:
    """Levels and terms unseen in training, a posterior that knows more or less than is asked, a ledger gone quiet."""
    return (
        *level_warnings(posterior, new_levels),
        *_unlike_terms(posterior, ledger),
        *training_warnings(posterior, ledger.as_of),
        *quiet_warnings(pc.max(ledger.events["event_date"]).as_py(), ledger.as_of),
    )


def level_warnings(posterior: Posterior, new_levels: NewLevels) -> tuple[str, ...]:
    """A line a column in which there are levels that training has not seen."""
    warnings = []
    for column in dict.fromkeys(column for column, _ in new_levels):
        levels = [level for name, level in new_levels if name == column]
        warnings.append(
            f"{column}: {len(levels)} levels were not in the training data ({_some(levels)}), which had "
            f"{_some(posterior.frame.levels[column])}; their effects are drawn from the spread of those that were."
        )
    return tuple(warnings)


def training_warnings(posterior: Posterior, as_of: date) -> tuple[str, ...]:
    """What training has not seen of any account, and whether it knew more or less than is known on `as_of`."""
    warnings = []
    if posterior.unseen:
        kinds = ", ".join(component.replace("_", " ") for component in posterior.unseen)
        warnings.append(
            f"never seen in training: {kinds}. What the forecast has of them is their prior: little, but not nothing."
        )
    if posterior.unseen_changes and "change" not in posterior.unseen:
        warnings.append(
            f"no {' and no '.join(posterior.unseen_changes)} was seen at any renewal in training: how large one would be is the "
            "prior's, whose long tail can lift means far above medians. Read medians and ranges."
        )
    trained = date.fromisoformat(posterior.as_of)
    if trained > as_of:
        warnings.append(
            f"the posterior was trained on what was known by {trained}, after the ledger's as_of {as_of}: it has "
            "seen part of what it forecasts."
        )
    if (as_of - trained).days > OLD_DAYS:
        warnings.append(
            f"the posterior was trained on what was known by {trained}, {(as_of - trained).days} days before the ledger's "
            f"as_of {as_of}: what customers did since then is in their own states, not in what was learned. Fit again."
        )
    return tuple(warnings)


def quiet_warnings(latest: date, as_of: date) -> tuple[str, ...]:
    """Whether nothing was booked for long before `as_of`; latest: the last booking known then."""
    if (as_of - latest).days <= QUIET_DAYS:
        return ()
    return (
        f"the latest booking is of {latest}, {(as_of - latest).days} days before as_of {as_of}: "
        "accounts that are not booked since then count as lapsed. Check that the ledger is complete.",
    )


def _some(levels: Sequence[str]) -> str:
    return ", ".join(levels[:LEVELS_SHOWN]) + (", ..." if len(levels) > LEVELS_SHOWN else "")
