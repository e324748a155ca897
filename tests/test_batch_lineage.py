"""Which runs count: a function of the runs and the current one alone, so that every going back can be undone."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from clvforecast.batch.folder import RunFolder, write_json
from clvforecast.batch.lineage import Lineage

NONE = Lineage((), None)


def made(lineage: Lineage, run_id: str, day: int) -> Lineage:
    """One more run, finished last."""
    return lineage.with_run(run_id, f"2027-01-{day:02}", f"{len(lineage.runs):04}")


def test_days_that_are_run_again_and_runs_that_are_gone_back_from() -> None:
    """Day 1 twice, the second mended, then day 2 and 3; back and on; and on to day 4 from day 2."""
    third = made(made(made(made(NONE, "bad", 1), "mended", 1), "second", 2), "third", 3)
    assert third.superseded == {"bad": "mended"}
    assert third.shown("mended").superseded == {"bad": "mended", "second": "mended", "third": "mended"}
    assert third.shown("bad").superseded == {"mended": "bad", "second": "bad", "third": "bad"}
    fourth = made(third.shown("second"), "fourth", 4)
    assert fourth.superseded == {"bad": "mended", "third": "second"}
    assert fourth.current == "fourth"
    assert fourth.shown("third").superseded == {"bad": "mended", "fourth": "third"}
    assert not fourth.counts("third") and fourth.counts("second") and not fourth.counts("never")


def test_an_earlier_day_that_is_run_again_takes_the_place_of_its_day_alone() -> None:
    lineage = made(made(made(NONE, "first", 1), "second", 3), "third", 5)
    filled = made(lineage, "filled", 2)
    assert (filled.current, filled.superseded) == ("third", {})
    again = made(made(filled, "mended", 3), "filled again", 2)
    assert again.superseded == {"second": "mended", "filled": "filled again"}
    assert again.shown("second").superseded["mended"] == "second"
    on = made(again, "fourth", 6)
    assert on.superseded == again.superseded
    other = made(again, "third again", 5)
    assert other.superseded == {**again.superseded, "third": "third again"}


@pytest.mark.parametrize("seed", range(200))
def test_laws_of_any_sequence(seed: int) -> None:
    rng, lineage = random.Random(seed), NONE
    for number in range(rng.randrange(2, 14)):
        if lineage.runs and rng.random() < 0.4:
            lineage = lineage.shown(rng.choice(lineage.runs).run_id)
        lineage = made(lineage, f"r{number}", rng.randrange(1, 9))
        days = {run.run_id: run.day for run in lineage.runs}
        counting = [run_id for run_id in days if lineage.counts(run_id)]
        assert lineage.current in counting
        assert len({days[run_id] for run_id in counting}) == len(counting), "one run a day"
        assert max(days[run_id] for run_id in counting) == days[str(lineage.current)], (
            "none is later than the current one"
        )
        assert set(lineage.superseded.values()) <= set(counting)
        assert not {run.day for run in lineage.runs if run.is_backfill and run.day < days[str(lineage.current)]} - {
            days[run_id] for run_id in counting
        }, "a day that was filled in stays so"
        shown = rng.choice(lineage.runs).run_id
        assert lineage.shown(shown).shown(str(lineage.current)).superseded == lineage.superseded, "undone"


def test_a_manifest_that_was_deleted_breaks_no_line() -> None:
    lineage = made(made(made(made(NONE, "first", 1), "bad", 2), "second", 2), "third", 3)
    left = replace(lineage, runs=tuple(run for run in lineage.runs if run.run_id != "second"))
    assert left.counts("first") and left.counts("third")
    gone = replace(lineage, runs=lineage.runs[:-1])
    assert gone.superseded == {"bad": "second"}, "of the current one nothing is known: the last of every day counts"
    assert made(gone, "fourth", 4).superseded == {"bad": "second"}


def test_a_run_that_was_killed_after_its_manifest_is_ended_first(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.make_current("first")
    for name, is_backfill in (("second", False), ("filled", True), ("begun", None)):
        folder.work(name).mkdir(parents=True)
        if is_backfill is not None:
            manifest = {
                "run_id": name,
                "as_of": "2027-01-31",
                "finished_at": "1",
                "after": None,
                "is_backfill": is_backfill,
            }
            write_json(folder.manifest(name), manifest)
    with folder.locked():
        assert folder.current_run() == "second"
        assert [path.name for path in (tmp_path / "work").iterdir()] == ["begun"]
