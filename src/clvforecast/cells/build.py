"""`build_cells`: histories counted for every component."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from clvforecast.cells.change import count_changes
from clvforecast.cells.frame import Frame
from clvforecast.cells.rates import count_rates
from clvforecast.cells.records import Cells, RenewalCells
from clvforecast.cells.renewal import count_renewals
from clvforecast.cells.sizes import count_sizes
from clvforecast.cells.terms import count_refunds, count_terms
from clvforecast.histories import Histories
from clvforecast.machine import available_threads

COUNTED = {
    "lines": (
        *("account", "account_id", "contract_id", "observed_from", "tenure_unknown"),
        *("base", "active_days", "n_terminations"),
    ),
    "terms": (
        *("line", "spell", "k", "start_day", "end_day", "months", "served_months", "mrr", "size", "expanded", "cut"),
        *("prev", "carried0", "carried1", "log_mrr_sum", "n", "amend_cents"),
    ),
    "decisions": ("line", "outcome", "d", "lag_days", "returned", "lapsed_days"),
    "amendments": ("line", "kind", "clipped", "y"),
    "one_offs": ("line", "kind", "y"),
    "churns": ("role", "remainder_cents", "debooked_cents"),
}
"""Columns of `Histories` that frame and cells are made of, by table: half of them all."""


def build_cells(histories: Histories, frame: Frame, max_cells: int | None = None) -> Cells:
    """The sufficient statistics of a training ledger.

    Parameters
    ----------
    frame
        Made by `build_frame` from the same histories.
    max_cells
        Above so many distinct renewal cells (4,000 by default) a random sample of the lines is counted.

    Examples
    --------
    >>> from clvforecast.cells import build_frame
    >>> from clvforecast.datasets import load_phl_contracts
    >>> from clvforecast.histories import build_histories
    >>> histories = build_histories(load_phl_contracts(as_of="2018-06-30"))
    >>> cells = build_cells(histories, build_frame(histories, ["department_group"]))
    >>> int(cells.rates["expansion"].n_events.sum()), int(cells.renewal.lag_counts.sum())
    (294, 3414)
    """
    with ThreadPoolExecutor(available_threads()) as pool:
        counting: dict[str, Future[Any]] = {
            "renewal": pool.submit(count_renewals, histories, frame, max_cells),
            "change": pool.submit(count_changes, histories, frame),
            "rates": pool.submit(count_rates, histories, frame),
            "sizes": pool.submit(count_sizes, histories, frame),
            "terms": pool.submit(count_terms, histories, frame),
        }
        counted: dict[str, Any] = {name: future.result() for name, future in counting.items()}
    renewal, change, sizes = counted["renewal"], counted["change"], counted["sizes"]
    sampled = _sampling_note(renewal)
    clipped, capped = sizes["contraction"].n_clipped, change.n_capped
    notes = (
        *sampled,
        *(
            (f"{clipped} contractions lose less than 0.01% or more than 99.99% of the MRR: clipped.",)
            if clipped
            else ()
        ),
        *(
            (f"{capped} renewals raise the MRR more than {frame.max_ratio:g} times: counted as that.",)
            if capped
            else ()
        ),
    )
    return Cells(**counted, refunds=count_refunds(histories), warnings=notes)


def _sampling_note(renewal: RenewalCells) -> tuple[str, ...]:
    if renewal.n_lines_used == renewal.n_lines:
        return ()
    return (
        f"the renewal model is fitted to a random sample of {renewal.n_lines_used:,} of {renewal.n_lines:,} "
        f"lines, which make {len(renewal.count):,} distinct histories (raise max_cells for more).",
    )
