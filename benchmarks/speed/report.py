"""Tables and plot from the results, written between marks into the READMEs: figures there are those that were measured."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from speed.bench import step_of
from speed.children import DONE
from speed.figures import (
    RENEWAL,
    TOOLS,
    Results,
    Timing,
    Tool,
    account_draws_a_second,
    converged,
    fit_seconds,
    fit_timing,
    gigabytes,
    predict_timing,
    read_results,
    seconds_text,
)
from speed.peers import SAMPLERS, SBG
from speed.store import RESULTS, ROOT, Record

PLOT = "time_by_accounts.png"
PAGES = (ROOT / "README.md", ROOT / "benchmarks" / "README.md")
NOTHING = "Not measured yet."


def write_report(folder: Path = RESULTS) -> None:
    """Print every table; for the project's own results, also write them into the READMEs and draw the plot."""
    results = read_results(folder)
    for name, table in TABLES.items():
        print(f"\n{name}\n\n{table(results)}")
    from speed.plot import draw

    draw(results, folder / PLOT)
    if folder.resolve() == RESULTS.resolve():
        for page in PAGES:
            page.write_text(rendered(page.read_text(encoding="utf-8"), results), encoding="utf-8")


def rendered(text: str, results: Results) -> str:
    """`text` with each table between its marks made anew."""

    def table(found: re.Match[str]) -> str:
        name = found["name"]
        return f"<!-- speed: {name} -->\n{TABLES[name](results)}\n<!-- speed end -->"

    marked = r"<!-- speed: (?P<name>[\w ]+) -->\n.*?<!-- speed end -->"
    return re.sub(marked, table, text, flags=re.DOTALL)


def growth_table(results: Results) -> str:
    """This package by number of accounts: seconds by stage, memory."""
    rows = []
    for n in results.sizes("growth"):
        counted, cold, warm = (
            results.get("growth", series, n) for series in ("count", "fit, contracts, cold", "fit, contracts, warm")
        )
        if counted is None:
            continue
        cells = [f"{n:,}", f"{step_of(counted, 'read').get('events', 0):,}"]
        cells += [_stage(counted, name) for name in ("read", "histories", "cells", "states")]
        cells += [*(_whole(record) for record in (cold, warm)), gigabytes(warm or cold)]
        rows.append(cells)
    heads = "accounts|events|read|histories|cells|states|fit, cold|fit, warm|peak of the fit"
    return table_of(heads.split("|"), rows)


def scoring_table(results: Results) -> str:
    """Scoring by number of accounts."""
    rows = []
    for record in results.scored("growth", "contracts"):
        scored, rate = step_of(record, "score"), account_draws_a_second(record)
        if rate is None:
            rows.append([f"{record['accounts']:,}", "", f"{record['ended']} {record['reason']}", "", ""])
            continue
        seconds = scored["seconds"] + step_of(record, "tables")["seconds"]
        draws = f"{scored['draws']:,}"
        rows.append([f"{record['accounts']:,}", draws, seconds_text(seconds), f"{rate:,.0f}", gigabytes(record)])
    return table_of(["accounts", "draws", "time", "account-draws a second", "peak"], rows)


def peers_table(results: Results) -> str:
    """Every tool at every size: fit, effective draws, prediction, and how much longer its fit takes."""
    rows = []
    for n in results.sizes("peers"):
        own = fit_timing(results, TOOLS[0], n)
        for tool in TOOLS:
            fit, record = fit_timing(results, tool, n), results.get("peers", tool.series, n)
            if fit is None:
                continue
            predicted, found = predict_timing(results, tool, n), converged(record)
            least, shared = (found.get(name) for name in ("least_ess_bulk", "shared_ess_bulk"))
            rows.append(
                [
                    f"{n:,}",
                    tool.name,
                    f"{_accounts_fitted(results, tool, n):,}",
                    fit.text,
                    _times(fit, own) if tool is not TOOLS[0] else "",
                    f"{least:,.0f}" if least else "",
                    f"{shared:,.0f}" if shared else "",
                    f"{float(f'{least / fit.seconds:.3g}'):,g}" if least and fit.seconds else "",
                    predicted.text if predicted else "",
                    gigabytes(record),
                ]
            )
    heads = "accounts|package and model|fitted to|fit|times the first|least ESS|of mean and polarisation|least ESS a second|"
    heads += "every account|peak"
    return table_of(heads.split("|"), rows)


def _accounts_fitted(results: Results, tool: Tool, accounts: int) -> int:
    """How many accounts renewal is fitted to: this package takes a random sample where histories are too many."""
    return _own_accounts(results, accounts) if tool in TOOLS[:3] else accounts


def _own_accounts(results: Results, accounts: int) -> int:
    counted = step_of(results.get("peers", RENEWAL, accounts) or {"steps": []}, "cells")
    return int(counted.get("lines_used", accounts))


def agreement_table(results: Results) -> str:
    """Do both renewal models say the same? Chance of a first renewal by cohort, posterior mean and SD."""
    rows = []
    for n in results.sizes("peers"):
        own, *theirs = (
            converged(results.get("peers", series, n)).get("first_renewal", {})
            for series in (RENEWAL, *(SBG.format(sampler=said) for said in reversed(SAMPLERS.values())))
        )
        both = [own, next((found for found in theirs if found), {})]
        if not all(both):
            continue
        for cohort in sorted(both[0]):
            shown = [f"{mean:.3f} ± {sd:.3f}" for mean, sd in (found[cohort] for found in both)]
            rows.append([f"{n:,}", cohort, *shown])
    return table_of(["accounts", "cohort", "clvforecast", "PyMC-Marketing"], rows[-12:])


