"""Files for spreadsheets hold values, not formulas."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from clvforecast.report.files import without_formula, write_csv


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+A1",
        "-A1",
        "@SUM(A1)",
        "\tx",
        "\r=x",
        "=HYPERLINK(...)",
        "-",
        "--5",
        "+1 (555)",
        "\n=1",
        "＝1",
        "＋1",
        "－1",
        "＠x",
    ],
)
def test_a_text_that_would_run_does_not(text: str) -> None:
    assert without_formula(text) == "'" + text


@pytest.mark.parametrize("value", ["-5", "+1.5", "-1e-3", "a=b", "", "2024-01-01", 5.0, None])
def test_numbers_and_plain_texts_stay(value: object) -> None:
    assert without_formula(value) == value


def test_only_texts_are_touched_in_a_file(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"account_id": ["=cmd|' /C calc'!A0", "a"], "mean": [-1.5, 2.0], "day": pd.to_datetime(["2024-01-01", None])}
    )
    table["level"] = pd.Categorical(["@x", "y"])
    write_csv(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines()[1:] == ["'=cmd|' /C calc'!A0,-1.5,2024-01-01,'@x", "a,2.0,,y"]


def test_column_names_do_not_run_either(tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"=cmd()": ["a"], "－x": [1], "plain": ["\n=1"]}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "'=cmd(),'－x,plain\na,1,\"'\n=1\"\n"
