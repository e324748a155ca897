"""Histories, cells and states once more, in plain Python, one account at a time: slow, and written to be read.

It shares no code with the package; the tests compare the package's set operations with it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

EPOCH = dt.date(1970, 1, 1)
TERM_KINDS = ("initial", "renewal")
EVENT_KINDS = ("expansion", "contraction", "change_order", "referral")
TERM_CLASSES = {
    "1": (1, 1), "2-5": (2, 5), "6-11": (6, 11), "12": (12, 12), "13-23": (13, 23), "24": (24, 24),
    "25-35": (25, 35), "36": (36, 36), "37-59": (37, 59), "60": (60, 60), "61+": (61, 10**6),
}  # fmt: skip


@dataclass(frozen=True)
class Event:
    """A ledger row; days since 1970-01-01; cents None only for churn."""

    event_id: str
    account_id: str
    contract_id: str
    booked: int
    kind: str
    cents: int | None
    day: int
    months: int | None = None


@dataclass
class Term:
    event: Event
    start: int
    end: int
    months: int
    cents: int
    spell: int = 0
    k: int = 1
    gap: int | None = None
    lag: int | None = None
    next_start: int | None = None
    renewed: bool = False
    stop: int = 0
    served: int = 0
    churns: list[tuple[Event, int]] = field(default_factory=list)  # with the effective day
    deciding: tuple[Event, int] | None = None
    role: str | None = None
    amendments: list[dict] = field(default_factory=list)
    prev: int = 0
    mrrs: list[float] = field(default_factory=list)
    spell_base: float = 0.0

    @property
    def mrr(self) -> float:
        return self.cents / 100 / self.months

    @property
    def amend_cents(self) -> int:
        return sum(amendment["event"].cents for amendment in self.amendments)

    @property
    def expanded(self) -> bool:
        return any(amendment["event"].kind == "expansion" for amendment in self.amendments)

    @property
    def carried(self) -> tuple[float, float]:
        with_amendments = max((self.cents + self.amend_cents) / 100, 0.01 * self.cents / 100)
        return self.mrr, with_amendments / self.months

    @property
    def outcome(self) -> str:
        return "renewed" if self.renewed else self.role or "open"


@dataclass
class Line:
    account_id: str
    contract_id: str
    terms: list[Term]
    one_offs: list[dict] = field(default_factory=list)
    items: list[dict] = field(default_factory=list)
    m: int = 0
    unknown: bool = False

    @property
    def base(self) -> float:
        return self.terms[0].mrr


def add_months(day: int, months: int) -> int:
    date = EPOCH + dt.timedelta(days=day)
    year, month = divmod(date.year * 12 + date.month - 1 + months, 12)
    for day_of_month in range(date.day, 0, -1):
        try:
            return (dt.date(year, month + 1, day_of_month) - EPOCH).days
        except ValueError:
            continue
    raise AssertionError


def recognised(cents: int, start: int, end: int, day: int) -> int:
    """Cents served before `day`; an item without a period is recognised on its day."""
    if end <= start:
        return cents if start < day else 0
    return round(Fraction(cents * (min(max(day, start), end) - start), end - start))  # round half to even


def grace(term: Term, grace_days: int | None) -> int:
    return grace_days if grace_days is not None else min(92, max(15, (term.end - term.start) // 4))


def term_of(event: Event) -> Term:
    return Term(event, event.day, add_months(event.day, event.months), event.months, event.cents)


def home_of(event: Event, lines: dict[tuple[str, str], Line]) -> Line | None:
    """The line an event belongs to."""
    if (event.account_id, event.contract_id) in lines:
        return lines[event.account_id, event.contract_id]
    candidates = []
    for key in sorted(key for key in lines if key[0] == event.account_id):
        for term in lines[key].terms:
            covers = term.start <= event.day < term.end + (event.kind == "churn")
            candidates.append((not covers, term.start, key))
    return lines[min(candidates)[2]] if candidates else None


def attach_churn(line: Line, churn: Event, grace_days: int | None) -> None:
    """The latest term started before the effective day, or the last follow-on renewal booked before the notice."""
    i = max([i for i, term in enumerate(line.terms) if term.start < churn.day], default=0)
    while i + 1 < len(line.terms):
        here, following = line.terms[i], line.terms[i + 1]
        gap = following.start - here.end
        if not (0 <= gap <= grace(here, grace_days) and following.event.booked < churn.booked):
            break
        i += 1
    line.terms[i].churns.append((churn, max(churn.day, line.terms[i].start)))


def deciding_churn(term: Term) -> tuple[Event, int] | None:
    early = [pair for pair in term.churns if pair[1] < term.end]
    if early:
        return min(early, key=lambda pair: (pair[1], pair[0].booked, pair[0].event_id))
    return min(term.churns, key=lambda pair: (pair[0].booked, pair[0].event_id), default=None)


def link(line: Line, grace_days: int | None) -> None:
    for before, term in zip(line.terms, line.terms[1:], strict=False):
        before.next_start = term.start
        link_end = before.end
        if before.deciding and before.deciding[1] < before.end:
            link_end = before.deciding[1]
        if term.start - link_end <= grace(before, grace_days):
            before.renewed = True
            term.spell, term.k = before.spell, before.k + 1
            term.gap, term.lag = term.start - before.end, term.event.booked - before.end
        else:
            term.spell, term.k = before.spell + 1, 1
    for term in line.terms:
        if term.deciding and not term.renewed:
            term.role = "terminated" if term.deciding[1] < term.end else "notified"
        stops = [term.end] + ([term.next_start] if term.next_start is not None else [])
        if term.role == "terminated":
            stops.append(term.deciding[1])
        term.stop = max(term.start, min(stops))
        term.served = term.months
        if term.renewed and term.next_start < term.end - 15:
            term.served = max(1, round((term.next_start - term.start) / 30.4375))


def amend(line: Line, event: Event) -> None:
    """Hang an expansion or contraction on the latest started term that covers it."""
    covering = [term for term in line.terms if term.start <= event.day < term.end]
    started = [term for term in line.terms if term.start <= event.day]
    term = (covering or started or line.terms[:1])[-1]
    left = max(term.end - event.day, 1) / 30.4375
    counted = event.cents / 100 / min(term.months, max(left, 3))
    term.amendments.append({"event": event, "mrr": event.cents / 100 / left, "counted": counted})


def size_amendments(term: Term) -> None:
    in_force = term.mrr
    term.amendments.sort(key=lambda a: (a["event"].day, a["event"].booked, a["event"].event_id))
    taken_back = set()
    for place, amendment in enumerate(term.amendments):
        for before in reversed(range(place)):
            if before not in taken_back and term.amendments[before]["event"].cents == -amendment["event"].cents:
                amendment["counted"] = -term.amendments[before]["counted"]
                taken_back |= {before, place}
                break
        if sum(a["event"].cents for a in term.amendments[: place + 1]) == 0:  # ARR then counts nothing of them
            amendment["counted"] = -sum(a["counted"] for a in term.amendments[:place])
        amount = amendment["event"].cents / 100
        if amount > 0:
            amendment["y"] = math.log(amount / (term.spell_base * term.months))
        else:
            share = -amendment["mrr"] / in_force if in_force > 0 else math.inf
            share = min(max(share, 1e-4), 1 - 1e-4)
            amendment["y"] = math.log(share / (1 - share))
        in_force += amendment["mrr"]


def direction(log_ratio: float) -> int:
    """1 down, 2 flat, 3 up."""
    if abs(log_ratio) <= math.log(1.01):
        return 2
    return 3 if log_ratio > 0 else 1


def walk_spells(line: Line) -> None:
    for i, term in enumerate(line.terms):
        before = line.terms[i - 1] if term.k > 1 else None
        term.mrrs = [*(before.mrrs if before else []), term.mrr]
        term.spell_base = before.spell_base if before else term.mrr


def walk_directions(line: Line) -> None:
    for before, term in zip(line.terms, line.terms[1:], strict=False):
        if term.k > 1:
            without, with_amendments = (math.log(term.mrr / carried) for carried in before.carried)
            term.prev = direction(with_amendments if abs(with_amendments) < abs(without) else without)


def book_items(line: Line, extra: list[Event], origin: int) -> None:
    """Every event of the line as money over its service period."""

    def item(event: Event, start: int, end: int, cents: int, tied: bool) -> None:
        done = recognised(cents, start, end, origin)
        line.items.append({"event": event, "start": start, "end": end, "cents": cents, "tied": tied, "done": done})

    for term in line.terms:
        item(term.event, term.start, term.end, term.cents, True)
        for amendment in term.amendments:
            event = amendment["event"]
            item(event, event.day, max(event.day, term.end), event.cents, True)
        for churn, effective in term.churns:
            remainder = remainder_at(term, effective)
            decides = term.role == "terminated" and term.deciding[0] is churn
            by_default = -remainder if decides else 0
            cents = by_default if churn.cents is None else churn.cents
            item(churn, effective, max(effective, term.end), cents, True)
    for event in extra:
        item(event, event.day, add_months(event.day, event.months or 0), event.cents, False)


def remainder_at(term: Term, day: int) -> int:
    parts = [(term.cents, term.start)] + [(a["event"].cents, a["event"].day) for a in term.amendments]
    return sum(cents - recognised(cents, start, term.end, day) for cents, start in parts)


def read_lines(
    events: list[Event], observed_from: dict[str, int | None] | None, as_of: int, grace_days: int | None
) -> list[Line]:
    """Every line of a ledger, in order of account and contract."""
    lines: dict[tuple[str, str], Line] = {}
    for event in events:
        if event.kind in TERM_KINDS:
            key = (event.account_id, event.contract_id)
            lines.setdefault(key, Line(*key, [])).terms.append(term_of(event))
    for line in lines.values():
        line.terms.sort(key=lambda term: (term.start, term.event.booked, term.event.event_id))
    one_offs: dict[tuple[str, str], list[Event]] = {key: [] for key in lines}
    for event in sorted(events, key=lambda event: event.event_id):
        home = home_of(event, lines) if event.kind not in TERM_KINDS else None
        if home is None:
            continue
        if event.kind == "churn":
            attach_churn(home, event, grace_days)
        elif event.kind in ("expansion", "contraction"):
            amend(home, event)
        else:
            one_offs[home.account_id, home.contract_id].append(event)
    for key, line in lines.items():
        for term in line.terms:
            term.deciding = deciding_churn(term)
        link(line, grace_days)
        walk_spells(line)
        for term in line.terms:
            size_amendments(term)
        walk_directions(line)
        for event in sorted(one_offs[key], key=lambda event: (event.day, event.event_id)):
            started = [term for term in line.terms if term.start <= event.day]
            base = (started or line.terms[:1])[-1].spell_base
            line.one_offs.append({"event": event, "y": math.log(event.cents / 100 / base)})
        book_items(line, one_offs[key], as_of + 1)
    ordered = [lines[key] for key in sorted(lines)]
    for line in ordered:
        first = min(other.terms[0].start for other in ordered if other.account_id == line.account_id)
        if observed_from is not None and line.terms[0].start == first:
            line.m = observed_from.get(line.account_id) or 0
            line.unknown = observed_from.get(line.account_id) is None
    return ordered


# ---- cells and states -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Yardsticks:
    """The frame's numbers, as plain lists; levels by line are given apart."""

    size_edges: list[float]
    term_class_names: list[str]
    lag_edges: list[int]
    years: list[int]

    def size_class(self, monthly: float) -> int:
        return sum(edge <= math.log(monthly) for edge in self.size_edges)

    def term_class(self, months: int) -> int:
        name = next(name for name, (low, high) in TERM_CLASSES.items() if low <= months <= high)
        return self.term_class_names.index(name)

    def lag_bin(self, lag: int) -> int:
        lag = min(max(lag, self.lag_edges[0] + 1), self.lag_edges[-1])
        return next(j for j in range(len(self.lag_edges) - 1) if lag <= self.lag_edges[j + 1])

    def passed(self, d: int) -> tuple[int, float]:
        """The bin and share (in quarters) such that the bins before it and that share of it have passed."""
        last = len(self.lag_edges) - 2
        if d <= self.lag_edges[0]:
            return 0, 0.0
        if d >= self.lag_edges[-1]:
            return last, 1.0
        j = self.lag_bin(d)
        share = round(4 * (d - self.lag_edges[j]) / (self.lag_edges[j + 1] - self.lag_edges[j])) / 4
        return (j + 1, 0.0) if share == 1 and j < last else (j, share)


