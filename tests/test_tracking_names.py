"""Names of runs that differ where MLflow's page of evaluation runs cuts them, and of metrics that it takes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.outcomes import candidate_id
from workbench.tracking.names import legal_names, run_names, seen

PARTS = st.text("abq48-_.", min_size=1, max_size=14)
IDS = st.builds(candidate_id, PARTS, st.sampled_from(["default", "few_shot", "few_shots", "zero_shot", "terse"]))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["gemma3-q4", "gemma3-q8", "rules"], ["gemma3-q4", "gemma3-q8", "rules"]),
        (["gemma3-q4#few_shot", "rules"], ["gemma3-q4#few_shot", "rules"]),
        (
            ["smollm2-q4#few_shot", "smollm2-q4#terse", "gemma3-q4#terse"],
            ["smol#few smollm2-q4#few_shot", "smol#ter smollm2-q4#terse", "gemma3-q4#terse"],
        ),
        (["smollm2-q4", "smollm2-q4#terse"], ["smol smollm2-q4", "smol#ter smollm2-q4#terse"]),
        (
            ["qwen3-8b-awq", "qwen3-8b-gptq", "gpt-5-mini"],
            ["awq qwen3-8b-awq", "gptq qwen3-8b-gptq", "gpt-5-mini"],
        ),
        (
            ["qwen2.5-7b-instruct", "qwen2.5-7b-instruct-awq"],
            ["qwen2.5 qwen2.5-7b-instruct", "awq qwen2.5-7b-instruct-awq"],
        ),
        (["mmmmmmmmmma", "mmmmmmmmmmb"], ["mmmmmmmm mmmmmmmmmma", "mmmmmmm2 mmmmmmmmmmb"]),
    ],
)
def test_a_mark_stands_before_ids_that_begin_alike(given: list[str], named: list[str]) -> None:
    assert list(run_names(given).values()) == named


@settings(max_examples=300, deadline=None)
@given(st.lists(IDS, unique=True, max_size=12))
def test_first_letters_tell_all_apart_and_each_name_ends_with_its_id(ids: list[str]) -> None:
    names = run_names(ids)
    assert list(names) == ids
    assert all(name.endswith(candidate) for candidate, name in names.items())
    assert len({seen(name).partition(" ")[0] for name in names.values()}) == len(ids)


def test_names_that_mlflow_refuses_are_made_legal_and_stay_apart() -> None:
    names = legal_names(["Total (EUR)", "Total _EUR_", "Total €EUR€", "a/../b", "ok.x", "x" * 300])
    assert names["Total _EUR_"] == "Total _EUR_" and names["ok.x"] == "ok.x"  # what it takes stays
    assert {names["Total (EUR)"], names["Total €EUR€"]} == {"Total _EUR__2", "Total _EUR__3"}
    assert names["a/../b"] == "a_.._b" and len(names["x" * 300]) == 150
