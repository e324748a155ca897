"""One account in words, tables and a picture."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from rich.console import Console

from clvforecast.report.account import (
    LAST_YEARS,
    POINTS,
    PROB,
    AccountView,
    coming_years,
    contracts,
    last_events,
    origins,
    past_years,
    renewals_cost,
    renewals_so_far,
    segments_of,
)
from clvforecast.report.axes import new_figure
from clvforecast.report.planned import unlearned
from clvforecast.report.plots import plot_account, plot_portfolio
from clvforecast.report.terminal import gap, say, show_table
from clvforecast.report.units import MoneyUnit, amount_text, counted, in_unit_or_less, range_unit

PICTURE_SIZE = (9.0, 8.0)
ORIGIN_WORDS = {
    "committed": "under contract",
    "renewal": "renewals to come",
    "expansion": "expansions",
    "contraction": "contractions",
    "change_order": "change orders",
    "referral": "referrals",
    "reactivation": "return after a lapse",
    "catch_up": "served, booked late",
}
LEAST_PART = 0.01
"""Parts under this share are not worth a word."""


def show_account(console: Console, view: AccountView) -> None:
    """All that a customer-success manager asks of an account, on one page."""
    made = view.forecast
    unit = _unit(view)
    money = unit.label(made.currency)
    say(console, view.account_id, "bold")
    segments = "; ".join(f"{name.replace('_', ' ')}: {level}" for name, level in segments_of(view).items())
    if segments:
        say(console, segments)
    say(console, _so_far(view, unit))
    show_table(console, f"so far, {money}", _past_rows(view, unit), ["year"])
    say(console, "recognised: by the days on which it was served; booked: by the day on which it was agreed")
    if past_years(view)["partial"].any():
        say(console, f"* the year goes on: only what was until {made.as_of}")
    show_table(console, f"last bookings, {money}", _event_rows(view, unit), ["booked", "kind", "from"])
    shown = contracts(view)
    if len(shown):
        title = f"contracts, monthly revenue in {made.currency}"
        show_table(console, title, _contract_rows(shown), ["contract", "from", "to", "state"])
    gap(console)
    say(console, next_renewal(view), "bold")
    title = f"{made.settings.horizon_months} months from {made.as_of}, {money}: medians and {PROB:.0%} ranges"
    show_table(console, title, _coming_rows(view, unit), ["year", "to"])
    if coming_years(view)["partial"].any():
        say(console, "* part of a year: the window begins or ends inside it")
    say(console, _value_words(view))
    show_table(console, f"where it comes from, {money}: means, which add up", _origin_rows(view, unit), ["origin"])
    if view.plan is not None:
        _show_plan(console, view, unit)
    gap(console)
    say(console, "what drives it", "bold")
    for sentence in drivers(view):
        say(console, f"- {sentence}")


def _value_words(view: AccountView) -> str:
    """What stands behind the two columns of money ahead."""
    settings = view.forecast.settings
    how = [f"discounted at {settings.annual_discount_rate * 100:.4g}% a year"] if settings.annual_discount_rate else []
    how += [f"at a gross margin of {settings.gross_margin:.0%}"] if settings.gross_margin != 1.0 else []
    how += ["after the cost to serve"] if settings.cost_to_serve else []
    same = f"the same, {', '.join(how)}" if how else "the same, as nothing is discounted"
    return f"revenue: what it may bring, as often more as less; CLV: {same}"


def _unit(view: AccountView) -> MoneyUnit:
    """One for all its money, the plan's too."""
    coming = coming_years(view)
    ranges = [coming[[f"{kind}{name}" for name in ("lower", "q50", "upper")]].to_numpy() for kind in ("", "clv_")]
    if view.plan is not None:
        ranges.append(view.plan.steps(PROB)[["added_lower", "added", "added_upper"]].to_numpy())
        ranges.append(view.plan.total(PROB)[["lower", "mean", "upper"]].to_numpy())
    return range_unit(*np.vstack(ranges).T, beside=abs(view.row["clv_to_date"]))