def aims_table(results: Results) -> str:
    """What was aimed at, and what was measured."""
    rows = [
        ["renewal, 10,000 accounts: times PyMC-Marketing's sBG", "30", _ratios(results, 10_000)],
        [
            f"the same, 100,000 accounts (ours fitted to {_own_accounts(results, 100_000):,} of them)",
            "300",
            _ratios(results, 100_000),
        ],
        ["Parquet to posterior, 1,000,000 accounts, cold", "60 s", _whole(_fit(results, "cold"))],
        ["the same, warm", "30 s", _whole(_fit(results, "warm"))],
        *_scoring_aims(results),
        ["scoring over its random numbers alone", "2.0", _floor(results)],
        ["same bytes: threads, batches, row order", "one digest", _digests(results)],
        ["`import clvforecast`", "1 s", _start(results, "import clvforecast")],
        ["`clvforecast --help`", "0.5 s", _start(results, "clvforecast --help")],
    ]
    return table_of(["what", "aim", "measured"], rows)


def machine_line(results: Results) -> str:
    """Which machine and which commit the figures belong to."""
    records = [*results.growth.values(), *results.peers.values()]
    if not records:
        return NOTHING
    machines = sorted({json.dumps(record["machine"], sort_keys=True) for record in records})
    commits = sorted({record["commit"] for record in records})
    peers = sorted({record["source"] for record in results.peers.values() if "pymc-marketing" in record["source"]})
    said = []
    for machine in map(json.loads, machines):
        memory = f"{machine['memory_gigabytes']:.0f} GB"
        said.append(f"{machine['processors']} cores ({machine['processor']}), {memory}, Python {machine['python']}")
    others = f" Other packages: {'; '.join(peers)}." if peers else ""
    return f"Measured on {'; '.join(said)}, at commit {', '.join(commits)}.{others}"


TABLES: dict[str, Callable[[Results], str]] = {
    "machine": machine_line,
    "aims": aims_table,
    "growth": growth_table,
    "scoring": scoring_table,
    "peers": peers_table,
    "agreement": agreement_table,
}


def table_of(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, or a line where there is nothing to show."""
    if not rows:
        return NOTHING
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _stage(record: Record, name: str) -> str:
    """Seconds of a stage, and the most memory of its process until its end; or how the process ended before."""
    told = step_of(record, name)
    if "seconds" not in told:
        return f"{record['ended']} {record['reason']}".strip()
    return f"{seconds_text(told['seconds'])}, {told['peak_bytes_so_far'] / 1e9:.2f} GB"


def _whole(record: Record | None) -> str:
    """Seconds of a whole process, imports and all; or how it ended."""
    if record is None:
        return "not measured"
    seconds = fit_seconds(record)
    return seconds_text(seconds) if seconds is not None else f"{record['ended']} {record['reason']}".strip()


def _times(fit: Timing, own: Timing | None) -> str:
    """How many times as long a fit takes as this package's renewal component; empty where one is not known."""
    if own is None or own.seconds is None or not (fit.seconds or fit.at_least):
        return ""
    times = (fit.seconds or fit.at_least) / own.seconds
    return ("" if fit.seconds else "more than ") + (f"{times:,.0f}" if times >= 10 else f"{times:.2g}")


def _fit(results: Results, state: str) -> Record | None:
    return results.get("growth", f"fit, contracts, {state}", 1_000_000)


def _ratios(results: Results, accounts: int) -> str:
    """How many times as long PyMC-Marketing's fits take as this package's, from data to posterior."""
    own = fit_timing(results, TOOLS[0], accounts)
    said = []
    for sampler in SAMPLERS.values():
        tool = next(tool for tool in TOOLS if tool.series == SBG.format(sampler=sampler))
        fit = fit_timing(results, tool, accounts)
        if fit is not None and (times := _times(fit, own)):
            said.append(f"{times} {sampler}")
    return ", ".join(said) or "not measured"


def _scoring_aims(results: Results) -> list[list[str]]:
    """Of the largest number of accounts scored."""
    done = [record for record in results.scored("growth", "contracts") if record["ended"] == DONE]
    names = ("scoring, account-draws a second", "the same, peak memory")
    if not done:
        return [[names[0], "3,000,000", "not measured"], [names[1], "2 GB", "not measured"]]
    largest = done[-1]
    accounts = f"{largest['accounts']:,} accounts"
    rate = account_draws_a_second(largest) or 0.0
    return [[f"{names[0]}, {accounts}", "3,000,000", f"{rate:,.0f}"], [names[1], "2 GB", gigabytes(largest)]]


def _floor(results: Results) -> str:
    records = list(results.of("growth", "random floor").values())
    found = step_of(records[-1], "floor") if records else {}
    return f"{found['simulation_ns'] / found['floor_ns']:.1f}" if found else "not measured"


def _digests(results: Results) -> str:
    for record in results.of("growth", "identical").values():
        digests = {told["digest"] for told in record["steps"] if "digest" in told}
        ways = sum("digest" in told for told in record["steps"])
        if ways and record["ended"] == DONE:
            return f"{len(digests)} digest{'s' * (len(digests) > 1)} of {ways} ways"
    return "not measured"


def _start(results: Results, name: str) -> str:
    record = results.get("growth", "start", 0)
    seconds = step_of(record, name).get("seconds") if record else None
    return seconds_text(seconds) if seconds is not None else "not measured"
