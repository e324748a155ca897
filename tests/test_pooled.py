"""Forecasts of disjoint accounts put together are the forecast of all of them, to the bit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import clvforecast as clv
from clvforecast.forecast_file import checksum
from clvforecast.histories.slices import of_accounts
from clvforecast.pooled import added, forecast_of, total_rows


@pytest.fixture(scope="module")
def posterior() -> clv.Posterior:
    ledger = clv.datasets.load_phl_contracts(as_of="2018-06-30")
    from clvforecast.posterior import prior

    return prior(ledger, ["department_group"], draws=20, seed=3)


@pytest.fixture(scope="module")
def ledger() -> clv.Ledger:
    return clv.datasets.load_phl_contracts(as_of="2018-06-30")


def in_parts(ledger: clv.Ledger, n_parts: int) -> list[clv.Ledger]:
    """Every n-th account of those in a scrambled order: no part is a run of neighbours."""
    ids = ledger.accounts["account_id"].combine_chunks()
    shuffled = ids.take(pa.array(np.random.default_rng(1).permutation(len(ids))))
    cuts = np.linspace(0, len(ids), n_parts + 1).astype(int)
    return [of_accounts(ledger, shuffled[a:b]) for a, b in pairwise(cuts)]


SETTINGS = {
    "recognised": {},
    "with ARR": {"bridge": True, "calendar": clv.FiscalCalendar(start_month=7)},
    "in two columns": {"group_by": ["department_group", "profit_status"], "cost_to_serve": 3.0},
    "of no column": {"group_by": []},
    "cash": {"timing": "cash", "billing": "annual"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_parts_of_a_ledger_make_the_forecast_of_the_whole(
    name: str, posterior: clv.Posterior, ledger: clv.Ledger
) -> None:
    asked = {"horizon_months": 24, "draws": 20, "seed": 5, **SETTINGS[name]}
    whole = clv.forecast(posterior, ledger, **asked)
    parts = [clv.forecast(posterior, part, **asked) for part in in_parts(ledger, 3)]
    first, second, third = (total_rows(part) for part in parts)
    rows = added([third, added([second, first])])
    assert rows.equals(added([first, second, third]))
    together = forecast_of(
        rows,
        whole.settings,
        list(whole.groups.columns),
        whole.as_of,
        whole.currency,
        whole.provenance,
        whole.warnings,
        accounts=parts,
    )
    assert checksum(together) == checksum(whole)
    pd.testing.assert_frame_equal(together.accounts(), whole.accounts())
    by = list(whole.groups.columns) or None
    pd.testing.assert_frame_equal(together.portfolio("quarter", by), whole.portfolio("quarter", by))
    if whole.settings.bridge:
        pd.testing.assert_frame_equal(together.bridge(history=0), whole.bridge(history=0))


def test_an_account_without_a_level_is_in_a_group_of_its_own(posterior: clv.Posterior, ledger: clv.Ledger) -> None:
    accounts = ledger.accounts
    place = accounts.schema.get_field_index("profit_status")
    without = pc.if_else(pa.array(np.arange(accounts.num_rows) % 3 == 0), None, accounts["profit_status"])
    ledger = replace(ledger, accounts=accounts.set_column(place, "profit_status", without))
    asked = {"horizon_months": 12, "draws": 10, "group_by": ["profit_status"]}
    whole = clv.forecast(posterior, ledger, **asked)
    rows = added(total_rows(clv.forecast(posterior, part, **asked)) for part in in_parts(ledger, 2))
    together = forecast_of(rows, whole.settings, ["profit_status"], whole.as_of, whole.currency, whole.provenance)
    assert whole.groups["profit_status"].isna().sum() == 1
    pd.testing.assert_frame_equal(together.portfolio("year", "profit_status"), whole.portfolio("year", "profit_status"))


def test_totals_of_other_settings_are_not_added(posterior: clv.Posterior, ledger: clv.Ledger) -> None:
    short, long = (clv.forecast(posterior, ledger, horizon_months=months, draws=5) for months in (6, 12))
    with pytest.raises(clv.ForecastError, match="different settings"):
        added([total_rows(short), total_rows(long)])
