"""Drift watch: whether the ranges of earlier runs hold against what has happened since.

A run keeps the draws of some accounts for the next months (`make_watch`). A later run, which knows these months, compares: how
many accounts fell into their intervals, the mean CRPS, and the revenue of all of them. How bad these may be by chance is asked
of the forecast itself: each draw is one world that it deems possible, so each is taken for what happened in turn. Accounts of
a world share its parameters, so that what is common to them is in the comparison.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clvforecast.actuals import actual_revenue
from clvforecast.batch.folder import RunFolder
from clvforecast.batch.inputs import Inputs, Records, sample_of
from clvforecast.batch.logs import alert
from clvforecast.batch.schema import RANGE_CHECKS
from clvforecast.batch.settings import BatchSettings
from clvforecast.batch.steps import NO_STEPS, PlannedSteps
from clvforecast.batch.tables import RunKey, conformed
from clvforecast.calibration import CENT
from clvforecast.errors import ClvError, ForecastFileError, HistoryError, LedgerError
from clvforecast.forecast import Forecast, forecast
from clvforecast.forecast_file import load_forecast
from clvforecast.histories import Histories, build_histories
from clvforecast.histories.engine import values
from clvforecast.posterior import Posterior
from clvforecast.simulation.calendar import date_of, make_grid

Floats = NDArray[np.float64]

MOST_DRAWS = 1000
CHECKED = 3
"""Watches that a run checks: the last ones whose months are over."""
TESTS = 3
"""Coverage, CRPS and the sum each get this part of the alarm's probability."""
ROUNDING = 1e-9
"""Sums of the same shares in another order differ by less."""


@dataclass(frozen=True)
class Check:
    """What became of one watch: the columns of `range_checks`, and the posterior (checksum) that its run used."""

    columns: dict[str, Any]
    posterior: str

    @property
    def slipped(self) -> bool:
        return bool(self.columns["slipped"])

    @property
    def message(self) -> str:
        return str(self.columns["message"])


def make_watch(
    folder: RunFolder,
    inputs: Inputs,
    posterior: Posterior,
    settings: BatchSettings,
    run_id: str,
    steps: PlannedSteps = NO_STEPS,
    parts: Records = (),
) -> str | None:
    """Forecast the next months of some accounts and keep their draws, where the last time is long enough ago.

    Those that could not be scored are left out; where none of the others can be, or the last events seem to be missing, the run
    goes on, and why none is kept is returned. None is kept of a posterior that has seen what is to come either.
    """
    path = folder.watch / f"{inputs.as_of}-{run_id}.clv"
    if settings.watch.accounts == 0 or path.exists() or not _is_due(folder, inputs.as_of, settings.watch.every_days):
        return None
    if posterior.as_of > str(inputs.as_of):
        return None
    if inputs.seems_cut_off(parts):
        return f"no watch is kept as of {inputs.as_of}: the last events seem to be missing, and would look like a slip later"
    try:
        failed = [failure["account_id"] for part in parts for failure in part["failures"]]
        found = watched_forecast(inputs, posterior, settings, steps, failed)
    except ClvError as error:
        return f"no watch is kept as of {inputs.as_of}: {error}"
    if found is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        found.save(path)
        for other in folder.watch.glob(f"{inputs.as_of}-*.clv"):
            if other != path and not folder.manifest(_run_of(other)).exists():  # of a run that never ended
                other.unlink()
    return None


def watched_forecast(
    inputs: Inputs,
    posterior: Posterior,
    settings: BatchSettings,
    steps: PlannedSteps = NO_STEPS,
    failed: Collection[str] = (),
) -> Forecast | None:
    """Of about `watch.accounts` accounts, none that failed, with their draws, counting only what is booked when its months end.

    None where none is drawn.
    """
    account_ids = sample_of(inputs.account_ids(), inputs.n_accounts, settings.watch.accounts)
    account_ids = account_ids.filter(pc.invert(pc.is_in(account_ids, pa.array(failed, pa.string()))))
    if not len(account_ids):
        return None
    grid = make_grid(inputs.as_of, settings.watch.months, 0.0, None)
    asked = settings.forecast
    sizes = posterior.draws.sizes
    return forecast(
        posterior,
        inputs.ledger_of(account_ids),
        horizon_months=settings.watch.months,
        draws=min(MOST_DRAWS, sizes["chain"] * sizes["draw"]),
        seed=asked.seed,
        timing=asked.timing,
        billing=asked.billing,
        payment_days=asked.payment_days,
        known_by=date_of(int(grid.bounds[-1]) - 1),
        group_by=[],
        ci_probs=(asked.ci_prob,),
        keep_draws=("revenue",),
        plans=steps.plans,
        reliability=steps.reliability,
        threads=settings.run.threads,
    )


