"""Files that do not fit into memory are scored in buckets: the same numbers, rejected rows by their own places."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import clvforecast as clv
from batch_company import AS_OF, accounts, events, posterior, settings
from clvforecast.batch import cutting, streamed

BY_ACCOUNT = ("account_ranges", "account_failures")


@pytest.fixture(autouse=True)
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "BYTES_EACH", 6_000)


def written(folder: Path, table: pd.DataFrame) -> None:
    """Events in two files and accounts in one."""
    folder.mkdir()
    table.iloc[:300].to_parquet(folder / "events-1.parquet", index=False)
    table.iloc[300:].to_parquet(folder / "events-2.parquet", index=False)
    accounts().to_parquet(folder / "accounts.parquet", index=False)


def scored(folder: Path, output: Path, **of_input: Any) -> clv.batch.Run:
    said = {"events": [str(folder / "events-*.parquet")], "accounts": str(folder / "accounts.parquet"), **of_input}
    return clv.batch.score(settings(output, input={"as_of": AS_OF, **said}), posterior=posterior())


def broken() -> pd.DataFrame:
    """Rows that no ledger takes, one of them of an account that has no other row."""
    table = events().copy()
    table.loc[[5, 417], "amount"] = -1.0
    return pd.concat([table, table.iloc[[0]].assign(event_id="alone", account_id="Z1", amount=-3.0)], ignore_index=True)


def test_buckets_give_what_memory_gives(tmp_path: Path) -> None:
    written(tmp_path / "in", broken())
    whole = scored(tmp_path / "in", tmp_path / "whole")
    parts = scored(tmp_path / "in", tmp_path / "parts", stream=True)
    assert parts.manifest["inputs"]["buckets"] > 3
    for name in ("account_ranges", "period_ranges", "arr_ranges", "retention_ranges"):
        a, b = (run.table(name).drop(columns="run_id") for run in (whole, parts))
        keys = ["account_id"] if name in BY_ACCOUNT else list(a.columns[:7])
        pd.testing.assert_frame_equal(*(table.sort_values(keys).reset_index(drop=True) for table in (a, b)))
    a, b = (run.table("rejected_rows").sort_values(["source", "row"]).reset_index(drop=True) for run in (whole, parts))
    pd.testing.assert_frame_equal(a.drop(columns="raw"), b.drop(columns="raw"))
    assert a["row"].tolist() == [6, 118, 333]
    assert whole.manifest["inputs"]["rejected"] == parts.manifest["inputs"]["rejected"] == {"wrong_sign": 3}
    read = sum(part["rows"] for part in parts.manifest["inputs"]["money"] if part["part"] == "read")
    assert read + parts.manifest["inputs"]["unusable_rows"] == len(broken())
    watches = [clv.load_forecast(next((run.folder.path / "watch").iterdir())) for run in (whole, parts)]
    assert watches[1].table["account_id"].isin(whole.table("account_ranges")["account_id"]).all()
    assert not list((tmp_path / "parts" / "work").iterdir()), "buckets are removed"


def test_a_streamed_run_goes_on_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "in", events())
    undisturbed = scored(tmp_path / "in", tmp_path / "undisturbed", stream=True)
    calls: list[int] = []

    def killed(folder: Path, number: int, columns: list[str] | None = None) -> Any:
        calls.append(number)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return original(folder, number, columns)

    original = streamed.read_bucket
    with monkeypatch.context() as patch:
        patch.setattr(streamed, "read_bucket", killed)
        with pytest.raises(KeyboardInterrupt):
            scored(tmp_path / "in", tmp_path / "killed", stream=True)
    resumed = scored(tmp_path / "in", tmp_path / "killed", stream=True)
    assert resumed.run_id == undisturbed.run_id
    outputs = [
        {path: said["sha256"] for path, said in run.manifest["outputs"].items()} for run in (undisturbed, resumed)
    ]
    assert outputs[0] == outputs[1]


WRONG = {
    "an id of two accounts": (
        lambda table: table.assign(event_id=table["event_id"].where(table.index != 400, table["event_id"].iloc[0])),
        "stands at several accounts",
    ),
    "two currencies": (
        lambda table: table.assign(currency=table["currency"].where(table.index > 9, "EUR")),
        "EUR (10 rows)",
    ),
    "no currency": (lambda table: table.drop(columns="currency"), "no column currency"),
    "no account": (lambda table: table.drop(columns="account_id"), "no column account_id"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_bucket_alone_could_see_is_refused(name: str, tmp_path: Path) -> None:
    change, words = WRONG[name]
    written(tmp_path / "in", change(events()))
    with pytest.raises(clv.BatchError) as error:
        scored(tmp_path / "in", tmp_path / "out", stream=True)
    assert words in str(error.value)


def test_the_day_is_asked_for_where_bookings_are_texts(tmp_path: Path) -> None:
    texts = events().assign(event_date=pd.to_datetime(events()["event_date"]).dt.strftime("%Y-%m-%d"))
    written(tmp_path / "in", texts)
    with pytest.raises(clv.BatchSettingsError, match="input.as_of is missing"):
        scored(tmp_path / "in", tmp_path / "out", stream=True, as_of=None)
    written(tmp_path / "days", texts.assign(event_date=pd.to_datetime(texts["event_date"])))
    run = scored(tmp_path / "days", tmp_path / "out", stream=True, as_of=None)
    assert str(run.as_of) == texts["event_date"].max()


@pytest.mark.parametrize(
    "tables",
    [
        {"forecast": {"plans": "plans.csv"}, "input": {"stream": True}},
        {"input": {"stream": True, "max_rejected": 0.1}},
        {"input": {"stream": True}, "posterior": {"refit": "age"}},
    ],
    ids=lambda tables: ", ".join(tables),
)
def test_what_needs_all_events_is_refused(tables: dict[str, Any]) -> None:
    with pytest.raises(clv.BatchSettingsError, match="in memory"):
        clv.batch.read_settings(tables)


def test_other_files_than_parquet_are_refused(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("account_id\n")
    asked = settings(tmp_path / "out", input={"events": str(tmp_path / "events.csv"), "stream": True})
    with pytest.raises(clv.BatchSettingsError, match="reads Parquet files"):
        clv.batch.score(asked, posterior=posterior())


def of_all_and_in_buckets(folder: Path, table: pd.DataFrame, **asked: Any) -> list[clv.batch.Run]:
    folder.mkdir()
    table.to_parquet(folder / "events.parquet", index=False)
    said = {"events": [str(folder / "events.parquet")], **asked}
    return [
        clv.batch.score(
            settings(folder / f"out-{stream}", input={**said, "stream": stream}, watch={"accounts": 0}),
            posterior=posterior(),
        )
        for stream in (False, True)
    ]


def assert_same_accounts(runs: list[clv.batch.Run]) -> None:
    a, b = (run.table("account_ranges").drop(columns="run_id").sort_values("account_id") for run in runs)
    pd.testing.assert_frame_equal(a.reset_index(drop=True), b.reset_index(drop=True))


def test_the_day_is_not_that_of_a_rejected_row(tmp_path: Path) -> None:
    days = events().assign(event_date=pd.to_datetime(events()["event_date"]))
    days["segment"] = days["account_id"].map(accounts().set_index("account_id")["segment"])
    wrong = days.iloc[[0]].assign(event_id="wrong", event_date=pd.Timestamp("2024-09-15"), amount=-5.0)
    runs = of_all_and_in_buckets(tmp_path / "in", pd.concat([days, wrong], ignore_index=True))
    assert runs[0].as_of == runs[1].as_of == days["event_date"].max().date()
    assert_same_accounts(runs)


@pytest.mark.parametrize("varies", ["observed_from", "region"])
def test_columns_of_the_events_say_what_they_say_of_all(varies: str, tmp_path: Path) -> None:
    """What is the same in all events of an account must be so in every bucket."""
    table = events().assign(event_date=pd.to_datetime(events()["event_date"]))
    table["segment"] = table["account_id"].map(accounts().set_index("account_id")["segment"])
    table["observed_from"] = table["account_id"].str[-1].astype(int) % 3
    table["region"] = "north"
    of_one = table.index[table["account_id"] == table["account_id"].value_counts().index[0]]
    table.loc[of_one[0], varies] = {"observed_from": 9, "region": "south"}[varies]
    assert_same_accounts(of_all_and_in_buckets(tmp_path / "in", table, as_of=AS_OF))


def test_days_are_those_of_the_files_zone(tmp_path: Path) -> None:
    table = events().copy()
    for name in ("event_date", "start_date"):
        table[name] = pd.to_datetime(table[name]).dt.tz_localize("Asia/Tokyo")
    table["segment"] = table["account_id"].map(accounts().set_index("account_id")["segment"])
    assert_same_accounts(of_all_and_in_buckets(tmp_path / "in", table, as_of=AS_OF))
    table.iloc[:9].to_parquet(tmp_path / "1.parquet")
    other = table.iloc[9:].assign(event_date=table["event_date"].dt.tz_convert("UTC"))
    other.to_parquet(tmp_path / "2.parquet")
    asked = settings(tmp_path / "out", input={"events": [str(tmp_path / "*.parquet")], "stream": True, "as_of": AS_OF})
    with pytest.raises(clv.BatchError, match="the zone of column event_date is UTC, in files before it Asia/Tokyo"):
        clv.batch.score(asked, posterior=posterior())


def test_files_are_read_in_the_order_that_they_are_given_in(tmp_path: Path) -> None:
    """Without ids, which of two equal bookings counts is told by their order."""
    table = events().drop(columns="event_id").assign(region=events()["account_id"].map(lambda name: f"r{name}"))
    table["segment"] = table["account_id"].map(accounts().set_index("account_id")["segment"])
    halves = {"z.parquet": table.iloc[300:], "a.parquet": table.iloc[:300]}
    for name, half in halves.items():
        half.to_parquet(tmp_path / name, index=False)
    runs = {
        (first, stream): clv.batch.score(
            settings(
                tmp_path / f"{first}-{stream}",
                input={"events": [str(tmp_path / name) for name in names], "stream": stream, "as_of": AS_OF},
                watch={"accounts": 0},
            ),
            posterior=posterior(),
        )
        for first, names in (("z", ("z.parquet", "a.parquet")), ("a", ("a.parquet", "z.parquet")))
        for stream in (False, True)
    }
    for first in "az":
        assert_same_accounts([runs[first, False], runs[first, True]])
    assert runs["a", True].run_id != runs["z", True].run_id


@pytest.mark.parametrize("months", [2, 0])
def test_a_stream_knows_what_a_ledger_knows_of_bookings(months: int, tmp_path: Path) -> None:
    """Where the last ones are missing, no watch is kept, and the whole book's warning is told, none of single buckets."""
    table = events().assign(event_date=pd.to_datetime(events()["event_date"]))
    table = table[table["event_date"] <= pd.Timestamp(AS_OF) - pd.DateOffset(months=months)]
    folder = tmp_path / "in"
    written(folder, table)
    early = clv.prior(clv.read_ledger(events(), accounts(), as_of="2022-12-31"), ["segment"], draws=100, chains=2)
    said = {"events": [str(folder / "events-*.parquet")], "accounts": str(folder / "accounts.parquet"), "as_of": AS_OF}
    told: dict[bool, list[str]] = {}
    for stream in (False, True):
        asked = settings(tmp_path / str(stream), input={**said, "stream": stream})
        run = clv.batch.score(asked, posterior=early)
        told[stream] = [
            re.sub(r" \(last: .*?\)", "", text)
            for text in run.warnings
            if "are booked from" in text or "no watch" in text
        ]
        assert (run.folder.path / "watch").exists() == (months == 0)
    assert told[True] == told[False]
    assert len(told[True]) == (2 if months else 0)


