"""Notes and corrected labels: kept at once, applied when the set is loaded; earlier evidence is known to be older."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import planted
import pytest
from conftest import item, write_evalset

from workbench.errors import InputError, RunError
from workbench.evalset import EvalSet, Limits, add_correction, digest_now, load_evalset, refreshed
from workbench.evalset.corrections import current_key
from workbench.routing import route
from workbench.routing.policy import STALE
from workbench.runner.result import Run


@pytest.fixture
def mini(project: Path) -> EvalSet:
    return load_evalset(write_evalset(project, "mini", items=[item("a", label="red"), item("b", label="green")]))


def lines(evalset: EvalSet) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (evalset.path / "corrections.jsonl").read_text().splitlines()]


def test_a_corrected_label_holds_from_the_next_loading_and_changes_the_digest(mini: EvalSet) -> None:
    add_correction(mini, "a", expectations={"label": "green"}, note="it says so")
    again = load_evalset(mini.path)
    assert [entry.expectations for entry in again.items] == [{"label": "green"}, {"label": "green"}]
    assert again.digest != mini.digest
    (kept,) = lines(mini)
    assert kept["item"] == "a" and kept["note"] == "it says so" and kept["at"].endswith("Z")
    assert "green" not in (mini.path / "items.jsonl").read_text().splitlines()[0]  # the file itself stays as it was


def test_the_last_of_several_corrections_holds(mini: EvalSet) -> None:
    for label in ("green", "red", "green"):
        add_correction(mini, "b", note="again", expectations={"label": label})
    assert load_evalset(mini.path).items[1].expectations == {"label": "green"}
    add_correction(mini, "b", expectations={"label": "red"})
    assert load_evalset(mini.path).items[1].expectations == {"label": "red"}


def test_a_note_alone_leaves_the_key_and_is_in_the_digest(mini: EvalSet) -> None:
    add_correction(mini, "a", note="two readers could differ")
    again = load_evalset(mini.path)
    assert again.items == mini.items
    assert again.digest != mini.digest
    assert "expectations" not in lines(mini)[0]


def test_a_line_is_added_behind_one_without_an_end(mini: EvalSet) -> None:
    path = mini.path / "corrections.jsonl"
    path.write_text('{"item": "a", "at": "2026-01-01T00:00:00Z", "note": "first"}')
    add_correction(mini, "b", note="second")
    assert [line["note"] for line in lines(mini)] == ["first", "second"]


@pytest.mark.parametrize(
    ("item_id", "change", "told"),
    [
        ("c", {"note": "x"}, "no item 'c' in eval set 'mini'"),
        ("a", {}, "nothing to keep"),
        ("a", {"note": "  "}, "nothing to keep"),
        ("a", {"expectations": {"label": "red"}}, "nothing to keep"),
        ("a", {"expectations": {"colour": "red"}}, "corrected key of item 'a' cannot be scored"),
    ],
)
def test_what_cannot_be_kept_is_one_clear_error_and_nothing_is_written(
    mini: EvalSet, item_id: str, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        add_correction(mini, item_id, **change)
    assert not (mini.path / "corrections.jsonl").exists()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"item": "a", "at": "2026-01-01T00:00:00Z"}', "neither a note nor expectations"),
        ('{"item": "zz", "at": "2026-01-01T00:00:00Z", "note": "x"}', "no item 'zz' in items.jsonl"),
        ('{"item": "a", "at": "2026-01-01T00:00:00Z", "expectations": {"colour": 1}}', r"\(item a\)"),
        ('{"item": "a", "at": "2026-01-01T00:00:00Z", "noted": "x"}', "unknown key"),
    ],
)
def test_a_broken_line_is_named(mini: EvalSet, line: str, told: str) -> None:
    (mini.path / "corrections.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=rf"corrections\.jsonl:1: .*{told}"):
        load_evalset(mini.path)


def test_a_file_that_cannot_be_written_is_one_clear_error(mini: EvalSet) -> None:
    (mini.path / "corrections.jsonl").mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        add_correction(mini, "a", note="x")


def test_a_large_set_is_corrected_too(mini: EvalSet, monkeypatch: pytest.MonkeyPatch) -> None:
    add_correction(mini, "b", expectations={"label": "red"})
    monkeypatch.setattr("workbench.evalset.items.IN_MEMORY", 0)
    large = load_evalset(mini.path)
    assert not isinstance(large.items, tuple)
    assert [entry.expectations["label"] for entry in large.items] == ["red", "red"]
    assert large.items[1].expectations == {"label": "red"}


def outcomes(evalset: EvalSet) -> pd.DataFrame:
    table = planted.outcomes({"a": planted.right(0.9, 200), "b": planted.right(0.2, 200)}, task="mini")
    return table.assign(evalset_digest=evalset.digest)


def test_evidence_from_before_a_correction_decides_nothing(mini: EvalSet) -> None:
    catalog = planted.models(a="local", b="local")
    (before,) = route(outcomes(mini), catalog, {"mini": mini}, policies=("per_task",)).routes
    assert before.status == "decided"
    add_correction(mini, "a", expectations={"label": "green"})
    (after,) = route(outcomes(mini), catalog, {"mini": load_evalset(mini.path)}, policies=("per_task",)).routes
    assert after.status == "provisional"
    assert "changed since these outcomes: run again" in after.reason


def test_a_key_is_the_same_in_another_order_but_one_is_not_true(project: Path) -> None:
    entries = [{"id": "a", "inputs": {"thing": "x"}, "expectations": {"label": "red", "n": {"x": 1, "y": [1]}}}]
    evalset = load_evalset(write_evalset(project, "mini", items=entries))
    with pytest.raises(InputError, match="nothing to keep"):
        add_correction(evalset, "a", expectations={"n": {"y": [1], "x": 1}, "label": "red"})
    add_correction(evalset, "a", expectations={"n": {"y": [True], "x": 1}, "label": "red"})
    assert current_key(load_evalset(evalset.path), "a")["n"]["y"] == [True]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"expectations": {"label": "red", "n": math.nan}}, "NaN is no number"),
        ({"expectations": {"label": "red", "n": "\ud800"}}, "half a character"),
        ({"expectations": {"label": "red", "n": {1, 2}}}, "not JSON serializable"),
        ({"note": "\ud800"}, "half a character"),
        ({"note": "x" * 10_001}, "longer than 10,000 characters"),
    ],
)
def test_what_the_set_could_not_be_loaded_with_is_not_written(mini: EvalSet, change: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        add_correction(mini, "a", **change)
    assert not (mini.path / "corrections.jsonl").exists()


def test_the_key_of_now_is_the_last_corrected_one(mini: EvalSet) -> None:
    assert current_key(mini, "a") == {"label": "red"}
    add_correction(mini, "a", expectations={"label": "green"})
    add_correction(mini, "a", note="looked again")
    assert current_key(mini, "a") == {"label": "green"}
    with pytest.raises(InputError, match="no item 'zz'"):
        current_key(mini, "zz")


FULL_DISK = """
import resource, signal, sys
from workbench.errors import RunError
from workbench.evalset import add_correction, load_evalset

