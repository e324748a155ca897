"""How much of renewal could be known? The model's probabilities beside gradient-boosted trees that see far more.

    pip install scikit-learn
    python benchmarks/renewal_ceiling.py

On the shipped contracts, 12 months from 30 June of 2015 to 2018: of every account due, was the next renewal booked?
The trees get sixteen columns of the events and accounts as known at the origin, and are trained on the *other three*
origins, later years among them, which no forecaster has. What they cannot tell either is chance, or not in the data.
"""

import pandas as pd

import clvforecast as clv

ORIGINS = ("2015-06-30", "2016-06-30", "2017-06-30", "2018-06-30")
DUE = ("due on the next day", "overdue", "due later in the window")
DAYS = ["event_date", "start_date"]
LABELS = ("department", "contract_structure_type", "term_length", "tenure")


def main() -> None:
    result = clv.backtest(
        clv.datasets.load_phl_contracts,
        ORIGINS,
        12,
        segments=["department_group"],
        windows=(12,),
        baselines={},
        clusters="department",
        progress=False,
    )
    rows = result.accounts.query("method == 'clvforecast' and renewed.notna()")
    rows = pd.concat(
        [with_columns(part, str(origin.date())) for origin, part in rows.groupby("origin")], ignore_index=True
    )
    columns = [name for name in rows if name.startswith("x_")]
    figures = [brier_scores(rows[rows["due"] == due], columns) | {"due": due} for due in DUE]
    print(f"trees with {len(columns)} columns; Brier score of 'renewed', lower is better")
    print(pd.DataFrame(figures).set_index("due").round(4).to_string())


def with_columns(rows: pd.DataFrame, origin: str) -> pd.DataFrame:
    """`rows` of an origin with what its events and accounts tell of each account by then."""
    day, ledger = pd.Timestamp(origin), clv.datasets.load_phl_contracts(origin)
    events = ledger.events.to_pandas()
    events = events.assign(amount=events["amount_cents"] / 100, vendor=events["account_id"].str.split("|").str[0])
    events[DAYS] = events[DAYS].apply(pd.to_datetime)
    terms = events[events["kind"].isin(["initial", "renewal"])].sort_values("start_date")
    by, last = events.groupby("account_id"), terms.groupby("account_id").last()
    known = pd.DataFrame(
        {
            f"x_n_{kind}": by["kind"].agg(lambda seen, k=kind: (seen == k).sum())
            for kind in ("initial", "renewal", "expansion", "contraction", "change_order")
        }
    )
    known["x_age_days"] = (day - by["start_date"].min()).dt.days
    known["x_days_since_booking"] = (day - by["event_date"].max()).dt.days
    known["x_days_since_start"] = (day - last["start_date"]).dt.days
    known["x_days_booked_late"] = (last["event_date"] - last["start_date"]).dt.days
    known["x_amount_per_month"] = (last["amount"] / last["term_months"]).astype(float)
    known["x_booked_in_all"] = by["amount"].sum().astype(float)
    vendors = events.groupby("vendor")["account_id"].nunique()
    known["x_contracts_of_vendor"] = last["vendor"].map(vendors)
    structure = clv.datasets.phl_contracts_tables()[1].set_index("account_id")["contract_structure_type"]
    rows = rows.merge(known, left_on="account_id", right_index=True)
    rows["contract_structure_type"] = rows["account_id"].map(structure)
    return rows.assign(**{f"x_{name}": rows[name].astype(str) for name in LABELS})


def brier_scores(rows: pd.DataFrame, columns: list[str]) -> dict[str, float]:
    """Brier scores of one rate for all (known only afterwards), of the model, and of trees trained on the other origins."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = rows.assign(
        **{name: rows[name].astype("category") for name in columns if rows[name].dtype.kind not in "iuf"}
    )
    happened = rows["renewed"].astype(float)
    trees, rate = pd.Series(index=rows.index, dtype=float), happened.groupby(rows["origin"]).transform("mean")
    for origin in rows["origin"].unique():
        here = rows["origin"] == origin
        model = HistGradientBoostingClassifier(
            max_depth=3,
            max_iter=80,
            learning_rate=0.05,
            min_samples_leaf=30,
            categorical_features="from_dtype",
            random_state=0,
        ).fit(rows.loc[~here, columns], happened[~here])
        trees[here] = model.predict_proba(rows.loc[here, columns])[:, 1]
    each = {"each year's own rate": rate, "clvforecast": rows["p_renewed"], "trees": trees}
    return {"accounts": len(rows)} | {name: float(((p - happened) ** 2).mean()) for name, p in each.items()}


if __name__ == "__main__":
    main()
