"""Fiscal calendars: against calendars that companies publish, and the laws that every one of them keeps."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

import clvforecast as clv
from clvforecast.calendars import MONTHS_IN, FiscalCalendar, as_days, day_of
from clvforecast.errors import ForecastError
from clvforecast.periods import covering_periods
from clvforecast.reduction import ForecastSettings

RETAIL = FiscalCalendar(2, weeks="4-5-4", rule="nearest", named_after="start")
"""National Retail Federation, "4-5-4 Calendar" (nrf.com/resources/4-5-4-calendar): Sundays to Saturdays, years that end on the
Saturday nearest 31 January, named by the year they begin in."""

CALENDARS = [
    FiscalCalendar(),
    FiscalCalendar(7),
    FiscalCalendar(10, named_after="start"),
    RETAIL,
    FiscalCalendar(10, weeks="4-4-5"),
    FiscalCalendar(8, weeks="5-4-4", ends_on="friday"),
    FiscalCalendar(1, weeks="4-4-5", ends_on="sunday", rule="nearest"),
    FiscalCalendar(1, weeks="4-4-5", named_after="start"),
    FiscalCalendar(12, weeks="4-5-4", ends_on="monday", rule="nearest"),
]


def rows(table: pd.DataFrame) -> list[str]:
    return [f"{row.label}: {row.start:%Y-%m-%d} to {row.end:%Y-%m-%d}" for row in table.itertuples()]


# --- months are calendar months -----------------------------------------------------------------------------


def test_a_year_from_january() -> None:
    calendar = FiscalCalendar()
    assert rows(calendar.periods("2027-01-31", "2027-03-01")) == [
        "FY27 P01: 2027-01-01 to 2027-01-31",
        "FY27 P02: 2027-02-01 to 2027-02-28",
        "FY27 P03: 2027-03-01 to 2027-03-31",
    ]
    assert rows(calendar.periods("2026-11-05", "2027-01-01", "quarter")) == [
        "FY26 Q4: 2026-10-01 to 2026-12-31",
        "FY27 Q1: 2027-01-01 to 2027-03-31",
    ]
    assert rows(calendar.periods("2028-02-29", "2028-02-29", "year")) == ["FY28: 2028-01-01 to 2028-12-31"]


def test_a_year_from_july() -> None:
    calendar = FiscalCalendar(start_month=7)
    assert rows(calendar.periods("2026-06-30", "2026-08-01")) == [
        "FY26 P12: 2026-06-01 to 2026-06-30",
        "FY27 P01: 2026-07-01 to 2026-07-31",
        "FY27 P02: 2026-08-01 to 2026-08-31",
    ]
    assert rows(calendar.periods("2026-07-01", "2027-06-30", "quarter")) == [
        "FY27 Q1: 2026-07-01 to 2026-09-30",
        "FY27 Q2: 2026-10-01 to 2026-12-31",
        "FY27 Q3: 2027-01-01 to 2027-03-31",
        "FY27 Q4: 2027-04-01 to 2027-06-30",
    ]
    assert calendar.period("2027-02-03", "year") == ("FY27", dt.date(2026, 7, 1), dt.date(2027, 6, 30))
    assert FiscalCalendar(7, named_after="start").period("2027-02-03", "year").label == "FY26"


def test_a_year_from_october() -> None:
    """The United States' government: fiscal year 2024 ran from 1 October 2023 to 30 September 2024 (31 U.S.C. 1102)."""
    calendar = FiscalCalendar(10)
    assert calendar.period(dt.date(2023, 10, 1), "year") == ("FY24", dt.date(2023, 10, 1), dt.date(2024, 9, 30))
    assert calendar.period(pd.Timestamp("2024-02-29 23:59"), "month").label == "FY24 P05"
    assert rows(calendar.periods("2023-12-31", "2024-01-01", "quarter")) == [
        "FY24 Q1: 2023-10-01 to 2023-12-31",
        "FY24 Q2: 2024-01-01 to 2024-03-31",
    ]


# --- months are weeks ---------------------------------------------------------------------------------------


