"""Rolling origins: forecast from what was known then, and score against what happened.

At every origin the histories, the fit and the forecast use only what was booked by that day. Each window is scored by
account, for every group and for the portfolio, beside the baselines of :mod:`clvforecast.baselines`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvforecast.actuals import actual_revenue, mrr_on, next_decision, recognised_after
from clvforecast.baselines import BASELINES, Baseline, Known, last_terms
from clvforecast.calibration import crps, interval_score, log_crps, randomised_pit
from clvforecast.components import ModelPriors
from clvforecast.errors import ForecastError, LedgerError
from clvforecast.forecast import Forecast, forecast
from clvforecast.histories import Histories, build_histories
from clvforecast.histories.lines import segment_columns
from clvforecast.ledger import Ledger
from clvforecast.ledger.known import as_day
from clvforecast.posterior import Posterior, fit
from clvforecast.scores import COVERED, MEANS, score_table
from clvforecast.simulation.calendar import DAYS_PER_MONTH, DAYS_PER_YEAR, MARK_MONTHS, add_months, date_of, day_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
Source = Callable[[date | None], Ledger]

MODEL = "clvforecast"
RANGES = ("median", *(f"{end}_{100 * prob:.0f}" for prob in COVERED for end in ("lower", "upper")))
SCORED = ("mean", *RANGES, "pit", *MEANS)
WHOLE = "portfolio"
TENURES = (1.0, 3.0, 5.0)
TENURE_NAMES = ("under 1 year", "1 to 3 years", "3 to 5 years", "5 years and more")
LENGTH_NAMES = ("under 12 months", "12 months", "over 12 months")
DUE_NAMES = ("lapsed", "overdue", "due on the next day", "due later in the window", "mid-term")
DECILES = 10
REMEMBERED_DAYS = 8
"""Past days of which histories are kept at a time; the resampling baseline asks for up to six a window."""


@dataclass(frozen=True, repr=False)
class Backtest:
    """Scores of every origin, window and method. Made by `backtest`.

    Attributes
    ----------
    accounts
        One row an origin, window, method and account. origin, window_months, method, account_id; actual and mean revenue of
        the window (currency), median and ranges lower_50 .. upper_95; pit, crps, log_crps, interval_score_50/80/95; and of the
        model alone mrr, mrr_pit and active with p_active (on the window's last day), renewed with p_renewed (the next
        decision). What is not known is NaN. Then what was known at the origin: the segments, size_decile (1 the smallest),
        tenure, term_length, due.
    totals
        One row an origin, window, method, and group: by ("portfolio" or a segment column), level, actual, mean, median,
        lower_50 .. upper_95, pit (NaN for point forecasts).
    fits
        One row an origin: accounts, events, seconds, and the windows that were scored.
    posteriors
        By origin.
    notes
        What was asked for and is not there: windows that the ledger does not cover, methods that could not forecast.
    """

    accounts: pd.DataFrame
    totals: pd.DataFrame
    fits: pd.DataFrame
    posteriors: Mapping[date, Posterior] = field(repr=False)
    segments: tuple[str, ...]
    currency: str
    clusters: str
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        origins = ", ".join(str(origin) for origin in self.fits["origin"])
        several = "s" if len(self.fits) > 1 else ""
        return f"<Backtest of {len(self.fits)} origin{several} ({origins}), {self.currency}>"

    def scores(
        self, by: str | None = None, window_months: int | None = None, resamples: int = 500, seed: int = 0
    ) -> pd.DataFrame:
        """All scores over all origins, each with a 95% bootstrap interval over clusters.

        Parameters
        ----------
        by
            A column of what was known at the origin ("due", "size_decile", a segment, "origin"), or None for all accounts.
        window_months
            One window; every window apart when not given.
        resamples, seed
            Of the bootstrap.

        Returns
        -------
        DataFrame
            window_months, method, level, score, value, lower, upper, n, against: one row a score. crps, log_crps and the
            interval scores are means, smaller is better; skill_crps and skill_log_crps are 1 - score / that of the baseline
            that is best for this score, window and level, named in `against`; coverage_50/80/95 randomised; bias is the mean
            forecast over what happened, less one; gini and decile_lift judge the ranking; brier_renewed and brier_active the
            probabilities. A ratio to nothing (of accounts that brought nothing) has no row.

        Raises
        ------
        ForecastError
            For a column or a window that is not there.
        """
        rows = self.accounts
        if window_months is not None:
            rows = rows[rows["window_months"] == window_months]
            if rows.empty:
                raise ForecastError(
                    f"window_months={window_months}: scored are {sorted(self.accounts['window_months'].unique().tolist())}."
                )
        if by is not None and by not in rows.columns:
            raise ForecastError(f"by={by!r} is no column of `accounts`; give one of {', '.join(self.subgroups)}.")
        return score_table(rows, by, self.clusters, MODEL, resamples, seed)

    @property
    def subgroups(self) -> tuple[str, ...]:
        """What `scores` can be split by."""
        return ("origin", *self.segments, "size_decile", "tenure", "term_length", "due")

    def plot(self) -> Figure:
        """Reliability of renewal probabilities, the PIT, coverage by subgroup, and totals beside what happened."""
        from clvforecast.report.backtests import plot_backtest

        return plot_backtest(self)


def backtest(
    ledger: Ledger | Source,
    origins: Iterable[date | str] | date | str,
    horizon_months: int = 24,
    segments: Sequence[str] = (),
    *,
    windows: Sequence[int] = MARK_MONTHS,
    baselines: Mapping[str, Baseline] | None = None,
    clusters: str = "account_id",
    seed: int = 7,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    priors: ModelPriors | None = None,
    progress: bool = True,
) -> Backtest:
    """Forecast from each origin with what was known then, and compare with what happened.

    Parameters
    ----------
    ledger
        All that is known today, or a function (day or None) -> ledger as known on that day, for sources that tell of past
        knowledge what `Ledger.at` cannot (terms that were lengthened later, for instance).
    origins
        Days to forecast from, or one of them.
    horizon_months
        Months ahead.
    segments
        As in `fit`.
    windows
        Months scored: those up to the horizon, and the horizon. A window that the ledger does not cover is left out, and
        told in the `notes`.
    baselines
        Name -> function of `baselines.Known`; by default all of `baselines.BASELINES`.
    clusters
        Column whose levels are drawn whole in the bootstrap: "account_id", or an account column such as a region.
    seed, draws, tune, chains
        As in `fit`; as many worlds are simulated as `draws`.
    priors
        As in `fit`.
    progress
        Show what is being fitted.

    Raises
    ------
    ForecastError
        An origin whose windows all end after what is known, or a horizon out of range.
    ConvergenceError
        A fit did not converge.

    Examples
    --------
    >>> import clvforecast as clv
    >>> result = clv.backtest(ledger, ["2022-12-31", "2023-12-31"], horizon_months=12)  # doctest: +SKIP
    >>> result.scores().query("score == 'coverage_80'")  # doctest: +SKIP
    """
    if isinstance(segments, str):
        raise ForecastError(f"segments={segments!r} is one text; give a list of column names: segments=[{segments!r}]")
    known_at: Source = ledger.at if isinstance(ledger, Ledger) else ledger  # type: ignore[assignment]
    latest = ledger if isinstance(ledger, Ledger) else known_at(None)
    chosen = dict(BASELINES if baselines is None else baselines)
    months = sorted({*(window for window in windows if window <= horizon_months), horizon_months})
    columns = [*segments, *([clusters] if clusters not in ("account_id", *segments) else [])]
    _check_columns(latest, clusters, columns)
    run = _Run(
        _remembering(known_at), latest, build_histories(latest), tuple(segments), tuple(columns), clusters, chosen, seed
    )
    accounts, totals, fits, posteriors = [], [], [], {}
    windows_of = _covered([origins] if isinstance(origins, date | str) else origins, months, latest.as_of)
    for origin, covered in windows_of.items():
        known = known_at(origin)
        began = time.perf_counter()
        posterior = fit(
            known, segments, seed=seed, draws=draws, tune=tune, chains=chains, priors=priors, progress=progress
        )
        posteriors[origin] = posterior
        for window in covered:
            one, groups = run.window(posterior, known, window, draws)
            accounts.append(one.assign(origin=pd.Timestamp(origin), window_months=window))
            totals.append(groups.assign(origin=pd.Timestamp(origin), window_months=window))
        fits.append(
            {
                "origin": origin,
                "accounts": accounts[-1]["account_id"].nunique(),
                "events": known.events.num_rows,
                "seconds": time.perf_counter() - began,
                "windows": ", ".join(map(str, covered)),
            }
        )
    scored = pd.concat(accounts, ignore_index=True)
    return Backtest(
        accounts=_in_front(scored, ["origin", "window_months", "method", "account_id"]),
        totals=_in_front(pd.concat(totals, ignore_index=True), ["origin", "window_months", "method", "by", "level"]),
        fits=pd.DataFrame(fits),
        posteriors=posteriors,
        segments=tuple(segments),
        currency=latest.currency,
        clusters=clusters,
        notes=(*_left_out(windows_of, months, latest.as_of), *_silent(scored)),
    )


@dataclass(frozen=True)
class _Run:
    """What all origins share."""

    histories_at: Callable[[date], Histories | None]
    latest: Ledger
    truth: Histories
    segments: tuple[str, ...]
    columns: tuple[str, ...]
    clusters: str
    baselines: dict[str, Baseline]
    seed: int

    def window(self, posterior: Posterior, known: Ledger, months: int, draws: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Scores of one origin and window: accounts and totals, every method."""
        made = forecast(
            posterior,
            known,
            horizon_months=months,
            draws=draws,
            seed=self.seed,
            keep_draws=("revenue", "mrr"),
            known_by=self.latest.as_of,
            group_by=self.columns,
        )
        actual = actual_revenue(made, self.latest, histories=self.truth)["revenue"].to_numpy()
        facts = _facts(made, months, _patience(posterior)).reset_index(drop=True)
        drawn = {MODEL: made.draws["revenue"].values}
        context = self._known(made, known, months)
        drawn |= {name: baseline(context) for name, baseline in self.baselines.items()}
        rows = [
            pd.concat([_account_scores(values, actual, self._key(made, months, 0)).assign(method=name), facts], axis=1)
            for name, values in drawn.items()
        ]
        rows[0] = rows[0].assign(**self._states(made, posterior, months))
        totals = [
            _totals(values, actual, facts, self.segments, self._key(made, months, 1)).assign(method=name)
            for name, values in drawn.items()
        ]
        return pd.concat(rows, ignore_index=True), pd.concat(totals, ignore_index=True)

    def _key(self, made: Forecast, months: int, purpose: int) -> int:
        """Seed of a PIT's randomisation: accounts at zero must not take the same place at every origin."""
        sequence = np.random.SeedSequence([self.seed, made.history.origin_day, months, purpose])
        return int(sequence.generate_state(1)[0])

    def _known(self, made: Forecast, known: Ledger, months: int) -> Known:
        """What a baseline may know at this origin."""

        def past(months_ago: int) -> tuple[Histories, pd.Series] | None:
            then = self.histories_at(_last_day(known.as_of, -months_ago))
            return None if then is None else (then, recognised_after(made.history, then, months))

        events = known.events.select(["account_id", "event_date", "amount_cents"]).to_pandas()
        paid = events[events["amount_cents"] > 0].assign(amount=events["amount_cents"] / 100.0)
        purchases = paid.assign(day=paid["event_date"].to_numpy().astype("datetime64[D]").astype(np.int64))
        return Known(
            histories=made.history,
            account_ids=pd.Index(made.table["account_id"]),
            window_months=months,
            past=past,
            purchases=purchases[["account_id", "day", "amount"]],
            seed=self.seed,
        )

    def _states(self, made: Forecast, posterior: Posterior, months: int) -> dict[str, Floats]:
        """Where accounts stand on the window's last day, and their next decision; NaN what cannot be known yet.

        Late bookings still come in for as long as the longest lag that was seen.
        """
        n = len(made.table)
        found = {name: np.full(n, np.nan) for name in ("mrr", "mrr_pit", "active", "p_active", "renewed", "p_renewed")}
        known_until = day_number(self.latest.as_of) - _patience(posterior)
        last = add_months(made.history.origin_day, months) - 1
        if months in MARK_MONTHS and last <= known_until:
            in_force = mrr_on(self.truth, last).reindex(made.table["account_id"])
            found["active"] = in_force.notna().to_numpy(float)
            found["p_active"] = made.table[f"p_active_{months}m"].to_numpy()
            found["mrr"] = in_force.fillna(0.0).to_numpy()
            drawn = made.draws["mrr"].sel(month=months).values
            found["mrr_pit"] = randomised_pit(drawn, found["mrr"], self._key(made, months, 2))
        renewed = next_decision(made.history, self.truth, known_until, last).reindex(made.table["account_id"])
        found["renewed"] = renewed.where(made.table["p_next_renewal"].notna().to_numpy()).to_numpy(float)
        found["p_renewed"] = np.where(np.isnan(found["renewed"]), np.nan, made.table["p_next_renewal"])
        return found


