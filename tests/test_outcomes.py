"""The outcome table: defaults, types and round trips; what is missing is never read in the permissive sense."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench import project as places
from workbench.errors import InputError
from workbench.outcomes import candidate_id, split_candidate
from workbench.outcomes.slices import told_slices
from workbench.outcomes.table import digest, latest_outcomes, normalize, read_outcomes, write_outcomes
from workbench.privacy import redact_outcomes


def rows(**columns: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"task": ["t", "t"], "item_id": ["a", "b"], "model": ["m", "m"], "score": [1, 0.5], **columns})


def full() -> pd.DataFrame:
    """Values that are easily changed on their way through a file."""
    return normalize(
        rows(
            variant=["few_shot", "default"],
            repeat=[1, 0],
            accepted=[True, None],
            error=[None, "null"],
            input_tokens=[900, None],
            cost_usd=[0.1 + 0.2, None],
            latency_s=[1 / 3, 2.0],
            output=["001", "NA"],
            prompt=["a,\n\"b\" 'c' €", " None "],
            slice=[{"topic": "ä", "level": "1"}, None],
            cluster=["1", None],
            sensitivity=["public", "restricted"],
            asked_at=["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678+01:00"],
            **{"metric.f": [0.1, 0.2]},
        )
    )


def write(table: pd.DataFrame, name: str) -> Path:
    path = Path(name)
    if path.suffix == ".parquet":
        return write_outcomes(table, path)
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_json(path, orient="records", lines=True, date_format="iso", date_unit="us", double_precision=15)
    return path


@pytest.mark.parametrize("name", ["o.parquet", "o.csv", "o.jsonl"])
def test_a_round_trip_keeps_every_value(name: str) -> None:
    table = full()
    again = read_outcomes(write(table, name))
    assert list(again.columns) == list(table.columns)
    pd.testing.assert_frame_equal(again, table, check_dtype=False, rtol=1e-14)


def test_parquet_keeps_attrs_and_is_the_owners_only() -> None:
    table = full()
    table.attrs["sample"] = {"t": {"n": 2, "of": 80}}
    path = write(table, "o.parquet")
    assert read_outcomes(path).attrs == table.attrs
    assert path.stat().st_mode & 0o777 == 0o600


def test_times_as_numbers_are_read_in_their_unit() -> None:
    at = pd.Timestamp("2026-01-02T03:04:05Z")
    for factor in (1, 10**3, 10**6, 10**9):
        table = normalize(rows(asked_at=[int(at.timestamp()) * factor] * 2))
        assert table["asked_at"].tolist() == [at, at]


def test_defaults_fill_what_is_left_out() -> None:
    table = normalize(rows())
    assert table[["variant", "repeat", "split"]].to_numpy().tolist() == [["default", 0, "test"]] * 2
    assert "sensitivity" not in table and "cost_usd" not in table


@pytest.mark.parametrize("dtype", [object, "category", "string"])
def test_defaults_fill_gaps_whatever_the_columns_type(dtype: Any) -> None:
    table = normalize(
        rows(variant=pd.Series(["few_shot", None], dtype=dtype), split=pd.Series([None, "dev"], dtype=dtype))
    )
    assert table["variant"].tolist() == ["few_shot", "default"]
    assert table["split"].tolist() == ["test", "dev"]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *[(true, True) for true in ("True", "true", 1, "1", 1.0, np.True_)],
        *[(false, False) for false in ("False", " false ", 0)],
        *[(null, None) for null in (None, float("nan"), pd.NA)],
    ],
)
def test_booleans_of_other_tools_are_understood(written: Any, value: bool | None) -> None:
    table = normalize(rows(accepted=pd.Series([written, written], dtype=object)))
    assert [None if pd.isna(entry) else bool(entry) for entry in table["accepted"]] == [value, value]


def test_booleans_of_a_csv_are_no_texts() -> None:
    Path("o.csv").write_text("task,item_id,model,score,accepted\nt,a,m,1,True\nt,b,m,0,False\nt,c,m,,\n")
    assert read_outcomes("o.csv")["accepted"].tolist() == [True, False, pd.NA]


def test_numbers_of_other_tools_are_understood() -> None:
    Path("o.csv").write_text("task,item_id,model,score,cost_usd,metric.f\n1,01,m,0.5,NA,null\n1,02,m,NaN,1e-3,2\n")
    table = read_outcomes("o.csv")
    assert table["item_id"].tolist() == ["01", "02"]
    assert table["task"].tolist() == ["1", "1"]
    assert table["score"].isna().tolist() == [False, True]
    assert table["cost_usd"].isna().tolist() == [True, False]
    assert table["metric.f"].isna().tolist() == [True, False]


@pytest.mark.parametrize("slice_", [{"b": "2", "a": "1"}, [("a", "1"), ("b", "2")], '{"a": "1", "b": "2"}'])
def test_a_slice_is_canonical_text_however_it_came(slice_: Any) -> None:
    table = normalize(rows(slice=[slice_, None]))
    assert table["slice"].iloc[0] == '{"a": "1", "b": "2"}'
    assert told_slices(table.assign(**{"class": "open"})).iloc[0].to_dict() == {"a": "1", "b": "2"}


@pytest.mark.parametrize("further", [{}, {"slice": [{"a": "1"}] * 2}, {"tags": [["x"]] * 2}])
def test_the_same_outcome_twice_is_kept_once(further: dict[str, Any]) -> None:
    table = rows(**further)
    assert len(normalize(pd.concat([table, table]))) == 2


def test_two_different_outcomes_of_one_question_are_refused() -> None:
    table = rows()
    with pytest.raises(InputError, match="two different outcomes for t, a, m, default, 0"):
        normalize(pd.concat([table, table.assign(score=0.25)]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"score": [1, 1.5]}, "row 2: score is 1.5. Scores run from 0 to 1."),
        ({"score": [-0.1, 1]}, "row 1: score is -0.1."),
        ({"score": [1, float("inf")]}, "row 2: score is inf."),
        ({"score": [1, "CANARY"]}, "row 2: column 'score' has a value that is not a number."),
        ({"attempts": [1, 1.5]}, "row 2: column 'attempts' has a value that is not a whole number."),
        ({"accepted": ["true", "CANARY"]}, "row 2: column 'accepted' has a value that is neither true nor false."),
        ({"asked_at": ["2026-01-01", "CANARY"]}, "row 2: column 'asked_at' has a value that is not a date and time"),
        ({"slice": ['{"a": "1"}', '{"a": CANARY']}, "row 2: column 'slice'"),
        ({"item_id": ["a", None]}, "row 2 has no item_id. Fill it in."),
        ({"model": [None, "m"]}, "row 1 has no model. Fill it in."),
    ],
)
def test_a_broken_value_is_named_by_row_and_column_and_not_repeated(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        normalize(rows().assign(**columns), "o.csv")
    assert str(caught.value).startswith(f"o.csv: {message}")
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("name", ["task", "item_id", "model", "score"])
def test_a_missing_required_column_is_named(name: str) -> None:
    with pytest.raises(InputError, match=f"column '{name}' is missing. Required are: task, item_id, model, score"):
        normalize(rows().drop(columns=name))


def test_no_id_in_jsonl_is_no_id_called_none() -> None:
    Path("o.jsonl").write_text('{"task": "t", "item_id": null, "model": "m", "score": 1}\n')
    with pytest.raises(InputError, match="row 1 has no item_id"):
        read_outcomes("o.jsonl")


def test_a_missing_sensitivity_is_restricted() -> None:
    shown = redact_outcomes(normalize(rows(output=["CANARY", "CANARY"], prompt=["CANARY", None])))
    assert "CANARY" not in shown.to_csv()
    assert shown["output"].iloc[0] == "[restricted] 6 characters"
    partly = redact_outcomes(normalize(rows(output=["CANARY", "open"], sensitivity=[None, "public"])))
    assert partly["output"].tolist() == ["[restricted] 6 characters", "open"]


def test_the_newest_runs_table_is_found() -> None:
    with pytest.raises(InputError, match="there is no run yet"):
        latest_outcomes()
    path = write_outcomes(full(), places.state("runs", "one") / "outcomes.parquet")
    assert latest_outcomes() == path
    newer = write_outcomes(full().assign(model="another"), places.state("runs", "two") / "outcomes.parquet")
    os.utime(path, (1, 1))
    assert latest_outcomes() == newer and latest_outcomes(set(full()["model"])) == path
    assert latest_outcomes({"nobody"}) == newer


def test_the_digest_is_of_results_and_not_of_texts_or_order() -> None:
    table = full()
    assert digest(table) == digest(table.iloc[::-1].assign(output="other"))
    assert digest(table) != digest(table.assign(score=0.25))


@pytest.mark.parametrize(("model", "variant", "name"), [("m", "default", "m"), ("m", "few_shot", "m#few_shot")])
def test_a_candidates_name_goes_both_ways(model: str, variant: str, name: str) -> None:
    assert candidate_id(model, variant) == name
    assert split_candidate(name) == (model, variant)
