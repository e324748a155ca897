"""The first sheet: what is expected, with ranges; a chart of it; and whether everything adds up."""

from __future__ import annotations

from typing import Any

import pandas as pd

from clvforecast.report.units import counted
from clvforecast.report.workbook.accounts import Layout, to_date_words
from clvforecast.report.workbook.bridge import MEASURES, Places
from clvforecast.report.workbook.charts import forecast_chart
from clvforecast.report.workbook.contents import RANGE, Contents, Missing
from clvforecast.report.workbook.page import BOLD, PAST, QUIET, TOTAL, Page, relative
from clvforecast.report.workbook.periods import word_of

SHEET = "Summary"
WIDTHS = (48.0, 13.0, 13.0, *[19.0] * 6, 11.0, 11.0)
FROM, TO, MEAN, MEDIAN, LOW, HIGH, SERVED, TOTAL_AT, ABOVE, BELOW = range(1, 11)
"""Columns of the sheet; the last two are lengths of whiskers, beside what is printed."""
VALUES = dict(zip(RANGE, (MEAN, MEDIAN, LOW, HIGH), strict=True))
CHART_ROWS, CHART_HEIGHT = 17, 298
LARGEST = 10
TITLES = {
    "next_quarter": "{} of the next whole quarter",
    "next_12_months": "{} of the next 12 months",
    "whole_window": "{} of the whole window",
    "rest_of_quarter": "{} still to come in the running quarter",
}
FIGURES = {"mean": "mean", "q50": "median", "lower": "low end", "upper": "high end"}


def write_summary(page: Page, contents: Contents, accounts: Layout, bridge: Places | None) -> None:
    """Headline figures, lifetime value, recurring revenue, the chart and its figures, how to read them, checks."""
    page.set_columns(WIDTHS)
    page.head(
        contents.title,
        f"{counted(len(contents.accounts), 'account')}, known as of {contents.as_of}; {page.book.money_in}; "
        f"{contents.range_name}s of {contents.draws:,} simulated worlds. Blue: given or simulated; black: formulas.",
    )
    whole_row, existing_row = _headline(page, contents)
    chart_row = page.row
    page.next(CHART_ROWS)
    _lifetime(page, contents, accounts, existing_row)
    if bridge is not None:
        _recurring(page, contents, bridge)
    _how_to_read(page, contents)
    first, last = _periods(page, contents, accounts, whole_row, existing_row)
    _checks(page)
    chart = _chart(page, contents, first, last)
    page.sheet.insert_chart(chart_row, 0, chart, {"x_offset": 4, "y_offset": 2})
    page.sheet.repeat_rows(0)
    page.printed(TOTAL_AT + 1)


def _chart(page: Page, contents: Contents, first: int, last: int) -> Any:
    title = f"{contents.counted.noun} by {word_of(contents.freq)}, {page.book.money_in}"
    past = contents.history if isinstance(contents.history, pd.DataFrame) else None
    highest = float(contents.periods["upper"].max())
    if past is not None:
        so_far = past["revenue"].iloc[-1] if past["partial"].iloc[-1] else 0.0
        highest = max(float(past["revenue"].max()), highest, float(contents.periods["upper"].iloc[0] + so_far))
    return forecast_chart(
        page,
        first,
        last,
        (0, SERVED, MEAN, ABOVE, BELOW),
        title,
        contents.range_name,
        highest,
        CHART_HEIGHT,
        past is not None,
    )


# --- headline -----------------------------------------------------------------------------------------------


def _headline(page: Page, contents: Contents) -> tuple[int, int]:
    """One row a stretch of time; returns the row of the whole window, and of existing customers alone: the same without new."""
    _range_heads(page, contents, f"{contents.counted.noun} to come", ("from", "to"))
    page.sheet.freeze_panes(page.row, 1)
    whole_row = page.row
    for row in contents.headline.to_dict("records"):
        look = BOLD if row["key"] in ("next_quarter", "next_12_months", "whole_window") else {}
        page.put(0, row["label"], **look)
        page.put(FROM, row["period_start"], "date")
        page.put(TO, row["period"], "date")
        for name, column in VALUES.items():
            page.put(column, row[name], "cash", **look)
            _named(
                page,
                column,
                f"clv_{row['key']}_{name}",
                f"{TITLES.get(row['key'], row['label']).format(contents.noun)}: {FIGURES[name]}",
                row[name],
            )
        whole_row = page.row if row["key"] == "whole_window" else whole_row
        page.next()
    existing_row = (
        whole_row if contents.new_customers is None else _by_customers(page, contents, contents.new_customers)
    )
    _discounted(page, contents)
    page.next()
    return whole_row, existing_row


