"""Whether a ledger can be scored with a posterior, and what a reader of the scores should know."""

from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from clvforecast.errors import ForecastError
from clvforecast.events import TERM_KINDS
from clvforecast.ledger import Ledger
from clvforecast.posterior import Posterior
from clvforecast.simulation.structures import NewLevels

QUIET_DAYS = 92
MOST_UNSEEN = 0.2  # of terms whose length training has not seen


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
        f"months, where training had {', '.join(map(str, posterior.frame.term_values[:6].tolist()))}): is this posterior that of "
        "another company?"
    ]


def scoring_warnings(posterior: Posterior, ledger: Ledger, new_levels: NewLevels) -> tuple[str, ...]:
    """The ledger's own warnings, then levels unseen in training, a posterior that knows more, a ledger gone quiet."""
    warnings = list(ledger.warnings)
    for column in dict.fromkeys(column for column, _ in new_levels):
        levels = [level for name, level in new_levels if name == column]
        warnings.append(
            f"{column}: {len(levels)} levels were not in the training data ({', '.join(levels[:5])}"
            f"{', ...' if len(levels) > 5 else ''}); their effects are drawn from the spread of those that were."
        )
    warnings += _unlike_terms(posterior, ledger)
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
    if trained > ledger.as_of:
        warnings.append(
            f"the posterior was trained on what was known by {trained}, after the ledger's as_of {ledger.as_of}: it has "
            "seen part of what it forecasts."
        )
    latest = pc.max(ledger.events["event_date"]).as_py()
    if (ledger.as_of - latest).days > QUIET_DAYS:
        warnings.append(
            f"the latest booking is of {latest}, {(ledger.as_of - latest).days} days before as_of {ledger.as_of}: "
            "accounts that are not booked since then count as lapsed. Check that the ledger is complete."
        )
    return tuple(warnings)
