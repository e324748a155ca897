"""A plan reliability comes back from its file to the bit, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import clvforecast as clv
from clvforecast.plans import PlanReliability
from clvforecast.plans.file import FILE_KIND
from clvforecast.plans.tables import Record
from clvforecast.sealed import SEAL_BYTES, add_seal


def with_record() -> PlanReliability:
    """The prior, as if it had been learned from two groups of steps."""
    prior = PlanReliability.prior(draws=20)
    record = Record(np.array([[0], [2]]), np.array([90, -1]), np.array([5.0, 3.0]), np.array([4.0, 0.0]))
    return PlanReliability(prior.draws, prior.frame, record, about=prior.about)


@pytest.mark.parametrize(
    "make", [with_record, lambda: PlanReliability.prior(draws=10, window_days=45, renewal_days=200)]
)
def test_what_is_loaded_is_what_was_saved(make: object, tmp_path: Path) -> None:
    saved: PlanReliability = make()  # type: ignore[operator]
    saved.save(tmp_path / "plans.clv")
    loaded = clv.load_plan_reliability(tmp_path / "plans.clv")
    assert loaded.draws is not None and loaded.draws.identical(saved.draws)
    assert (loaded.frame, loaded.about, repr(loaded)) == (saved.frame, saved.about, repr(saved))
    if saved.record is None:
        assert loaded.record is None
    else:
        assert loaded.calibration().equals(saved.calibration())
    first = (tmp_path / "plans.clv").read_bytes()
    loaded.save(tmp_path / "plans.clv")
    assert (tmp_path / "plans.clv").read_bytes() == first


def test_a_byte_that_was_changed_or_cut_is_told(tmp_path: Path) -> None:
    path = tmp_path / "plans.clv"
    with_record().save(path)
    whole = path.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 60).astype(int):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(clv.PlanError, match="plans.clv: is no whole file"):
            clv.load_plan_reliability(path)
        path.write_bytes(whole[:place])
        with pytest.raises(clv.PlanError):
            clv.load_plan_reliability(path)


def test_what_is_sealed_but_no_reliability_is_refused(tmp_path: Path) -> None:
    """Anybody can seal: changed content under a right seal gives this error or an object of the same shape, and no other."""
    path = tmp_path / "plans.clv"
    with_record().save(path)
    content = path.read_bytes()[:-SEAL_BYTES]
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(150):
        place = int(rng.integers(len(content)))
        path.write_bytes(content[:place] + rng.bytes(3) + content[place + 3 :])
        add_seal(path, FILE_KIND)
        try:
            clv.load_plan_reliability(path)
        except clv.PlanError:
            refused += 1
    assert refused > 0
    for text in (b"", b"not arrow at all", content + b"more"):
        path.write_bytes(text)
        add_seal(path, FILE_KIND)
        with pytest.raises(clv.PlanError, match="is no plan reliability"):
            clv.load_plan_reliability(path)


def test_what_cannot_be_saved_or_loaded_says_why(tmp_path: Path) -> None:
    with pytest.raises(clv.PlanError, match="nothing to save"):
        PlanReliability.as_stated().save(tmp_path / "plans.clv")
    with pytest.raises(clv.PlanError, match="cannot write there"):
        with_record().save(tmp_path / "nowhere" / "plans.clv")
    with pytest.raises(clv.PlanError, match="no such file"):
        clv.load_plan_reliability(tmp_path / "plans.clv")
