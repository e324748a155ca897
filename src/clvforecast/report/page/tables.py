"""HTML of tables and sections. Everything that is put into them is escaped here, and only here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from html import escape
from typing import NamedTuple


class Html(str):
    """A text that is markup already."""


class Figure(NamedTuple):
    """A number in a table: as it is shown, its range where it has one, and the exact value that the column is sorted by."""

    text: str
    value: float
    between: str = ""


class Spread(NamedTuple):
    """A range drawn to scale: places of its ends and its middle, as shares of the column's width."""

    low: float
    middle: float
    high: float


class Column(NamedTuple):
    """A column's title, and whether narrow screens leave it out."""

    title: str
    wide: bool = False


Content = str | Figure | Spread


def text(content: str) -> Html:
    """Escaped, unless it is markup already.

    Examples
    --------
    >>> text('</script> "quoted" & more')
    '&lt;/script&gt; &quot;quoted&quot; &amp; more'
    """
    return content if isinstance(content, Html) else Html(escape(content))


def tag(name: str, content: str = "", **attributes: str) -> Html:
    """One element; ``class_`` is written class, and an underscore a hyphen.

    Examples
    --------
    >>> tag("p", "a < b", class_="lead", data_unit="x")
    '<p class="lead" data-unit="x">a &lt; b</p>'
    """
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{written}>{text(content)}</{name}>")


def name_of(thing: str) -> Html:
    """A name from the data, kept apart from the direction of the text around it."""
    return tag("bdi", thing)


def date_of(day: date) -> Html:
    """A day as YYYY-MM-DD, which does not break."""
    return tag("time", f"{day:%Y-%m-%d}")


def join(parts: Iterable[str]) -> Html:
    return Html("".join(text(part) for part in parts))


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Content]], kind: str = "") -> Html:
    """A table in a box of its own that scrolls; the first cell of every row is its heading.

    Ranges are as wide as the widest, so that the figures before them stand under each other.  kind: "sortable", "stacked" with
    ranges under their figures, or "cards", whose rows stand one under the other on narrow screens.
    """
    filled = [list(row) for row in rows]
    figures = [[cell for row in filled if isinstance(cell := row[at], Figure)] for at in range(len(columns))]
    numeric = [bool(found) for found in figures]
    ranged = [any(figure.between for figure in found) for found in figures]
    heads = [
        _head(column, kind == "sortable" and column.title != "", n) for column, n in zip(columns, numeric, strict=True)
    ]
    body = [
        tag(
            "tr",
            join(_cell(content, columns[at], at == 0, ranged[at], "cards" in kind) for at, content in enumerate(row)),
        )
        for row in filled
    ]
    inner = join(
        [tag("caption", caption), tag("thead", tag("tr", join(heads))), tag("tbody", Html("\n".join(["", *body, ""])))]
    )
    widest = max((len(figure.between) + 2 for found in figures for figure in found), default=0)
    drawn = tag("table", inner, style=f"--range:{widest}ch", **_named(kind))
    box = tag("div", drawn, class_="scroll", tabindex="0", role="region", aria_label=caption)
    return join([tag("p", caption, class_="caption", aria_hidden="true"), box])


def _head(column: Column, sortable: bool, numeric: bool) -> Html:
    content = tag("button", column.title, type="button") if sortable else column.title
    return tag("th", content, scope="col", **_named("wide" * column.wide, "n" * numeric))


def _named(*classes: str) -> dict[str, str]:
    """The class attribute, where there is any."""
    given = " ".join(filter(None, classes))
    return {"class_": given} if given else {}


def _cell(content: Content, column: Column, is_head: bool, is_ranged: bool, is_named: bool) -> Html:
    """is_named: with its column's title, for where that is not above it."""
    kind, inner = "", ""
    attributes = {"data_title": column.title} if is_named else {}
    if isinstance(content, Figure):
        kind = "n"
        attributes |= {"data_value": repr(float(content.value))}
        between = f"({content.between})" if content.between else ""
        inner = join([content.text, " ", tag("span", between, class_="range")] if is_ranged else [content.text])
    elif isinstance(content, Spread):
        kind, inner = "spread", _spread(content)
    else:
        inner = content
    attributes |= _named("wide" * column.wide, kind)
    return tag("th", inner, scope="row", **attributes) if is_head else tag("td", inner, **attributes)


def _spread(spread: Spread) -> Html:
    low, middle, high = (100.0 * min(max(share, 0.0), 1.0) for share in spread)
    bar = tag("i", style=f"left:{low:.2f}%;width:{max(high - low, 0.5):.2f}%")
    dot = tag("b", style=f"left:{middle:.2f}%")
    return tag("span", join([bar, dot]), aria_hidden="true")


def section(anchor: str, title: str, *content: str) -> Html:
    heading = tag("h2", title, id=f"{anchor}-title")
    return tag("section", join([heading, *content]), id=anchor, aria_labelledby=f"{anchor}-title")


def chart(anchor: str, label: str, *figures: str) -> Html:
    """Room for a picture that the script draws and captions, what it shows in words, and its figures as a table to be opened."""
    room = tag("div", class_="chart", id=f"{anchor}-chart", role="img", aria_label=label)
    told = tag("details", join([tag("summary", "Show the figures"), *figures]), class_="figures") if figures else ""
    return tag("figure", join([tag("figcaption", "", id=f"{anchor}-caption"), room, told]))