def test_the_retail_year_2023_has_53_weeks_the_last_of_them_in_january() -> None:
    """Sunday, 29 January 2023 to Saturday, 3 February 2024 (NRF, calendar of 2023)."""
    assert rows(RETAIL.periods("2023-01-29", "2024-02-03")) == [
        "FY23 P01: 2023-01-29 to 2023-02-25",
        "FY23 P02: 2023-02-26 to 2023-04-01",
        "FY23 P03: 2023-04-02 to 2023-04-29",
        "FY23 P04: 2023-04-30 to 2023-05-27",
        "FY23 P05: 2023-05-28 to 2023-07-01",
        "FY23 P06: 2023-07-02 to 2023-07-29",
        "FY23 P07: 2023-07-30 to 2023-08-26",
        "FY23 P08: 2023-08-27 to 2023-09-30",
        "FY23 P09: 2023-10-01 to 2023-10-28",
        "FY23 P10: 2023-10-29 to 2023-11-25",
        "FY23 P11: 2023-11-26 to 2023-12-30",
        "FY23 P12: 2023-12-31 to 2024-02-03",
    ]


def test_the_retail_year_2024_has_52_weeks() -> None:
    """NRF, calendar of 2024: 4 February 2024 to 1 February 2025; December from the 1st to 4 January."""
    table = RETAIL.periods("2024-02-04", "2025-02-01")
    assert rows(table)[:3] == [
        "FY24 P01: 2024-02-04 to 2024-03-02",
        "FY24 P02: 2024-03-03 to 2024-04-06",
        "FY24 P03: 2024-04-07 to 2024-05-04",
    ]
    assert rows(table)[-2:] == ["FY24 P11: 2024-12-01 to 2025-01-04", "FY24 P12: 2025-01-05 to 2025-02-01"]


def test_retail_years_of_53_weeks_are_those_that_the_federation_lists() -> None:
    """NRF, "An explanation of the 53-week year": FY'00, FY'06, FY'12 and FY'17, and then FY'23."""
    years = RETAIL.periods("2000-06-01", "2024-06-01", "year")
    weeks = ((years["end"] - years["start"]).dt.days + 1) // 7
    assert years["label"][weeks == 53].tolist() == ["FY00", "FY06", "FY12", "FY17", "FY23"]


def test_years_that_end_on_the_last_saturday_of_september() -> None:
    """Apple Inc., forms 10-K: years ended 26 September 2020, 25 September 2021, 24 September 2022, 30 September 2023 (53 weeks),
    28 September 2024; forms 10-Q of 2024: quarters ended 30 December 2023, 30 March and 29 June 2024."""
    calendar = FiscalCalendar(10, weeks="4-4-5")
    years = calendar.periods("2020-01-01", "2024-09-28", "year")
    assert years["label"].tolist() == ["FY20", "FY21", "FY22", "FY23", "FY24"]
    ends = ["2020-09-26", "2021-09-25", "2022-09-24", "2023-09-30", "2024-09-28"]
    assert years["end"].dt.strftime("%Y-%m-%d").tolist() == ends
    assert (years["end"] - years["start"]).dt.days.tolist() == [363, 363, 363, 370, 363]
    assert rows(calendar.periods("2023-10-01", "2024-09-28", "quarter")) == [
        "FY24 Q1: 2023-10-01 to 2023-12-30",
        "FY24 Q2: 2023-12-31 to 2024-03-30",
        "FY24 Q3: 2024-03-31 to 2024-06-29",
        "FY24 Q4: 2024-06-30 to 2024-09-28",
    ]
    # the 53rd week is the last one: of 4-4-5, P12 gets six
    assert calendar.period("2023-09-30") == ("FY23 P12", dt.date(2023, 8, 20), dt.date(2023, 9, 30))


def test_years_that_end_on_the_last_saturday_of_july() -> None:
    """Cisco Systems, forms 10-K: years ended 27 July 2019, 25 July 2020, 31 July 2021 (53 weeks), 30 July 2022, 29 July 2023."""
    years = FiscalCalendar(8, weeks="4-4-5").periods("2019-07-01", "2023-07-01", "year")
    assert rows(years)[1:] == [
        "FY20: 2019-07-28 to 2020-07-25",
        "FY21: 2020-07-26 to 2021-07-31",
        "FY22: 2021-08-01 to 2022-07-30",
        "FY23: 2022-07-31 to 2023-07-29",
    ]


def test_a_year_that_drifts_over_new_year_keeps_its_name() -> None:
    """Johnson & Johnson, forms 10-K: the Sunday nearest the end of December; fiscal 2020 ended 3 January 2021, 2021 on 2 January
    2022, 2022 on 1 January 2023, 2023 on 31 December 2023."""
    calendar = FiscalCalendar(1, weeks="4-4-5", ends_on="sunday", rule="nearest")
    assert rows(calendar.periods("2021-01-01", "2023-12-31", "year")) == [
        "FY20: 2019-12-30 to 2021-01-03",
        "FY21: 2021-01-04 to 2022-01-02",
        "FY22: 2022-01-03 to 2023-01-01",
        "FY23: 2023-01-02 to 2023-12-31",
    ]