def _by_customers(page: Page, contents: Contents, new_customers: float) -> int:
    """The whole window's existing customers, with their range, and the mean of the new; returns the row of the existing."""
    existing, whole_row = page.row, page.row - 1
    page.put(0, "   of which existing customers")
    for name, column in VALUES.items():
        value = contents.whole[name].iloc[0]
        page.put(column, value, "cash")
        _named(
            page, column, f"clv_existing_customers_{name}", f"existing customers, whole window: {FIGURES[name]}", value
        )
    page.next()
    page.put(0, "   of which new customers")
    page.put(MEAN, new_customers, "cash")
    _named(page, MEAN, "clv_new_customers_mean", "new customers, whole window: mean", new_customers)
    page.next()
    page.put(0, "   existing and new customers add up to the whole window", **QUIET)
    page.check(
        MEAN,
        f"{relative(existing, MEAN)}+{relative(existing + 1, MEAN)}-{relative(whole_row, MEAN)}",
        float(contents.whole["mean"].iloc[0]) + new_customers - _whole_mean(contents),
        "Existing and new customers add up to the whole window",
        **QUIET,
    )
    page.next()
    return existing


def _whole_mean(contents: Contents) -> float:
    """Of all that is in the headline, new customers too."""
    return float(contents.headline.set_index("key").loc["whole_window", "mean"])


def _range_heads(page: Page, contents: Contents, title: str, days: tuple[str, str] = ("", "")) -> None:
    page.heads([title, *days, "mean (adds up)", "median", *contents.ends], height=20.0)


def _named(page: Page, column: int, name: str, meaning: str, value: Any, kind: str = "cash") -> None:
    page.book.name(name, page.at(column), meaning, value, kind)


def _discounted(page: Page, contents: Contents) -> None:
    """The same window at today's value, as far as its range is known."""
    settings, whole = contents.about["Settings"], contents.whole.iloc[0]
    rate, margin = settings.get("annual_discount_rate", 0.0), settings.get("gross_margin", 1.0)
    cost = settings.get("cost_to_serve", 0.0)
    if not rate and margin == 1.0 and not cost:
        return
    how = " and ".join(
        words
        for words in (
            f"discounted at {rate:.1%} a year" if rate else "",
            f"{margin:.0%} margin" if margin != 1.0 else "",
            "after the cost to serve" if cost else "",
        )
        if words
    )
    how = contents.of_existing(how)
    page.put(0, f"   {how}")
    for name, column in VALUES.items():
        value = whole.get(f"discounted_{name}")
        page.put(column, value, "cash")
        if value is not None:
            _named(page, column, f"clv_discounted_{name}", f"the whole window, {how}: {FIGURES[name]}", value)
    page.next()


# --- lifetime value -----------------------------------------------------------------------------------------


def _lifetime(page: Page, contents: Contents, accounts: Layout, existing_row: int) -> None:
    """What accounts have brought, will bring, and both; the value after the window; how much hangs on the largest."""
    table = contents.accounts
    _range_heads(page, contents, contents.of_existing("Customer lifetime value, all accounts"))
    to_date = page.row
    counted = contents.counted
    beside = "clv_to_date" if counted.to_date == "booked_to_date" else "booked_to_date"
    for name, words in (
        (counted.to_date, f"CLV to date: {to_date_words(contents)} until {contents.as_of}"),
        (beside, f"{'recognised' if beside == 'clv_to_date' else 'booked'} until {contents.as_of}"),
    ):
        page.put(0, words)
        page.formula(MEAN, f"=SUM({accounts.area(name)})", table[name].sum(), "cash")
        page.next()
    brought = table[counted.to_date].sum()
    meaning = f"{contents.noun} {to_date_words(contents)} until as_of"
    page.book.name("clv_to_date", page.at(MEAN, to_date), meaning, brought, "cash")
    page.put(0, "CLV: to date and to come", **BOLD)
    whole = contents.whole.iloc[0]
    for name, column in VALUES.items():
        formula = f"={relative(to_date, MEAN)}+{relative(existing_row, column)}"
        value = brought + whole[name]
        page.formula(column, formula, value, "cash", **BOLD)
        _named(
            page,
            column,
            f"clv_total_{name}",
            f"{contents.of_existing('to date and to come in the window')}: {FIGURES[name]}",
            value,
        )
    page.next()
    _beyond(page, contents, accounts)
    _concentration(page, contents, accounts)
    page.next()


