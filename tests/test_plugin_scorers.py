"""Scorers of a team's own: what they may give, what they cannot break, and what a run keeps where they fail."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import item, write_evalset, write_models
from recording_server import RecordingServer

import workbench as wb
from workbench.catalog import load_models
from workbench.errors import InputError
from workbench.files import Document
from workbench.runner import Run
from workbench.scorers import Answer, Score, Scorer, ScorerFailure, build_scorers, parse_answer, problem_of, total
from workbench.scorers.plugins import is_plugin, own_copy

Json = dict[str, Any]
CANARY = "CANARY-77f1"
LABELS = ["red", "blue"]


def built(*specs: Json | str, **kinds: Any) -> tuple[Scorer, ...]:
    given = [{"type": spec} if isinstance(spec, str) else spec for spec in specs]
    return build_scorers(given, Document(Path("evalset.yaml"), {}, {}), **kinds)


def scored(given: Any, *others: Json | str, text: str = "red", expectations: Json | None = None) -> Score:
    """What a function that gives this scores, beside other scorers."""
    wb.scorer("mine")(lambda answer, told: given)
    return total(built("mine", *others, labels=LABELS), parse_answer(text, labels=LABELS), expectations or {})


# What it may give.


@pytest.mark.parametrize(
    ("given", "score"),
    [
        (1.0000000000000002, 1.0),
        (1 + 9e-10, 1.0),
        (-1e-17, 0.0),
        (-0.0, 0.0),
        (np.float32(0.25), 0.25),
        (np.bool_(True), 1.0),
        (Score(1.0000000000000002), 1.0),
        (Score(True), 1.0),
        (Score(np.float64(0.5)), 0.5),
    ],
)
def test_a_score_that_is_off_by_rounding_is_put_right(given: Any, score: float) -> None:
    found = scored(given)
    assert found.value == score and type(found.value) is float


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (1 + 1e-8, "gave 1.00000001: scores are from 0 to 1"),
        (-1e-8, "gave -1e-08: scores are from 0 to 1"),
        (math.inf, "gave inf"),
        (math.nan, "gave nan"),
        (Score(math.nan), "gave nan"),
        ("0.5", "gave a str: a score is a number"),
        (b"1", "gave a bytes: a score is a number"),
        (Score("0.5"), "gave a str: a score is a number"),  # type: ignore[arg-type]
        (Score(None), "gave a NoneType: a score is a number"),  # type: ignore[arg-type]
        ({"score": 1}, "gave a dict: a score is a number"),
        (Score(1, {"t": "txt"}), "gave a figure that is a str: figures are finite numbers"),  # type: ignore[dict-item]
        (Score(1, {"t": [1.0]}), "gave a figure that is a list"),  # type: ignore[dict-item]
        (Score(1, {"t": math.inf}), "gave a figure that is inf"),
        (Score(1, {"t": -math.inf}), "gave a figure that is -inf"),
        (Score(1, {"": 1.0}), "gave a figure without a name"),
        (Score(1, {3: 1.0}), "gave a figure without a name"),  # type: ignore[dict-item]
        (Score(1, [("t", 1.0)]), "gave figures that are a list"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_score_or_figure_is_refused_by_the_scorers_name(given: Any, said: str) -> None:
    with pytest.raises(ScorerFailure, match="scorer 'mine' " + said):
        scored(given)


def test_figures_may_be_any_finite_numbers_and_what_is_not_known_is_left_out() -> None:
    figures = {"a": 7, "b": -2.5, "c": np.float32(0.5), "d": True, "e": None, "f": math.nan}
    assert scored(Score(1, figures)).metrics == {"a": 7.0, "b": -2.5, "c": 0.5, "d": 1.0}  # type: ignore[arg-type]


def test_a_class_of_a_teams_own_gives_a_score() -> None:
    @wb.scorer("mine")
    class Mine(Scorer):
        def score(self, answer: Answer, expectations: Json) -> Any:
            return 1.0

    with pytest.raises(ScorerFailure, match="scorer 'mine' gave a float: a score is a number, a bool or a Score"):
        total(built("mine"), parse_answer("x"), {})


@pytest.mark.parametrize(
    ("figures", "others"),
    [
        ({"label": 0.1}, ["label"]),  # another scorer's own figure
        ({"class.label.given": 7.0}, ["label"]),
        ({"mine": 0.1}, ["label"]),  # its own
        ({"polite": 0.1}, [{"type": "label", "name": "polite"}]),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_figure_overwrites_no_other_scorers(figures: Json, others: list[Any], first: bool) -> None:
    wb.scorer("mine")(lambda answer, told: Score(0.25, figures))
    scorers = built(*(["mine", *others] if first else [*others, "mine"]), labels=LABELS)
    with pytest.raises(ScorerFailure, match="scorer 'mine' gave a figure that another scorer of the eval set has"):
        total(scorers, parse_answer("red", labels=LABELS), {"label": "red"})


@pytest.mark.parametrize(
    ("figures", "others"),
    [({"words": 3.0}, ["label"]), ({"mine": 0.1}, []), ({"label": 0.1}, []), ({"class.mine.given": 7.0}, ["label"])],
)
def test_a_figure_of_its_own_name_stays(figures: Json, others: list[Any]) -> None:
    found = scored(Score(0.25, figures), *others, expectations={"label": "red"})
    assert figures.items() <= found.metrics.items()


def test_two_plug_ins_do_not_overwrite_each_other() -> None:
    for name in ("mine", "other"):
        wb.scorer(name)(lambda answer, told: Score(0.5, {"words": 1.0}))
    with pytest.raises(ScorerFailure, match="scorer 'other' gave a figure that another"):
        total(built("mine", "other"), parse_answer("x"), {})


def test_a_judges_figure_is_not_overwritten_either() -> None:
    wb.scorer("mine")(lambda answer, told: Score(0.5, {"fine": 1.0}))
    judge = {"type": "judge", "name": "fine", "model": "j", "rubric": "r"}
    with pytest.raises(ScorerFailure, match="'mine' gave a figure"):
        total(built("mine", judge), parse_answer("x"), {}, {"fine": 0.0})


# What it cannot break.


def empties(value: Any) -> None:
    """Everything that can be changed is."""
    if isinstance(value, dict):
        for each in list(value.values()):
            empties(each)
        value.clear()
    if isinstance(value, list):
        for each in value:
            empties(each)
        value[:] = ["changed"]


EXPECTED: Json = {"label": ["red"], "deep": {"a": [{"b": 1}]}}


@pytest.mark.parametrize("kind", ["function", "class"])
def test_what_a_plug_in_does_to_its_arguments_changes_no_other_score(kind: str) -> None:
    def changes(answer: Answer, expectations: Json) -> float:
        empties(expectations)
        empties(answer.value)
        return 1.0

    class Changes(Scorer):
        def applies(self, expectations: Json) -> bool:
            empties(expectations)
            return True

        def check(self, expectations: Json) -> None:
            empties(expectations)

        def score(self, answer: Answer, expectations: Json) -> Score:
            return Score(changes(answer, expectations))

    wb.scorer("mine")(changes if kind == "function" else Changes)
    schema = {"type": "object"}
    scorers = built("mine", {"type": "exact", "field": "label"}, schema=schema)
    answer = parse_answer('{"label": "red", "list": [[1]]}', schema)
    expectations = own_copy(EXPECTED)
    assert problem_of(scorers, expectations) is None
    for _ in range(2):
        assert total(scorers, answer, expectations).value == 1
    assert expectations == EXPECTED and answer.value == {"label": "red", "list": [[1]]}


def test_a_copy_is_equal_and_shares_nothing() -> None:
    odd = {"a": (1, [2]), "b": {3}, "c": [None, True, "x", 1.5]}
    copied = own_copy(odd)
    assert copied == odd and copied["c"] is not odd["c"] and copied["a"][1] is not odd["a"][1]


def test_ours_are_no_plug_ins_and_a_function_is_one() -> None:
    wb.scorer("mine")(lambda answer, told: 1)
    mine, label = built("mine", "label", labels=LABELS)
    assert is_plugin(type(mine)) and not is_plugin(type(label))


def test_a_hundred_thousand_scores_of_a_plug_in_take_seconds() -> None:
    wb.scorer("mine")(lambda answer, told: answer.said == told["label"])
    scorers, answer = built("mine"), parse_answer("red", labels=LABELS)
    started = time.process_time()
    for _ in range(100_000):
        total(scorers, answer, {"label": "red", "about": {"a": 1, "b": [1, 2]}})
    assert time.process_time() - started < 10  # a second


# In a run.


def go(project: Path, server: RecordingServer, mine: Callable[..., Any], n: int = 40, **changes: Any) -> Run:
    """A run with a function as scorer beside the label's."""
    wb.scorer("mine")(mine)
    settings: Json = {"scorers": [{"type": "mine"}, {"type": "label"}], **changes}
    write_evalset(project, "colors", settings.pop("items", [item(f"i{k}") for k in range(n)]), **settings)
    entry = {"engine": "openai", "model": "m", "zone": "local", "base_url": server.base_url}
    write_models(project, m=entry)
    return wb.run(wb.load_evalsets(), load_models(), track=False, progress=False)


