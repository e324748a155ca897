"""`fit_plan_reliability`: past plans and what came of them in, how far plans can be relied on out."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.special import expit

from clvforecast.components.component import Variable
from clvforecast.errors import FitError, PlanError
from clvforecast.histories.records import EPOCH
from clvforecast.ledger import Ledger
from clvforecast.plans.counts import (
    UNSTATED,
    PlanCounts,
    PlanFrame,
    count_steps,
    level_numbers,
    level_texts,
    no_counts,
    plan_frame,
)
from clvforecast.plans.lags import lag_edges
from clvforecast.plans.matching import OPEN, match_steps
from clvforecast.plans.model import plan_component
from clvforecast.plans.odds import log_odds, unseen_effects
from clvforecast.plans.outcomes import (
    Drawn,
    OpenSteps,
    Outcome,
    PlanOutcomes,
    in_parts,
    model_weights,
    open_steps,
    outcomes_as_stated,
    outcomes_of,
)
from clvforecast.plans.priors import PlanPriors
from clvforecast.plans.records import Plans
from clvforecast.plans.steps import DEFAULT_RENEWAL_DAYS, DEFAULT_WINDOW_DAYS, EVENT_STEPS, RENEWAL, STEP_KINDS
from clvforecast.plans.tables import DEFAULT_BINS, Record, calibration_table, summary_of
from clvforecast.progress import announcing
from clvforecast.provenance import package_versions
from clvforecast.sampling import ESS_LIMIT, Sampled, Settings, prior_component, sample_component

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

LEAST_RENEWALS = 20
"""So many renewals on record, with a stated probability or without one, say more of the next than the forecast's model does."""