def _beyond(page: Page, contents: Contents, accounts: Layout) -> None:
    beyond = contents.accounts["beyond_horizon"]
    after_cost = ", after the cost to serve" if contents.about["Settings"].get("cost_to_serve") else ""
    page.put(0, f"discounted value after the window{after_cost}")
    if beyond.isna().all():
        page.put(MEAN, "without discounting it has no end", **QUIET)
        page.next()
        return
    page.formula(MEAN, f"=SUM({accounts.area('beyond_horizon')})", beyond.sum(), "cash")
    _named(page, MEAN, "clv_beyond_horizon_mean", f"discounted value after the window{after_cost}: mean", beyond.sum())
    page.next()
    page.put(0, "   its share of all discounted value")
    above, within = relative(page.row - 1, MEAN), f"SUM({accounts.area('discounted_mean')})"
    share = _share(beyond.sum(), beyond.sum() + contents.accounts["discounted_mean"].sum())
    page.formula(MEAN, f"=IF({above}+{within}=0,0,{above}/({above}+{within}))", share, "percent")
    page.next()


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _concentration(page: Page, contents: Contents, accounts: Layout) -> None:
    """The share of the largest accounts, by LARGE so that sorting the sheet changes nothing."""
    means = contents.accounts["mean"]
    count = min(LARGEST, len(means), accounts.rows)
    words = f"{count} largest accounts" if count > 1 else "largest account"
    page.put(0, f"{words}: share of {contents.noun} to come")
    area = accounts.area("mean")
    places = ",".join(str(place + 1) for place in range(count))
    formula = f"=IF(SUM({area})=0,0,SUMPRODUCT(LARGE({area},{{{places}}}))/SUM({area}))"
    page.formula(MEAN, formula, _share(means.nlargest(count).sum(), means.sum()), "percent")
    page.next()


# --- recurring revenue --------------------------------------------------------------------------------------


def _recurring(page: Page, contents: Contents, bridge: Places) -> None:
    """ARR now and a year ahead, and what of it was kept: links to the bridge."""
    _range_heads(page, contents, "Annual recurring revenue (ARR)")
    place, value = bridge.start
    page.put(0, f"ARR at the start of {bridge.start_label}")
    page.formula(MEAN, f"={place}", value, "cash")
    _named(page, MEAN, "arr_start", f"ARR at the start of {bridge.start_label}: mean", value)
    page.next()
    page.put(0, f"ARR at the end of {bridge.end_label}", **BOLD)
    for (name, column), (place, value) in zip(VALUES.items(), bridge.end, strict=True):
        page.formula(column, f"={place}", value, "cash", **BOLD)
        _named(page, column, f"arr_end_{name}", f"ARR at the end of {bridge.end_label}: {FIGURES[name]}", value)
    page.next()
    for measure, places in bridge.rates.items():
        page.put(0, f"{MEASURES[measure]}, 12 months")
        for name, (place, value) in zip(RANGE[1:], places, strict=True):
            page.formula(VALUES[name], f"={place}", value, "percent")
            meaning = f"{MEASURES[measure]} of the twelve months to the end of {bridge.end_label}: {FIGURES[name]}"
            _named(page, VALUES[name], f"{measure}_{name}", meaning, value, "percent")
        page.next()
    page.next()


# --- by period ----------------------------------------------------------------------------------------------


def _periods(page: Page, contents: Contents, accounts: Layout, whole_row: int, existing_row: int) -> tuple[int, int]:
    """The figures of the chart: history, then the forecast; returns the first and the last row."""
    past = contents.history if isinstance(contents.history, pd.DataFrame) else None
    served_so_far = 0.0 if past is None or not past["partial"].iloc[-1] else float(past["revenue"].iloc[-1])
    page.section(f"{contents.counted.noun} by {word_of(contents.freq)}: the figures of the chart")
    page.heads(
        [
            word_of(contents.freq),
            "from",
            "to",
            "to come: mean",
            "median",
            *contents.ends,
            contents.counted.done,
            "whole period (mean)",
            "whisker up",
            "and down",
        ],
        height=30.0,
    )
    first = page.row
    if past is not None:
        for row in past[~past["partial"].astype(bool)].itertuples():
            _past_row(page, row)
    begin = page.row
    for place, row in enumerate(contents.periods.to_dict("records")):
        is_known = past is not None or not row["partial"] or place > 0
        _period_row(page, row, served_so_far if place == 0 else 0.0, is_known)
    end = page.row - 1
    page.put(0, "all periods to come", **TOTAL)
    for column in (FROM, TO, MEDIAN, LOW, HIGH, SERVED, TOTAL_AT):
        page.put(column, None, **TOTAL)
    summed = float(contents.periods["mean"].sum())
    page.formula(MEAN, f"=SUM({relative(begin, MEAN)}:{relative(end, MEAN)})", summed, **TOTAL)
    page.book.name(
        "portfolio_table",
        page.area(begin, 0, end, TOTAL_AT),
        "revenue by period to come, one row a period, without heads",
    )
    page.next()
    page.put(0, "periods add up to the whole window", **QUIET)
    page.check(
        MEAN,
        f"{relative(page.row - 1, MEAN)}-{relative(whole_row, MEAN)}",
        summed - _whole_mean(contents),
        "Periods add up to the whole window",
        **QUIET,
    )
    page.next()
    page.put(0, contents.of_existing("accounts add up to the whole window"), **QUIET)
    page.check(
        MEAN,
        f"SUM({accounts.area('mean')})-{relative(existing_row, MEAN)}",
        float(contents.accounts["mean"].sum() - contents.whole["mean"].iloc[0]),
        contents.of_existing("Accounts add up to the whole window"),
        **QUIET,
    )
    page.next()
    _period_notes(page, contents)
    return first, end


