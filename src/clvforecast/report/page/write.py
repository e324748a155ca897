"""The page as one file: sections, numbers, style, script and the chart library, with a policy that lets nothing in or out."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clvforecast.report.files import replacing
from clvforecast.report.page import flows, front, sections
from clvforecast.report.page import plans as plan_section
from clvforecast.report.page.data import PageData, gather
from clvforecast.report.page.payload import as_json, payload
from clvforecast.report.page.tables import Html, join, tag

if TYPE_CHECKING:
    import pandas as pd

    from clvforecast.backtest import Backtest
    from clvforecast.forecast import Forecast
    from clvforecast.plans import Plans

SCRIPTS = ("format.js", "data.js", "charts.js", "portfolio.js", "tables.js", "list.js", "account.js", "start.js")
"""In this order one script: later ones use what earlier ones define."""
POLICY = ("default-src 'none'", "style-src 'unsafe-inline'", "img-src data:", "base-uri 'none'", "form-action 'none'")
"""Of the content: nothing is fetched from anywhere, and of scripts only the page's own two may run."""
NAVIGATION = {
    "headline": "At a glance",
    "revenue": "",
    "bridge": "ARR bridge",
    "retention": "Retention",
    "segments": "Segments",
    "accounts": "Accounts",
    "plans": "Plans",
    "scenarios": "Scenarios",
    "calibration": "Track record",
}


def write_page(
    forecast: Forecast,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    comparison: Any = None,
    backtest: Backtest | None = None,
    plan_table: pd.DataFrame | None = None,
    plans: Plans | None = None,
    ci_prob: float = 0.9,
) -> None:
    """Write a forecast as one HTML file that opens anywhere, also without a network: for finance and customer success.

    Headline figures, the portfolio with its ranges, ARR bridge and retention, segments, every account with its own view, and
    what it was made from. What the forecast does not have is left out, and the page says how to get it.

    Parameters
    ----------
    forecast
        With its ledger, for all that is past; without one (`load_forecast`) the page begins at as_of.
    path
        Of the file; it is written whole or not at all, and its folder is made.
    title
        Above everything; a company's or a portfolio's name.
    comparison
        Scenarios, from `compare`.
    backtest
        From `backtest`: whether earlier forecasts held.
    plan_table
        From `PlanValue.steps`; when not given, the steps that the forecast was made with.
    plans
        From `read_plans`: its rejected rows and warnings stand in the section of plans.
    ci_prob
        Probability of the ranges in words and tables, one of the forecast's ``ci_probs``.

    Raises
    ------
    ForecastError
        For a `ci_prob` that was not kept, a plan table without accounts, or a comparison from another day or over another window.

    Examples
    --------
    >>> import clvforecast as clv
    >>> clv.write_page(forecast, "forecast.html", title="Renewals, FY27")  # doctest: +SKIP
    """
    data = gather(
        forecast,
        title=title,
        comparison=comparison,
        backtest=backtest,
        plan_table=plan_table,
        plans=plans,
        ci_prob=ci_prob,
    )
    page = page_html(data).encode("utf-8", errors="xmlcharrefreplace")
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(page)


def page_html(data: PageData) -> str:
    """The whole document; the same bytes for the same data."""
    from plotly.offline import get_plotlyjs

    library, script = _closed(get_plotlyjs()), _closed("\n".join(_asset(name) for name in SCRIPTS))
    style = _asset("style.css")
    body = join(
        [
            tag("a", "Skip to the figures", href="#headline", class_="skip"),
            *_main(data),
            Html('<dialog id="account-view" aria-labelledby="account-name"></dialog>'),
            Html(f'<script type="application/json" id="data">{as_json(payload(data))}</script>'),
            Html(f"<script>{library}</script>"),
            Html(f"<script>{script}</script>"),
        ]
    )
    policy = "; ".join([*POLICY, f"script-src {_hash(library)} {_hash(script)}"])
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">')}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
{tag("title", f"{data.title}, as of {data.as_of}")}
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _main(data: PageData) -> list[Html]:
    parts = {
        "headline": join([front.headline(data), front.notes(data)]),
        "revenue": sections.revenue(data),
        "bridge": flows.bridge(data),
        "retention": flows.retention(data),
        "segments": sections.segments(data),
        "accounts": sections.accounts(data),
        "plans": plan_section.plans(data),
        "scenarios": flows.scenarios(data),
        "calibration": flows.calibration(data),
    }
    links = join(
        tag("a", NAVIGATION[name] or data.counted.noun, href=f"#{name}") for name, part in parts.items() if part
    )
    theme = tag("button", "Theme: system", type="button", id="theme")
    bar = tag("nav", join([tag("div", links, class_="links"), theme]), aria_label="Sections")
    silent = tag(
        "noscript",
        tag("p", "Charts and the list of accounts need JavaScript; all other figures are here.", class_="warnings"),
    )
    return [
        bar,
        tag("main", join([front.header(data), silent, *parts.values(), front.left_out(data)])),
        front.footer(data),
    ]


def _asset(name: str) -> str:
    return (files("clvforecast.report.page") / name).read_text(encoding="utf-8")


def _closed(script: str) -> str:
    """A script that cannot end its element early, with the line ends that a reader of HTML makes of it."""
    unified = script.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\\0")
    return re.sub(r"<(?=/script|!--)", r"\\x3c", unified, flags=re.IGNORECASE)


def _hash(script: str) -> str:
    """The script's name in the content security policy: no other may run."""
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