def _so_far(view: AccountView, unit: MoneyUnit) -> str:
    renewed, decided = renewals_so_far(view)
    first = pd.Timestamp(int(view.forecast.history.lines["first_day"].to_numpy().min()), unit="D")
    row, currency = view.row, view.forecast.currency
    times = f"renewed {renewed} of {counted(decided, 'time')}" if decided else "no renewal decided yet"
    return (
        f"customer since {first:%Y-%m-%d}, {times}; as of {view.forecast.as_of} it has brought "
        f"{amount_text(row['clv_to_date'], unit, currency)} (booked: {in_unit_or_less(row['booked_to_date'], unit)})"
    )


def _past_rows(view: AccountView, unit: MoneyUnit) -> pd.DataFrame:
    years = past_years(view)
    shown = years.tail(LAST_YEARS)
    earlier = years.head(len(years) - len(shown))
    parts = [shown.assign(label=shown["label"] + shown["partial"].map({True: "*", False: ""}))]
    if len(earlier):
        sums = earlier[["recognised", "booked"]].sum()
        parts.insert(0, pd.DataFrame([{"label": f"to {earlier['label'].iloc[-1]}", **sums}]))
    parts.append(pd.DataFrame([{"label": "to date", **years[["recognised", "booked"]].sum()}]))
    rows = pd.concat(parts, ignore_index=True)
    return pd.DataFrame(
        {
            "year": rows["label"],
            **{n: rows[n].map(lambda m: in_unit_or_less(m, unit)) for n in ("recognised", "booked")},
        }
    )


def _event_rows(view: AccountView, unit: MoneyUnit) -> pd.DataFrame:
    events = last_events(view)
    return pd.DataFrame(
        {
            "booked": pd.to_datetime(events["event_date"]).dt.strftime("%Y-%m-%d"),
            "kind": events["kind"].str.replace("_", " "),
            "amount": ["" if pd.isna(amount) else in_unit_or_less(amount, unit) for amount in events["amount"]],
            "from": pd.to_datetime(events["start_date"]).dt.strftime("%Y-%m-%d"),
            "months": ["" if pd.isna(months) else f"{months:.0f}" for months in events["term_months"]],
        }
    )


def _contract_rows(shown: pd.DataFrame) -> pd.DataFrame:
    names = shown["contract_id"].fillna("")
    return pd.DataFrame(
        {
            **({"contract": names} if (names != "").any() else {}),
            "from": shown["start"].dt.strftime("%Y-%m-%d"),
            "to": shown["end"].dt.strftime("%Y-%m-%d"),
            "months": shown["months"],
            "monthly": shown["mrr"].map("{:,.0f}".format),
            "state": shown["state"],
        }
    )


def next_renewal(view: AccountView) -> str:
    """The probability of the next renewal with its range, and when it falls due, in a sentence."""
    row, shown = view.row, contracts(view)
    waiting = shown[~shown["state"].isin(["renewed", "notice given", "ends early"])]
    if pd.isna(row["p_next_renewal"]):
        return "next renewal: none is open."
    low, high = row["p_next_renewal_q05"], row["p_next_renewal_q95"]
    when = f" (its term ends on {waiting['end'].iloc[0]:%Y-%m-%d})" if len(waiting) else ""
    return f"next renewal{when}: {row['p_next_renewal']:.0%} probable (90% range {low:.0%} to {high:.0%})"


def _range(low: float, high: float, unit: MoneyUnit) -> str:
    return f"{in_unit_or_less(low, unit)} to {in_unit_or_less(high, unit)}"


def _coming_rows(view: AccountView, unit: MoneyUnit) -> pd.DataFrame:
    years = coming_years(view)
    return pd.DataFrame(
        {
            "year": years["label"] + years["partial"].map({True: "*", False: ""}),
            "to": years["to"].dt.strftime("%Y-%m-%d"),
            "revenue": years["q50"].map(lambda amount: in_unit_or_less(amount, unit)),
            "range": [_range(low, high, unit) for low, high in years[["lower", "upper"]].to_numpy()],
            "CLV": years["clv_q50"].map(lambda amount: in_unit_or_less(amount, unit)),
            "CLV range": [_range(low, high, unit) for low, high in years[["clv_lower", "clv_upper"]].to_numpy()],
        }
    )