def fails_on(*items: str) -> Callable[..., float]:
    def mine(answer: Answer, expectations: Json) -> float:
        if expectations["name"] in items:
            raise KeyError(CANARY)
        return 1.0

    return mine


def named(n: int, **changes: Any) -> list[Json]:
    things = [item(f"i{k}", **changes) for k in range(n)]
    for thing in things:
        thing["expectations"]["name"] = thing["id"]
    return things


def test_a_scorer_that_fails_on_one_item_costs_that_score_alone(project: Path, server: RecordingServer) -> None:
    run = go(project, server, fails_on("i3"), items=named(40))
    table = run.outcomes.set_index("item_id")
    assert (run.status, len(table)) == ("failed", 40)
    assert table["score"].isna().sum() == 1 and (table["score"].drop("i3") == 1).all()
    row = table.loc["i3"]
    assert (row["error_class"], row["output"], bool(row["accepted"]), bool(row["format_ok"])) == (
        "scorer",
        "red",
        False,
        True,
    )
    (problem,) = run.problems
    assert problem.startswith("colors: 1 of 40 outcomes has no score, as a scorer failed: i3. First: item i3: scorer ")
    assert "scorer 'mine' stopped by an unforeseen KeyError at test_plugin_scorers.py:" in problem
    assert CANARY not in run.describe() and "1 outcome without a score" in run.summary()
    board = wb.leaderboard(run.outcomes).iloc[0]
    assert (board["score"], board["n"], board["errors"]) == (1.0, 39, 0)


