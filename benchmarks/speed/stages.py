"""What is measured of this package: ``python -m speed.stages STAGE ARGUMENTS STEPS``, each in a fresh process.

ARGUMENTS is JSON; STEPS the file that the process tells its steps to. Imports of the package are inside: they are timed too.
"""

import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speed.steps import Steps

if TYPE_CHECKING:
    from clvforecast import Forecast, Ledger

HORIZON_MONTHS = 60
STARTS = 5
FEW = 100
HELD_AT_ONE = 0.001
"""Prior SD of the logarithm of the exponent c, so that it is 1 for all that matters."""
RENEWAL_DRAWS = 1200
"""A chain, of the renewal component alone: effective draws are then at least those of the 1,000 that others draw."""


def count(steps: Steps, events: str, accounts: str, as_of: str, segments: list[str]) -> None:
    """Everything that grows with the ledger, step by step: histories and cells as a fit has them, states as a forecast."""
    with steps.step("import"):
        from clvforecast.cells import COUNTED, build_cells, build_frame
        from clvforecast.forecast import ACCOUNTS_AT_A_TIME
        from clvforecast.histories import build_histories
        from clvforecast.histories.build import slice_histories
        from clvforecast.histories.slices import account_slices
        from clvforecast.ledger import read_ledger
        from clvforecast.simulation.states import account_states
    with steps.step("read") as figures:
        ledger = read_ledger(events, accounts=accounts, as_of=as_of)
        figures["events"] = ledger.events.num_rows
    with steps.step("histories"):
        histories = build_histories(ledger, only=COUNTED)
    with steps.step("cells") as figures:
        frame = build_frame(histories, segments)
        cells = build_cells(histories, frame)
        figures |= {"renewal_cells": len(cells.renewal.count), "lines_used": cells.renewal.n_lines_used}
    with steps.step("states"):
        del histories
        for part in account_slices(ledger, ACCOUNTS_AT_A_TIME):
            account_states(slice_histories(part)[0], frame, ())


def fit(steps: Steps, events: str, accounts: str, as_of: str, segments: list[str], posterior: str) -> None:
    """From Parquet files to a converged posterior of all components, as a user does it."""
    with steps.step("import"):
        from clvforecast.ledger import read_ledger
        from clvforecast.posterior import fit as fit_all
    with steps.step("read"):
        ledger = read_ledger(events, accounts=accounts, as_of=as_of)
    with steps.step("fit"):
        made = fit_all(ledger, segments=segments, seed=1, progress=False)
    Path(posterior).parent.mkdir(parents=True, exist_ok=True)
    made.save(posterior)
    summary = made.summary()
    figures = {"least_ess_bulk": float(summary["ess_bulk"].min()), "worst_rhat": float(summary["rhat"].max())}
    steps.tell("converged", parameters=len(summary), **figures, notes=made.notes)


def renewal(steps: Steps, events: str, accounts: str, as_of: str, segments: list[str], free_clock: bool) -> None:
    """From Parquet files to a converged posterior of the renewal component alone: what other packages' renewal models do.

    Without a `free_clock` the prior holds the exponent c at 1, where the shifted beta-geometric has it.
    """
    with steps.step("import"):
        import nutpie  # noqa: F401  (PyMC's own sampler comes with its import too)

        from clvforecast.cells import COUNTED, build_frame
        from clvforecast.cells.renewal_cells import renewal_cells, sampled_counts
        from clvforecast.components import RenewalPriors
        from clvforecast.components.renewal import renewal_component
        from clvforecast.histories import build_histories
        from clvforecast.ledger import read_ledger
        from clvforecast.sampling import Settings, sample_components
    with steps.step("read"):
        ledger = read_ledger(events, accounts=accounts, as_of=as_of)
    with steps.step("histories"):
        histories = build_histories(ledger, only=COUNTED)
    with steps.step("cells") as figures:
        frame = build_frame(histories, segments)
        cells = renewal_cells(sampled_counts(histories, frame), frame)
        figures |= {"renewal_cells": len(cells.count), "lines": cells.n_lines, "lines_used": cells.n_lines_used}
    with steps.step("sampling"):
        priors = RenewalPriors() if free_clock else RenewalPriors(log_c_sd=HELD_AT_ONE)
        component = renewal_component(cells, frame, priors)
        # Labels are only for messages; a place's number will do.
        labels: Any = defaultdict(lambda: [str(place) for place in range(1000)])
        (sampled,) = sample_components([component], Settings(draws=RENEWAL_DRAWS, seed=1), lambda message: None, labels)
    from scipy.special import expit, logit

    from speed.effective import effective, means_and_sds

    draws = {name: variable.values for name, variable in sampled.variables.items()}
    by_cohort = expit(logit(draws["renewal_mu"])[..., None] + draws["renewal_segment_effect"])
    shared = effective({"mean": by_cohort, "polarisation": draws["renewal_phi"]})["least_ess_bulk"]
    first = means_and_sds(list(frame.levels["cohort"]), by_cohort)
    steps.tell("converged", **effective(draws), shared_ess_bulk=shared, first_renewal=first)


