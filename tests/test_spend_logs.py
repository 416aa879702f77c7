"""A LiteLLM spend log as an outcome table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.evidence import leaderboard
from workbench.outcomes.table import read_outcomes


def row(number: int, **changes: Any) -> dict[str, Any]:
    """A row as LiteLLM 1.106.2 writes it, its many empty fields left out."""
    return {
        "request_id": f"chatcmpl-{number}",
        "call_type": "acompletion",
        "spend": 0.003,
        "total_tokens": 30,
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "startTime": "2026-11-28T11:40:48.500000+00:00",
        "endTime": "2026-11-28T11:40:50.000000+00:00",
        "completionStartTime": "2026-11-28T11:40:48.750000+00:00",
        "model": "openai/own",
        "model_id": "triage/2:own#few_shot@2",
        "model_group": "triage/2",
        "cache_hit": "None",
        "metadata": {"attempted_retries": 0, "original_model_group": "triage", "status": "success"},
        "messages": {},
        **changes,
    }


ROWS = [
    row(1),
    row(2, model_id="triage-open/1:far", model_group="triage-open", spend=0.0),
    row(3, model_id="9f8e", model_group="somebody-open", completionStartTime="2026-11-28T11:40:50.000000+00:00"),
    row(
        4,
        status="failure",
        spend=0.0,
        metadata={"status": "failure", "error_information": {"error_code": "429", "error_class": "RateLimitError"}},
    ),
    row(5, call_type="aembedding"),
    row(6, spend=0.0, cache_hit="True"),
]


def write(path: Path) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(ROWS))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(one) + "\n" for one in ROWS))
    else:
        as_text = [{**one, "metadata": json.dumps(one["metadata"]), "messages": "{}"} for one in ROWS]
        pd.DataFrame(as_text).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv"])
def test_a_spend_log_is_a_table_of_outcomes_from_production(tmp_path: Path, ending: str) -> None:
    table = read_outcomes(write(tmp_path / f"spend.{ending}")).set_index("item_id")
    assert list(table.index) == [f"chatcmpl-{n}" for n in (1, 2, 3, 4, 6)]  # an embedding is no answer
    assert set(table["source"]) == {"production"} and table["score"].isna().all()
    first = table.loc["chatcmpl-1"]
    assert (first["task"], first["model"], first["variant"]) == ("triage", "own", "few_shot")
    assert (first["sensitivity"], first["cost_usd"]) == ("restricted", 0.003)
    assert (first["latency_s"], first["ttft_s"], first["input_tokens"]) == (1.5, 0.25, 20)
    assert first["asked_at"] == pd.Timestamp("2026-11-28T11:40:48.5Z")


def test_what_the_log_does_not_know_is_not_read_in_the_permissive_sense(tmp_path: Path) -> None:
    table = read_outcomes(write(tmp_path / "spend.jsonl")).set_index("item_id")
    free, foreign, failed = (table.loc[f"chatcmpl-{n}"] for n in (2, 3, 4))
    assert free["sensitivity"] == "internal" and pd.isna(free["cost_usd"])  # 0 is: it knows no price
    assert table.loc["chatcmpl-6", "cost_usd"] == 0  # out of the cache
    assert (foreign["sensitivity"], foreign["model"]) == ("restricted", "openai/own")  # -open is another's word
    assert pd.isna(foreign["ttft_s"])  # it was not streamed
    assert (failed["error"], failed["error_class"]) == ("429", "RateLimitError") and pd.isna(failed["cost_usd"])


def test_a_leaderboard_of_a_log_shows_cost_and_latency(tmp_path: Path) -> None:
    board = leaderboard(read_outcomes(write(tmp_path / "spend.jsonl")))
    assert set(board["candidate"]) == {"own#few_shot", "far", "openai/own"}
    assert set(board["latency_p95_s"]) == {1.5}


def test_a_time_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "spend.jsonl"
    path.write_text(json.dumps(row(1, startTime="yesterday")) + "\n")
    with pytest.raises(InputError, match="column 'startTime'"):
        read_outcomes(path)