def test_many_failures_are_one_line(project: Path, server: RecordingServer) -> None:
    run = go(project, server, fails_on(*(f"i{k}" for k in range(15))), items=named(20, sensitivity="restricted"))
    (problem,) = run.problems
    assert problem.startswith("colors: 15 of 20 outcomes have no score, as a scorer failed: ")
    assert problem.count(", i") == 9 and ", …. First: " in problem and CANARY not in problem


def test_a_mended_scorer_scores_what_is_in_the_journal(project: Path, server: RecordingServer) -> None:
    assert go(project, server, fails_on("i3"), items=named(5)).status == "failed"
    server.requests.clear()
    again = go(project, server, fails_on(), items=named(5))
    assert again.status == "complete" and again.outcomes["score"].eq(1).all() and server.requests == []
    assert again.outcomes["error_class"].isna().all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Score(1, {"t": "txt"}), "scorer 'mine' gave a figure that is a str"),  # type: ignore[dict-item]
        (Score(1, {"label": 0.5}), "scorer 'mine' gave a figure that another scorer"),
        (1.5, "scorer 'mine' gave 1.5: scores are from 0 to 1"),
    ],
)
def test_a_scorer_that_fails_on_all_is_told_once(project: Path, server: RecordingServer, given: Any, said: str) -> None:
    run = go(project, server, lambda answer, told: given, n=6)
    assert run.status == "failed" and len(run.outcomes) == 6 and (run.outcomes["error_class"] == "scorer").all()
    (problem,) = run.problems
    assert said in problem and "6 of 6 outcomes have no score" in problem
    assert wb.leaderboard(run.outcomes)["n"].tolist() == [0]


def test_a_score_that_is_off_by_rounding_loses_no_outcome(project: Path, server: RecordingServer) -> None:
    run = go(project, server, lambda answer, told: 1.0000000000000002, n=6)
    assert (run.status, run.problems) == ("complete", []) and (run.outcomes["score"] == 1).all()


def test_a_plug_in_that_changes_the_key_changes_nobodys_score(project: Path, server: RecordingServer) -> None:
    def changes(answer: Answer, expectations: Json) -> float:
        expectations["label"] = "green"
        return 1.0

    run = go(project, server, changes, n=6)
    assert (run.outcomes["score"] == 1).all() and (run.outcomes["metric.label"] == 1).all()


def test_a_failing_scorer_beside_a_judge_is_the_scorers_failure(project: Path, server: RecordingServer) -> None:
    judge = {"type": "judge", "name": "fine", "model": "judge", "rubric": "Red.", "weight": 0}
    server.answer = lambda body: '{"verdict": "pass"}' if body["model"] == "judge" else "red"
    wb.scorer("mine")(fails_on("i1"))
    write_evalset(project, "colors", named(3), scorers=[{"type": "mine"}, judge])
    entry = {"engine": "openai", "zone": "local", "base_url": server.base_url}
    write_models(project, m={**entry, "model": "m"}, judge={**entry, "model": "judge"})
    run = wb.run(wb.load_evalsets(), load_models().select("m"), track=False, progress=False)
    table = run.outcomes.set_index("item_id")
    assert table["error_class"].dropna().to_dict() == {"i1": "scorer"}
    assert table["score"].drop("i1").eq(1).all() and table["metric.fine"].drop("i1").eq(1).all()
    assert "no score, as a scorer failed: i1" in run.problems[0]


def test_a_failure_is_one_clear_message_for_whoever_scores_by_hand() -> None:
    wb.scorer("mine")(fails_on("i1"))
    with pytest.raises(InputError, match="scorer 'mine' stopped by an unforeseen KeyError at ") as failure:
        total(built("mine"), parse_answer("x"), {"name": "i1"})
    assert CANARY not in str(failure.value)
