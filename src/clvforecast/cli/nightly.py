"""`clvforecast score --config` and `clvforecast runs`: the nightly job for a scheduler."""

from __future__ import annotations

import logging
import sys
from datetime import datetime
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clvforecast.cli.options import as_path
from clvforecast.errors import BatchSettingsError, ClvError, RunLockedError

if TYPE_CHECKING:
    from clvforecast.batch import Run


class ExitCode(IntEnum):
    """What a scheduler is told."""

    done = 0
    unusable = 1
    wrong_call = 2
    accounts_failed = 3
    ranges_slipped = 4
    locked = 5


class LogFormat(StrEnum):
    """How a run tells what it does, on stderr."""

    text = "text"
    json = "json"


BESIDE_CONFIG = ("config", "log", "quiet", "as_of")
"""Options that a run takes; all others stand in its file."""
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        parser=as_path,
        help="A run as this TOML file says; beside it only --as-of, --log and -q.",
    ),
]
LogForm = Annotated[LogFormat, typer.Option("--log", help="Of --config: what the run tells on stderr.")]
OfConfig = Annotated[
    Path, typer.Option("--config", metavar="FILE", parser=as_path, help="The TOML file of `score --config`.")
]


def is_given(context: typer.Context, name: str) -> bool:
    """Whether an option stands in the call, and is not just at its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def refuse_others(context: typer.Context) -> None:
    """Raise BadParameter for options beside --config that would be left out silently."""
    given = [
        parameter
        for parameter in context.command.params
        if parameter.name not in BESIDE_CONFIG and is_given(context, str(parameter.name))
    ]
    if given:
        names = ", ".join(parameter.opts[0] if parameter.opts[0].startswith("-") else "EVENTS" for parameter in given)
        raise typer.BadParameter(f"{names} beside --config: write it into the file, which says all of the run.")


def run_config(config: Path, as_of: datetime | None, log: LogFormat, quiet: bool) -> int:
    """Make the run and return the exit code. Its log goes to stderr, on stdout stands where the output is."""
    from clvforecast.batch import log_to, read_settings, score
    from clvforecast.batch.logs import tell

    with log_to(sys.stderr, log.value, logging.WARNING if quiet else logging.INFO):
        try:
            settings = read_settings(config)
            run = score(settings, as_of=None if as_of is None else as_of.date())
        except ClvError as error:
            if log is LogFormat.text:
                raise
            tell("failed", logging.ERROR, message=str(error), exit_code=exit_code_of(error).value)
            return exit_code_of(error)
    if not quiet:
        typer.echo(f"run {run.run_id} as of {run.as_of}: {run.manifest['accounts']:,} accounts, {run.failed:,} failed")
        if run.failed:
            typer.echo("accounts failed: account_failures says which and why")
        if run.drifted:
            typer.echo("ranges of earlier runs no longer hold: range_checks says which")
        typer.echo(f"manifest: {run.folder.manifest(run.run_id)}")
    return _code(run, settings.watch.fail)


def _code(run: Run, fails_on_drift: bool) -> ExitCode:
    if run.failed:
        return ExitCode.accounts_failed
    return ExitCode.ranges_slipped if run.drifted and fails_on_drift else ExitCode.done


def exit_code_of(error: ClvError) -> ExitCode:
    """Of an error that ended a command."""
    if isinstance(error, BatchSettingsError):
        return ExitCode.wrong_call
    return ExitCode.locked if isinstance(error, RunLockedError) else ExitCode.unusable


def runs(
    config: OfConfig,
    activate: Annotated[
        str | None,
        typer.Option("--activate", metavar="RUN", help="Make this run the current one, as after a bad night."),
    ] = None,
) -> None:
    """List the runs of a config file, or go back to an earlier one.

    \b
    Example:
      clvforecast runs --config clvforecast.toml --activate f57e62fb4521f679
    """
    from clvforecast.batch import activate as make_current
    from clvforecast.batch import runs as list_runs

    if activate is not None:
        make_current(config, activate)
    found = list_runs(config)
    if found.empty:
        typer.echo("no run yet")
        return
    shown = found.drop(columns="superseded_by")
    state = found["superseded_by"].isna().map({True: "", False: "superseded"})
    shown["is_current"] = state.where(~found["is_current"], "current")
    shown["has_files"] = shown["has_files"].map({True: "", False: "files removed"})
    typer.echo(shown.rename(columns={"is_current": "", "has_files": " "}).to_string(index=False))