def score(steps: Steps, events: str, accounts: str, as_of: str, posterior: str, draws: int) -> None:
    """Every account and the portfolio, all components, 60 months, ranges of both."""
    with steps.step("import"):
        from clvforecast.forecast import forecast
        from clvforecast.ledger import read_ledger
        from clvforecast.posterior import load_posterior
    with steps.step("read"):
        trained = load_posterior(posterior)
        ledger = read_ledger(events, accounts=accounts, as_of=as_of)
    with steps.step("first score, loads or compiles the kernel"):
        forecast(trained, few(ledger, FEW), horizon_months=HORIZON_MONTHS, draws=10)
    with steps.step("score") as figures:
        made = forecast(trained, ledger, horizon_months=HORIZON_MONTHS, draws=draws)
        figures |= {"accounts": len(made.table), "draws": draws}
    with steps.step("tables"):
        made.accounts()
        made.portfolio(by=list(trained.frame.segments))


def identical(steps: Steps, events: str, accounts: str, as_of: str, posterior: str, draws: int) -> None:
    """One digest of all that is forecast for 1 and 2 threads, several batch sizes, and rows in another order."""
    from clvforecast.forecast import forecast
    from clvforecast.ledger import read_ledger
    from clvforecast.posterior import load_posterior
    from speed.company import shuffled

    trained, ledger = load_posterior(posterior), read_ledger(events, accounts=accounts, as_of=as_of)
    again = read_ledger(shuffled(events), accounts=shuffled(accounts), as_of=as_of)
    ways: dict[str, tuple[Ledger, dict[str, int]]] = {
        "1 thread": (ledger, {"threads": 1}),
        "2 threads": (ledger, {"threads": 2}),
        "batches of 7 accounts": (ledger, {"batch_accounts": 7}),
        "batches of 100 accounts, 2 threads": (ledger, {"batch_accounts": 100, "threads": 2}),
        "rows in another order": (again, {}),
    }
    for way, (known, spread) in ways.items():
        made = forecast(trained, known, horizon_months=HORIZON_MONTHS, draws=draws, **spread)
        steps.tell(way, digest=digest_of(made))


def start(steps: Steps) -> None:
    """Seconds until `import clvforecast` and `clvforecast --help` are done, interpreter included; the median of five."""
    calls = {
        "python": ["-c", "pass"],
        "import clvforecast": ["-c", "import clvforecast"],
        "clvforecast --help": ["-m", "clvforecast", "--help"],
    }
    for name, arguments in calls.items():
        steps.tell(name, seconds=round(statistics.median(_seconds(arguments) for _ in range(STARTS)), 3))


def _seconds(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def few(ledger: "Ledger", n: int) -> "Ledger":
    """The ledger of its first n accounts."""
    import dataclasses

    import pyarrow.compute as pc

    ids = ledger.accounts["account_id"][:n]
    return dataclasses.replace(
        ledger,
        accounts=ledger.accounts.slice(0, n),
        events=ledger.events.filter(pc.is_in(ledger.events["account_id"], ids)),
        later=ledger.later.filter(pc.is_in(ledger.later["account_id"], ids)),
    )


def digest_of(made: "Forecast") -> str:
    """A digest of the bytes of every account's and every month's figures."""
    digest = hashlib.sha256()
    for table in (made.accounts(), made.portfolio(freq="ME")):
        for name in table.columns:
            column = table[name]
            values = column.to_numpy() if column.dtype.kind in "fiub" else column.astype(str).str.cat(sep="\0").encode()
            digest.update(name.encode() + (values if isinstance(values, bytes) else values.tobytes()))
    digest.update(made.portfolio_draws(freq="ME").to_numpy().tobytes())
    return digest.hexdigest()


STAGES = {stage.__name__: stage for stage in (count, fit, renewal, score, identical, start)}

if __name__ == "__main__":
    name, arguments, told = sys.argv[1:]
    STAGES[name](Steps(Path(told)), **json.loads(arguments))
