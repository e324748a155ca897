"""What the native charts of a workbook have in common, and the chart of revenue by period."""

from __future__ import annotations

import math
from typing import Any

from clvforecast.report.colours import BANDS, MEDIAN
from clvforecast.report.workbook.page import Book, Page, number_format

FONT = {"name": "Arial", "size": 9, "color": "#374151", "bold": False}
GRID = {"visible": True, "line": {"color": "#e5e7eb", "width": 0.75}}
QUIET_LINE = {"color": "#9aa3af", "width": 0.75}
WHISKER = {"color": "#111827", "width": 1.25}
SERVED_COLOUR, EXPECTED_COLOUR, WIDE_COLOUR = "#8a8f98", BANDS[0.50], MEDIAN
MOST_LABELS = 32
WIDEST, HEIGHT = 1500, 345
"""Pixels."""


def titled(name: str) -> dict[str, Any]:
    """A chart's title: a text, or the place of one ("=Bridge!$A$60")."""
    return {
        "name": name,
        "name_font": {"name": "Arial", "size": 11, "bold": True, "color": "#1f2937"},
        "overlay": False,
    }


def money_axis(book: Book, highest: float) -> dict[str, Any]:
    """An upright axis in the book's unit that holds the highest value, ends of ranges too."""
    shown = number_format("money", book.unit, book.currency)["num_format"].split("_)")[0]
    step = nice_step(highest)
    return {
        "name": book.money_in,
        "name_font": FONT,
        "num_font": FONT,
        "num_format": shown,
        "major_gridlines": GRID,
        "line": {"none": True},
        "major_tick_mark": "none",
        "max": step * math.ceil(highest / step) if highest > 0.0 else step,
        "major_unit": step,
    }


def nice_step(highest: float) -> float:
    """A round number of which four to eight make the axis.

    Examples
    --------
    >>> nice_step(309.8), nice_step(1_020.0), nice_step(0.0)
    (50.0, 250.0, 1.0)
    """
    if highest <= 0.0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(highest / 4.0))
    return max(size * factor for factor in (1.0, 2.0, 2.5, 5.0) if size * factor <= highest / 4.0)


def label_axis(count: int) -> dict[str, Any]:
    """A level axis of texts, turned where there are many, and not every one where there are very many."""
    turned = {"rotation": -45} if count > 14 else {}
    every = {"interval_unit": math.ceil(count / MOST_LABELS)} if count > MOST_LABELS else {}
    return {
        "num_font": {**FONT, **turned},
        "line": QUIET_LINE,
        "major_tick_mark": "none",
        "label_position": "low",
        **every,
    }


def whiskers(plus: str, minus: str) -> dict[str, Any]:
    """Error bars whose lengths stand in cells."""
    return {
        "type": "custom",
        "plus_values": f"={plus}",
        "minus_values": f"={minus}",
        "end_style": 1,
        "line": WHISKER,
    }


def finished(page: Page, chart: Any, title: str, columns: int | None = None, height: int = HEIGHT) -> Any:
    """With its title and legend, as wide as the sheet's columns."""
    chart.set_title(titled(title))
    chart.set_legend({"position": "bottom", "font": FONT})
    chart.set_size({"width": min(page.pixels(columns) - 12, WIDEST), "height": height, "object_position": 2})
    chart.set_chartarea({"border": {"color": "#d1d5db"}})
    return chart


def stacked(page: Page) -> Any:
    return page.book.workbook.add_chart({"type": "column", "subtype": "stacked"})


def forecast_chart(
    page: Page,
    first: int,
    last: int,
    columns: tuple[int, int, int, int, int],
    title: str,
    range_name: str,
    highest: float,
    height: int,
    has_past: bool,
) -> Any:
    """Recognised revenue and, stacked on it, what is to come, with its range; the rows first..last of the sheet.

    highest: the upper end of the widest range, for the axis.
    columns: of the labels, what is recognised, the mean to come, and the lengths of the range above and below it.
    """
    labels, served, expected, above, below = (f"={page.area(first, column, last, column)}" for column in columns)
    chart = stacked(page)
    if has_past:
        chart.add_series(
            {"name": "recognised", "categories": labels, "values": served, "fill": {"color": SERVED_COLOUR}, "gap": 45}
        )
    chart.add_series(
        {
            "name": f"expected (mean), with its {range_name}",
            "categories": labels,
            "values": expected,
            "fill": {"color": EXPECTED_COLOUR},
            "gap": 45,
            "y_error_bars": whiskers(above.lstrip("="), below.lstrip("=")),
        }
    )
    chart.set_x_axis(label_axis(last - first + 1))
    chart.set_y_axis(money_axis(page.book, highest))
    return finished(page, chart, title, columns[-1] - 1, height)
