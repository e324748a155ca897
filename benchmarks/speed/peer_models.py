"""Other packages' models, run in an environment of their own: ``python -m speed.peer_models MODEL ARGUMENTS STEPS``."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

from speed.steps import Steps

YEARLY_DISCOUNT = 0.10
HORIZON_MONTHS = 60
PENALTY = 0.01


def sbg(steps: Steps, contracts: str, draws_path: str, sampler: str) -> None:
    """PyMC-Marketing's shifted beta-geometric: NUTS, then every customer's discounted residual lifetime."""
    with steps.step("import"):
        import numpy as np
        import pandas as pd
        from pymc_marketing.clv import ShiftedBetaGeoModel
    data = pd.read_parquet(contracts)
    model = ShiftedBetaGeoModel()
    with steps.step("fit"):
        sampled(model, data, sampler)
    posterior = model.idata["posterior"].dataset
    values = {name: posterior[name].values for name in ("phi", "kappa")}
    cohorts = [str(cohort) for cohort in posterior["cohort"].values]
    np.savez(draws_path, cohorts=np.array(cohorts), **values)
    with steps.step("residual lifetime") as figures:
        lifetime = model.expected_residual_lifetime(data=data, discount_rate=YEARLY_DISCOUNT)
        figures["mean"] = float(lifetime.mean())


def purchases(steps: Steps, purchases: str, draws_path: str, sampler: str) -> None:
    """PyMC-Marketing's BG/NBD and Gamma-Gamma: NUTS for both, then every customer's value over five years."""
    with steps.step("import"):
        import numpy as np
        import pandas as pd
        from pymc_marketing.clv import BetaGeoModel, GammaGammaModel
    data = pd.read_parquet(purchases)
    counts, money = BetaGeoModel(), GammaGammaModel()
    typical = data.loc[data["frequency"] > 0, "monetary_value"].mean()
    data["monetary_value"] /= typical
    with steps.step("fit BG/NBD"):
        sampled(counts, data, sampler)
    with steps.step("fit Gamma-Gamma"):
        sampled(money, data[data["frequency"] > 0], sampler)
    found = {
        f"{prefix} {name}": model.idata["posterior"][name].values
        for prefix, model, names in (("BG/NBD", counts, "r alpha a b"), ("Gamma-Gamma", money, "p q v"))
        for name in names.split()
    }
    np.savez(draws_path, **found)
    with steps.step("customer value") as figures:
        value = money.expected_customer_lifetime_value(
            transaction_model=counts, data=data, future_t=HORIZON_MONTHS, discount_rate=0.0, time_unit="M"
        )
        figures["mean"] = float(value.mean() * typical)


def sampled(model: Any, data: Any, sampler: str) -> None:
    """Four chains of 1,000 draws after 1,000 of tuning, two at a time, as this package samples."""
    model.fit(
        data=data,
        draws=1000,
        tune=1000,
        chains=4,
        cores=2,
        random_seed=1,
        nuts_sampler=sampler,
        progressbar=False,
    )


def points(steps: Steps, purchases: str) -> None:
    """lifetimes' BG/NBD and Gamma-Gamma: one estimate of each parameter, then every customer's expected value."""
    warnings.simplefilter("ignore")  # lifetimes is of the time of older NumPy and pandas
    with steps.step("import"):
        import pandas as pd
        from lifetimes import BetaGeoFitter, GammaGammaFitter
    data = pd.read_parquet(purchases)
    columns = data["frequency"], data["recency"], data["T"]
    repeat = data["frequency"] > 0
    typical = data.loc[repeat, "monetary_value"].mean()
    with steps.step("fit BG/NBD"):
        counts = BetaGeoFitter(penalizer_coef=PENALTY).fit(*columns)
    with steps.step("fit Gamma-Gamma"):
        spent = data.loc[repeat, "monetary_value"] / typical
        money = GammaGammaFitter(penalizer_coef=PENALTY).fit(data.loc[repeat, "frequency"], spent, q_constraint=True)
    with steps.step("customer value") as figures:
        bought = counts.conditional_expected_number_of_purchases_up_to_time(float(HORIZON_MONTHS), *columns)
        worth = money.conditional_expected_average_profit(data["frequency"], data["monetary_value"] / typical)
        figures["mean"] = float((bought * worth).mean() * typical)


MODELS = {model.__name__: model for model in (sbg, purchases, points)}

if __name__ == "__main__":
    name, arguments, told = sys.argv[1:]
    MODELS[name](Steps(Path(told)), **json.loads(arguments))