evalset = load_evalset(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
room = (evalset.path / "corrections.jsonl").stat().st_size + 40
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
try:
    add_correction(evalset, "a", note="y" * 500)
except RunError as failure:
    print(failure)
"""


def test_a_line_that_does_not_fit_on_the_disk_is_taken_back_whole(mini: EvalSet) -> None:
    add_correction(mini, "a", note="first")
    before = (mini.path / "corrections.jsonl").read_bytes()
    command = [sys.executable, "-c", FULL_DISK, str(mini.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    assert (mini.path / "corrections.jsonl").read_bytes() == before


def test_the_policy_of_a_run_says_where_a_key_was_corrected_since(mini: EvalSet) -> None:
    outcomes = planted.outcomes({"a": [1.0] * 40, "b": [0.0] * 40}, task="mini").assign(evalset_digest=mini.digest)
    catalog: Any = planted.models(a="local", b="local")
    plan: Any = SimpleNamespace(tasks={"mini": mini}, models=catalog, sample={})
    run = Run("r", plan, "complete", [], 0, 0, mini.path, datetime.now(UTC), 80, {}, "")
    run.__dict__["outcomes"] = outcomes
    assert run.policy.routes[0].status == "decided" and run.policy is run.policy
    add_correction(mini, "a", expectations={"label": "green"})
    assert run.policy.routes[0].status == "provisional" and run.policy.routes[0].reason.endswith(STALE)
    again = route(outcomes, catalog, {"mini": mini}, policies=("per_task",))  # with the set as it was loaded before
    assert again.routes[0].status == "provisional"


def test_a_set_is_refreshed_with_keys_and_keeps_limits_that_were_set_by_hand(mini: EvalSet) -> None:
    assert refreshed(mini) is mini and digest_now(mini) == mini.digest
    own = replace(mini, spec=mini.spec.model_copy(update={"limits": Limits(margin=0.3)}))
    add_correction(mini, "a", expectations={"label": "green"})
    found = refreshed(own)
    assert found.items[0].expectations == {"label": "green"} and found.spec.limits.margin == 0.3
    assert found.digest == load_evalset(mini.path).digest == digest_now(own)
    shutil.rmtree(mini.path)
    assert refreshed(own) is own  # what is gone has not changed