def spells(line: Line) -> list[list[Term]]:
    found: list[list[Term]] = []
    for term in line.terms:
        if term.k == 1:
            found.append([])
        found[-1].append(term)
    return found


def steps_of(line: Line, spell: list[Term], frame: Yardsticks) -> list[tuple]:
    """(months before and after, term class, size class, number, expanded, cut, year) of each step, and of the next."""
    steps, t = [], 0
    m = line.m if spell[0].spell == 0 else 0
    first = spell[0]
    for term, earlier in [(first, True)] * m + [(term, False) for term in spell]:
        months = term.months if earlier else term.served
        size = (term.cents + term.amend_cents) / 100 / term.months
        size = size if size > 0 else 1e-9 * line.base
        expanded, cut = (False, False) if earlier else (term.expanded, term.prev == 1)
        number = min(len(steps), 4)
        if earlier:
            start = EPOCH + dt.timedelta(days=first.start)
            year = (12 * start.year + start.month - 1 - first.months * (m - 1 - len(steps))) // 12
        else:
            year = (EPOCH + dt.timedelta(days=term.end)).year
        place = frame.years.index(year) if year in frame.years else -1
        classes = (frame.term_class(term.months), frame.size_class(size), number, int(expanded), int(cut), place)
        steps.append((t, t + months, *classes))
        t += months
    return steps