def _run_of(watch: Path) -> str:
    return watch.stem[11:]


def _is_due(folder: RunFolder, as_of: date, every_days: int) -> bool:
    """Whether no other watch is of so recent a day, or of a later one."""
    days = [day for day, _ in _watches(folder) if day != as_of]
    return all((as_of - day).days >= every_days for day in days)


def _watches(folder: RunFolder) -> Iterator[tuple[date, Path]]:
    """Those of finished runs that were not superseded, the latest first."""
    lineage = folder.lineage()
    paths = [path for path in sorted(folder.watch.glob("*.clv"), reverse=True) if lineage.counts(_run_of(path))]
    return ((date.fromisoformat(path.name[:10]), path) for path in paths)


def check_watches(folder: RunFolder, inputs: Inputs, settings: BatchSettings) -> list[Check]:
    """The last watches whose months the inputs know, each held against what happened; one that cannot be read is told of."""
    checks: list[Check] = []
    for day, path in _watches(folder):
        if day >= inputs.as_of or len(checks) == CHECKED:
            continue
        try:
            found = load_forecast(path)
            end = date_of(int(found.grid.bounds[-1]) - 1)
            if end > inputs.as_of or found.currency != inputs.currency:
                continue
            ledger = inputs.ledger_of(pa.array(found.table["account_id"], pa.string())).at(end)
            histories = build_histories(ledger)
        except (ForecastFileError, HistoryError, LedgerError) as error:
            alert(f"the watch {path.name} cannot be checked: {error}")
            continue
        there, tolerance = known_and_tolerance(found, histories)
        if not there.any():
            alert(f"the watch {path.name} cannot be checked: none of its accounts is there any more")
            continue
        actual = np.where(there, actual_revenue(found, ledger, histories=histories)["revenue"].to_numpy(), np.nan)
        checks.append(compare(found, actual, end, _run_of(path), settings.watch.alarm, tolerance))
    return checks


def known_and_tolerance(watched: Forecast, histories: Histories) -> tuple[NDArray[np.bool_], Floats]:
    """Of each of the watch's accounts, whether the ledger still has it, and within what two amounts of it are equal.

    A ledger rounds each item to the cent at both ends of the window, a forecast does not: an account of many contracts may be off
    by as many cents where nothing happened but what was committed.
    """
    items = histories.items
    account = pd.Index(watched.table["account_id"]).get_indexer(items["account_id"].to_pandas())
    first, last = watched.grid.bounds[0], watched.grid.bounds[-1]
    served = (values(items, "start_day") < last) & (values(items, "end_day") > first)
    n_items = np.bincount(account[(account >= 0) & served], minlength=len(watched.table))
    there = np.bincount(account[account >= 0], minlength=len(watched.table)) > 0
    return there, np.asarray(CENT * (1 + n_items), dtype=np.float64)


def compare(
    watched: Forecast, actual: Floats, window_end: date, checked_run: str, alarm: float, tolerance: Floats | None = None
) -> Check:
    """What happened, (accounts,) in currency, beside the watch's draws; accounts that are no longer there, NaN, are left out.

    Slipped is what has a probability of at most ``alarm`` where the forecast is right, a third each for coverage, CRPS and sum.
    Of D draws the k-th lowest is undercut with probability k / (D + 1): with few draws, 1 / (D + 1) is the least there is.
    """
    assert watched.kept is not None
    draws = watched.kept["revenue"].values
    tolerance = np.full(len(draws), CENT) if tolerance is None else tolerance
    there = np.isfinite(actual)
    n_gone = int((~there).sum())
    actual, draws, tolerance = actual[there], draws[there], tolerance[there]
    (ci_prob,) = watched.settings.ci_probs
    worlds = np.column_stack([actual, draws])  # what happened, and then each world as if it had
    coverage, scores = judged(worlds, ci_prob, tolerance)
    total = worlds.sum(axis=0)
    share = alarm / TESTS
    expected_low = _lowest(coverage[1:], share)
    # What is rounded to the cent may be off by the tolerance where nothing but the committed happened.
    crps_high = -_lowest(-scores[1:], share) + tolerance.mean()
    sum_low, sum_high = _lowest(total[1:], share / 2.0), -_lowest(-total[1:], share / 2.0)
    sum_low, sum_high = sum_low - tolerance.sum(), sum_high + tolerance.sum()
    further = f"CRPS {scores[0]:,.0f}, at most {crps_high:,.0f}"
    together = f"{total[0]:,.0f}, of {sum_low:,.0f} to {sum_high:,.0f}"
    wrong = [
        *(["fewer accounts than expected are in their ranges"] if coverage[0] < expected_low - ROUNDING else []),
        *([f"accounts are further from their forecasts than expected ({further})"] if scores[0] > crps_high else []),
        *([f"their revenue together is outside its range ({together})"] if not sum_low <= total[0] <= sum_high else []),
    ]
    found = f"forecast as of {watched.as_of}, {watched.settings.horizon_months} months, {len(actual):,} accounts"
    gone = f" ({n_gone:,} more are no longer there)" if n_gone else ""
    held = f"{coverage[0]:.1%} in their {ci_prob:.0%} ranges (at least {expected_low:.1%} expected)"
    return Check(
        {
            "checked_run": checked_run,
            "checked_as_of": watched.as_of,
            "window_end": window_end,
            "accounts": len(actual),
            "ci_prob": ci_prob,
            "coverage": float(coverage[0]),
            "expected_low": float(expected_low),
            "crps": float(scores[0]),
            "crps_expected": float(scores[1:].mean()),
            "crps_high": float(crps_high),
            "portfolio_actual": float(total[0]),
            "portfolio_lower": float(sum_low),
            "portfolio_upper": float(sum_high),
            "slipped": bool(wrong),
            "message": f"{found}{gone}: {'; '.join(wrong) if wrong else 'the ranges hold'}; {held}",
        },
        posterior=watched.provenance.posterior,
    )


