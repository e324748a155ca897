"""The benchmarks' parts that must be right whatever the speed: companies, limits, what is kept, what the tables say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import clvforecast as clv

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from speed import frames  # noqa: E402
from speed.bench import Bench  # noqa: E402
from speed.children import DONE, FAILED, OUT_OF_MEMORY, SKIPPED, TIMED_OUT, run_child  # noqa: E402
from speed.company import company, simulated_part  # noqa: E402
from speed.effective import effective  # noqa: E402
from speed.figures import TOOLS, Results, fit_timing, predict_timing, read_results  # noqa: E402
from speed.report import PAGES, rendered  # noqa: E402
from speed.store import RESULTS, Store  # noqa: E402

TELLS = "import sys; sys.path.insert(0, {path!r}); from pathlib import Path; from speed.steps import Steps; "
TELLS += "steps = Steps(Path(sys.argv[-1])); steps.tell('first', seconds=1.5); "


def child(code: str) -> list[str]:
    return [sys.executable, "-c", TELLS.format(path=str(BENCHMARKS)) + code]


def test_a_company_is_the_same_again_and_its_parts_are_not_copies(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("speed.company.PART", 60)
    made = company("contracts", 150, tmp_path)
    ledger = clv.read_ledger(made.events, accounts=made.accounts, as_of=made.as_of)
    assert (ledger.accounts.num_rows, ledger.read.rows, ledger.rejected_rows.num_rows) == (150, made.n_events, 0)
    assert company("contracts", 150, tmp_path) == made
    again = company("contracts", 150, tmp_path / "again")
    assert clv.read_ledger(again.events, accounts=again.accounts).fingerprint == ledger.fingerprint
    first, second = (simulated_part("contracts", part, 60)[0] for part in (0, 1))
    assert not np.isin(first["account_id"], second["account_id"]).any()
    assert first["amount"].tolist() != second["amount"].tolist()


def test_contracts_and_purchases_are_those_of_the_ledger(tmp_path: Path) -> None:
    made = company("annual", 400, tmp_path)
    ledger = clv.read_ledger(made.events, accounts=made.accounts, as_of=made.as_of)
    contracts, purchases = frames.contracts(ledger), frames.purchases(ledger)
    assert len(contracts) == len(purchases) == 400
    assert contracts["recency"].between(1, contracts["T"]).all()
    assert (contracts.groupby("cohort")["T"].nunique() == 1).all() and contracts["T"].min() >= 2
    # An account that bought every term there could be has a term that runs beyond the last day, and no other account has.
    terms = ledger.accepted.query("kind in ['initial', 'renewal']")
    running = (terms.groupby("account_id")["start_date"].max() + np.timedelta64(365, "D")) > np.datetime64(made.as_of)
    alive = contracts.set_index("customer_id").eval("recency == T")
    assert alive.sort_index().tolist() == running.sort_index().tolist()
    assert (purchases["recency"] <= purchases["T"]).all()
    assert ((purchases["frequency"] > 0) == (purchases["recency"] > 0)).all()


def test_a_process_tells_its_steps_whatever_its_end() -> None:
    done = run_child(child("x = bytearray(200_000_000)"), 30)
    assert done.ended == DONE and done.peak_bytes > 200e6
    assert [told["step"] for told in done.steps] == ["first"]
    stopped = run_child(child("import time; time.sleep(60)"), 1.0)
    assert stopped.ended == TIMED_OUT and stopped.steps and stopped.seconds < 30
    failed = run_child(child("raise SystemExit('no such model')"), 30)
    assert (failed.ended, failed.reason) == (FAILED, "no such model")
    away = run_child(child("raise SystemExit('no /home/someone/models/best.nc')"), 30)
    assert (away.ended, away.reason) == (FAILED, "no best.nc"), "where files lie is not kept"


@pytest.mark.skipif(sys.platform != "linux", reason="free memory is read from /proc")
def test_a_process_is_stopped_before_memory_is_out(monkeypatch) -> None:
    monkeypatch.setattr("speed.children.LEAST_FREE_BYTES", 2**60)
    assert run_child(child("import time; time.sleep(60)"), 30).ended == OUT_OF_MEMORY


def test_what_was_measured_is_kept_until_source_or_machine_change(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    origin = {"machine": {"processors": 2}, "source": "a"}

    def measured(origin: dict, code: str = "pass", series: str = "x", **options) -> dict:
        return Bench(Store(path, **options), origin, tmp_path, 20.0).measure(series, 10, child(code))

    first = measured(origin)
    assert measured(origin, "raise SystemExit(3)") == first
    assert measured(origin | {"source": "b"}, "raise SystemExit('other')")["reason"] == "other"
    assert measured(origin | {"source": "b"})["ended"] == DONE, "what failed is tried again"
    assert json.loads(path.read_text())["x | 10"]["source"] == "b"


def test_larger_sizes_are_not_tried_after_one_was_too_much(tmp_path: Path) -> None:
    bench = Bench(Store(tmp_path / "results.json"), {"machine": {}, "source": "a"}, tmp_path, 1.0)
    assert bench.measure("x", 10, child("import time; time.sleep(60)"))["ended"] == TIMED_OUT
    larger = bench.measure("x", 100, child("pass"))
    assert larger["ended"] == SKIPPED and "10 accounts: timed out" in larger["reason"]


def test_effective_draws_leave_out_what_never_varies() -> None:
    draws = np.random.default_rng(1).normal(size=(4, 500, 3))
    draws[..., 1] = 0.0
    found = effective({"a": draws, "b": draws[..., 0]})
    assert found["parameters"] == 3 and 1000 < found["least_ess_bulk"] < 3500 and found["worst_rhat"] < 1.02


def test_a_stopped_fit_is_at_least_as_long_as_its_limit() -> None:
    sbg = next(tool for tool in TOOLS if "sBG" in tool.name)
    record = {"series": sbg.series, "accounts": 10, "ended": TIMED_OUT, "reason": "", "seconds": 60.0, "peak_bytes": 1}
    fit_only = record | {"steps": [{"step": "import", "seconds": 4.0}, {"step": "fit", "seconds": 40.0}]}
    results = Results(peers={f"{sbg.series} | 10": fit_only})
    fit, predicted = fit_timing(results, sbg, 10), predict_timing(results, sbg, 10)
    assert fit is not None and fit.seconds == 40.0
    assert predicted is not None and (predicted.seconds, predicted.at_least) == (None, 16.0)
    assert predicted.text == "more than 16.0 s"
    nothing = Results(peers={f"{sbg.series} | 10": record | {"steps": []}})
    fit, predicted = fit_timing(nothing, sbg, 10), predict_timing(nothing, sbg, 10)
    assert fit is not None and fit.text == "more than 60.0 s"
    assert predicted is not None and predicted.text == "not reached"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_pages_show_the_results_that_are_kept(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<!-- speed: aims -->" in text
    assert rendered(text, read_results(RESULTS)) == text, "run `make bench-report`"