@dataclass(frozen=True, repr=False)
class PlanReliability:
    """How far plans can be relied on: whether steps come, when, and at which share of the amount.

    Made by `fit_plan_reliability` from a history of plans, by `PlanReliability.prior` without one, or by
    `PlanReliability.as_stated`, which takes plans at their word.

    Attributes
    ----------
    draws
        Dims (chain, draw, ...): intercept, stated_slope, unstated_offset, effect (level), effect_sd (column), and by kind
        share_mean and share_sd (log of actual over planned); by kind of event delay_mean and delay_scale (days), and of
        renewals renewal_delay (shares by delay_days). None where plans are taken at their word.
    frame
        The columns that effects belong to, their levels, the window, renewal_days, and the bins of renewals' delays; None as
        for draws.
    record
        The steps whose last day was over, counted: what `calibration` compares with.
    about
        seed, as_of and fingerprint of the ledger, priors with their reasons, method, note and package versions.
    """

    draws: xr.Dataset | None
    frame: PlanFrame | None
    record: Record | None = None
    stats: xr.Dataset = field(default_factory=xr.Dataset)
    about: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        if self.draws is None:
            return "<PlanReliability: plans are taken at their word>"
        note = self.about["note"] or f"learned from {self.about['steps']} steps as of {self.about['as_of']}"
        return f"<PlanReliability: {note}; {self.draws.sizes['chain'] * self.draws.sizes['draw']:,} draws>"

    @classmethod
    def prior(
        cls,
        window_days: int = DEFAULT_WINDOW_DAYS,
        renewal_days: int = DEFAULT_RENEWAL_DAYS,
        draws: int = 1000,
        chains: int = 4,
        seed: int = 7,
        priors: PlanPriors | None = None,
    ) -> PlanReliability:
        """Without any history: draws from the stated prior.

        Examples
        --------
        >>> reliability = PlanReliability.prior(draws=200)
        >>> reliability
        <PlanReliability: no history of plans: the prior alone; 800 draws>
        """
        chosen = _checked(priors)
        edges = lag_edges(np.zeros(0, dtype=np.int64), window_days, renewal_days)
        frame = PlanFrame(("kind",), {"kind": STEP_KINDS}, window_days, renewal_days, edges)
        component = plan_component(no_counts(1), frame, chosen)
        settings = Settings(draws=draws, chains=chains, seed=seed)
        sampled = prior_component(component, settings)
        return _reliability(sampled, frame, None, settings, chosen, {"as_of": "", "fingerprint": ""})

    @classmethod
    def as_stated(cls) -> PlanReliability:
        """Plans at their word: every step at its stated probability, on its day (or the first after `as_of`), at its amount.

        Probability 1 always happens, 0 never. Of steps that state none, renewals come as the forecast's model has them; all
        others are refused.
        """
        return cls(draws=None, frame=None)

    def summary(self) -> pd.DataFrame:
        """One row a scalar parameter: parameter, meaning, unit, mean, sd, lower, upper (95%), rhat, ess_bulk, ess_tail, n_data.

        Raises PlanError where plans are taken at their word: there is nothing to learn then.
        """
        return summary_of(self._learned())

    def calibration(self, bins: Sequence[float] = DEFAULT_BINS, ci_prob: float = 0.9) -> pd.DataFrame:
        """Stated against realised, and the learned curve: one row a bin of stated probability, and one for steps without.

        Only steps whose last day was over are counted, so that recent ones, of which only the quick are known to have come, do
        not tilt it; of events only those of accounts that were under contract until then, where the learned curve takes the time
        of the others too, so that the two may differ by some points where many lapse.

        Columns: stated ("0.6-0.8", or "not stated"), steps, stated_mean, realised, realised_lower and realised_upper (Jeffreys'
        interval), learned, learned_lower and learned_upper (mean over the bin's steps), ci_prob.

        Raises
        ------
        PlanError
            Without a history, or for bins that do not rise within 0 and 1.
        """
        if self.record is None or self.frame is None:
            raise PlanError(
                "calibration: there is no history of plans. Call clv.fit_plan_reliability(plans, ledger) first."
            )
        stated = np.where(self.record.stated == UNSTATED, np.nan, self.record.stated / 100.0)
        p = expit(log_odds(self.frame, self.record.levels, stated, self._flat(None), {}))
        return calibration_table(self.record, p, bins, ci_prob)

    def plot(self, ax: Axes | None = None) -> Axes:
        """`calibration` as a picture: stated probabilities against how often steps came. Raises PlanError without a history."""
        from clvforecast.report.customer_plots import plot_reliability

        return plot_reliability(self, ax)

    def resolve(
        self, steps: Plans, ledger: Ledger, draws: int = 1000, seed: int = 7, threads: int | None = None
    ) -> PlanOutcomes:
        """Whether, when and for how much the open steps come after the ledger's `as_of`, under every draw.

        A renewal without a stated probability says what is agreed, not how sure it is: where fewer than 20 such renewals are
        on record, it is left to the model of the forecast whether it comes, which knows the account and all its like. Where
        fewer than 20 with a stated probability are on record, the model's is moved towards the stated one: the log odds are
        ``(1 - w) logit(model) + w logit(stated)``, w uniform between 0 and 1, one for all steps of a draw, as nothing is known
        yet of what such statements are worth.

        Parameters
        ----------
        steps
            Plans; those that came by `as_of`, were missed, or were written down later are left out.
        ledger
            What was known on its `as_of`, and the accounts' segments.
        draws, seed
            Draw d has draw d of the parameters, evenly spaced where there are more of them, else d mod n; with the seed,
            the account and the step it is the key of the random numbers.
        threads
            How to spread the work; it changes no result.

        Raises
        ------
        PlanError
            For another window or renewal_days than was learned, or steps but renewals without a probability where plans are
            taken at their word.
        """
        if draws < 1 or seed < 0:
            raise PlanError(f"resolve: draws={draws}, seed={seed}: give at least one draw, and a seed from 0 on.")
        for name in ("window_days", "renewal_days") if self.frame is not None else ():
            if (read := getattr(steps, name)) != (fitted := getattr(self.frame, name)):
                raise PlanError(
                    f"resolve: the plans were read with {name}={read}, the reliability was learned with {fitted}. Read them "
                    "with that one."
                )
        matches = match_steps(steps.steps, ledger, steps.window_days, steps.renewal_days)
        chosen = steps.where(matches.is_(OPEN))
        still = open_steps(chosen.steps, matches.of(OPEN))
        index = self._draw_index(draws)
        if self.draws is None:
            _refuse_unstated(chosen, still)
            found = in_parts(lambda part: outcomes_as_stated(still.part(part), seed, draws), len(still), draws, threads)
        else:
            found = self._drawn_outcomes(chosen, still, ledger, index, seed, threads)
        probability, choice, day, cents = found
        return PlanOutcomes(
            account_id=np.array(chosen.steps["account_id"].to_pylist(), dtype=object),
            step_id=np.array(chosen.steps["step_id"].to_pylist(), dtype=object),
            kind=still.kind.astype(np.int8),
            planned_day=still.planned_day.astype(np.int32),
            planned_cents=still.planned_cents,
            months=chosen.steps["term_months"].fill_null(0).to_numpy().astype(np.int32),
            stated=still.stated,
            probability=probability,
            choice=choice,
            day=day,
            cents=cents,
            weight=model_weights(seed, draws),
            draw=index,
            as_of_day=(ledger.as_of - EPOCH).days,
        )

    def _drawn_outcomes(
        self, chosen: Plans, still: OpenSteps, ledger: Ledger, index: Longs, seed: int, threads: int | None
    ) -> Outcome:
        """What becomes of the open steps under these draws of the parameters."""
        assert self.frame is not None
        frame, flat = self.frame, self._flat(index)
        texts = level_texts(chosen, ledger, frame)
        numbers = level_numbers(texts, frame)
        unseen = unseen_effects(frame, texts, numbers, seed, flat)
        known = np.where(np.isnan(still.stated), *self._renewals_on_record())
        as_modelled = (still.kind == RENEWAL) & (known < LEAST_RENEWALS)

        def some(part: slice) -> Outcome:
            steps = still.part(part)
            of_unseen = {column: (places[part], effects) for column, (places, effects) in unseen.items()}
            p = expit(log_odds(frame, numbers[part], steps.stated, flat, of_unseen))
            event = np.maximum(steps.kind - RENEWAL - 1, 0)
            mean, scale = (flat[name].T[event] for name in ("delay_mean", "delay_scale"))
            share_mean, share_sd = (flat[name].T[steps.kind] for name in ("share_mean", "share_sd"))
            given = Drawn(p, mean, scale, share_mean, share_sd, flat["renewal_delay"], frame.lag_edges)
            found = outcomes_of(steps, seed, given, frame.window_days, len(index))
            found[0][as_modelled[part]] = np.nan
            return found

        return in_parts(some, len(still), len(index), threads)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one sealed file for `load_plan_reliability`, complete or not at all. Raises PlanError when that cannot be."""
        from clvforecast.plans.file import save_reliability

        save_reliability(self, path)

    def _learned(self) -> xr.Dataset:
        if self.draws is None:
            raise PlanError(
                "plans are taken at their word (PlanReliability.as_stated): there are no parameters to show."
            )
        return self.draws

    def _renewals_on_record(self) -> tuple[float, float]:
        """Renewals of which is known what came of them: without a stated probability, and with one."""
        return (0.0, 0.0) if self.record is None else self.record.by_statement(RENEWAL)

    def _draw_index(self, draws: int) -> Longs:
        """Which draw of the parameters each draw of a forecast has."""
        if self.draws is None:
            return np.zeros(draws, dtype=np.int64)
        n = self.draws.sizes["chain"] * self.draws.sizes["draw"]
        return np.arange(draws) % n if draws > n else np.floor(np.arange(draws) * (n / draws)).astype(np.int64)

    def _flat(self, index: Longs | None) -> dict[str, Floats]:
        """Variable -> its draws, the draw first; those of `index`, or all."""
        flat = {}
        for name, values in self._learned().data_vars.items():
            array = values.transpose("chain", "draw", ...).values
            array = array.reshape(-1, *array.shape[2:])
            flat[str(name)] = array if index is None else array[index]
        return flat


def fit_plan_reliability(
    plans: Plans,
    ledger: Ledger,
    segments: Sequence[str] = (),
    seed: int = 7,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    priors: PlanPriors | None = None,
    progress: bool = True,
    cores: int = 2,
) -> PlanReliability:
    """Learn from past plans and what came of them how far plans can be relied on.

    ``P(hit by d days after the planned day) = p F(d)`` up to the window's end, or `renewal_days`; logit p is a kind's intercept
    plus effects of segment levels and CSMs (partially pooled) plus a slope on the stated log odds; steps that may still come
    count 1 - p F(d).

    Parameters
    ----------
    plans
        From `read_plans`. Steps that were written down after the ledger's `as_of` do not count.
    ledger
        What came of them by its `as_of`.
    segments
        Columns of the accounts table whose levels differ. A column `csm` of the plans is always used.
    seed, draws, tune, chains, cores, progress
        As in `fit`.
    priors
        Other priors, e.g. ``clv.PlanPriors(stated_slope_mean=1.0)``.

    Raises
    ------
    FitError
        For settings that cannot be.
    ConvergenceError
        When the draws do not pass: R-hat <= 1.01, 400 effective draws in bulk and tails, no divergence.

    Examples
    --------
    >>> plans = clv.read_plans("plans.csv", ledger)  # doctest: +SKIP
    >>> reliability = clv.fit_plan_reliability(plans, ledger, segments=["region"])  # doctest: +SKIP
    >>> reliability.calibration()  # doctest: +SKIP
    """
    if draws * chains < ESS_LIMIT:
        raise FitError(
            f"fit_plan_reliability: {chains} chains of draws={draws} are fewer than the {ESS_LIMIT:.0f} effective draws that "
            "every parameter must have. Take the default of 1000, or at least some hundreds."
        )
    if isinstance(segments, str):
        raise FitError(f"segments={segments!r} is one text, but must be a list of column names: [{segments!r}].")
    settings = Settings(draws=draws, tune=tune, chains=chains, cores=cores, seed=seed)
    chosen = _checked(priors)
    with announcing(progress) as say:
        matches = match_steps(plans.steps, ledger, plans.window_days, plans.renewal_days)
        frame = plan_frame(plans, ledger, tuple(segments), matches)
        counts = count_steps(plans, ledger, matches, frame)
        component = plan_component(counts, frame, chosen)
        sampled = sample_component(component, settings, say, labels_of(frame))
    about = {"as_of": ledger.as_of.isoformat(), "fingerprint": ledger.fingerprint}
    if counts.n_clipped:
        about["shares beyond a factor of 20"] = str(counts.n_clipped)
    return _reliability(sampled, frame, counts, settings, chosen, about)


def _checked(priors: PlanPriors | None) -> PlanPriors:
    if priors is None:
        return PlanPriors()
    if not isinstance(priors, PlanPriors):
        raise FitError(
            f"priors is a {type(priors).__name__}, but must be a PlanPriors, for example clv.PlanPriors(stated_slope_mean=1.0)."
        )
    return priors


def labels_of(frame: PlanFrame) -> dict[str, list[str]]:
    """Dim -> its labels."""
    by_kind = {"kind": list(STEP_KINDS), "event_kind": list(EVENT_STEPS)}
    return {"level": frame.labels, "column": list(frame.columns), **by_kind, "delay_days": frame.lag_labels}


def _reliability(
    sampled: Sampled,
    frame: PlanFrame,
    counts: PlanCounts | None,
    settings: Settings,
    priors: PlanPriors,
    about: dict[str, str],
) -> PlanReliability:
    """The draws, labelled, with what they were made from."""
    labels = {dim: np.array(values, dtype=object) for dim, values in labels_of(frame).items()}
    axes = {"chain": np.arange(settings.chains), "draw": np.arange(settings.draws)}
    draws = xr.Dataset(coords={**axes, **labels})
    for name, variable in sampled.variables.items():
        draws[name] = _labelled(variable)
    reasons = {
        name: {"value": getattr(priors, name), "reason": of.description or ""}
        for name, of in PlanPriors.model_fields.items()
    }
    return PlanReliability(
        draws=draws,
        frame=frame,
        record=None
        if counts is None
        else Record(counts.group_levels, counts.group_stated, counts.ripe, counts.ripe_hits),
        stats=sampled.stats,
        about={
            **about,
            "seed": str(settings.seed),
            "steps": f"{sampled.component.n_data:,}",
            "method": sampled.method,
            "note": sampled.component.note,
            "priors": json.dumps(reasons),
            "versions": json.dumps(package_versions()),
        },
    )


def _labelled(variable: Variable) -> xr.DataArray:
    return xr.DataArray(variable.values, dims=("chain", "draw", *variable.dims), attrs={"n_data": variable.n_data})


def _refuse_unstated(plans: Plans, still: OpenSteps) -> None:
    missing = np.flatnonzero(np.isnan(still.stated) & (still.kind != RENEWAL))
    if len(missing):
        first = plans.steps.slice(int(missing[0]), 1).to_pylist()[0]
        raise PlanError(
            f"resolve: {len(missing)} of {len(plans)} open steps state no probability, the first is {first['step_id']!r} of "
            f"account {first['account_id']!r}. Taken at their word, all but renewals must: fill the column probability."
        )