def _origin_rows(view: AccountView, unit: MoneyUnit) -> pd.DataFrame:
    table = origins(view)
    rows = pd.DataFrame(
        {
            "origin": table["origin"].map(ORIGIN_WORDS),
            "mean": table["mean"].map(lambda amount: in_unit_or_less(amount, unit)),
            f"{PROB:.0%} range": [_range(low, high, unit) for low, high in table[["lower", "upper"]].to_numpy()],
        }
    )
    whole = {"origin": "all", "mean": in_unit_or_less(view.row["mean"], unit)}
    whole[f"{PROB:.0%} range"] = _range(view.row["lower"], view.row["upper"], unit)
    return pd.concat([rows, pd.DataFrame([whole])], ignore_index=True)


def _show_plan(console: Console, view: AccountView, unit: MoneyUnit) -> None:
    assert view.plan is not None
    steps = view.plan.steps(PROB)
    rows = pd.DataFrame(
        {
            "step": steps["kind"].str.replace("_", " "),
            "planned": steps["date"].dt.strftime("%Y-%m-%d"),
            "as stated": ["" if pd.isna(p) else f"{p:.0%}" for p in steps["stated"]],
            "in the forecast": [
                unlearned(stated) if pd.isna(p) else f"{p:.0%} ({low:.0%} to {high:.0%})"
                for stated, p, low, high in steps[["stated", "probability", "lower", "upper"]].to_numpy()
            ],
            "adds": steps["added"].map(lambda amount: in_unit_or_less(amount, unit)),
            f"{PROB:.0%} range": [
                _range(low, high, unit) for low, high in steps[["added_lower", "added_upper"]].to_numpy()
            ],
            "note": steps["note"],
        }
    )
    title = f"the plan, {unit.label(view.forecast.currency)}: what each step adds to revenue; steps do not add up"
    show_table(console, title, rows, ["step", "planned", "note"])
    say(console, "a step stands in place of what was expected of the account in that time: it may take away as well")


def drivers(view: AccountView) -> list[str]:
    """The two or three things that the account's value hangs on, and its plan, each in a sentence."""
    row, table = view.row, origins(view).set_index("origin")
    money, value = float(row["mean"]), float(row["discounted_mean"])
    if money <= 0.0:
        return ["Nothing is expected of it: its contract has ended, or is about to."]
    booked = float(table["mean"].reindex(["committed", "catch_up"]).fillna(0.0).sum()) / money
    told = [
        "Nothing of the expected revenue is under contract yet."
        if booked < LEAST_PART
        else f"{booked:.0%} of the expected revenue is already under contract or only late in being booked."
    ]
    lost = renewals_cost(view)
    if value > 0.0 and lost >= LEAST_PART * value:
        told.append(
            f"Renewals: were each {100 * POINTS:.0f} points less likely, its CLV would be "
            f"{amount_text(lost, _unit(view), view.forecast.currency)} ({lost / value:.0%}) lower."
        )
    spread = table["spread"].dropna().sort_values(ascending=False)
    named = [f"{ORIGIN_WORDS[str(name)]} ({part:.0%})" for name, part in spread.head(2).items() if part >= 0.05]
    if named:
        told.append(f"Its range is mostly that of: {' and '.join(named)}; shares are of the variance.")
    return [*told, *_plan_words(view)]


def _plan_words(view: AccountView) -> list[str]:
    if view.plan is None:
        return []
    total = view.plan.total(PROB).iloc[0]
    unit = _unit(view)
    verb = "adds" if total["mean"] >= 0.0 else "takes away"
    return [
        f"Its plan ({counted(len(view.plan.plans), 'open step')}) {verb} "
        f"{amount_text(abs(total['mean']), unit, view.forecast.currency)} of revenue "
        f"({_range(total['lower'], total['upper'], unit)}, {PROB:.0%} range), against what the model expects without it."
    ]


def plot_account_view(view: AccountView) -> Axes:
    """History and fan by quarter above, the distribution of the forward CLV below; returns the upper axes."""
    figure = new_figure(PICTURE_SIZE)
    above, below = figure.subplots(2, 1)
    plot_portfolio(view.forecast, above)
    plot_account(view.forecast, view.account_id, below)
    name = view.account_id if len(view.account_id) <= 80 else f"{view.account_id[:79]}…"
    figure.suptitle(f"{name}\n{next_renewal(view)}", x=0.01, ha="left", fontsize="medium")
    above.set_title(f"revenue, {view.forecast.settings.horizon_months} months ahead", loc="left", fontsize="medium")
    below.set_title(below.get_title(loc="left").split("\n", 1)[-1], loc="left", fontsize="medium")
    return above
