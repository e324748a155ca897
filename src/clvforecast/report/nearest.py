"""Names near one that is not there, for messages."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


def near_names(name: str, known: Sequence[str]) -> str:
    """What a message says after "no account 'x'": the three nearest names, or nothing.

    Capitals count for nothing here, and of long ids that a name is the beginning of, or within, those come first.

    Examples
    --------
    >>> near_names("a-1", ["A-1", "A-2", "B-7"])
    "; near are 'A-1', 'A-2'"
    >>> near_names("zzz", ["A-1"])
    ''
    """
    lower = str(name).lower()
    by_lower = {str(one).lower(): str(one) for one in known}
    holding = [one for one in by_lower if lower and lower in one][:3]
    close = list(dict.fromkeys([*holding, *get_close_matches(lower, list(by_lower), n=3)]))[:3]
    return f"; near are {', '.join(repr(by_lower[one]) for one in close)}" if close else ""
