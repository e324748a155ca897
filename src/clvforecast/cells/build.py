"""Frame and cells of a ledger, whole or in parts.

Parts are histories of whole accounts, no account in two. Three rounds, in each of which counts of the parts are `merged`, in any
order and nesting, and the next needs what came of it::

    frame = frame_of(merged(frame_counts(part, segments) for part in parts), segments)
    counts = merged((cell_counts(part, frame, max_cells) for part in parts), max_cells)
    cut = renewal_cut(counts, max_cells)
    renewals = merged(renewal_counts(part, frame, cut) for part in parts)
    cells = cells_of([counts, renewals], frame)

The last round only looks at lines below the cut. Between processes counts travel as Arrow (`counts_table`, `counts_of`).
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from clvforecast.cells.change_cells import change_cells, change_counts, narrowed_changes
from clvforecast.cells.counts import Counts, summed
from clvforecast.cells.frame import Frame
from clvforecast.cells.rates import rate_cells, rate_counts
from clvforecast.cells.records import Cells, ChangeCells, RenewalCells, SizeCells
from clvforecast.cells.renewal_cells import MOST_CELLS, first_counts, narrowed_firsts, renewal_cells, sampled_counts
from clvforecast.cells.sizes import size_cells, size_counts
from clvforecast.cells.terms import refund_counts, refunds_of, term_cells, term_counts
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
OF_THE_FRAME = (change_counts, rate_counts, size_counts, term_counts)
"""What is counted beside renewals by the frame's levels."""


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
        renewals = pool.submit(sampled_counts, histories, frame, max_cells or MOST_CELLS)
        others = [pool.submit(count, histories, frame) for count in OF_THE_FRAME]
        counts = [found.result() for found in (renewals, *others)]
    return cells_of([*counts, refund_counts(histories)], frame)


def cell_counts(histories: Histories, frame: Frame, max_cells: int | None = None) -> Counts:
    """What cells are made of, of a part of whole accounts: all but renewals, and what the renewals' cut is made of."""
    firsts = first_counts(histories, frame, max_cells or MOST_CELLS)
    return summed([firsts, *(count(histories, frame) for count in OF_THE_FRAME), refund_counts(histories)])


def merged(parts: Iterable[Counts], max_cells: int | None = None) -> Counts:
    """The counts of all parts together, of one round; `max_cells` as they were counted with.

    What comes of it does not depend on the order of the parts, nor on which were merged before.
    """
    return narrowed_firsts(narrowed_changes(summed(parts)), max_cells or MOST_CELLS)


def cells_of(counts: Iterable[Counts], frame: Frame) -> Cells:
    """The cells, from counts of all parts and rounds."""
    found = merged(counts)
    renewal, change, sizes = renewal_cells(found, frame), change_cells(found, frame), size_cells(found, frame)
    return Cells(
        renewal=renewal,
        rates=rate_cells(found, frame),
        sizes=sizes,
        change=change,
        terms=term_cells(found, frame),
        refunds=refunds_of(found),
        warnings=_warnings(renewal, change, sizes, frame),
    )


def _warnings(renewal: RenewalCells, change: ChangeCells, sizes: dict[str, SizeCells], frame: Frame) -> tuple[str, ...]:
    clipped, capped = sizes["contraction"].n_clipped, change.n_capped
    told = {
        f"the renewal model is fitted to a random sample of {renewal.n_lines_used:,} of {renewal.n_lines:,} "
        f"lines, which make {len(renewal.count):,} distinct histories (raise max_cells for more).": (
            renewal.n_lines_used < renewal.n_lines
        ),
        f"{clipped} contractions lose less than 0.01% or more than 99.99% of the MRR: clipped.": clipped > 0,
        f"{capped} renewals raise the MRR more than {frame.max_ratio:g} times: counted as that.": capped > 0,
    }
    return tuple(words for words, is_true in told.items() if is_true)
