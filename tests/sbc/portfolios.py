"""Two hundred companies of a hundred accounts: do ranges hold, in every subgroup, and what does not knowing the truth cost?

``python -m sbc portfolios``. Each company is `simulate_events` with its own seed, its good and bad years among them, fitted
with the default priors; the same accounts are forecast by the parameters that they were made with.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from clvforecast.backtest import _facts, _patience
from clvforecast.calibration import crps, in_central, randomised_pit
from clvforecast.errors import ConvergenceError
from clvforecast.forecast import forecast
from clvforecast.posterior import fit
from clvforecast.synthetic import simulate_events
from known_world import known_ledger, known_posterior

N_ACCOUNTS, HORIZON = 100, 24
FIRST_SEED = 5000
TWO_CENTS = 0.02
LEVELS = (0.5, 0.8, 0.95)
SUBGROUPS = ("segment", "size_decile", "tenure", "term_length", "due")
LEAST_IN_SUBGROUP = 2000
OVERALL_LIMIT, SUBGROUP_LIMIT, STANDARD_ERRORS = 0.015, 0.03, 4.0
CRPS_LIMIT = 1.02
DRAWS = 1000


def score_portfolio(folder: Path, number: int) -> None:
    """Company `number`: a row an account into ``portfolio-N.csv``; with no row where the fit did not converge."""
    target = folder / f"portfolio-{number}.csv"
    if target.exists():
        return
    seed = FIRST_SEED + number
    events, truth = simulate_events(N_ACCOUNTS, seed=seed, future_months=HORIZON)
    ledger = known_ledger(events, truth)
    try:
        posterior = fit(ledger, segments=["segment"], seed=seed, tune=500, cores=1, progress=False)
    except ConvergenceError as error:
        target.write_text(f"account_id,error\n,{str(error)[:200]!r}\n")
        return
    made = forecast(posterior, ledger, horizon_months=HORIZON, draws=DRAWS, seed=seed, keep_draws=("revenue",))
    known = known_posterior(truth, n_draws=DRAWS)
    ideal = forecast(known, ledger, horizon_months=HORIZON, draws=DRAWS, seed=seed + 1, keep_draws=("revenue",))
    accounts = made.draws["account"].values
    actual = truth.revenue(HORIZON).set_index("account_id").loc[accounts].sum(axis=1).to_numpy()
    drawn, at_best = made.draws["revenue"].values, ideal.draws["revenue"].values
    table = _facts(made, HORIZON, _patience(posterior)).assign(
        portfolio=number,
        u=randomised_pit(drawn, actual, own_seed(seed, 1), tolerance=TWO_CENTS),
        crps=crps(drawn, actual),
        crps_known=crps(at_best, actual),
        total_u=randomised_pit(drawn.sum(axis=0)[None], [actual.sum()], own_seed(seed, 2))[0],
    )
    table.to_csv(target, index=False)


def own_seed(seed: int, purpose: int) -> int:
    """A seed apart from those of the company: its first uniforms have drawn the segments."""
    return int(np.random.SeedSequence([seed, purpose]).generate_state(1)[0])


def report(folder: Path, portfolios: int) -> int:
    """Print coverage overall and by subgroup, and the CRPS beside that of the truth; 0 when all are within their limits."""
    parts = [pd.read_csv(folder / f"portfolio-{number}.csv") for number in range(portfolios)]
    failed = [number for number, part in enumerate(parts) if "error" in part]
    rows = pd.concat([part for part in parts if "error" not in part], ignore_index=True)
    table = pd.DataFrame([_row(name, level, mine) for name, level, mine in _groups(rows)])
    print(table.to_string(index=False, float_format=lambda number: f"{number:.3f}"))
    ratio = rows["crps"].mean() / rows["crps_known"].mean()
    totals = rows.groupby("portfolio")["total_u"].first()
    held = [in_central(totals, level).mean() for level in LEVELS]
    print(f"{len(rows)} accounts of {portfolios - len(failed)} portfolios; not converged: {failed or 'none'}")
    print(f"mean CRPS {ratio:.4f} times that of the true parameters (limit {CRPS_LIMIT})")
    print("portfolio totals inside their 50/80/95% ranges:", " / ".join(f"{share:.1%}" for share in held))
    return int(not table["within"].all() or ratio > CRPS_LIMIT or len(failed) > 0.02 * portfolios)


def _groups(rows: pd.DataFrame):  # type: ignore[no-untyped-def]
    yield "all", "", rows
    for name in SUBGROUPS:
        for level, mine in rows.groupby(name):
            if len(mine) >= LEAST_IN_SUBGROUP:
                yield name, level, mine


def _row(name: str, level: object, mine: pd.DataFrame) -> dict[str, object]:
    row: dict[str, object] = {"by": name, "level": level, "n": len(mine)}
    within = True
    for prob in LEVELS:
        inside = in_central(mine["u"], prob)
        by_portfolio = pd.Series(inside - prob).groupby(mine["portfolio"].to_numpy()).sum()
        se = float(np.sqrt((by_portfolio**2).sum())) / len(mine)
        limit = OVERALL_LIMIT if name == "all" else max(SUBGROUP_LIMIT, STANDARD_ERRORS * se)
        row |= {f"coverage_{100 * prob:.0f}": inside.mean(), f"se_{100 * prob:.0f}": se}
        within &= abs(inside.mean() - prob) <= limit
    return {**row, "within": within}