def _remembering(known_at: Source) -> Callable[[date], Histories | None]:
    """The histories as known on a day, None before the first booking; windows and origins ask for the same days again."""

    @lru_cache(maxsize=REMEMBERED_DAYS)
    def histories_at(day: date) -> Histories | None:
        try:
            return build_histories(known_at(day))
        except LedgerError:  # nothing was booked yet
            return None

    return histories_at


def _account_scores(draws: Floats, actual: Floats, seed: int) -> pd.DataFrame:
    """Scores of every account; a point forecast has no PIT and no intervals, and a method that could not forecast nothing."""
    if np.isnan(draws).any():
        return pd.DataFrame({"actual": actual}).reindex(columns=["actual", *SCORED])
    is_point = draws.shape[1] == 1
    unknown = np.full(len(actual), np.nan)
    return pd.DataFrame(
        {
            "actual": actual,
            "mean": draws.mean(axis=1),
            **_ranges(draws, axis=1),
            "pit": unknown if is_point else randomised_pit(draws, actual, seed),
            "crps": crps(draws, actual),
            "log_crps": log_crps(draws, actual),
            **{
                f"interval_score_{100 * prob:.0f}": unknown if is_point else interval_score(draws, actual, prob)
                for prob in COVERED
            },
        }
    )


def _ranges(draws: Floats, axis: int) -> dict[str, Any]:
    """median, lower_50 .. upper_95 along an axis; a point forecast has no ranges."""
    ends = [0.5 + side * prob / 2.0 for prob in COVERED for side in (-1, 1)]
    values = np.quantile(draws, [0.5, *ends], axis=axis)
    if draws.shape[axis] == 1:
        values[1:] = np.nan
    return dict(zip(RANGES, values, strict=True))


