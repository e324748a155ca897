"""The first sheet: what is expected, with ranges; a chart of it; and whether everything adds up."""

from __future__ import annotations

from typing import Any

from clvforecast.report.units import counted
from clvforecast.report.workbook.accounts import Layout, to_date_words
from clvforecast.report.workbook.bridge import MEASURES, Places
from clvforecast.report.workbook.contents import RANGE, Contents
from clvforecast.report.workbook.page import BOLD, QUIET, Page, relative
from clvforecast.report.workbook.summary_periods import (
    FROM,
    MEAN,
    TO,
    TOTAL_AT,
    VALUES,
    periods_chart,
    write_periods,
)

SHEET = "Summary"
WIDTHS = (48.0, 13.0, 13.0, *[19.0] * 6, 11.0, 11.0)
CHART_ROWS = 17
LARGEST = 10
TITLES = {
    "next_quarter": "{} of the next whole quarter",
    "whole_window": "{} of the whole window",
    "rest_of_quarter": "{} still to come in the running quarter",
}
FIGURES = {"mean": "mean", "q50": "median", "lower": "low end", "upper": "high end"}


def write_summary(page: Page, contents: Contents, accounts: Layout, bridge: Places | None) -> None:
    """Headline figures, lifetime value, recurring revenue, the chart and its figures, how to read them, checks."""
    page.set_columns(WIDTHS)
    page.head(
        contents.title,
        f"{counted(len(contents.accounts), 'account')}, known as of {contents.as_of}; money {page.book.shown_in}; "
        f"{contents.range_name}s of {contents.draws:,} simulated worlds. Blue: given or simulated; black: formulas.",
    )
    whole_row, existing_row = _headline(page, contents)
    chart_row = page.row
    page.next(CHART_ROWS)
    _lifetime(page, contents, accounts, existing_row)
    if bridge is not None:
        _recurring(page, contents, bridge)
    _how_to_read(page, contents)
    first, last = write_periods(page, contents, accounts, whole_row, existing_row)
    _checks(page)
    chart = periods_chart(page, contents, first, last)
    page.sheet.insert_chart(chart_row, 0, chart, {"x_offset": 4, "y_offset": 2})
    page.sheet.repeat_rows(0)
    page.printed_by_block(TOTAL_AT + 1)


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
                f"{_meaning(row, contents.noun)}: {FIGURES[name]}",
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
        float(contents.whole["mean"].iloc[0]) + new_customers - contents.whole_mean,
        "Existing and new customers add up to the whole window",
        **QUIET,
    )
    page.next()
    return existing


def _meaning(row: dict[str, Any], noun: str) -> str:
    """What a row of the headline is, for those who link to it from elsewhere: of a year with its days, which may be more."""
    if row["key"] == "next_12_months":
        return f"{noun}, {row['label'][0].lower()}{row['label'][1:]}, {row['period_start']:%Y-%m-%d} to {row['period']:%Y-%m-%d}"
    return TITLES.get(row["key"], f"{{}}, {row['label']}").format(noun)


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
    page.block()
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
    page.block()
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


# --- words --------------------------------------------------------------------------------------------------


def _how_to_read(page: Page, contents: Contents) -> None:
    low, high = contents.ends
    tail = (1.0 - contents.ci_prob) / 2.0
    page.block()
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
    page.block()
    page.section("Checks: each must be 0.00")
    for check in page.book.checks:
        page.put(0, check.words)
        page.formula(MEAN, f"={check.place}", check.value, "check")
        page.next()
