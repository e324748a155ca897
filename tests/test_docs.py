"""The pages of docs/ say what is so: the schema's columns, SQL that runs, settings with their defaults, and every exit code."""

from __future__ import annotations

import re
import tomllib
from functools import partial
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

import clvforecast as clv
from clvforecast.batch.assembly import tables_in
from clvforecast.batch.folder import RunFolder
from clvforecast.batch.schema import TABLES
from clvforecast.batch.servers import session
from clvforecast.batch.settings import BatchSettings
from clvforecast.batch.sinks import PostgresSink
from clvforecast.batch.sinks.views import VIEW_NAMES
from clvforecast.cli.nightly import ExitCode
from postgres_server import postgres_uri as postgres_uri
from tables_page import BLOCK, PAGE, rendered

ROOT = Path(__file__).parents[1]
TABLES_PAGE = PAGE.read_text(encoding="utf-8")
OPERATING = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
SQL, OF_DUCKDB = (
    re.findall(rf"^```{language}\n(.*?)^```$", TABLES_PAGE, re.MULTILINE | re.DOTALL) for language in ("sql", "duckdb")
)
HEADINGS = re.compile(r"^#+ (.*)$", re.MULTILINE)


def settings_in(page: str) -> list[dict]:
    return [tomllib.loads(text) for text in re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)]


def test_columns_are_those_of_the_schema() -> None:
    assert rendered(TABLES_PAGE) == TABLES_PAGE, "PYTHONPATH=tests python -m tables_page"
    assert sorted(BLOCK.findall(TABLES_PAGE)) == sorted((*TABLES, *VIEW_NAMES))


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of two small runs, with a table of the company's own beside it."""
    folder = tmp_path_factory.mktemp("nights")
    events, truth = clv.simulate_events(n_accounts=60, seed=2)
    accounts = truth.accounts.rename(columns={"segment": "plan"})
    ledger = clv.read_ledger(events, accounts, as_of=truth.as_of)
    posterior = clv.prior(ledger.at("2023-08-31"), ["plan"], draws=50)
    settings = {
        "forecast": {"horizon_months": 24, "draws": 50, "bridge": True, "fiscal_start": 2},
        "output": {"folder": str(folder / "scores")},
        "watch": {"accounts": 30, "months": 1, "every_days": 1},
    }
    for day in ("2023-08-31", "2023-11-30"):
        run = clv.batch.score(settings, events=ledger, posterior=posterior, as_of=day)
    assert len(run.table("range_checks")) == 1
    owners = pd.DataFrame({"account_id": accounts["account_id"], "owner": ["Ada", "Ben", "Cem"] * (len(accounts) // 3)})
    owners.to_csv(folder / "crm_accounts.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def in_postgres(scores: Path, postgres_uri: str) -> str:
    """A server with the same runs, in the schema docs_tables."""
    folder = RunFolder(scores / "scores")
    for manifest in reversed(folder.manifests()):
        at = partial(folder.table, as_of=manifest["as_of"], run_id=manifest["run_id"])
        PostgresSink(postgres_uri, "docs_tables").publish(manifest["run_id"], tables_in(at), keep_runs=7)
    owners = pa.Table.from_pandas(pd.read_csv(scores / "crm_accounts.csv"), preserve_index=False)
    with session(postgres_uri, "preparing") as server:
        server.run("DROP TABLE IF EXISTS docs_tables.crm_accounts")
        server.run("CREATE TABLE docs_tables.crm_accounts (account_id text, owner text)")
        server.load("docs_tables", "crm_accounts", owners.to_reader())
        server.commit()
    return postgres_uri


@pytest.mark.parametrize("query", SQL, ids=lambda query: " ".join(query.split())[:50])
def test_queries_run(scores: Path, query: str) -> None:
    with duckdb.connect(str(scores / "scores" / "clvforecast.duckdb"), read_only=True) as connection:
        owners = scores / "crm_accounts.csv"
        connection.execute(f"CREATE TEMP TABLE crm_accounts AS SELECT * FROM read_csv('{owners}')")
        found = connection.sql(query).to_arrow_table().to_pandas()
    check_answer(query, found)


@pytest.mark.parametrize("query", SQL, ids=lambda query: " ".join(query.split())[:50])
def test_queries_run_in_postgresql(in_postgres: str, query: str) -> None:
    with session(in_postgres, "asking") as server:
        server.run("SET search_path = docs_tables")
        check_answer(query, server.table(query.rstrip().removesuffix(";")).to_pandas())


def check_answer(query: str, found: pd.DataFrame) -> None:
    assert len(found) or "account_failures" in query
    if "of_segments" in query:
        assert found["portfolio"].to_numpy() == pytest.approx(found["of_segments"].to_numpy(), rel=1e-9)


def test_two_files_are_joined(scores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scores)
    (query,) = OF_DUCKDB
    with duckdb.connect() as connection:
        assert len(connection.execute(query).df()) == 3


def test_there_are_queries() -> None:
    assert len(SQL) == 14


def test_settings_are_complete_with_their_defaults() -> None:
    """The first example has every key; those without a default are an example's, and told so by their comment."""
    shown = settings_in(OPERATING)[0]
    BatchSettings.model_validate({**shown, "forecast": {**shown["forecast"]}})
    for table, field in BatchSettings.model_fields.items():
        model = field.annotation
        names = {key.alias or name: key for name, key in model.model_fields.items()}
        assert set(shown[table]) | _left_out(table) == set(names), table
        for name, value in shown[table].items():
            default = names[name].get_default(call_default_factory=True)
            if default is not None and default != ():
                assert value == default, f"{table}.{name}"


def _left_out(table: str) -> set[str]:
    """Keys that stand as comments, because they exclude others."""
    block = re.search(r"^```toml\n(.*?)^```$", OPERATING, re.MULTILINE | re.DOTALL)[1]
    section = re.search(rf"^\[{table}\]\n(.*?)(?=^\[|\Z)", block, re.MULTILINE | re.DOTALL)[1]
    return set(re.findall(r"^# (\w+) =", section, re.MULTILINE))


def test_other_settings_are_possible() -> None:
    for shown in settings_in(OPERATING)[1:]:
        BatchSettings.model_validate(shown)


def test_exit_codes_are_all_there() -> None:
    told = re.findall(r"^\| (\d) \|", OPERATING, re.MULTILINE)
    assert told == [str(code.value) for code in ExitCode]


def test_links_lead_somewhere() -> None:
    for page in (PAGE, ROOT / "docs" / "operating.md"):
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
            file = page if not target else page.parent / target
            assert file.exists(), target
            if anchor:
                titles = HEADINGS.findall(file.read_text(encoding="utf-8"))
                assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, anchor