def renewal_histories(lines: list[Line], levels: list[tuple], frame: Yardsticks, as_of: int) -> Counter:
    """Every spell as (levels, second, unknown, steps taken, next step, m steps, outcome, lag bin, F bin, F share)."""
    found: Counter = Counter()
    for line, level in zip(lines, levels, strict=True):
        for spell in spells(line):
            steps, last = steps_of(line, spell, frame), spell[-1]
            m = line.m if last.spell == 0 else 0
            returned = last is not line.terms[-1]
            d = frame.lag_edges[-1] if returned else as_of - last.end
            outcome, lag_bin, passed = 0, -1, frame.passed(d)
            if last.outcome == "terminated" or (last.outcome == "open" and passed == (0, 0.0)):
                outcome, passed = 2, (0, 0.0)
            elif last.outcome == "notified":
                outcome, lag_bin, passed = 1, frame.lag_bin(last.deciding[0].booked - last.end), (0, 0.0)
            following = None if outcome == 2 else tuple(sorted(steps))
            earlier = tuple(sorted(steps[:m])) if m else None
            unknown = line.unknown and last.spell == 0
            taken = tuple(sorted(steps[:-1]))
            found[level, last.spell > 0, unknown, taken, following, earlier, outcome, lag_bin, *passed] += 1
    return found


def active_days(line: Line, as_of: int) -> int:
    return sum(max(0, min(term.stop, as_of + 1) - term.start) for term in line.terms)


def lapses(line: Line, as_of: int, grace_days: int | None, last_lag: int | None) -> list[tuple[int, bool]]:
    """(days after grace, ended by a return) of every lapse that is told or past the last lag; without one, that returned."""
    found = []
    for spell in spells(line):
        last = spell[-1]
        returned = last is not line.terms[-1]
        if not (returned if last_lag is None else last.role or as_of - last.end > last_lag):
            continue
        since = (last.deciding[1] if last.role == "terminated" else last.end) + grace(last, grace_days)
        until = min(last.next_start if returned else as_of + 1, as_of + 1)
        found.append((max(0, until - since), returned))
    return found


def line_key(line: Line) -> int:
    text = f"{line.account_id}\x1f{line.contract_id}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