def _lowest(numbers: Floats, share: float) -> float:
    """The k-th lowest, k = share · (D + 1) or the whole number below, but at least 1."""
    place = max(int(share * (len(numbers) + 1) + 1e-9), 1) - 1
    return float(np.partition(numbers, place)[place])


def judged(worlds: Floats, ci_prob: float, tolerance: Floats) -> tuple[Floats, Floats]:
    """Coverage and mean CRPS, each (W,), of every world of (A, W) against the others: what happened, and the draws.

    All are judged alike, so that where the forecast is right each has the same chance of being the worst, however many amounts
    are equal.

    With L of the D = W - 1 others below and E equal to y within the tolerance (A,), the randomised PIT
    (`calibration.randomised_pit`) is uniform between L / W and (L + E + 1) / W: y counts by that part of it which is inside the
    central interval, its expectation, which is without the noise of the randomisation.

    CRPS(F, y) = E|X − y| − ½ E|X − X'| (Gneiting and Raftery 2007, eq. 21). Of the sorted worlds, k are at most y, and S_k is
    their sum: Σ|x − y| = y (2k − W) + S_W − 2 S_k. Of the pairs of all worlds, those of y are left out.
    """
    n_worlds = worlds.shape[1]
    n = n_worlds - 1
    low, high = n_worlds * (1.0 - ci_prob) / 2.0, n_worlds * (1.0 + ci_prob) / 2.0
    inside, summed = np.zeros(n_worlds), np.zeros(n_worlds)
    for asked, near in zip(worlds, tolerance, strict=True):
        own = np.sort(asked)
        below = np.searchsorted(own, asked - near, side="left")
        equal = np.searchsorted(own, asked + near, side="right") - below - 1  # itself is none of the others
        inside += np.clip(np.minimum(below + equal + 1, high) - np.maximum(below, low), 0.0, None) / (equal + 1)
        k = np.searchsorted(own, asked, side="right")
        sums = np.concatenate([[0.0], np.cumsum(own)])
        apart = asked * (2 * k - n_worlds) + sums[-1] - 2.0 * sums[k]
        pairs = float((own * (2 * np.arange(1, n_worlds + 1) - n_worlds - 1)).sum())
        summed += apart / n - (pairs - apart) / n**2
    return inside / len(worlds), summed / len(worlds)


def check_rows(checks: list[Check], key: RunKey) -> pa.Table:
    """`range_checks` of a run."""
    names = [column.name for column in RANGE_CHECKS.columns if column.name not in ("run_id", "as_of")]
    frame = pd.DataFrame([check.columns for check in checks], columns=names)
    return conformed(frame, RANGE_CHECKS, key._replace(ci_prob=0.0))


def drifted(checks: list[Check], posterior: str) -> bool:
    """Whether ranges slipped that were made with this posterior (checksum): others have been answered by a new fit already."""
    return any(check.slipped and check.posterior == posterior for check in checks)


def described(checks: list[Check]) -> list[dict[str, Any]]:
    """For the manifest."""
    said = [{**check.columns, "posterior": check.posterior} for check in checks]
    found: list[dict[str, Any]] = json.loads(json.dumps(said, default=str))
    return found