# --- laws ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("calendar", CALENDARS, ids=str)
def test_periods_tile_the_days_and_quarters_and_years_are_made_of_months(calendar: FiscalCalendar) -> None:
    """Over 600 months."""
    first, last = day_of("1999-12-27"), day_of("2050-01-02")
    spans = {freq: calendar.spans(first, last, freq) for freq in MONTHS_IN}
    for freq, (labels, bounds) in spans.items():
        assert len(labels) == len(bounds) - 1 == len(set(labels))
        assert (np.diff(bounds) > 0).all()
        assert bounds[0] <= first < bounds[1] and bounds[-2] <= last < bounds[-1], freq
    for freq, labels_inside in (("quarter", "Q"), ("year", "")):
        inner = spans[freq].bounds[1:-1]
        assert np.isin(inner, spans["month"].bounds).all()
        months_in = np.diff(np.searchsorted(spans["month"].bounds, inner))
        assert (months_in == MONTHS_IN[freq]).all()
        assert all(labels_inside in label for label in spans[freq].labels)


@pytest.mark.parametrize("calendar", CALENDARS, ids=str)
def test_years_are_as_long_as_they_should_be_and_end_where_they_should(calendar: FiscalCalendar) -> None:
    labels, bounds = calendar.spans(day_of("1975-01-01"), day_of("2060-01-01"), "year")
    last_days = pd.DatetimeIndex(as_days(bounds[1:] - 1))
    month_end = (last_days - pd.Timedelta(days=10)) + pd.offsets.MonthEnd(0)
    past = np.asarray((month_end - last_days).days)
    assert (month_end.month == (calendar.start_month - 2) % 12 + 1).all()
    if calendar.weeks is None:
        assert (past == 0).all()
    else:
        assert set(np.diff(bounds)) == {364, 371}
        assert set(last_days.day_name().str.lower()) == {calendar.ends_on}
        low, high = (0, 6) if calendar.rule == "last" else (-3, 3)
        assert past.min() == low and past.max() == high
    named = month_end.year - (calendar.named_after == "start" and calendar.start_month > 1)
    assert list(labels) == [f"FY{year % 100:02d}" for year in named]


@pytest.mark.parametrize("calendar", CALENDARS, ids=str)
def test_months_of_weeks_have_the_pattern_and_the_last_one_what_is_left(calendar: FiscalCalendar) -> None:
    (year,), bounds = calendar.spans(day_of("2023-08-15"), day_of("2023-08-15"), "year")
    labels, months = calendar.spans(int(bounds[0]), int(bounds[1]) - 1, "month")
    assert list(labels) == [f"{year} P{number:02d}" for number in range(1, 13)]
    if calendar.weeks is not None:
        expected = [7 * int(weeks) for weeks in calendar.weeks.split("-")] * 4
        expected[-1] += int(np.diff(bounds)[0]) - 364
        assert np.diff(months).tolist() == expected


@pytest.mark.parametrize("calendar", CALENDARS, ids=str)
def test_the_period_of_a_day_is_the_one_that_covers_it(calendar: FiscalCalendar) -> None:
    for freq in MONTHS_IN:
        table = calendar.periods("2019-12-25", "2022-01-10", freq)
        for day in pd.date_range("2019-12-25", "2022-01-10", freq="11D"):
            (covering,) = table[(table["start"] <= day) & (day <= table["end"])].itertuples(index=False)
            found = calendar.period(day, freq)
            assert found == (covering.label, covering.start.date(), covering.end.date())


# --- what is asked wrongly ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start_month": 0}, "start_month=0"),
        ({"start_month": 13}, "start_month=13"),
        ({"start_month": 7.0}, "start_month=7.0"),
        ({"start_month": True}, "start_month=True"),
        ({"weeks": "4-4-4"}, "weeks='4-4-4' is not known. Use one of None, '4-4-5'"),
        ({"weeks": "4-4-5", "ends_on": "Saturday"}, "Use one of 'monday'"),
        ({"weeks": "4-4-5", "rule": "first"}, "rule='first'"),
        ({"named_after": "middle"}, "named_after='middle'"),
        ({"rule": "nearest"}, "without weeks"),
    ],
)
def test_impossible_calendars_are_refused(options: dict, words: str) -> None:
    with pytest.raises(ForecastError) as error:
        FiscalCalendar(**options)
    assert words in str(error.value)


