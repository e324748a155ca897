"""The demo's tables and files, with the prior in place of a fit (which `make demo` and the notebook run for real)."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

import clvforecast as clv
from clvforecast import demo
from clvforecast.report.terminal import make_console


def test_demo_prints_ranges_beside_what_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "fit", lambda ledger, segments, **_: clv.prior(ledger, segments, draws=250))
    output = tmp_path / "demo-output"
    made = demo.run_demo(output, make_console())
    lines = capsys.readouterr().out.splitlines()
    check_tables(made, lines)
    check_files(made, output)


def check_tables(made: clv.Forecast, lines: list[str]) -> None:
    later = clv.datasets.load_phl_contracts()
    happened = clv.actual_portfolio(made, later, "QE")
    for day, amount in zip(happened["period"], happened["revenue"], strict=True):
        (line,) = (line for line in lines if line.startswith(f"{day:%Y-%m-%d}"))
        shown = float(line.split()[-2].replace(",", ""))
        assert any(shown == pytest.approx(amount / unit, abs=0.051) for unit in (1e6, 1e9))
        assert line.split()[-1] in ("inside", "outside")
    assert sum(line.startswith("24 months") for line in lines) == 1
    table = lines[next(n for n, line in enumerate(lines) if line.startswith("account ")) + 1 :]
    assert table.index("") == demo.LARGEST
    assert "do the accounts' ranges hold what they promise?" in lines


def check_files(made: clv.Forecast, output: Path) -> None:
    assert sorted(path.name for path in output.iterdir()) == [
        "accounts.parquet",
        "fan.png",
        "portfolio.csv",
        "posterior.nc",
    ]
    assert len(pd.read_parquet(output / "accounts.parquet")) == len(made.table)
    assert len(pd.read_csv(output / "portfolio.csv")) == 8
    assert clv.load_posterior(output / "posterior.nc").frame.segments == ("department_group",)
    assert np.ptp(matplotlib.image.imread(output / "fan.png")) > 0