def test_buckets_are_found_again_where_the_files_have_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "in", broken())
    with monkeypatch.context() as patch:
        patch.setattr(clv.batch.run.Job, "part", lambda job, number: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            scored(tmp_path / "in", tmp_path / "out", stream=True)
    (tmp_path / "in").rename(tmp_path / "moved")
    run = scored(tmp_path / "moved", tmp_path / "out", stream=True)
    sources = run.table("rejected_rows")["source"].unique()
    assert set(sources) == {str(tmp_path / "moved" / f"events-{number}.parquet") for number in (1, 2)}


def test_an_accounts_table_without_rows_is_one_without_rows(tmp_path: Path) -> None:
    few_accounts(tmp_path / "in", accounts().iloc[:0])
    assert_same_accounts(
        [scored(tmp_path / "in", tmp_path / f"out-{stream}", stream=stream) for stream in (False, True)]
    )


def test_events_without_rows_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "in", events().iloc[:0])
    with pytest.raises(clv.ClvError, match="no currency"):
        scored(tmp_path / "in", tmp_path / "out", stream=True)


def few_accounts(folder: Path, table: pd.DataFrame) -> None:
    written(folder, events())
    table.to_parquet(folder / "accounts.parquet", index=False)


def test_a_bucket_may_lack_all_rows_of_the_accounts_table(tmp_path: Path) -> None:
    """As in memory: only where not one account of the table has events is it another table."""
    some = accounts().iloc[:2]
    others = pd.concat([some, *(some.assign(account_id=[f"X{n}", f"Y{n}"]) for n in range(40))], ignore_index=True)
    few_accounts(tmp_path / "in", others)
    assert_same_accounts(
        [scored(tmp_path / "in", tmp_path / f"out-{stream}", stream=stream) for stream in (False, True)]
    )


def test_an_accounts_table_of_other_accounts_is_refused(tmp_path: Path) -> None:
    few_accounts(tmp_path / "in", accounts().assign(account_id=[f"X{n}" for n in range(len(accounts()))]))
    for stream in (False, True):
        with pytest.raises(clv.ClvError, match="not one of the 120 accounts"):
            scored(tmp_path / "in", tmp_path / f"out-{stream}", stream=stream)


def test_buckets_of_which_nothing_is_known_yet_count_as_later(tmp_path: Path) -> None:
    table = events().copy()
    table["segment"] = table["account_id"].map(accounts().set_index("account_id")["segment"])
    runs = of_all_and_in_buckets(tmp_path / "in", table, as_of="2016-01-20")
    assert_same_accounts(runs)
    rows = [
        {(said["part"], said["currency"]): said["rows"] for said in run.manifest["inputs"]["money"] if said["rows"]}
        for run in runs
    ]
    assert rows[0] == rows[1]
