"""A second real test: do the ranges hold for annual policies of a motor insurer?

    python benchmarks/motor_insurance.py FOLDER [origin ...]

FOLDER holds events.csv.gz and accounts.csv.gz, revenue events made of the data of Segura-Gisbert, Lledó and Pavía (2024),
doi 10.1007/s13385-024-00398-0, which are not shipped. Prints the report of `clvforecast.backtest` over twelve months.
"""

import sys
from pathlib import Path

import pandas as pd

import clvforecast as clv
from clvforecast.report.backtests import headline

ORIGINS = ("2017-05-31", "2017-11-30")
SEGMENTS = ("distribution_channel", "type_risk", "area")
AS_OF = "2018-11-30"
SHOWN = ["log_crps", "crps", "coverage_50", "coverage_80", "coverage_95", "bias", "gini", "brier_renewed"]


def main(folder: Path, origins: list[str]) -> None:
    pd.options.display.width = 200
    pd.options.display.float_format = lambda number: f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"
    accounts = pd.read_csv(folder / "accounts.csv.gz", dtype={"account_id": str})
    ledger = clv.read_ledger(str(folder / "events.csv.gz"), accounts=accounts, as_of=AS_OF)
    print(ledger)
    result = clv.backtest(ledger, origins, horizon_months=12, segments=SEGMENTS, windows=(12,))
    print(result.fits.to_string(index=False))
    scores = result.scores(resamples=200)
    print(headline(scores, 12))
    print(scores.pivot_table(index="method", columns="score", values="value", sort=False)[SHOWN].to_string())
    mine = scores[(scores["method"] == "clvforecast")]
    print(mine[["score", "value", "lower", "upper", "n"]].to_string(index=False))
    totals = result.totals.query("method == 'clvforecast'")
    off = (totals["median"] / totals["actual"] - 1).rename("median off")
    inside = totals["actual"].between(totals["lower_95"], totals["upper_95"]).rename("inside 95%")
    print(
        pd.concat([totals[["origin", "by", "level", "accounts", "actual", "median"]], off, inside], axis=1).to_string(
            index=False
        )
    )
    for by in ("due", *SEGMENTS, "tenure"):
        table = result.scores(by=by, resamples=50).query("method == 'clvforecast'")
        print(table.pivot_table(index="level", columns="score", values="value", sort=False)[SHOWN[:6]].to_string())


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:] or list(ORIGINS))