def test_wrong_questions_say_what_to_do() -> None:
    calendar = FiscalCalendar()
    for ask, words in (
        (lambda: calendar.period("2026-02-30"), "is not a day"),
        (lambda: calendar.period("May 2026"), "is not a day"),
        (lambda: calendar.period(pd.NaT), "is not a day"),
        (lambda: calendar.period(20_000), "is not a day"),
        (lambda: calendar.periods("2026-02-02", "2026-02-01"), "2026-02-01, comes before the first, 2026-02-02"),
        (lambda: calendar.period("2026-02-01", "week"), "'month', 'quarter', 'year'"),
    ):
        with pytest.raises(ForecastError, match=words):
            ask()


def test_settings_with_a_calendar_are_json_and_come_back() -> None:
    for calendar in CALENDARS:
        settings = ForecastSettings(calendar=calendar)
        assert ForecastSettings.model_validate_json(settings.model_dump_json()) == settings
        assert ForecastSettings(**settings.model_dump(mode="json")).calendar == calendar
    assert "calendar" not in ForecastSettings().model_dump()
    assert clv.FiscalCalendar is FiscalCalendar


# --- pandas' period ends ------------------------------------------------------------------------------------


def covered(freq: str, calendar: FiscalCalendar | None) -> list[str]:
    """Labels and last days of what covers 15 August 2026 to 15 November 2026."""
    labels, bounds = covering_periods(day_of("2026-08-15"), day_of("2026-11-15"), freq, calendar)
    ends = as_days(bounds[1:] - 1).astype("datetime64[D]")
    return [f"{label}: {end}" for label, end in zip(labels, ends, strict=True)]


@pytest.mark.parametrize(
    ("freq", "calendar", "expected"),
    [
        ("QE", None, ["FY26 Q3: 2026-09-30", "FY26 Q4: 2026-12-31"]),
        ("QE-JUN", None, ["FY27 Q1: 2026-09-30", "FY27 Q2: 2026-12-31"]),
        ("QE-JAN", None, ["FY27 Q3: 2026-10-31", "FY27 Q4: 2027-01-31"]),
        ("YE-SEP", None, ["FY26: 2026-09-30", "FY27: 2027-09-30"]),
        ("YE", FiscalCalendar(7), ["2026-12-31: 2026-12-31"]),
        ("YE-JUN", FiscalCalendar(7), ["FY27: 2027-06-30"]),
        ("QE", FiscalCalendar(7), ["FY27 Q1: 2026-09-30", "FY27 Q2: 2026-12-31"]),
        ("QE-JUN", FiscalCalendar(), ["FY26 Q3: 2026-09-30", "FY26 Q4: 2026-12-31"]),
        ("QE", FiscalCalendar(2), ["2026-09-30: 2026-09-30", "2026-12-31: 2026-12-31"]),
        ("quarter", FiscalCalendar(2), ["FY27 Q3: 2026-10-31", "FY27 Q4: 2027-01-31"]),
    ],
)
def test_pandas_periods_have_the_calendar_s_labels_or_their_last_day(
    freq: str, calendar: FiscalCalendar | None, expected: list[str]
) -> None:
    assert covered(freq, calendar) == expected


def test_pandas_months_are_the_calendar_s_months() -> None:
    for calendar in (None, FiscalCalendar(7)):
        assert covered("ME", calendar) == covered("month", calendar)
        assert len(covered("ME", calendar)) == 4


@pytest.mark.parametrize("freq", ["W", "D", "s", "MS", "QS", "2QE", "BME", "fortnight", "", 3])
def test_periods_that_do_not_end_with_a_month_are_refused(freq: str) -> None:
    for calendar in (None, RETAIL):
        with pytest.raises(ForecastError, match=r"use 'month', 'quarter' or 'year'.*QE-JUN"):
            covering_periods(0, 100, freq, calendar)


@pytest.mark.parametrize("freq", ["ME", "QE", "QE-JUN", "YE-SEP"])
def test_calendar_months_do_not_fit_into_weeks(freq: str) -> None:
    with pytest.raises(ForecastError, match=r"this 4-5-4 calendar do not. Ask for its own periods: 'month'"):
        covering_periods(0, 100, freq, RETAIL)
