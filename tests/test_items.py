"""Side by side: which items a filter lets through, what there is to see of one, and what is hidden."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import planted
import pytest
from conftest import item, write_evalset

from workbench.errors import InputError
from workbench.evalset import EvalSet, load_evalset
from workbench.evidence import compare
from workbench.views import side_by_side
from workbench.views.differences import fields, parsed, words
from workbench.views.items import SHOWS, SORTS, Items
from workbench.views.shown import Shown
from workbench.views.side_by_side import disagreements, item_html

SCRIPT = "<script>alert(1)</script>"
SCORES = {"a": [1.0, 1.0, 0.0, 0.0, 1.0], "b": [1.0, 0.0, 1.0, 0.0, 1.0]}


def table(**more: Any) -> pd.DataFrame:
    found = planted.outcomes(SCORES, **more)
    found["slice"] = [json.dumps({"difficulty": "hard" if name[-1] in "34" else "easy"}) for name in found["item_id"]]
    found["format_ok"] = ~((found["model"] == "b") & (found["item_id"].str[-1] == "3"))
    found["cost_usd"] = found["item_id"].str[-1].astype(int) * 0.001
    found["output"] = [f"{SCRIPT} {name}" for name in found["model"]]
    found["prompt"] = "what is it?"
    return found


def items(**more: Any) -> Items:
    return Items(Shown.of(table(**more), models=planted.models(a="local", b="local")))


@pytest.mark.parametrize(
    ("show", "expected"),
    [
        ("all", [0, 1, 2, 3, 4]),
        ("a right, b wrong", [1]),
        ("b right, a wrong", [2]),
        ("disagreement", [1, 2]),
        ("format failure", [3]),
        ("no answer", []),
        ("costliest tenth", [4]),
    ],
)
def test_a_filter_lets_through_what_it_says(show: Any, expected: list[int]) -> None:
    assert items().select("planted", "a", "b", show) == [f"internal-{index}" for index in expected]


def test_no_answer_at_all_is_no_format_failure() -> None:
    """Rules that abstain and requests that fail have `format_ok` false too."""
    outcomes = table(error_class=["no_match", "connection", "judge", None, None])
    outcomes["format_ok"] = False
    outcomes.loc[outcomes["error_class"].isin(["no_match", "connection"]), ["output", "score"]] = None
    found = Items(Shown.of(outcomes[outcomes["item_id"] != "internal-4"]))
    assert found.select("planted", "a", "b", "format failure") == ["internal-2", "internal-3"]
    verdicts = [found.look("planted", f"internal-{n}", ["a"])["answers"][0]["verdict"] for n in range(4)]
    assert ["format broken" in verdict for verdict in verdicts] == [False, False, True, True]


def test_outcomes_without_texts_do_not_say_that_there_was_no_answer() -> None:
    outcomes = table().drop(columns="output")
    outcomes.loc[outcomes["item_id"] == "internal-3", "score"] = None
    found = Items(Shown.of(outcomes))
    assert found.select("planted", "a", "b", "no answer") == ["internal-3"]
    parts = [found.look("planted", f"internal-{n}", ["a"])["answers"][0]["parts"] for n in (1, 3)]
    assert parts == [[["(what it answered is not in these outcomes)", False]], [["(no answer)", False]]]
    assert "no answer" not in " ".join(disagreements(outcomes, "planted", "a", "b")["output a"])


@pytest.mark.parametrize("first", [0, 1])
def test_repeats_are_shown_as_they_are_filtered_and_compared(first: int) -> None:
    """a is right in the last two of three repeats, b in the first alone; the repeats may begin at 1."""
    once = planted.outcomes({"a": [0.0] * 4, "b": [0.0] * 4})
    repeats = []
    for repeat in range(3):
        right = (once["model"] == "a") == (repeat > 0)
        said = once["model"] + f" {repeat}"
        repeats.append(once.assign(repeat=repeat + first, score=right.astype(float), accepted=right, output=said))
    outcomes = pd.concat(repeats, ignore_index=True)
    found = Items(Shown.of(outcomes))
    assert len(found.select("planted", "a", "b", "a right, b wrong")) == 4
    answers = found.look("planted", "internal-0", ["a", "b"])["answers"]
    assert [(answer["parts"][0][0], answer["verdict"]) for answer in answers] == [
        ("a 1", "score 1.00, accepted (one of 3 repeats: mean score 0.67, 2 accepted)"),
        ("b ", "score 0.00, not accepted (one of 3 repeats: mean score 0.33, 1 accepted)"),
    ]
    rows = disagreements(outcomes, "planted", "a", "b")
    assert rows["difference"].tolist() == pytest.approx([1 / 3] * 4)
    assert rows["output a"].tolist() == ["a 1"] * 4 and rows["output b"].tolist() == ["b 1"] * 4
    assert compare(outcomes, "a", "b").loc[0, "difference"] == pytest.approx(1 / 3)


def test_every_filter_and_order_is_one_that_works() -> None:
    found = items()
    for show in SHOWS:
        for sort in SORTS:
            anything: Any = (show, sort)
            assert set(found.select("planted", "a", "b", anything[0], sort=anything[1])) <= set(
                found.select("planted", "a", "b")
            )


def test_slices_and_orders() -> None:
    found = items()
    assert found.slices("planted") == ["difficulty=easy", "difficulty=hard"]
    assert found.select("planted", "a", "b", slice_="difficulty=hard") == ["internal-3", "internal-4"]
    assert found.select("planted", "a", "b", sort="costliest")[0] == "internal-4"
    assert found.select("planted", "a", "b", sort="largest difference")[:2] == ["internal-1", "internal-2"]
    assert found.changed("planted", "a", "b") == (["internal-1"], ["internal-2"])


def test_what_is_not_there_is_one_clear_error() -> None:
    found = items()
    with pytest.raises(InputError, match="no task 'other'"):
        found.select("other", "a", "b")
    with pytest.raises(InputError, match="no outcomes of 'c'"):
        found.select("planted", "a", "c")
    with pytest.raises(InputError, match=r"no outcomes of 'typo'.* There are: a, b"):
        found.look("planted", "internal-1", ["a", "typo"])
    with pytest.raises(InputError, match="no slice 'x=y'"):
        found.select("planted", "a", "b", slice_="x=y")
    with pytest.raises(InputError, match="no item 'zz'"):
        found.look("planted", "zz", ["a"])
    with pytest.raises(InputError, match="a run or an outcome table, not int"):
        Shown.of(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no outcomes to show"):
        Shown.of(table().assign(split="train"))


def test_an_item_is_shown_with_prompt_answers_verdicts_and_figures() -> None:
    look = items().look("planted", "internal-1", ["b", "a"])
    assert look["prompt"] == "what is it?" and look["inputs"] == [] and not look["hidden"]
    assert [answer["name"] for answer in look["answers"]] == ["b", "a"]
    assert [answer["verdict"] for answer in look["answers"]] == ["score 0.00, not accepted", "score 1.00, accepted"]
    assert "$0.001" in look["answers"][0]["figures"]


def test_blind_answers_have_no_names_scores_or_figures() -> None:
    look = items().look("planted", "internal-1", ["b", "a"], blind=True)
    nothing = {"verdict": "", "figures": "", "prompt": "", "counts": False, "json": False}
    assert [{**answer, "parts": ""} for answer in look["answers"]] == [
        {"name": f"answer {n}", "parts": "", **nothing} for n in (1, 2)
    ]


def test_restricted_text_is_hidden_unless_it_is_revealed() -> None:
    outcomes = table(sensitivity="restricted").assign(output="SECRET", prompt="SECRET", error="SECRET")
    hidden = Items(Shown.of(outcomes)).look("planted", "restricted-1", ["a", "b"])
    assert hidden["hidden"] and "SECRET" not in json.dumps(hidden) and "[restricted] 6" in json.dumps(hidden)
    assert "SECRET" in json.dumps(Items(Shown.of(outcomes, reveal=True)).look("planted", "restricted-1", ["a"]))
    unlabeled = outcomes.drop(columns="sensitivity")
    assert "SECRET" not in json.dumps(Items(Shown.of(unlabeled)).look("planted", "restricted-1", ["a"]))


def test_the_key_and_inputs_come_from_the_eval_set_and_the_answer_is_compared_with_it(project: Path) -> None:
    folder = write_evalset(project, "planted", items=[item(f"internal-{n}", label="red") for n in range(5)])
    shown = Shown.of(table().assign(output="bright red"), tasks={"planted": load_evalset(folder)})
    look = Items(shown).look("planted", "internal-0", ["a"])
    assert json.loads(look["key"]) == {"label": "red"} and look["inputs"]
    assert look["answers"][0]["parts"] == [["bright ", True], ["red", False]]


def test_json_answers_are_shown_by_field_with_the_key_first() -> None:
    outcomes = table().assign(output='{"queue": "bug", "lines": [{"n": 1}], "extra": null}')
    look = Items(Shown.of(outcomes)).look("planted", "internal-0", ["a", "b"])
    assert [row["path"] for row in look["fields"]] == ["queue", "lines[0].n", "extra"]
    assert look["fields"][0]["differs"] == [False, False]  # of the two answers: nobody gave a key


def test_the_page_of_an_item_is_escaped_and_marks_what_differs() -> None:
    page = str(side_by_side(table(), "planted", "internal-1").data)
    assert SCRIPT not in page and "&lt;script&gt;" in page
    assert "<mark " in page  # the second answer differs from the first


def test_words_mark_what_is_not_in_the_reference() -> None:
    assert words("due in May", "due in June") == [("due in ", False), ("June", True)]
    assert words("same", "same") == [("same", False)]
    assert words("a " * 2000, "b " * 2000) == [("b " * 2000, False)]
    assert "".join(part.text for part in words("one, two", "two;  one")) == "two;  one"


@pytest.mark.parametrize(
    ("text", "expected"),
    [('```json\n{"a": 1}\n```', {"a": 1}), ("[1, 2]", [1, 2]), ("bug", None), ("{broken", None), ("[" * 100_000, None)],
)
def test_only_objects_and_lists_are_json_answers(text: str, expected: Any) -> None:
    assert parsed(text) == expected


def test_fields_mark_what_differs_from_the_first_and_what_is_missing() -> None:
    rows = {row.path: row for row in fields([{"a": 1, "b": {"c": "x"}}, {"a": 2}, None])}
    assert rows["a"].values == ["1", "2", "—"] and rows["a"].differs == [False, True, True]
    assert rows["b.c"].differs == [False, True, True]
    assert len(fields([{str(n): n for n in range(300)}])) == 201
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    assert len(fields([deep])) == 1


def test_values_of_other_types_differ_and_are_told_apart() -> None:
    key = {"vat": True, "note": None, "name": "null", "ref": "12", "city": "Ulm", "gone": "—"}
    answer = {"vat": "true", "note": "null", "name": None, "ref": 12, "city": "Ulm"}
    assert {row.path: (*row.values, row.differs[1]) for row in fields([key, answer])} == {
        "vat": ("true", '"true"', True),
        "note": ("null", '"null"', True),
        "name": ('"null"', "null", True),
        "ref": ('"12"', "12", True),
        "city": ("Ulm", "Ulm", False),
        "gone": ('"—"', "—", True),
    }


def test_slices_that_only_restricted_items_have_are_numbered_and_never_named(project: Path) -> None:
    outcomes = table(sensitivity=["internal", "restricted", "restricted", "restricted", "internal"])
    where = {"0": "open", "1": "open", "2": "SECRET-B", "3": "SECRET-A", "4": "open"}
    outcomes["slice"] = [json.dumps({"customer": where[name[-1]]}) for name in outcomes["item_id"]]
    entries = [item(name, label="red", slice={"customer": where[name[-1]]}) for name in outcomes["item_id"].unique()]
    task = load_evalset(write_evalset(project, "planted", items=entries))
    found = Items(Shown.of(outcomes, tasks={"planted": task}))
    assert found.slices("planted") == ["customer=[restricted] 1", "customer=[restricted] 2", "customer=open"]
    assert found.select("planted", "a", "b", slice_="customer=[restricted] 1") == ["restricted-3"]
    assert found.look("planted", "restricted-3", ["a"])["slices"] == "customer: [restricted] 8 characters"
    assert found.look("planted", "internal-4", ["a"])["slices"] == "customer: open"
    with pytest.raises(InputError) as failure:
        found.select("planted", "a", "b", slice_="x=y")
    assert "SECRET" not in str(failure.value)


def test_an_item_that_its_eval_set_calls_restricted_is_hidden_whatever_the_outcomes_say(project: Path) -> None:
    entries = [item(f"internal-{n}", "SECRET", sensitivity="restricted") for n in range(5)]
    task = load_evalset(write_evalset(project, "planted", items=entries))
    look = Items(Shown.of(table(), tasks={"planted": task})).look("planted", "internal-0", ["a"])
    assert look["hidden"] and "SECRET" not in json.dumps(look)


def test_half_a_character_in_an_answer_is_written_out() -> None:
    outcomes = table().assign(output='{"a": "\\ud800", "\\udc00": 1}')
    look = Items(Shown.of(outcomes)).look("planted", "internal-0", ["a", "b"])
    assert json.dumps(look, ensure_ascii=False).encode()  # or the message to the browser fails
    assert look["fields"][0]["values"] == ["\\ud800", "\\ud800"]


def test_without_a_key_no_column_is_called_one() -> None:
    outcomes = table().assign(output='{"queue": "bug"}')
    outcomes.loc[outcomes["model"] == "b", "output"] = '{"queue": "billing"}'
    look = Items(Shown.of(outcomes)).look("planted", "internal-0", ["a", "b"])
    differs, none = [False, True], [False, False]
    assert look["fields"] == [{"path": "queue", "values": ["bug", "billing"], "differs": differs, "counts": none}]
    page = item_html(look)
    assert ">key<" not in page and "differs from the first" in page


def test_without_costs_no_item_is_among_the_costliest() -> None:
    found = Items(Shown.of(table().drop(columns="cost_usd")))
    assert found.select("planted", "a", "b", "costliest tenth") == []


def test_blind_the_prompt_is_hidden_too_for_it_may_tell_the_variant() -> None:
    assert items().look("planted", "internal-1", ["b", "a"], blind=True)["prompt"] == ""


def test_words_of_a_text_that_repeats_itself_are_not_compared() -> None:
    assert words("." * 740, ". " * 370) == [(". " * 370, False)]
    numbers = " ".join(map(str, range(370)))
    assert words(numbers, numbers.replace(" ", "\n")) == [(numbers.replace(" ", "\n"), False)]  # space is no word


SCHEMA = {"type": "object", "properties": {"date": {"type": "string"}, "total": {"type": "number"}}}


def dated(root: Path) -> tuple[EvalSet, pd.DataFrame]:
    """Two answers to a key of fields: `a` writes the date otherwise, `b` has another total."""
    entries = [{**item(f"internal-{n}"), "expectations": {"date": "2026-03-13", "total": 9.5}} for n in range(5)]
    folder = write_evalset(
        root,
        "planted",
        items=entries,
        output={"json_schema": "schema.json"},
        scorers=[{"type": "json_fields", "fields": {"date": "date", "total": "number"}}],
    )
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    task = load_evalset(folder)
    outcomes = table().assign(evalset_digest=task.digest)
    said = {"a": {"date": "13. März 2026", "total": 9.5, "note": "x"}, "b": {"date": "2026-03-13", "total": 8}}
    outcomes["output"] = [json.dumps(said[name]) for name in outcomes["model"]]
    for name, text in said.items():
        score = task.scorers[0].score(task.parse(json.dumps(text)), entries[0]["expectations"])
        for metric, value in score.metrics.items():
            outcomes.loc[outcomes["model"] == name, f"metric.{metric}"] = value
    return task, outcomes


def by_field(items_: Items, blind: bool = False) -> dict[str, Any]:
    look = items_.look("planted", "internal-0", ["a", "b"], blind=blind)
    return {row["path"]: (row["differs"], row["counts"]) for row in look["fields"]}


def test_what_is_written_otherwise_and_counts_as_right_is_no_mistake(project: Path) -> None:
    task, outcomes = dated(project)
    found = Items(Shown.of(outcomes, tasks={"planted": task}))
    assert by_field(found) == {
        "date": ([False, True, False], [False, True, False]),
        "total": ([False, False, True], [False, False, False]),
        "note": ([False, True, False], [False, False, False]),  # no scorer says anything of it
    }
    page = item_html(found.look("planted", "internal-0", ["a", "b"]))
    assert re.search(r'<u title="written otherwise, counts as right"[^>]*>13. März 2026</u>', page)
    assert all(re.search(rf'<mark style="[^"]*">{wrong}</mark>', page) for wrong in "8x")
    assert not any(any(counts) for _, counts in by_field(found, blind=True).values())  # it would tell the score


def test_scores_by_another_key_do_not_say_what_counts_as_right(project: Path) -> None:
    task, outcomes = dated(project)
    found = Items(Shown.of(outcomes.assign(evalset_digest="older"), tasks={"planted": task}))
    assert by_field(found)["date"] == ([False, True, False], [False, False, False])


def test_a_label_in_other_words_that_counts_as_right_is_marked_weakly(project: Path) -> None:
    folder = write_evalset(project, "planted", items=[item(f"internal-{n}", label="red") for n in range(5)])
    found = Items(Shown.of(table().assign(output="it is red"), tasks={"planted": load_evalset(folder)}))
    looks = [found.look("planted", f"internal-{n}", ["b"])["answers"][0] for n in (0, 1)]
    assert [look["counts"] for look in looks] == [True, False]  # b is right on the first, wrong on the second
    assert looks[0]["parts"] == looks[1]["parts"] == [["it is ", True], ["red", False]]


def answered(root: Path, expected: dict[str, Any], texts: list[str], **settings: Any) -> list[dict[str, Any]]:
    """What there is to see of answers to one item with a key."""
    folder = write_evalset(root, "planted", items=[{**item("internal-0"), "expectations": expected}], **settings)
    task = load_evalset(folder)
    outcomes = planted.outcomes({f"m{n}": [0.0] for n in range(len(texts))}).assign(output=texts)
    look = Items(Shown.of(outcomes, tasks={"planted": task})).look("planted", "internal-0", list(outcomes["model"]))
    return [look, *look["answers"]]


def test_a_key_of_several_accepted_labels_is_the_reference_and_not_the_first_answer(project: Path) -> None:
    look, *answers = answered(project, {"label": ["red", "green"]}, ["blue", "green", "it is red"])
    marked = [[text for text, differs in answer["parts"] if differs] for answer in answers]
    assert marked == [["blue"], [], ["it is "]] and look["against"] == "the key"
    assert "marked is what differs from the key" in item_html(look)


def test_a_key_that_is_a_set_of_labels_is_the_reference_as_a_whole(project: Path) -> None:
    settings = {"output": {"text": True}, "scorers": [{"type": "multi_label"}]}
    _, answer = answered(project, {"labels": ["red", "green"]}, ["red, blue, green"], **settings)
    assert [text.strip() for text, differs in answer["parts"] if differs] == ["blue,"]


def test_without_a_key_of_one_text_the_first_answer_is_the_reference_and_said_to_be() -> None:
    look = items().look("planted", "internal-1", ["b", "a"])
    assert look["against"] == "b" and "marked is what differs from b" in item_html(look)
    assert items().look("planted", "internal-1", ["b", "a"], blind=True)["against"] == "answer 1"
    assert items().look("planted", "internal-1", ["b"])["against"] == ""


def test_accepted_values_of_a_field_stand_in_one_row(project: Path) -> None:
    kept = {
        "lines": {"type": "list", "of": {"type": "object", "fields": {"sku": "text"}}},
        "tags": {"type": "list", "of": "text"},
    }
    scorers = [{"type": "json_fields", "fields": {"queue": "label", **kept}}]
    (project / "evalsets" / "planted").mkdir(parents=True)
    (project / "evalsets" / "planted" / "schema.json").write_text('{"type": "object"}')
    key = {"queue": ["bug", "billing"], "lines": [{"sku": ["A", "B"]}], "tags": ["x"]}
    texts = ['{"queue": "billing", "lines": [{"sku": "B"}], "tags": ["x"]}', '{"queue": "other"}']
    look, *_ = answered(project, key, texts, output={"json_schema": "schema.json"}, scorers=scorers)
    assert {row["path"]: (row["values"], row["differs"]) for row in look["fields"]} == {
        "queue": (["bug or billing", "billing", "other"], [False, False, True]),
        "lines[0].sku": (["A or B", "B", "—"], [False, False, True]),
        "tags[0]": (["x", "x", "—"], [False, False, True]),
    }


def test_every_column_has_its_own_prompt() -> None:
    outcomes = table()
    outcomes["prompt"] = [f"asked of {name}" for name in outcomes["model"]]
    look = Items(Shown.of(outcomes)).look("planted", "internal-1", ["b", "a"])
    assert [answer["prompt"] for answer in look["answers"]] == ["asked of b", "asked of a"]
    assert len(re.findall("<details><summary[^>]*>prompt</summary>", item_html(look))) == 2