def _totals(draws: Floats, actual: Floats, facts: pd.DataFrame, segments: Sequence[str], seed: int) -> pd.DataFrame:
    """The portfolio's and every segment level's total: summed draws beside the summed actual."""
    groups = {(WHOLE, "all"): np.ones(len(actual), dtype=bool)}
    for column in segments:
        groups |= {(column, level): (facts[column] == level).to_numpy() for level in sorted(facts[column].unique())}
    rows = []
    for (by, level), mine in groups.items():
        total, happened = draws[mine].sum(axis=0), float(actual[mine].sum())
        row: dict[str, Any] = {"by": by, "level": level, "accounts": int(mine.sum()), "actual": happened}
        row |= {"mean": total.mean(), **_ranges(total, axis=0)}
        row["pit"] = np.nan if len(total) == 1 else randomised_pit(total[None, :], [happened], seed)[0]
        rows.append(row)
    return pd.DataFrame(rows)


def _patience(posterior: Posterior) -> int:
    """Days after which a renewal that is not booked will not come."""
    return int(np.ceil(posterior.frame.lag_edges[-1]))


def _facts(made: Forecast, months: int, patience: int) -> pd.DataFrame:
    """What was known of every account at the origin, by which scores can be split."""
    last = last_terms(made.history)
    table = last.groupby("account_id").agg(end_day=("end_day", "max"), term_days=("term_days", "last"))
    lines = (
        made.history.lines.to_pandas().groupby("account_id").agg(first_day=("first_day", "min"), base=("base", "sum"))
    )
    table = made.table[["account_id", *made.groups.columns]].merge(table.join(lines), on="account_id", how="left")
    origin_day = made.history.origin_day
    years = (origin_day - table["first_day"]) / DAYS_PER_YEAR
    ahead = table["end_day"] - origin_day
    window = add_months(origin_day, months) - origin_day
    due = np.select([ahead < -patience, ahead < 0, ahead == 0, ahead < window], range(4), 4)
    term_months = (table["term_days"] / DAYS_PER_MONTH).round()
    size = pd.qcut(table["base"].rank(method="first"), min(DECILES, len(table)), labels=False) + 1
    return table[["account_id", *made.groups.columns]].assign(
        size_decile=size,
        tenure=_named(np.searchsorted(TENURES, years, side="right"), TENURE_NAMES),
        term_length=_named(np.select([term_months < 12, term_months == 12], [0, 1], 2), LENGTH_NAMES),
        due=_named(due, DUE_NAMES),
    )