def _past_row(page: Page, row: Any) -> None:
    page.put(0, row.label, **PAST)
    page.put(FROM, row.period_start, "date", **PAST)
    page.put(TO, row.period, "date", **PAST)
    for column in (MEAN, MEDIAN, LOW, HIGH):
        page.put(column, None, **PAST)
    page.put(SERVED, row.revenue, "money", **PAST)
    page.formula(TOTAL_AT, f"={relative(page.row, SERVED)}", row.revenue, **PAST)
    page.next()


def _period_row(page: Page, row: dict[str, Any], served: float, is_known: bool) -> None:
    """is_known: whether it is told what of the period was over by as_of; without it there is no figure of the whole period."""
    page.put(0, f"{row['label']}{' *' if row['partial'] else ''}")
    page.put(FROM, row["period_start"], "date")
    page.put(TO, row["to"], "date")
    for name, column in VALUES.items():
        page.put(column, row[name], "money", **(BOLD if name == "mean" else {}))
    page.put(SERVED, served if served else None, "money")
    mean, low, high = (relative(page.row, column) for column in (MEAN, LOW, HIGH))
    if is_known:
        page.formula(TOTAL_AT, f"={relative(page.row, SERVED)}+{mean}", served + row["mean"])
    else:
        page.put(TOTAL_AT, None)
    page.formula(ABOVE, f"=MAX({high}-{mean},0)", max(row["upper"] - row["mean"], 0.0), **QUIET)
    page.formula(BELOW, f"=MAX({mean}-{low},0)", max(row["mean"] - row["lower"], 0.0), **QUIET)
    page.next()


def _period_notes(page: Page, contents: Contents) -> None:
    if contents.periods["partial"].any():
        page.say(
            "* Only a part of the period is in the window: what is to come of it"
            + (
                f", beside what of it is {contents.counted.done}."
                if isinstance(contents.history, pd.DataFrame)
                else "."
            )
        )
    if isinstance(contents.history, Missing):
        page.say(f"No history: {contents.history.why}")
    if isinstance(contents.bridge, Missing):
        page.say(f"No ARR bridge: {contents.bridge.why}")
    page.next()


# --- words --------------------------------------------------------------------------------------------------


def _how_to_read(page: Page, contents: Contents) -> None:
    low, high = contents.ends
    tail = (1.0 - contents.ci_prob) / 2.0
    page.section("How to read a range")
    page.say(
        f"Each figure was simulated {contents.draws:,} times. In {contents.ci_prob:.0%} of these worlds it lies between {low} "
        f"and {high}; in one of {1.0 / tail:.0f} it is lower, in one of {1.0 / tail:.0f} higher.",
        "The median is as often exceeded as missed. The mean is what many such years would bring on average: use it where "
        "figures must add up. Where a few accounts may grow very large, it lies above the median.",
        "Ends of ranges must not be added: the worst cases of two segments or quarters seldom come together. Ranges of totals "
        "come from totals, world by world.",
        "A range knows what the model knows: how accounts have renewed, grown and left. It holds no event unlike any in the "
        + (
            "data, and no new customers."
            if contents.new_customers is None
            else "data. Customers still to be won are as assumed: they are in all that is to come by period and in the "
            "bridge, not in accounts and what is compared with them."
        ),
    )
    page.next()


def _checks(page: Page) -> None:
    page.section("Checks: each must be 0.00")
    for check in page.book.checks:
        page.put(0, check.words)
        page.formula(MEAN, f"={check.place}", check.value, "check")
        page.next()
