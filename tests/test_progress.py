"""What a user is told while a fit runs: a line that turns on a terminal, a line each elsewhere."""

import io
import sys

import pytest

from clvforecast.progress import announcing


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def told(progress: bool) -> None:
    with announcing(progress) as say:
        for message in ("counting", "renewal: sampling", "change: sampling", "renewal: done"):
            say(message)


def test_in_a_file_every_start_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    told(progress=True)
    assert capsys.readouterr() == ("", "counting\nrenewal: sampling\nchange: sampling\n")


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """To be called in the test itself: between set-up and test pytest puts its own stderr in place."""
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    return stderr


def test_on_a_terminal_what_goes_on_is_shown_together_and_then_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with announcing(True) as say:
        say("counting")
        say("renewal: sampling")
        say("change: R-hat of [region=north] not good enough")  # no markup
    shown = terminal.getvalue()
    assert "renewal: sampling; change: R-hat of [region=north] not good enough" in shown
    assert shown.rstrip("\n").endswith("\x1b[2K")


def test_what_is_done_is_shown_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with announcing(True) as say:
        say("renewal: sampling")
        say("change: sampling")
        say("renewal: done")
    last = terminal.getvalue().rpartition("sampling")[0]
    assert last.endswith("change: ") and not last.endswith("renewal: sampling; change: ")


@pytest.mark.parametrize("stderr", [None, Closed(), object()])
def test_nothing_fails_because_nobody_listens(monkeypatch: pytest.MonkeyPatch, stderr: object) -> None:
    if stderr is not None and not hasattr(stderr, "write"):
        stderr = type("Sink", (), {"write": lambda self, text: len(text), "flush": lambda self: None})()
    monkeypatch.setattr(sys, "stderr", stderr)
    told(progress=True)


def test_nothing_is_said_when_nothing_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    told(progress=False)
    assert capsys.readouterr() == ("", "")