def _named(codes: NDArray[np.int64], names: Sequence[str]) -> pd.Categorical:
    """Groups that keep this order in every table."""
    return pd.Categorical.from_codes(codes, categories=list(names), ordered=True)


def _check_columns(latest: Ledger, clusters: str, columns: Sequence[str]) -> None:
    """Raise before the first fit when a column to split by is not there."""
    there = segment_columns(latest.accounts)
    for name in columns:
        if name not in there:
            asked = "clusters" if name == clusters else "segments"
            raise ForecastError(
                f"{asked}: {name!r} is no column of the accounts; they have {', '.join(there) or 'none'}."
            )


def _left_out(covered: Mapping[date, list[int]], months: Sequence[int], known_to: date) -> Iterator[str]:
    for origin, windows in covered.items():
        missing = [str(window) for window in months if window not in windows]
        if missing:
            yield f"origin {origin}: {', '.join(missing)} months are not scored, as what happened is known to {known_to} only"


def _silent(accounts: pd.DataFrame) -> Iterator[str]:
    """Methods that could not forecast at some origin: their scores are of the other origins' accounts, or there are none."""
    unknown = accounts["mean"].isna().groupby([accounts["method"], accounts["origin"], accounts["window_months"]]).all()
    for method, origin, window in unknown[unknown].index:
        yield f"origin {origin:%Y-%m-%d}, {window} months: {method} has too little to learn from, and is not scored"


def _covered(origins: Iterable[date | str], months: list[int], known_to: date) -> dict[date, list[int]]:
    """The windows of every origin that are over, before anything is fitted."""
    days = sorted({as_day(origin, "an origin") for origin in origins})
    if not days:
        raise ForecastError("origins is empty: give at least one day to forecast from.")
    covered = {day: [window for window in months if _last_day(day, window) <= known_to] for day in days}
    for day, windows in covered.items():
        if not windows:
            raise ForecastError(
                f"origin {day}: the shortest window ends on {_last_day(day, months[0])}, the ledger is known to "
                f"{known_to}. Give earlier origins or a shorter horizon_months."
            )
    return covered


def _last_day(origin: date, months: int) -> date:
    return date_of(add_months(day_number(origin) + 1, months) - 1)


def _in_front(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return table[[*names, *(name for name in table.columns if name not in names)]]
