"""The events of a synthetic company, collected as arrays and laid out as the event table."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvforecast.synthetic.service import Cents, Days

KINDS = np.array(["initial", "renewal", "expansion", "contraction", "change_order", "referral", "churn"])
KIND = {str(kind): code for code, kind in enumerate(KINDS)}

Ints = npt.NDArray[np.int64]


@dataclass
class Bookings:
    """Columns of events as they were drawn: account index, kind code, days, months (0: none), cents."""

    columns: dict[str, list[Ints]] = field(
        default_factory=lambda: {
            name: [] for name in ("account", "kind", "booked", "start_day", "end_day", "months", "cents")
        }
    )

    def add(
        self,
        account: Ints,
        kind: Ints | int,
        *,
        booked: Days,
        start: Days,
        end: Days,
        cents: Cents | int,
        months: Ints | int = 0,
    ) -> None:
        """Add events; ``end`` equal to ``start`` for money that is recognised at once."""
        values = (account, kind, booked, start, end, months, cents)
        for chunks, value in zip(self.columns.values(), values, strict=True):
            chunks.append(np.broadcast_to(np.asarray(value, dtype=np.int64), account.shape))

    def table(self, until: int) -> pd.DataFrame:
        """One row an event that starts, or is booked, before day ``until``, in the order of booking."""
        columns = {name: np.concatenate(chunks) for name, chunks in self.columns.items()}
        kept = (columns["start_day"] < until) | (columns["booked"] < until)
        columns = {name: values[kept] for name, values in columns.items()}
        order = np.lexsort((columns["kind"], columns["start_day"], columns["account"], columns["booked"]))
        return pd.DataFrame({name: values[order] for name, values in columns.items()})


def account_names(n_accounts: int) -> npt.NDArray[np.str_]:
    """Account ids: "A000001", "A000002", ..."""
    return np.char.mod("A%06d", np.arange(1, n_accounts + 1))


def event_table(drawn: pd.DataFrame, names: npt.NDArray[np.str_], currency: str) -> pd.DataFrame:
    """The drawn events in the package's input columns (design: one row an event)."""
    months = pd.array(drawn["months"].to_numpy(), dtype="Int64")
    months[drawn["months"].to_numpy() == 0] = pd.NA
    return pd.DataFrame(
        {
            "event_id": np.char.mod("E%08d", np.arange(1, len(drawn) + 1)),
            "account_id": pd.Series(names).to_numpy()[drawn["account"].to_numpy()],
            "event_date": _dates(drawn["booked"]),
            "kind": pd.Series(KINDS).to_numpy()[drawn["kind"].to_numpy()],
            "amount": drawn["cents"].to_numpy() / 100,
            "currency": currency,
            "start_date": _dates(drawn["start_day"]),
            "term_months": months,
        }
    )


def _dates(days: pd.Series) -> npt.NDArray[np.datetime64]:
    return days.to_numpy().astype("datetime64[D]").astype("datetime64[s]")
