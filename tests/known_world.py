"""A posterior that knows the truth: every draw holds the parameters that a synthetic company was made with."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from clvforecast.cells import Frame
from clvforecast.cells.frame import TERM_CLASS_NAMES, TERM_CLASS_STARTS
from clvforecast.ledger import Ledger, read_ledger
from clvforecast.synthetic import Truth


@dataclass(frozen=True)
class KnownPosterior:
    """Has what `forecast` reads of a posterior."""

    idata: xr.DataTree
    frame: Frame
    currency: str
    as_of: str
    unseen: tuple[str, ...] = ()
    unseen_changes: tuple[str, ...] = ()


def frame_of(truth: Truth) -> Frame:
    """The classes that the company was made with."""
    months = np.asarray(truth.term_values, dtype=np.int64)
    own = np.searchsorted(TERM_CLASS_STARTS, months, side="right") - 1
    seen = np.unique(own)
    return Frame(
        segments=("segment",),
        levels={"segment": tuple(sorted(truth.accounts["segment"].unique()))},
        size_edges=np.asarray(truth.size_edges, dtype=np.float64),
        term_values=months,
        term_class=np.searchsorted(seen, own),
        term_class_names=tuple(TERM_CLASS_NAMES[i] for i in seen),
        lag_edges=np.asarray(truth.lag_edges, dtype=np.float64),
        uses_notice=bool(truth.parameters["notice_share"] > 0),
        years=truth.years,
        settled_years=len(truth.years),
    )


def known_posterior(truth: Truth, currency: str = "USD", n_draws: int = 1000, **changed: object) -> KnownPosterior:
    """Draws that are all the truth (``changed`` replaces some of it)."""
    values = {**truth.parameters, "renewal_tenure_unknown_effect": 0.0, **changed}
    draws = {name: np.broadcast_to(value, (n_draws, *np.shape(value))) for name, value in values.items()}
    return posterior_of(draws, frame_of(truth), truth, currency)


def posterior_of(
    draws: Mapping[str, NDArray[np.float64]], frame: Frame, truth: Truth, currency: str = "USD"
) -> KnownPosterior:
    """What `forecast` reads, from draws (draws, ...) by name."""
    arrays = {}
    for name, values in draws.items():
        dims = ("chain", "draw", *(f"{name}_dim_{axis}" for axis in range(np.ndim(values) - 1)))
        arrays[name] = (dims, np.asarray(values, dtype=np.float64)[None])
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset(arrays)})
    return KnownPosterior(idata=tree, frame=frame, currency=currency, as_of=str(truth.as_of))


def known_ledger(events: object, truth: Truth, as_of: dt.date | None = None) -> Ledger:
    """The company's ledger, with its segments."""
    return read_ledger(events, accounts=truth.accounts, as_of=as_of or truth.as_of)
