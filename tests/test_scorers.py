"""Scorers: right, wrong, partly right and odd answers; settings that are refused; agreement with scikit-learn."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

import workbench as wb
from workbench.errors import InputError
from workbench.files import read_yaml
from workbench.scorers import Answer, Score, Scorer, build_scorers, parse_answer, problem_of, total
from workbench.scorers.base import SCORERS, class_figures
from workbench.scorers.citation import clause, overlap
from workbench.scorers.exact import normalized
from workbench.scorers.facts import states
from workbench.scorers.regexes import checked_pattern, extracted, is_found
from workbench.scorers.rouge import _Words

Json = dict[str, Any]
QUEUES = ["billing", "bug", "access"]
LEVELS = ["low", "normal", "high", "urgent"]
TEXTS = {"type": ["string", "null"]}
SCHEMA: Json = {
    "type": "object",
    "properties": {
        "queue": {"enum": QUEUES},
        "priority": {"enum": LEVELS},
        "churn": {"type": "boolean"},
        "number": TEXTS,
        "total": TEXTS,
        "due": TEXTS,
        "tags": {"type": "array", "items": {"type": "string"}},
        "levels": {"type": "array", "items": {"enum": LEVELS}},
        "deep": {"type": "object", "properties": {"queue": {"enum": QUEUES}}},
        "lines": {"type": "array", "items": {"type": "object"}},
    },
}
EVIL = "(x+x+)+y"
XS = "x" * 5000


def built(*specs: Json, labels: list[str] | None = None, schema: Json | None = None) -> tuple[Scorer, ...]:
    """Scorers out of a file, so that messages have their lines."""
    path = Path("evalset.yaml")
    lines = ["schema: 1", "scorers:", *(f"  - {json.dumps(spec)}" for spec in specs)]
    path.write_text("\n".join(lines))
    document = read_yaml(path)
    return build_scorers(document.data["scorers"], document, labels, schema)


def one(spec: Json | str, labels: list[str] | None = None, schema: Json | None = None) -> Scorer:
    return built({"type": spec} if isinstance(spec, str) else spec, labels=labels, schema=schema)[0]


def said(text: str) -> Answer:
    return parse_answer(text)


def valued(value: Any) -> Answer:
    return Answer("", value, True)


def scored(spec: Json | str, answer: Any, expectations: Json, **options: Any) -> float:
    scorer = one(spec, **options)
    assert scorer.check(expectations) is None
    return scorer.score(said(answer) if isinstance(answer, str) else valued(answer), expectations).value


# Settings


@pytest.mark.parametrize(
    ("spec", "place", "message"),
    [
        ({"type": "labell"}, "scorers.0.type", "there is no scorer 'labell'. There are: citation, contains, date, "),
        ({"weight": 1}, "scorers.0.type", "there is no scorer 'None'"),
        ({"type": ["label"]}, "scorers.0.type", "there is no scorer '['label']'"),
        ({"type": "label", "aliasses": {}}, "scorers.0.aliasses", "Scorer 'label' has the keys: type, name, weight, "),
        ({"type": "label", "weight": -1}, "scorers.0.weight", "input should be greater than or equal to 0"),
        ({"type": "label", "weight": 0}, "scorers", "all have weight 0, so nothing makes a score"),
        ({"type": "label", "name": "a b"}, "scorers.0.name", "string should match pattern '^[A-Za-z0-9_.-]{1,60}$'"),
        (
            {"type": "label", "aliases": {"x": ["y"]}},
            "scorers.0",
            "aliases are of labels (billing, bug, access), and 'x'",
        ),
        (
            {"type": "label", "aliases": {"bug": ["Billing."]}},
            "scorers.0",
            "'Billing.' is an alias of 'bug', and stands",
        ),
        ({"type": "label", "aliases": {"bug": ["x"], "access": ["X"]}}, "scorers.0", "stands for 'bug' too"),
        ({"type": "exact", "ignore": ["vowels"]}, "scorers.0.ignore.0", "input should be 'case', 'punctuation'"),
        ({"type": "exact", "extract": "("}, "scorers.0.extract", "not a regular expression: missing )"),
        ({"type": "exact", "take": "middle"}, "scorers.0.take", "input should be 'first' or 'last'"),
        ({"type": "regex", "pattern": "["}, "scorers.0.pattern", "not a regular expression: "),
        ({"type": "regex", "pattern": "((a{999}){999}){999}"}, "scorers.0.pattern", "too large, or repeats too much"),
        ({"type": "numeric", "tolerance": math.inf}, "scorers.0.tolerance", "input should be a finite number"),
        ({"type": "multi_label", "separator": ""}, "scorers.0.separator", "string should have at least 1 character"),
        ({"type": "date", "languages": ["xx"]}, "scorers.0.languages", "'xx' is no language, such as en, de"),
        ({"type": "date", "day_first": "perhaps"}, "scorers.0.day_first", "input should be a valid boolean"),
        ({"type": "rouge", "metric": "rougeX"}, "scorers.0.metric", "input should be 'rouge1', 'rouge2'"),
        ({"type": "facts"}, "scorers.0", "scorer facts needs 'fields', or 'recall: true'"),
        ({"type": "facts", "fields": {"a": {"compare": {"b": "c"}}}}, "scorers.0.fields.a.compare.b", "'name', 'date'"),
        ({"type": "set_f1", "of": "ordinal"}, "scorers.0", "an ordinal needs its levels in order"),
        ({"type": "set_f1", "of": "list"}, "scorers.0.of", "a list needs 'of'"),
        ({"type": "json_fields", "fields": {"a": "text"}}, "scorers.0", "scorer json_fields needs JSON answers"),
        ({"type": "json_schema"}, "scorers.0", "scorer json_schema needs JSON answers: output: {json_schema: FILE}."),
    ],
)
def test_broken_settings_are_named_with_their_place(spec: Json, place: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        built(spec, labels=QUEUES)
    line = 2 if place == "scorers" else 3
    assert str(caught.value).startswith(f"evalset.yaml:{line}: field '{place}': ")
    assert message in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"fields": {}}, "field 'scorers.0.fields': dictionary should have at least 1 item"),
        ({"fields": {"queue": "enum"}}, "field 'scorers.0.fields.queue.type': input should be 'label', 'text'"),
        ({"fields": {"number": "ordinal"}}, "field number: an ordinal needs its levels in order"),
        ({"fields": {"lines": "list"}}, "field 'scorers.0.fields.lines': a list needs 'of'"),
        ({"fields": {"queue": {"type": "label", "aliases": {"x": ["y"]}}}}, "field queue: aliases are of labels"),
        (
            {"fields": {"queue": "label"}, "average": "macro"},
            "field 'scorers.0.average': input should be 'f1' or 'mean'",
        ),
    ],
)
def test_broken_settings_of_fields_are_named(spec: Json, message: str) -> None:
    with pytest.raises(InputError) as caught:
        built({"type": "json_fields", **spec}, schema=SCHEMA)
    assert message in str(caught.value)


def test_a_schema_that_cannot_be_used_is_refused_where_it_is_named() -> None:
    with pytest.raises(InputError, match=r"field 'output\.json_schema': a 'pattern' is not a regular expression: "):
        built({"type": "json_schema"}, schema={"type": "object", "properties": {"a": {"pattern": "("}}})


def test_the_same_scorer_twice_needs_names() -> None:
    with pytest.raises(
        InputError, match=r":3: field 'scorers\.0': 'exact' is there twice\. Give each its own 'name'\."
    ):
        built({"type": "exact"}, {"type": "exact", "key": "b"})
    both = built({"type": "exact"}, {"type": "exact", "key": "b", "name": "other"})
    assert total(both, said("x"), {"answer": "x", "b": "y"}) == Score(0.5, {"exact": 1.0, "other": 0.0})


def test_the_score_is_the_mean_by_weight() -> None:
    scorers = built({"type": "exact", "weight": 3}, {"type": "contains", "weight": 1}, {"type": "yes_no", "weight": 0})
    expected = {"answer": ["yes"]} | {"answer": "yes"}
    done = total(scorers, said("yes, it is"), expected)
    assert done.value == pytest.approx(1 / 4)
    figures = {"exact": 0.0, "contains": 1.0, "yes_no": 1.0, "class.answer.expected": 1.0, "class.answer.given": 1.0}
    assert done.metrics == figures


def test_an_optional_scorer_scores_only_the_items_that_have_its_expectation() -> None:
    scorers = built({"type": "exact"}, {"type": "contains", "key": "mentions", "optional": True})
    assert total(scorers, said("a b"), {"answer": "a b"}) == Score(1.0, {"exact": 1.0})
    assert total(scorers, said("a b"), {"answer": "a b", "mentions": ["c"]}).value == 0.5
    assert problem_of(scorers, {"answer": "x"}) is None
    assert "expectations.mentions is empty" in str(problem_of(scorers, {"answer": "x", "mentions": []}))


@pytest.mark.parametrize(
    ("spec", "expectations", "applies"),
    [
        ({"type": "json_fields", "fields": {"queue": "label", "due": "date"}}, {}, False),
        ({"type": "json_fields", "fields": {"queue": "label", "due": "date"}}, {"queue": "bug"}, True),
        ({"type": "regex", "pattern": "a"}, {}, True),
        ({"type": "regex"}, {}, False),
        ({"type": "json_schema"}, {}, True),
        ({"type": "facts", "recall": True}, {}, False),
        ({"type": "facts", "recall": True}, {"facts": "CANARY"}, True),
        ({"type": "label", "field": "queue"}, {"queue": None}, True),
    ],
)
def test_an_optional_scorer_does_not_pass_over_a_broken_expectation(
    spec: Json, expectations: Json, applies: bool
) -> None:
    assert one({**spec, "optional": True}, schema=SCHEMA).applies(expectations) is applies


def test_an_item_that_no_scorer_scores_is_refused() -> None:
    scorers = built({"type": "exact", "optional": True}, {"type": "contains", "key": "b", "weight": 0})
    assert problem_of(scorers, {"b": "x"}) == (
        "no scorer has what it needs to score this item. Add an expectation that one of them looks at"
    )


# Registry


def test_a_function_is_a_scorer() -> None:
    @wb.scorer("polite")
    def polite(answer: Answer, expectations: Json) -> bool:
        return "please" in answer.said.lower()

    assert polite(said("Please!"), {})  # still the function
    assert total(built({"type": "polite"}), said("<think>please</think>Now!"), {}) == Score(0.0)
    scorers = built({"type": "polite", "name": "manners", "weight": 2}, {"type": "exact"})
    assert total(scorers, said("Please"), {"answer": "x"}) == Score(2 / 3, {"manners": 1.0, "exact": 0.0})
    with pytest.raises(InputError, match="Scorer 'polite' has the keys: type, name, weight, optional"):
        built({"type": "polite", "strict": True})


def test_a_class_with_settings_is_a_scorer_and_a_later_one_replaces_it() -> None:
    @wb.scorer("long_enough")
    class LongEnough(Scorer):
        words: int = 3

        def score(self, answer: Answer, expectations: Json) -> Score:
            return Score(min(1.0, len(answer.said.split()) / self.words), {"words": 1.0})

    assert scored({"type": "long_enough", "words": 4}, "one two", {}) == 0.5

    @wb.scorer("long_enough")
    def never(answer: Answer, expectations: Json) -> int:
        return 0

    assert scored("long_enough", "one two", {}) == 0


@pytest.mark.parametrize("broken", [3, "name", lambda: 1, lambda answer: 1, lambda a, b, c: 1])
def test_what_is_no_scorer_is_refused(broken: Any) -> None:
    with pytest.raises(InputError, match="a scorer is a subclass of"):
        wb.scorer("broken")(broken)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (1.5, "gave 1.5: scores are from 0 to 1"),
        (-0.1, "gave -0.1: scores are from 0 to 1"),
        (math.nan, "gave nan: scores are from 0 to 1"),
        (Score(2), "gave 2: scores are from 0 to 1"),
        (None, "gave a NoneType: a score is a number, a bool or a Score"),
        ("good", "gave a str: a score is a number"),
        ([1], "gave a list: a score is a number"),
    ],
)
def test_what_is_no_score_is_refused(result: Any, message: str) -> None:
    wb.scorer("given_result")(lambda answer, expectations: result)
    with pytest.raises(InputError, match="scorer 'given_result' " + message):
        total(built({"type": "given_result"}), said("x"), {})


@pytest.mark.parametrize(
    ("result", "score"), [(True, 1), (0, 0), (0.25, 0.25), (np.float64(0.5), 0.5), (Score(0.75), 0.75)]
)
def test_a_function_may_give_any_number(result: Any, score: float) -> None:
    wb.scorer("given_number")(lambda answer, expectations: result)
    assert scored("given_number", "x", {}) == score


def test_an_entry_point_is_a_scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugged_scorers.py").write_text("def shout(answer, expectations):\n    return answer.said.isupper()\n")
    about = tmp_path / "plugged_scorers-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged-scorers\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[workbench.scorers]\nshouted = plugged_scorers:shout\n")
    with pytest.raises(InputError, match="there is no scorer 'shouted'"):
        built({"type": "shouted"})
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "shouted" in SCORERS.names()
    assert scored("shouted", "LOUD", {}) == 1
    assert scored("shouted", "quiet", {}) == 0


@pytest.mark.parametrize("value", ["no_such_module:shout", "plugged_broken:shout", "plugged_broken:missing"])
def test_an_entry_point_that_cannot_be_loaded_is_one_clear_error_and_leaves_the_others(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    from workbench.export import GATEWAYS
    from workbench.formats import FORMATS, import_evalset

    (tmp_path / "plugged_broken.py").write_text("import nothing_of_that_name\n" if "shout" in value else "")
    about = tmp_path / "plugged_broken-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged-broken\nVersion: 1.0\n")
    groups = ("scorers", "formats", "gateways")
    (about / "entry_points.txt").write_text("".join(f"[workbench.{each}]\nbroken = {value}\n" for each in groups))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "plugged_broken", raising=False)
    for registry in (SCORERS, FORMATS, GATEWAYS):
        with pytest.raises(InputError, match=f"{registry.kind} 'broken' is a plug-in that cannot be loaded: {value}"):
            registry.find("broken")
    with pytest.raises(InputError, match=r"field 'scorers\.0\.type': scorer 'broken' is a plug-in that"):
        built({"type": "broken"})
    (project / "a.csv").write_text("question,answer\n" + "".join(f"q{n},a{n}\n" for n in range(9)))
    assert import_evalset("a.csv", "evalsets/s").items == 9
    (project / "a.bin").write_bytes(b"\x00")
    with pytest.raises(InputError, match=r"no format recognizes this.*\nformat 'broken' is a plug-in that"):
        import_evalset("a.bin", "evalsets/t")


# Expectations


@pytest.mark.parametrize(
    ("spec", "expectations", "problem"),
    [
        ("label", {}, "scorer label needs expectations.label. Add it"),
        ("label", {"label": None}, "expectations.label is empty. Fill it in"),
        ("label", {"label": ""}, "expectations.label is empty. Fill it in"),
        ("label", {"label": []}, "expectations.label is empty. Fill it in"),
        ("label", {"label": ["bug", None]}, "expectations.label is empty. Fill it in"),
        (
            "label",
            {"label": "CANARY"},
            "expectations.label is not among the labels (billing, bug, access). Mend one of",
        ),
        ("label", {"label": ["bug", "CANARY"]}, "expectations.label is not among the labels"),
        ({"type": "label", "key": "gold"}, {"label": "bug"}, "scorer label needs expectations.gold"),
        ("exact", {"answer": ["a", ""]}, "expectations.answer is empty"),
        ({"type": "exact", "ignore": ["articles"]}, {"answer": "The"}, "has nothing but what is ignored"),
        ({"type": "contains", "ignore": ["punctuation"]}, {"answer": ["a", "!"]}, "has nothing but what is ignored"),
        ("yes_no", {"answer": "maybe CANARY"}, 'scorer yes_no needs expectations.answer: "yes" or "no"'),
        ("yes_no", {"answer": None}, "scorer yes_no needs expectations.answer"),
        ("yes_no", {"answer": ["yes"]}, "scorer yes_no needs expectations.answer"),
        ("numeric", {"answer": "CANARY"}, "expectations.answer is not a number. Mend it"),
        ("numeric", {"answer": [1, True]}, "expectations.answer is not a number. Mend it"),
        ("money", {"answer": "CANARY"}, "expectations.answer is not an amount of money, such as 1020.00. Mend it"),
        ("date", {"answer": "CANARY"}, "expectations.answer is not a date. Write it as YYYY-MM-DD"),
        ("date", {"answer": ["2026-01-01", "2026-02-30"]}, "expectations.answer is not a date"),
        ("regex", {}, "scorer regex needs expectations.pattern"),
        ("regex", {"pattern": "("}, "expectations.pattern is not a regular expression: missing )"),
        (
            "regex",
            {"pattern": ["a", "(a{9999}){9999}"]},
            "expectations.pattern is a regular expression that is too large",
        ),
        ("multi_label", {"labels": 3}, "scorer multi_label needs expectations.labels: a list of labels. Add it"),
        ("set_f1", {"answer": "a"}, "scorer set_f1 needs expectations.answer: a list. Add it"),
        (
            {"type": "set_f1", "of": "date"},
            {"answer": ["CANARY"]},
            "an entry of expectations.answer is no date. Mend it",
        ),
        ({"type": "citation"}, {"citation": ""}, "expectations.citation is empty"),
        ("rouge", {}, "scorer rouge needs expectations.answer. Add it"),
        ("rouge", {"answer": "..."}, "expectations.answer has 0 words, and rougeL needs 1. Change it, or the scorer"),
        ({"type": "rouge", "metric": "rouge2"}, {"answer": "CANARY"}, "has 1 word, and rouge2 needs 2"),
        ({"type": "rouge", "metric": "rouge2"}, {"answer": ["CANARY", "x"]}, "has 1 word, and rouge2 needs 2"),
    ],
)
def test_an_expectation_that_no_answer_could_meet_is_refused(spec: Any, expectations: Json, problem: str) -> None:
    scorer = one(spec, labels=None if spec == "multi_label" else QUEUES)
    found = scorer.check(expectations)
    assert found is not None and problem in found and "CANARY" not in found
    assert problem_of([scorer], expectations) == found


LINES = {"type": "list", "of": {"type": "object", "fields": {"sku": "text", "units": "number"}}}


@pytest.mark.parametrize(
    ("fields", "expectations", "problem"),
    [
        ({"total": "number", "due": "date"}, {"total": 1}, "scorer json_fields needs expectations.due (null where"),
        ({"total": "number"}, {"total": "CANARY"}, "expectations.total is not a number. Mend it"),
        ({"due": "date"}, {"due": "CANARY"}, "expectations.due is not a date. Mend it"),
        ({"due": "date"}, {"due": ["2026-01-01", "CANARY"]}, "expectations.due is not a date. Mend it"),
        ({"due": "date"}, {"due": []}, "expectations.due accepts nothing: the list is empty. Fill it in"),
        ({"churn": "boolean"}, {"churn": "true"}, "expectations.churn is not a boolean. Mend it"),
        ({"priority": "ordinal"}, {"priority": "CANARY"}, "is not an ordinal (low, normal, high, urgent). Mend it"),
        ({"tags": {"type": "list", "of": "text"}}, {"tags": "a"}, "expectations.tags is not a list. Mend it"),
        ({"tags": {"type": "list", "of": "money"}}, {"tags": ["CANARY"]}, "expectations.tags is not a money. Mend it"),
        ({"lines": LINES}, {"lines": ["a"]}, "expectations.lines is not an object. Mend it"),
        ({"lines": LINES}, {"lines": [{"CANARY": 1}]}, "expectations.lines is not an object of the fields sku, units"),
        ({"lines": LINES}, {"lines": [{"units": "CANARY"}]}, "expectations.lines is not a number. Mend it"),
        ({"total": "number", "due": "date"}, {"total": None, "due": None}, None),
        ({"due": "date"}, {"due": ["2026-01-01", None]}, None),
        ({"tags": {"type": "list", "of": "text"}, "lines": LINES}, {"tags": [], "lines": [{"sku": "a"}]}, None),
    ],
)
def test_expectations_of_fields_that_no_answer_could_meet_are_refused(
    fields: Json, expectations: Json, problem: str | None
) -> None:
    found = one({"type": "json_fields", "fields": fields}, schema=SCHEMA).check(expectations)
    assert (found is None) if problem is None else (found is not None and problem in found and "CANARY" not in found)


# Labels


@pytest.mark.parametrize(
    ("value", "expected", "score"),
    [
        ("bug", "bug", 1),
        ("Bug ", "bug", 1),
        ("billing", "bug", 0),
        (None, "bug", 0),
        ("bug", ["billing", "bug"], 1),
        ("access", ["billing", "bug"], 0),
        (["bug"], "bug", 0),
        ({"queue": "bug"}, "bug", 0),
    ],
)
def test_label_match(value: Any, expected: str | list[str], score: float) -> None:
    assert one("label", QUEUES).score(valued(value), {"label": expected}).value == score


def test_a_label_may_be_a_field_of_a_json_answer() -> None:
    field = {"type": "label", "field": "queue"}
    assert scored(field, {"queue": "bug"}, {"queue": "bug"}, schema=SCHEMA) == 1
    assert scored(field, {"other": "bug"}, {"queue": "bug"}, schema=SCHEMA) == 0
    assert scored(field, None, {"queue": "bug"}, schema=SCHEMA) == 0
    assert scored(field, [{"queue": "bug"}], {"queue": "bug"}, schema=SCHEMA) == 0
    assert scored({**field, "key": "gold"}, {"queue": "bug"}, {"gold": "bug"}, schema=SCHEMA) == 1
    deep = {"type": "label", "field": "deep.queue"}
    assert scored(deep, {"deep": {"queue": "bug"}}, {"deep.queue": "bug"}, schema=SCHEMA) == 1
    assert scored(deep, {"deep": "bug"}, {"deep.queue": "bug"}, schema=SCHEMA) == 0
    assert "not among the labels" in str(one(deep, schema=SCHEMA).check({"deep.queue": "x"}))


def test_aliases_of_a_label_count_and_are_of_its_class() -> None:
    scorer = one({"type": "label", "aliases": {"bug": ["defect"]}}, QUEUES)
    assert scorer.aliases_of_labels() == {"bug": ["defect"]}
    score = scorer.score(valued("Defect"), {"label": "bug"})
    assert score == Score(1.0, {"class.label.expected": 1.0, "class.label.given": 1.0})


@pytest.mark.parametrize(
    ("given_value", "accepted", "codes"),
    [
        ("bug", ["bug"], (1, 1)),
        ("Bug.", ["bug"], (1, 1)),
        ("access", ["bug"], (1, 2)),
        ("other", ["bug"], (1, -1)),
        (None, ["bug"], (1, -1)),
        ("access", ["billing", "access"], (2, 2)),
        ("bug", ["billing", "access"], (0, 1)),
        ("bug", [None], None),
        (None, [None, "bug"], None),
        ("bug", [None, "bug"], (1, 1)),
        ("bug", ["unheard"], None),
    ],
)
def test_classes_are_positions_among_the_labels(
    given_value: Any, accepted: list[Any], codes: tuple[int, int] | None
) -> None:
    found = class_figures("queue", QUEUES, given_value, accepted)
    names = ("class.queue.expected", "class.queue.given")
    assert found == ({} if codes is None else dict(zip(names, map(float, codes), strict=True)))


def test_the_name_of_a_label_scorer_names_its_classes() -> None:
    score = one({"type": "label", "name": "route"}, QUEUES).score(valued("bug"), {"label": "access"})
    assert score == Score(0.0, {"class.route.expected": 2.0, "class.route.given": 1.0})


def test_strata_are_the_expected_labels() -> None:
    assert one("label", QUEUES).stratum({"label": ["bug", "access"]}) == "bug"
    assert one("yes_no").stratum({"answer": False}) == "no"
    assert one("exact").stratum({"answer": "x"}) is None
    fields = one({"type": "json_fields", "fields": {"number": "label", "queue": "label"}}, schema=SCHEMA)
    assert fields.stratum({"number": "1", "queue": [None, "bug"]}) == "bug"
    assert fields.stratum({"number": "1", "queue": None}) is None


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(QUEUES), st.sampled_from([*QUEUES, " BUG.", "other", ""])), min_size=1, max_size=30
    ),
    st.booleans(),
)
def test_labels_agree_with_scikit_learn(pairs: list[tuple[str, str]], as_field: bool) -> None:
    """Accuracy out of the scores, macro-F1 out of the classes: of a label scorer, and of a field."""
    if as_field:
        scorer = one({"type": "json_fields", "fields": {"queue": "label"}}, schema=SCHEMA)
        scores = [scorer.score(valued({"queue": answer}), {"queue": expected}) for expected, answer in pairs]
    else:
        scorer = one({"type": "label", "name": "queue"}, QUEUES)
        scores = [scorer.score(valued(answer), {"label": expected}) for expected, answer in pairs]
    true, given_labels = [expected for expected, _ in pairs], [answer.strip(" .").lower() for _, answer in pairs]
    assert np.mean([score.value for score in scores]) == pytest.approx(accuracy_score(true, given_labels))
    codes = [(score.metrics["class.queue.expected"], score.metrics["class.queue.given"]) for score in scores]
    macro = f1_score(*zip(*codes, strict=True), labels=[0, 1, 2], average="macro", zero_division=0)
    assert macro == pytest.approx(f1_score(true, given_labels, labels=QUEUES, average="macro", zero_division=0))


# JSON


@pytest.mark.parametrize(
    ("value", "score"),
    [
        ({"queue": "bug", "priority": "low", "churn": True}, 1),
        ({"queue": "BUG", "priority": "low", "churn": True, "more": 1}, 1),
        ({"queue": "bug", "priority": "high", "churn": True}, (1 + 1 / 3 + 1) / 3),
        ({"queue": "access", "priority": "urgent", "churn": False}, 0),
        ({"queue": "bug"}, 1 / 3),
        ({}, 0),
        (None, 0),
        ([{"queue": "bug"}], 0),
        ("bug", 0),
        ({"queue": ["bug"], "priority": {"low": 1}, "churn": "true"}, 0),
        ({"queue": 10**400, "priority": 1e308, "churn": 1}, 0),
    ],
)
def test_the_mean_of_fields(value: Any, score: float) -> None:
    fields = {"queue": "label", "priority": "ordinal", "churn": "boolean"}
    scorer = one({"type": "json_fields", "average": "mean", "fields": fields}, schema=SCHEMA)
    done = scorer.score(valued(value), {"queue": "bug", "priority": "low", "churn": True})
    assert done.value == pytest.approx(score)
    assert np.mean([done.metrics[f"field.{name}"] for name in fields]) == pytest.approx(score)
    classes = {name: done.metrics[f"class.{name}.given"] for name in fields}
    assert (classes["churn"] == 1) is (done.metrics["field.churn"] == 1)
    assert (classes["queue"] == 1) is (done.metrics["field.queue"] == 1)


@pytest.mark.parametrize(
    ("value", "f1"),
    [
        ({"number": "A-1", "total": "1.020,00 €", "due": "14. März 2026", "tags": ["b", "a"]}, 1),
        ({"number": "A-1", "total": "1020", "due": None, "tags": ["a"]}, 2 * 3 / (3 + 5)),
        ({"number": "A-2", "total": "1020", "due": "2026-03-14", "tags": ["a", "b", "c"]}, 2 * 4 / (6 + 5)),
        ({}, 0),
    ],
)
def test_f1_over_all_values_of_an_item(value: Json, f1: float) -> None:
    fields = {"number": "text", "total": "money", "due": "date", "tags": {"type": "list", "of": "text"}}
    expected = {"number": "A-1", "total": "EUR 1,020.00", "due": "2026-03-14", "tags": ["a", "b"]}
    assert scored({"type": "json_fields", "fields": fields}, value, expected, schema=SCHEMA) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("kind", "value", "expected", "score"),
    [
        ("number", "thirty (30) days", 30, 1),
        ("number", "thirty (30) days", -30, 0),
        ("number", "(30)", -30, 1),
        ("number", "1/2", 1, 0),
        ("number", "2½", 2.5, 1),
        ("number", "2½", 2, 0),
        ("money", "five thousand dollars ($5,000)", "5000 USD", 1),
        ("money", "12 pounds", "12 EUR", 0),
    ],
)
def test_figures_of_fields(kind: str, value: str, expected: Any, score: float) -> None:
    spec = {"type": "json_fields", "fields": {"total": kind}}
    assert scored(spec, {"total": value}, {"total": expected}, schema=SCHEMA) == score


def test_a_field_may_be_right_in_several_ways_one_of_them_null() -> None:
    spec = {"type": "json_fields", "fields": {"number": "text", "due": "date"}}
    expected = {"number": ["A-1", "A1"], "due": ["2026-03-14", None]}
    for right in ({"number": "a1", "due": None}, {"number": "A-1"}, {"number": "A-1", "due": "14.03.2026"}):
        assert scored(spec, right, expected, schema=SCHEMA) == 1
    assert scored(spec, {"number": "A-2", "due": None}, expected, schema=SCHEMA) == 0


def test_lists_of_objects_are_scored_without_regard_to_order() -> None:
    spec = {"type": "json_fields", "fields": {"lines": LINES}}
    expected = {"lines": [{"sku": "a", "units": 1}, {"sku": "b", "units": 2}]}
    turned = [{"units": "2", "sku": "B"}, {"units": 1, "sku": "a"}]
    assert scored(spec, {"lines": turned}, expected, schema=SCHEMA) == 1
    assert scored(spec, {"lines": turned[:1]}, expected, schema=SCHEMA) == pytest.approx(2 * 2 / (2 + 4))
    assert scored(spec, {"lines": [*turned, {"sku": "c"}]}, expected, schema=SCHEMA) == pytest.approx(2 * 4 / (5 + 4))
    assert scored(spec, {"lines": "a"}, expected, schema=SCHEMA) == 0
    optional = {"lines": [{"sku": "a", "units": [None, 2]}]}
    assert scored(spec, {"lines": [{"sku": "a", "units": 2}]}, optional, schema=SCHEMA) == 1


def test_an_alias_of_a_field_is_of_its_class() -> None:
    field = {"type": "label", "aliases": {"bug": ["defect"]}}
    scorer = one({"type": "json_fields", "fields": {"queue": field}}, schema=SCHEMA)
    done = scorer.score(valued({"queue": "defect"}), {"queue": "bug"})
    assert done == Score(1.0, {"field.queue": 1.0, "class.queue.expected": 1.0, "class.queue.given": 1.0})


def test_a_null_that_is_right_is_no_wrong_class() -> None:
    scorer = one({"type": "json_fields", "fields": {"queue": "label"}}, schema=SCHEMA)
    assert scorer.score(valued({}), {"queue": ["bug", None]}) == Score(1.0, {"field.queue": 1.0})


FIELDS = ["a", "b", "c"]
_FIELD_VALUES = st.dictionaries(st.sampled_from(FIELDS), st.sampled_from([None, "x", "y"]))
_TAGS = st.lists(st.sampled_from(["x", "y", "z"]), unique=True)


@settings(max_examples=300, deadline=None)
@given(_FIELD_VALUES, _FIELD_VALUES, _TAGS, _TAGS)
def test_json_fields_are_scikit_learns_f1_over_values(
    left: Json, right: Json, tags: list[str], gold: list[str]
) -> None:
    """A wrong value is a false positive and a false negative; a list has a value an entry."""
    fields = {**dict.fromkeys(FIELDS, "label"), "tags": {"type": "list", "of": "text"}}
    expected = {**{name: right.get(name) for name in FIELDS}, "tags": gold}
    scorer = one({"type": "json_fields", "fields": fields}, schema={"type": "object"})
    done = scorer.score(valued({**left, "tags": tags, "further": "x"}), expected)

    def claims(values: Json) -> set[tuple[str, str]]:
        of_fields = {(name, values[name]) for name in FIELDS if values.get(name) is not None}
        return of_fields | {("tags", tag) for tag in values["tags"]}

    claimed, true = claims({**left, "tags": tags}), claims(expected)
    pairs = sorted(claimed | true)
    binary = [[pair in true for pair in pairs], [pair in claimed for pair in pairs]]
    assert done.value == pytest.approx(f1_score(*binary, zero_division=1) if pairs else 1)
    for name in FIELDS:
        assert done.metrics[f"field.{name}"] == float(left.get(name) == expected[name])


NULLS: Json = {
    "type": "object",
    "properties": {
        "number": {"type": "string"},
        "due": {"type": "string"},
        "total": {"type": ["string", "null"]},
        "queue": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "ref": {"$ref": "#/$defs/Text"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "$defs": {"Text": {"type": "string"}},
}


@pytest.mark.parametrize(
    "refusal", ["I'm sorry, I can't help with that.", "", "<think>x", '{"number": "a"', "[1]", "null"]
)
@pytest.mark.parametrize(
    ("spec", "expectations"),
    [
        ({"type": "json_fields", "average": "mean", "fields": {"number": "text", "due": "date"}},
         {"number": "x", "due": None}),
        ({"type": "json_fields", "fields": {"number": "text", "due": "date"}},
         {"number": None, "due": [None, "1 May 2026"]}),
        ({"type": "json_fields", "fields": {"tags": {"type": "list", "of": "text"}}}, {"tags": []}),
        ({"type": "facts", "fields": {"tags": {}}}, {"facts": []}),
        ({"type": "facts", "fields": {"tags": {}}, "recall": True}, {"facts": []}),
        ({"type": "set_f1", "field": "tags"}, {"tags": []}),
        ({"type": "multi_label", "field": "tags"}, {"tags": []}),
        ({"type": "contains", "field": "number", "want": "none"}, {"number": "x"}),
        ({"type": "regex", "field": "number", "want": "none", "pattern": "x"}, {}),
    ],
)  # fmt: skip
def test_an_answer_without_json_is_right_about_nothing(spec: Json, expectations: Json, refusal: str) -> None:
    scorers = built(spec, schema=NULLS)
    assert problem_of(scorers, expectations) is None
    done = total(scorers, parse_answer(refusal, NULLS), expectations)
    assert done.value == 0
    assert not any(figure for name, figure in done.metrics.items() if name.startswith(("field.", "facts.")))


@pytest.mark.parametrize(
    ("spec", "expectations"),
    [
        ({"type": "json_fields", "fields": {"number": "text", "due": "date"}}, {"number": None, "due": None}),
        ({"type": "json_fields", "fields": {"tags": {"type": "list", "of": "text"}}}, {"tags": []}),
        ({"type": "facts", "fields": {"tags": {}}}, {"facts": []}),
        ({"type": "set_f1", "field": "tags"}, {"tags": []}),
        ({"type": "multi_label", "field": "tags"}, {"tags": []}),
    ],
)
def test_json_that_says_nothing_is_right_where_there_is_nothing(spec: Json, expectations: Json) -> None:
    assert total(built(spec, schema=NULLS), parse_answer("{}", NULLS), expectations).value == 1


def test_no_answer_is_a_wrong_class_also_where_null_would_be_right() -> None:
    scorer = one({"type": "json_fields", "fields": {"queue": "label"}}, schema=SCHEMA)
    done = scorer.score(parse_answer("I refuse", SCHEMA), {"queue": ["bug", None]})
    assert done == Score(0.0, {"field.queue": 0.0, "class.queue.expected": 1.0, "class.queue.given": -1.0})


@pytest.mark.parametrize(
    ("field", "value", "expected", "f1"),
    [
        ("number", "", None, 1),
        ("total", " ", None, 1),
        ("due", "", None, 1),
        ("number", None, "", 1),
        ("number", "", ["x", None], 1),
        ("number", "", "x", 0),
        # Where the schema takes text alone, null has to be a word.
        ("number", "null", None, 1),
        ("number", "None", None, 1),
        ("due", "N/A", None, 1),
        ("ref", "n/a", None, 1),
        ("number", "none", ["x", None], 1),
        ("number", "none", "none", 1),
        ("number", "none", "x", 0),
        ("number", "not specified", None, 0),
        ("number", "-", None, 0),
        ("total", "N/A", None, 0),
        ("queue", "none", None, 0),
        ("number", "x", None, 0),
        ("tags", [""], [], 1),
        ("tags", ["none"], [], 0),
    ],
)
def test_ways_to_say_null(field: str, value: Any, expected: Any, f1: float) -> None:
    kind: Any = (
        {"type": "list", "of": "text"} if field == "tags" else {"due": "date", "queue": "label"}.get(field, "text")
    )
    assert (
        scored({"type": "json_fields", "fields": {field: kind}}, {field: value}, {field: expected}, schema=NULLS) == f1
    )


def test_an_empty_text_counts_as_missing_and_not_as_made_up() -> None:
    spec = {"type": "json_fields", "fields": {"number": "text", "due": "date"}}
    expected = {"number": "x", "due": "2026-05-01"}
    missing = [scored(spec, {"number": "x", "due": due}, expected, schema=NULLS) for due in (None, "", "1 May 2025")]
    assert missing == [pytest.approx(2 / 3), pytest.approx(2 / 3), 0.5]


@pytest.mark.parametrize(("text", "score"), [('{"queue": "bug"}', 1), ('{"queue": "x"}', 0), ("bug", 0), ("", 0)])
def test_json_schema_is_whether_the_answer_is_valid(text: str, score: float) -> None:
    scorer = one("json_schema", schema=SCHEMA)
    assert scorer.score(parse_answer(text, SCHEMA), {}).value == score


# Text


@pytest.mark.parametrize(
    ("answer", "expected", "settings_of", "score"),
    [
        ("Paris", "Paris", {}, 1),
        (" Paris\n", "Paris", {}, 1),
        ("New  York", "New\nYork", {}, 1),
        ("paris", "Paris", {}, 0),
        ("paris", ["Paris", "paris"], {}, 1),
        ("PARIS!", "Paris", {"ignore": ["case", "punctuation"]}, 1),
        ("“**Paris**.”", "(Paris)", {"ignore": ["punctuation"]}, 1),
        ("- `Paris`, France…", "Paris – France", {"ignore": ["punctuation"]}, 1),
        ("5", "-5", {"ignore": ["punctuation"]}, 0),
        ("**−5.**", "-5", {"ignore": ["punctuation"]}, 1),
        ("-$5", "$5", {"ignore": ["punctuation"]}, 0),
        ("3 5", "3.5", {"ignore": ["punctuation"]}, 0),
        ("3.5.", "3.5", {"ignore": ["punctuation"]}, 1),
        ("5", ".5", {"ignore": ["punctuation"]}, 0),
        ("...5", "5", {"ignore": ["punctuation"]}, 1),
        ("C", "C++", {"ignore": ["punctuation"]}, 0),
        ("C", "C#", {"ignore": ["punctuation"]}, 0),
        ("C#.", "C#", {"ignore": ["punctuation"]}, 1),
        ("a+b", "a-b", {"ignore": ["punctuation"]}, 0),
        ("19", "19%", {"ignore": ["punctuation"]}, 0),
        ("19 %", "19%", {"ignore": ["punctuation"]}, 1),
        ("19", "€19", {"ignore": ["punctuation"]}, 0),
        ("1,2,3", "1, 2, 3", {"ignore": ["punctuation"]}, 1),
        ("[1,2,3]", "[1, 2, 3]", {"ignore": ["punctuation"]}, 1),
        ("(2,3)", "(2, 3)", {"ignore": ["punctuation"]}, 1),
        ("> Paris", "Paris", {"ignore": ["punctuation"]}, 1),
        ("=> Paris", "Paris", {"ignore": ["punctuation"]}, 1),
        ("→ Paris", "Paris", {"ignore": ["punctuation"]}, 1),
        ("Paris ✅", "Paris", {"ignore": ["punctuation"]}, 1),
        ("**✔️ Paris**", "Paris", {"ignore": ["punctuation"]}, 1),
        ("Paris | France", "Paris France", {"ignore": ["punctuation"]}, 1),
        ("Paris|France", "Paris | France", {"ignore": ["punctuation"]}, 1),
        ("~Paris~", "Paris", {"ignore": ["punctuation"]}, 1),
        ("<Paris>", "Paris", {"ignore": ["punctuation"]}, 1),
        ("$5$", "5", {"ignore": ["punctuation"]}, 1),
        ("$-5$", "-5", {"ignore": ["punctuation"]}, 1),
        ("\\(5\\)", "5", {"ignore": ["punctuation"]}, 1),
        ("—5", "5", {"ignore": ["punctuation"]}, 1),
        ("–5", "-5", {"ignore": ["punctuation"]}, 1),
        ("$5-$6", "$5 - $6", {"ignore": ["punctuation"]}, 1),
        ("5 °C", "5°C", {"ignore": ["punctuation"]}, 1),
        ("> 5", ">5", {"ignore": ["punctuation"]}, 1),
        ("1,234", "1,234.", {"ignore": ["punctuation"]}, 1),
        ("1,234", "1 234", {"ignore": ["punctuation"]}, 0),
        ("> 5", "5", {"ignore": ["punctuation"]}, 0),
        ("5$, not 6$", "5, not 6", {"ignore": ["punctuation"]}, 0),
        ("👍", "👎", {"ignore": ["punctuation"]}, 0),
        ("x > 5", "x < 5", {"ignore": ["punctuation"]}, 0),
        ("1.2", "1, 2", {"ignore": ["punctuation"]}, 0),
        ("The Louvre", "louvre", {"ignore": ["case", "articles"]}, 1),
        ("Élysée", "Elysee", {"ignore": ["accents"]}, 1),
        ("cafe\u0301", "caf\u00e9", {}, 1),
        ("5", 5, {}, 1),
        ("Paris, of course", "Paris", {"match": "begins"}, 1),
        ("It is Paris", "Paris", {"match": "ends"}, 1),
        ("It is Paris", "Paris", {"match": "begins"}, 0),
        ("", "x", {}, 0),
        ("<think>x</think>Paris", "Paris", {}, 1),
        ("Answer: Paris", "Paris", {"extract": r"Answer: (\w+)"}, 1),
        ("Answer: Rome, no: Answer: Paris", "Paris", {"extract": r"Answer: (\w+)", "take": "last"}, 1),
        ("Answer: Rome, no: Answer: Paris", "Paris", {"extract": r"Answer: (\w+)"}, 0),
        ("Paris", "Paris", {"extract": r"Answer: (\w+)"}, 0),
        ("Answer: Paris", "Paris", {}, 1),
        ("**Answer:** Paris", "Paris", {}, 1),
        ("**Final answer: Paris**", "Paris", {}, 1),
        ("It may be Rome.\nThe answer is:\nParis\nIt has a tower.", "Paris", {}, 1),
        ("Answer: Rome\nNo.\nAnswer: Paris", "Paris", {}, 1),
        ("Answer: Rome\nNo.\nAnswer: Paris", "Rome", {}, 0),
        ("**Answer: Paris**\nIt has a tower.", "Paris", {}, 1),
        ("Answer: __init__", "__init__", {}, 1),
        ("Answer: Paris, France", "Paris", {}, 0),
        ("Answer: Paris, France", "Paris", {"match": "begins"}, 1),
        ("Answer: Paris", "Answer: Paris", {}, 1),
        ("The answer is Paris", "Paris", {}, 0),
        ("Label: a", "a", {}, 1),
        ("Labels: a", "a", {}, 1),
        ("Category: a\nIt fits.", "a", {}, 1),
        ("Paris\nLondon\nRome", "Paris", {}, 0),
        ("No\n\nActually yes", "No", {}, 0),
        ("I first thought Paris\nbut it is London", "Paris", {"match": "ends"}, 0),
        ("I first thought London\nbut it is Paris", "Paris", {"match": "ends"}, 1),
        (XS, "x", {"extract": EVIL}, 0),
    ],
)
def test_exact(answer: str, expected: Any, settings_of: Json, score: float) -> None:
    assert scored({"type": "exact", **settings_of}, answer, {"answer": expected}) == score


@pytest.mark.parametrize(
    ("value", "score"),
    [({"a": "x"}, 1), ({"a": "y"}, 0), ({}, 0), ({"a": None}, 0), ({"a": ["x"]}, 0), (None, 0), ([], 0)],
)
def test_exact_of_a_field(value: Any, score: float) -> None:
    assert scored({"type": "exact", "field": "a"}, value, {"a": "x"}) == score


@pytest.mark.parametrize(("value", "expected"), [(True, True), (True, "true"), (5, "5"), (["ä"], ['["ä"]'])])
def test_what_is_no_text_is_compared_as_json(value: Any, expected: Any) -> None:
    assert scored({"type": "exact", "field": "a"}, {"a": value}, {"a": expected}) == 1


def test_a_pattern_extracts_from_a_field_too() -> None:
    spec = {"type": "exact", "field": "a", "extract": r"\d+"}
    assert scored(spec, {"a": "No. 12 of May"}, {"a": "12"}) == 1
    assert scored(spec, {"a": 12}, {"a": "12"}) == 0
    assert scored(spec, {}, {"a": "12"}) == 0


@pytest.mark.parametrize(
    ("answer", "expected", "settings_of", "score"),
    [
        ("You get a REFUND in 14 days", ["refund", "14 days"], {}, 1),
        ("You get a refund", ["refund", "14 days"], {}, 0.5),
        ("You get nothing", ["refund", "14 days"], {}, 0),
        ("You get a refund", ["refund", "14 days"], {"want": "any"}, 1),
        ("You get nothing", ["refund", "14 days"], {"want": "any"}, 0),
        ("You get nothing", ["refund", "14 days"], {"want": "none"}, 1),
        ("You get a refund", ["refund", "14 days"], {"want": "none"}, 0),
        ("a Refund", "refund", {"ignore": []}, 0),
        ("re-fund", "re fund", {"ignore": ["punctuation"]}, 1),
        ("14", 14, {}, 1),
        ("<think>refund</think>no", "refund", {}, 0),
    ],
)
def test_contains(answer: str, expected: Any, settings_of: Json, score: float) -> None:
    assert scored({"type": "contains", **settings_of}, answer, {"answer": expected}) == score


@pytest.mark.parametrize("text", ["", " \n", "<think>x", "<think>x</think>", "<think>refund</think>"])
def test_no_answer_keeps_nothing_out(text: str) -> None:
    assert scored({"type": "contains", "want": "none"}, text, {"answer": "refund"}) == 0
    assert scored({"type": "regex", "want": "none", "pattern": "refund"}, text, {}) == 0
    assert scored({"type": "regex", "pattern": "^(?!.*refund)"}, text, {}) == 0
    assert scored({"type": "contains", "want": "none"}, "No.", {"answer": "refund"}) == 1
    assert scored({"type": "regex", "want": "none", "pattern": "refund"}, "No.", {}) == 1


def test_an_empty_field_keeps_nothing_out_but_may_be_what_is_wanted() -> None:
    assert scored({"type": "contains", "field": "a", "want": "none"}, {"a": ""}, {"a": "x"}) == 0
    assert scored({"type": "regex", "field": "a", "want": "none", "pattern": "x"}, {"a": " "}, {}) == 0
    assert scored({"type": "regex", "field": "a", "pattern": "^$"}, {"a": ""}, {}) == 1


def test_a_field_that_is_not_there_contains_nothing_and_keeps_nothing_out() -> None:
    assert scored({"type": "contains", "field": "a"}, {"b": "x"}, {"a": "x"}) == 0
    assert scored({"type": "contains", "field": "a", "want": "none"}, {"b": "x"}, {"a": "x"}) == 0


@pytest.mark.parametrize(
    ("answer", "expectations", "settings_of", "score"),
    [
        ("AB-1234", {"pattern": r"^[A-Z]{2}-\d{4}$"}, {}, 1),
        ("ab-1234", {"pattern": r"^[A-Z]{2}-\d{4}$"}, {}, 0),
        ("x1", {"pattern": [r"^\d", r"\d$"]}, {}, 1),
        ("12", {}, {"pattern": r"^\d+$"}, 1),
        ("1x", {}, {"pattern": r"^\d+$"}, 0),
        ("1x", {}, {"pattern": r"^\d+$", "want": "none"}, 1),
        ("12", {}, {"pattern": r"^\d+$", "want": "none"}, 0),
        ("x", {"gold": "^x$"}, {"key": "gold"}, 1),
        (XS, {}, {"pattern": EVIL}, 0),
        (XS, {}, {"pattern": EVIL, "want": "none"}, 0),
    ],
)
def test_regex(answer: str, expectations: Json, settings_of: Json, score: float) -> None:
    assert scored({"type": "regex", **settings_of}, answer, expectations) == score


def test_patterns_are_timed() -> None:
    assert extracted(EVIL, XS) is None  # it would take years
    assert extracted(EVIL, XS, "last") is None
    with pytest.raises(TimeoutError):
        is_found(EVIL, XS)


@pytest.mark.parametrize(
    "pattern", ["a" * 10_001, "(a{1000}){1000}", "a{999999999}", "(?:[ab]{1000}|c){500}", "a{99999}b{99999}"]
)
def test_a_pattern_that_would_fill_the_memory_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="too large, or repeats too much"):
        checked_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", [r"\d{4}-\d{2}-\d{2}", r"(\d{1,3}){2}[]{99}]\{9}", "a" * 10_000, "(?i)x{0}", "a{,5}"]
)
def test_usual_patterns_are_not(pattern: str) -> None:
    assert checked_pattern(pattern) == pattern


@settings(max_examples=300, deadline=None)
@given(st.text("ab()[]{}0123\\^?*+,|", max_size=12))
def test_any_pattern_is_taken_or_refused(pattern: str) -> None:
    try:
        checked_pattern(pattern)
    except ValueError:
        return
    extracted(pattern, "aab" * 10)


@pytest.mark.parametrize(
    ("value", "expected", "score"),
    [
        ("yes", "yes", 1),
        ("Yes, because it says so", "yes", 1),
        ("**No**", "no", 1),
        ("no.", False, 1),
        (True, "yes", 1),
        ("false", "no", 1),
        ("Final answer: yes", "yes", 1),
        ("**Answer:** yes", "yes", 1),
        ("yes", "no", 0),
        ("not sure", "no", 0),
        ("none", "no", 0),
        ("yesterday", "yes", 0),
        ("The answer is yes.", "yes", 1),
        ("My answer: no", "no", 1),
        ("It says so. The answer is: **No**, for lack of consent", "no", 1),
        ("The answer is not yes", "yes", 0),
        ("The answer is yes or no", "yes", 0),
        ("No consent was given", "no", 1),
        ("I think yes", "yes", 0),
        ("yes or no", "yes", 0),
        ("Yes/No", "yes", 0),
        ("yes and no", "yes", 0),
        ("yes, no doubt or question", "yes", 1),
        ("No\n\nExplanation: The clause is silent. It is true that notice is needed", "no", 1),
        ("No\n\nThe premise is true but it ends there", "no", 1),
        ("No party may assign; that is true", "no", 1),
        ("No termination right. It is true that there was one.", "no", 1),
        ("No clause is there, so yes", "no", 0),
        ("No wonder, yes", "no", 0),
        ("No doubt this is true", "no", 0),
        ("No clause is there and so I say yes", "no", 0),
        ("No one said yes.", "no", 1),
        ("No it is not true", "no", 1),
        ("no evidence that it is true", "no", 1),
        ("No  clause is there, so yes", "no", 0),
        ("No (yes only in part)", "no", 1),
        ("No clause is there, so the answer is yes", "yes", 1),
        ("Yes\n\nYes", "yes", 1),
        ("yes yes yes yes", "yes", 1),
        ("No No", "no", 1),
        ("Yes, true.", "yes", 1),
        ("No, false.", "no", 1),
        ("Yes, no.", "yes", 0),
        ("no true", "no", 0),
        ("Answer: yes, no", "yes", 0),
        ("Yes? No.", "yes", 0),
        ("No. The answer is yes only where consent was given.", "no", 1),
        ("Yes. The question whether the answer is no depends on the clause.", "yes", 1),
        ("**Yes** - nowhere else the answer is no", "yes", 1),
        ("The answer is no. Some may say the answer is yes, but that ignores clause 4.", "yes", 0),
        ("The answer is no. If the answer is yes, call.", "no", 1),
        ("If the answer is yes, the client must be told. No.", "yes", 0),
        ("Yes. It may seem so.\nAnswer: no", "no", 1),
        ("Answer: yes\nWait.\n**Final answer:** no", "no", 1),
        ("It is so. Answer: yes", "yes", 1),
        (None, "no", 0),
        (1, "yes", 0),
        (["yes"], "yes", 0),
    ],
)
def test_yes_or_no(value: Any, expected: Any, score: float) -> None:
    assert one("yes_no").score(valued(value), {"answer": expected}).value == score
    done = one({"type": "yes_no", "field": "a"}).score(valued({"a": value}), {"a": expected})
    assert done.value == score
    assert (done.metrics["class.a.expected"] == done.metrics["class.a.given"]) is bool(score)


@pytest.mark.parametrize(
    ("answer", "expected", "settings_of", "score"),
    [
        ("The total is 1,204.50.", 1204.5, {}, 1),
        ("1,204", 1204, {}, 1),
        ("1.204,50", 1204.5, {}, 1),
        ("1 204", 1204, {}, 1),
        ("12,5", 12.5, {}, 1),
        ("−5", -5, {}, 1),
        ("x-5", 5, {}, 0),
        ("GPT-4 says 7", 7, {}, 1),
        ("3-5", 3, {}, 1),
        ("3-5", 5, {"take": "last"}, 1),
        ("1,234,567 people", 1234567, {}, 1),
        ("first 3, then 4", 4, {"take": "last"}, 1),
        ("first 3, then 4", 4, {}, 0),
        ("first 3, then 4", [4, 3], {}, 1),
        ("1.05", 1, {"tolerance": 0.05}, 1),
        ("1.06", 1, {"tolerance": 0.05}, 0),
        ("105", 100, {"relative": 0.05}, 1),
        ("106", 100, {"relative": 0.05}, 0),
        ("6.02e23", 6.02e23, {"relative": 0.01}, 1),
        ("50 %", 50, {}, 1),
        ("version 1.2.3 of 7", 7, {}, 1),
        ("nothing", 5, {}, 0),
        ("", 5, {}, 0),
        ("1e999", 5, {}, 0),
        ("NaN", 5, {}, 0),
        ("#### 42", 42, {"extract": r"####\s*(\S+)"}, 1),
        ("42", 42, {"extract": r"####\s*(\S+)"}, 0),
        ("The notice period is thirty (30) days.", 30, {}, 1),
        ("The notice period is thirty (30) days.", -30, {}, 0),
        ("(30)", -30, {}, 1),
        ("The answer is forty-two (42).", 42, {"take": "last"}, 1),
        ("Step 1: 6 x 7 = 42. Answer: 42", 42, {}, 1),
        ("Step 1: 6 x 7 = 42. Answer: 42", 6, {}, 0),
        ("**Answer: 42**\n\nCheck: 42/7 = 6", 42, {"take": "last"}, 1),
        ("**Answer: 42**\n\nCheck: 42/7 = 6", 6, {"take": "last"}, 0),
        ("minus 5", -5, {}, 1),
        ("minus 5", 5, {}, 0),
        ("The price minus 5", -5, {}, 0),
        ("1/2", 0.5, {}, 1),
        ("1/2", 1, {}, 0),
        ("10^6", 1e6, {}, 1),
        ("10^6", 10, {}, 0),
        ("$1.5M", 1.5e6, {}, 1),
        ("$1.5M", 1.5, {}, 0),
        # Points out of so many are no share alone.
        ("Rating: 7/10", 7, {}, 1),
        ("Rating: 7/10", 0.7, {}, 1),
        ("Rating: 7/10", 10, {}, 0),
        ("Score: 7 / 10", 6, {"tolerance": 1}, 1),
        ("3/5 stars", [4, 3], {}, 1),
        ("It got 15/20 points.", 15, {"take": "last"}, 1),
        ("Rating: 10/10", 10, {}, 1),
        ("Rating: 10/10", 1, {}, 1),
        ("open 24/7", 24, {}, 1),
        ("open 24/7", 7, {}, 0),
        ("84/2", 84, {}, 0),
        ("84/2", 42, {}, 1),
        ("1/2", 2, {}, 0),
        ("1/2", "0.5", {}, 1),
        ("7 1/2", 7, {}, 0),
        ("3/4 million", 3, {}, 0),
        (r"\frac{7}{10}", 7, {}, 0),
        (r"\frac{7}{10}", 0.7, {}, 1),
        (r"$\dfrac34$", 3, {}, 0),
    ],
)
def test_numeric(answer: str, expected: Any, settings_of: Json, score: float) -> None:
    assert scored({"type": "numeric", **settings_of}, answer, {"answer": expected}) == score


@pytest.mark.parametrize(
    ("value", "score"),
    [(5, 1), (5.0, 1), ("5 kg", 1), (True, 0), (None, 0), ([5], 0), ({"b": 5}, 0), (10**400, 0), (6, 0)],
)
def test_numeric_of_a_field(value: Any, score: float) -> None:
    assert scored({"type": "numeric", "field": "a"}, {"a": value}, {"a": 5}) == score


@pytest.mark.parametrize(
    ("answer", "expected", "settings_of", "score"),
    [
        ("2026-03-14", "2026-03-14", {}, 1),
        ("14. März 2026.\n", "2026-03-14", {}, 1),
        ("14 March 2026", ["2026-01-01", "2026-03-14"], {}, 1),
        ("15 March 2026", "2026-03-14", {}, 0),
        ("03/04/2026", "2026-04-03", {}, 1),
        ("03/04/2026", "2026-04-03", {"day_first": False}, 0),
        ("March 2026", "2026-03-14", {}, 0),
        ("It ends on 14 March 2026, I think", "2026-03-14", {"extract": r"\d+ \w+ \d{4}"}, 1),
        ("2026-03-14 or 2026-03-15", "2026-03-14", {}, 0),
        ("It is 14 March 2026.", "2026-03-14", {}, 1),
        ("It is 15 March 2026.", "2026-03-14", {}, 0),
        ("The lease ends on March 14th, 2026, as clause 7 says", "2026-03-14", {}, 1),
        ("Fällig ist es am 14. März 2026, nicht früher", "2026-03-14", {}, 1),
        ("el 14 de marzo de 2026, a las 10:00", "2026-03-14", {}, 1),
        ("invoice 4711 is of 14.03.2026, 3 pages", "2026-03-14", {}, 1),
        ("Invoice 5 of 2026-03-14", "2026-03-14", {}, 1),
        ("14 March 2026 (2026-03-14) is the day", "2026-03-14", {}, 1),
        ("It is 03/04/2026, so 3 April 2026", "2026-04-03", {}, 1),
        ("It is 03/04/2026, so 3 April 2026", "2026-03-04", {}, 0),
        ("It is 03/04/2026.", "2026-04-03", {"day_first": False}, 0),
        ("Signed on 14 March 2026, it ends on 1 May 2026", "2026-03-14", {}, 0),
        ("Signed on 1 May 2026, it ends on 2026-03-14", "2026-03-14", {}, 0),
        ("It is the 13 or 14 March 2026", "2026-03-14", {}, 0),
        ("from 13 March to 14 March 2026, then", "2026-03-14", {}, 0),
        ("It is 14 March 2026 or the 15th", "2026-03-14", {}, 0),
        ("It is 2026-03-14 to 20", "2026-03-14", {}, 0),
        ("version 1.14.3.2026 of it", "2026-03-14", {}, 0),
        ("some 14 apples 2026 were counted", "2026-03-14", {}, 0),
        ("It is 14 March 2026." + " And so on, and on." * 10, "2026-03-14", {}, 0),
        ({"a": "by 14 March 2026 at the latest"}, "2026-03-14", {"field": "a", "key": "answer"}, 1),
        ({"a": "2026-03-14"}, "2026-03-14", {"field": "a", "key": "answer"}, 1),
        ({"a": ["2026-03-14"]}, "2026-03-14", {"field": "a", "key": "answer"}, 0),
        ({"a": True}, "2026-03-14", {"field": "a", "key": "answer"}, 0),
        ({}, "2026-03-14", {"field": "a", "key": "answer"}, 0),
        ("", "2026-03-14", {}, 0),
    ],
)
def test_date(answer: Any, expected: Any, settings_of: Json, score: float) -> None:
    assert scored({"type": "date", **settings_of}, answer, {"answer": expected}) == score


@pytest.mark.parametrize(
    ("answer", "expected", "settings_of", "score"),
    [
        ("1.020,00 €", "1020.00 EUR", {}, 1),
        ("The total, VAT and shipping included, is EUR 1,020.00.", 1020, {}, 1),
        ("1020 USD", "1020 EUR", {}, 0),
        ("1021", 1020, {}, 0),
        ("1021", 1020, {"tolerance": 1}, 1),
        ("1021", [1020, 1021], {}, 1),
        ("-5", "5", {}, 0),
        ("free", "0.00", {}, 0),
        ("", 5, {}, 0),
        ({"a": 0.125}, 0.125, {"field": "a", "key": "answer"}, 1),
        ({"a": 125}, 0.125, {"field": "a", "key": "answer"}, 0),
        ({"a": True}, 1, {"field": "a", "key": "answer"}, 0),
        ({"a": ["5"]}, 5, {"field": "a", "key": "answer"}, 0),
        ({}, 5, {"field": "a", "key": "answer"}, 0),
        ("five thousand dollars ($5,000)", "5000 USD", {}, 1),
        ("five thousand dollars ($5,000)", "-5000 USD", {}, 0),
        ("$1.5M", "1.50 USD", {}, 0),
        ("$1.5M", "1500000 USD", {}, 1),
        ("2 milliards d'euros", "2000000000 EUR", {}, 1),
        ("12 pounds", "12 GBP", {}, 1),
        *((f"12 {name}", "12 EUR", {}, 0) for name in ("pounds", "dollars", "yen", "Swiss francs", "kr")),
        ("99 cents", "99", {}, 0),
    ],
)
def test_money(answer: Any, expected: Any, settings_of: Json, score: float) -> None:
    assert scored({"type": "money", **settings_of}, answer, {"answer": expected}) == score


# Schemas as pydantic writes them

ENUM = {"enum": ["low", "mid", "high"], "type": "string"}
REFERRED: Json = {
    "$defs": {
        "Level": ENUM,
        "Inner": {"type": "object", "properties": {"level": {"$ref": "#/$defs/Level"}}},
        "Loop": {"$ref": "#/$defs/Loop"},
        "a/b": ENUM,
    },
    "type": "object",
    "properties": {
        "flat": ENUM,
        "ref": {"$ref": "#/$defs/Level", "title": "Level"},
        "null": {"anyOf": [{"$ref": "#/$defs/Level"}, {"type": "null"}], "default": None},
        "all": {"allOf": [{"$ref": "#/$defs/Level"}]},
        "escaped": {"$ref": "#/$defs/a~1b"},
        "list": {"type": "array", "items": {"$ref": "#/$defs/Level"}},
        "inner": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Inner"}]},
        "loop": {"$ref": "#/$defs/Loop"},
        "several": {"anyOf": [ENUM, {"type": "integer"}]},
    },
}


@pytest.mark.parametrize("field", ["flat", "ref", "null", "all", "escaped", "inner.level"])
def test_classes_and_levels_are_found_behind_references(field: str) -> None:
    label = one({"type": "label", "field": field}, schema=REFERRED)
    problem = label.check({field: "CANARY"})
    assert problem is not None and "is not among the labels (low, mid, high)" in problem
    if "." not in field:
        spec = {"type": "json_fields", "fields": {field: "ordinal"}}
        assert scored(spec, {field: "mid"}, {field: "high"}, schema=REFERRED) == 0.5


def test_levels_are_found_in_lists_and_objects_behind_references() -> None:
    fields: Json = {
        "list": {"type": "list", "of": "ordinal"},
        "inner": {"type": "object", "fields": {"level": "ordinal"}},
    }
    expected = {"list": ["low"], "inner": {"level": "mid"}}
    assert scored({"type": "json_fields", "fields": fields}, expected, expected, schema=REFERRED) == 1
    spec = {"type": "set_f1", "field": "list", "of": "ordinal"}
    assert scored(spec, {"list": ["mid"]}, {"list": ["high"]}, schema=REFERRED) == 0.5


@pytest.mark.parametrize("field", ["loop", "several", "missing"])
def test_a_field_of_no_levels_has_none_behind_references_either(field: str) -> None:
    with pytest.raises(InputError, match="an ordinal needs its levels"):
        one({"type": "json_fields", "fields": {field: "ordinal"}}, schema=REFERRED)


# Sets and lists


@pytest.mark.parametrize(
    ("answer", "expected", "settings_of", "score"),
    [
        ("a, b", ["a", "b"], {}, 1),
        ("B,a", "a, b", {}, 1),
        ("- a\n- b", ["a", "b"], {}, 1),
        ("1. a\n2. b", ["a", "b"], {}, 1),
        ('["a", "b"]', ["a", "b"], {}, 1),
        ('["food, drink", "b"]', ["food, drink", "b"], {}, 1),
        ('["food, drink"]', ["food, drink"], {}, 1),
        ('```json\n["food, drink"]\n```', ["food, drink"], {}, 1),
        ("[a, 'b']", ["a", "b"], {}, 1),
        ("a", ["a", "b"], {}, 2 / 3),
        ("a, c", ["a", "b"], {}, 0.5),
        ("a, c", ["a", "b"], {"match": "jaccard"}, 1 / 3),
        ("a, c", ["a", "b"], {"match": "exact"}, 0),
        ("a, b", ["a", "b"], {"match": "exact"}, 1),
        ("a; b", ["a", "b"], {"separator": ";"}, 1),
        ("a, a, b", ["a", "b"], {}, 1),
        ("", [], {}, 1),
        ("a", [], {}, 0),
        ("", ["a"], {}, 0),
        ("None.", [], {}, 1),
        ("none", ["none"], {}, 1),
        ("none", ["a"], {}, 0),
        ("Answer: a; b", ["a", "b"], {"separator": ";"}, 1),
        ("**Labels:** a, b", ["a", "b"], {}, 1),
        ("It is about a.\nThe labels are:\n- a\n- b", ["a", "b"], {}, 1),
        ('Labels: ["a", "b"]', ["a", "b"], {}, 1),
        ('{"labels": ["a", "b"]}', ["a", "b"], {}, 1),
        ('```json\n{"labels": ["a", "b"]}\n```', ["a", "b"], {}, 1),
        ("Here are the labels:\n- a\n- b", ["a", "b"], {}, 1),
        ("a:", ["a:"], {}, 1),
        ("Topics: a, b\nTags: c", ["a", "b"], {}, 0.4),
        ("Topics: a, b", ["a", "b"], {}, 1),
        ("Label: a", ["a"], {}, 1),
        ("Tag: a, b", ["a", "b"], {}, 1),
        ("Tags: c\nFinal answer: a, b", ["a", "b"], {}, 1),
        ("Billing:\nBug", ["billing", "bug"], {}, 1),
        ("**Billing:**\nBug", ["billing", "bug"], {}, 1),
        ("Found:\nBilling\nBug", ["billing", "bug"], {}, 1),
        (["a", "b"], ["a", "b"], {}, 1),
        ([None, "a", ["b"]], ["a"], {}, 2 / 3),
        ({"a": 1}, ["a"], {}, 0),
    ],
)
def test_multi_label(answer: Any, expected: Any, settings_of: Json, score: float) -> None:
    assert scored({"type": "multi_label", **settings_of}, answer, {"labels": expected}) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "expected", "settings_of", "score"),
    [
        ("a\nb", ["b", "A"], {}, 1),
        ("- 3M\n- 2026 budget", ["3M", "2026 budget"], {}, 1),
        ("1. 12.50 EUR\n2. 7 EUR", ["7 EUR", "12.50"], {"of": "money"}, 1),
        ('["a", "b"]', ["a", "b"], {}, 1),
        ("Label: a", ["a"], {}, 1),
        ("Labels: a", ["a"], {}, 1),
        ("a\na", ["a", "b"], {}, 0.5),
        ("a", ["a", "b"], {}, 2 / 3),
        ("", ["a"], {}, 0),
        ("", [], {}, 1),
        ("a", [], {}, 0),
        (["2026-03-14", "1 May 2026"], ["2026-05-01", "14.03.2026"], {"of": "date"}, 1),
        ([{"x": 1}, None, 5], ["5"], {}, 2 / 3),
        ({"a": ["x"]}, ["x"], {"field": "a", "key": "answer"}, 1),
        ({"a": "x\ny"}, ["x", "y"], {"field": "a", "key": "answer"}, 1),
        ({}, ["x"], {"field": "a", "key": "answer"}, 0),
        ({"levels": ["low", "high"]}, ["low", "urgent"], {"field": "levels", "key": "answer", "of": "ordinal"}, 5 / 6),
    ],
)
def test_set_f1(answer: Any, expected: Any, settings_of: Json, score: float) -> None:
    spec = {"type": "set_f1", **settings_of}
    assert scored(spec, answer, {"answer": expected}, schema=SCHEMA) == pytest.approx(score)


def test_set_f1_tells_precision_and_recall() -> None:
    done = one("set_f1").score(said("a\nb\nc"), {"answer": ["a", "z"]})
    assert done == Score(pytest.approx(0.4), {"set.precision": pytest.approx(1 / 3), "set.recall": 0.5})


_SETS = st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True)


@settings(max_examples=200, deadline=None)
@given(_SETS, _SETS)
def test_sets_agree_with_scikit_learn(left: list[str], right: list[str]) -> None:
    entries = ["a", "b", "c", "d"]
    binary = [[entry in right for entry in entries], [entry in left for entry in entries]]
    f1 = f1_score(*binary, zero_division=1)
    assert one("set_f1").score(valued(left), {"answer": right}).value == pytest.approx(f1)
    assert one("multi_label").score(valued(left), {"labels": right}).value == pytest.approx(f1)
    jaccard = one({"type": "multi_label", "match": "jaccard"}).score(valued(left), {"labels": right}).value
    assert jaccard == pytest.approx(jaccard_score(*binary, zero_division=1))


# Citations, ROUGE, facts


@pytest.mark.parametrize(
    ("written", "bare"),
    [
        ("Clause 7.2 (b).", "7.2(b)"),
        ("Section 7.2", "7.2"),
        ("§ 7.2", "7.2"),
        ("§§7", "7"),
        ("Art. 5", "5"),
        ("Rule No. 3", "3"),
        ("Sections 4", "4"),
        ("sector 7", "sector7"),
        ("note 5", "note5"),
        ("  7.2\n", "7.2"),
        ("Clause", ""),
    ],
)
def test_a_reference_is_its_number(written: str, bare: str) -> None:
    assert clause(written) == bare


@pytest.mark.parametrize(
    ("answer", "expected", "score"),
    [
        ("Section 7.2", "7.2", 1),
        ("7.2", ["7.1", "7.2"], 1),
        ("7.1 and 7.2", ["7.1", "7.2"], 1),
        ("7.1, 7.3", ["7.1", "7.2"], 0),
        ("7.20", "7.2", 0),
        ("3/2024", "3/2024", 1),
        ("Section", "7.2", 0),
        ("", "7.2", 0),
        ("see clause 7.2", "7.2", 1),
        ("See clause 7.2 (b).", "7.2(b)", 1),
        ("See clause 7.2 (b).", "7.2", 0),
        ("It is 7.2 that decides", "7.2", 1),
        ("I rely on rule 3.", "3", 1),
        ("as § 12 says", "12", 1),
        ("clause 7.2, as clause 7.2 governs", "7.2", 1),
        ("see clauses 7.1 and 7.2", ["7.1", "7.2"], 1),
        ("see clause 7.2, not 7.3", "7.2", 0),
        ("see clauses 3 and 4", "3", 0),
        ("see clauses 3 and 4", ["3", "4"], 1),
        ("see clauses 3-5", "3", 0),
        ("see clause 7.1 and then clause 7.2", "7.2", 0),
        ("see clause 7.20", "7.2", 0),
        ("see page 3", "3", 0),
        ("see clause 7.2" + ", and so on and on" * 12, "7.2", 0),
        ({"a": "see clause 7.2"}, "7.2", 1),
        ({"a": 7.2}, "7.2", 1),
        ({"a": None}, "7.2", 0),
        ({"a": ["7.2"]}, "7.2", 1),
        ({"a": ["7.2", "7.3"]}, "7.2", 0),
        ({"a": [None]}, "7.2", 0),
        ({"a": {"b": "7.2"}}, "7.2", 0),
    ],
)
def test_citation(answer: Any, expected: Any, score: float) -> None:
    spec = {"type": "citation"} if isinstance(answer, str) else {"type": "citation", "field": "a", "key": "citation"}
    assert scored(spec, answer, {"citation": expected}) == score


@pytest.mark.parametrize(
    ("answer", "expected", "score"),
    [
        ("the Tenant shall pay", "Tenant shall pay.", 1),
        ("shall pay", "the tenant shall pay", 2 * 2 / (2 + 3)),
        ("shall pay", ["never", "shall pay"], 1),
        ("pay pay", "pay", 2 / 3),
        ("nothing", "the tenant shall pay", 0),
        ("", "x", 0),
    ],
)
def test_spans_overlap(answer: str, expected: Any, score: float) -> None:
    assert scored({"type": "citation", "match": "span"}, answer, {"citation": expected}) == pytest.approx(score)


_WORDS = st.lists(st.sampled_from(["a", "tenant", "pays", "rent", "!"]), max_size=8).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(_WORDS, _WORDS)
def test_overlap_is_symmetric_and_whole_only_for_the_same_words(left: str, right: str) -> None:
    assert overlap(left, right) == overlap(right, left)
    same = sorted(normalized(left, ["articles", "punctuation"]).split()) == sorted(
        normalized(right, ["articles", "punctuation"]).split()
    )
    assert (overlap(left, right) == 1) is same


@pytest.mark.parametrize(
    ("answer", "expected", "metric", "score"),
    [
        ("the cat sat", "the cat sat", "rougeL", 1),
        ("the cat", "the cat sat", "rouge1", 0.8),
        ("the cat", "the cat sat", "rouge2", 2 / 3),
        ("sat cat the", "the cat sat", "rougeL", 1 / 3),
        ("the cats", "the cat", "rouge1", 1),
        ("dog", "the cat sat", "rougeL", 0),
        ("", "the cat sat", "rougeL", 0),
        ("the dog", ["a", "the dog"], "rougeL", 1),
        ("the cat\nsat", "the cat\nsat", "rougeLsum", 1),
        (
            "\u0441\u043e\u0431\u0430\u043a\u0430",
            "\u043a\u043e\u0442 \u0438 \u0441\u043e\u0431\u0430\u043a\u0430",
            "rouge1",
            0.5,
        ),
        ("\u4f1a\u8b70\u306f", "\u4f1a\u8b70", "rougeL", 0.8),
        ("\u00fcber", "ber", "rouge1", 0),
        ("Caf\u00e9", "CAF\u00c9 cr\u00e8me", "rouge1", 2 / 3),
        ("e\u0301te\u0301", "\u00e9t\u00e9", "rouge1", 1),
        ("\u00e9t\u00e9", "E\u0301TE\u0301 chaud", "rouge1", 2 / 3),
        ("ete", "e\u0301te\u0301", "rouge1", 0),
        ("the dog", ["dog", "the dog"], "rouge2", 1),
        ("dog", ["dog", "the dog"], "rouge2", 0),
    ],
)
def test_rouge(answer: str, expected: Any, metric: str, score: float) -> None:
    assert scored({"type": "rouge", "metric": metric}, answer, {"answer": expected}) == pytest.approx(score)
    assert one({"type": "rouge", "metric": metric}).check({"answer": expected}) is None


@given(st.text(st.characters(max_codepoint=127), max_size=80))
def test_words_of_english_are_those_of_the_package(text: str) -> None:
    from rouge_score.tokenizers import DefaultTokenizer

    assert _Words().tokenize(text) == DefaultTokenizer(use_stemmer=True).tokenize(text)


@pytest.mark.parametrize("text", ["a " * 100_000, "a\n" * 100_000, "a" * 200_000, "\u4f1a" * 100_000])
def test_rouge_of_a_long_text_is_bounded(text: str) -> None:
    started = time.process_time()
    assert scored({"type": "rouge", "metric": "rougeLsum"}, text, {"answer": text}) == pytest.approx(1)
    assert time.process_time() - started < 60


FACTS = {
    "type": "facts",
    "fields": {"decisions": {}, "actions": {"text": "task", "compare": {"owner": "name", "due": "date"}}},
}
REFERENCE = [
    {"field": "decisions", "terms": [["launch", "release"], ["12 May", "May 12"]]},
    {"field": "decisions", "terms": [["budget"]], "optional": True},
    {"field": "actions", "terms": [["draft"]], "owner": "Dana Smith", "due": ["2026-05-08", None]},
    {"field": "actions", "terms": [["hire"]], "owner": None, "due": None},
]
DECISION = "We release it on  MAY 12."
DRAFT = {"task": "Drafting", "owner": "dana", "due": "8 May 2026"}
HIRE = {"task": "hire somebody", "owner": "", "due": None}


@pytest.mark.parametrize(
    ("value", "score"),
    [
        ({"decisions": [DECISION], "actions": [DRAFT, HIRE]}, 1),
        ({"decisions": [DECISION, "the budget stays"], "actions": [HIRE, DRAFT]}, 1),
        ({"decisions": [DECISION], "actions": [{**DRAFT, "due": None}, HIRE]}, 1),
        ({"decisions": [DECISION], "actions": [{**DRAFT, "owner": "Bob"}, HIRE]}, 2 * (2 + 2 / 3) / 6),
        ({"decisions": [DECISION], "actions": [{"task": "draft"}, HIRE]}, 2 * (2 + 2 / 3) / 6),
        ({"decisions": [DECISION, "made up"], "actions": [DRAFT, HIRE]}, 2 * 3 / (4 + 3)),
        ({"decisions": [DECISION, DECISION], "actions": [DRAFT, HIRE]}, 2 * 3 / (4 + 3)),
        ({"decisions": ["May 12", "launch"], "actions": []}, 0),
        ({"decisions": ["prelaunch on May 12"]}, 0),
        ({"decisions": [None, 5, {}, [], DECISION]}, 2 * 1 / (5 + 3)),
        ({"decisions": [DECISION, *["x"] * 200]}, 2 * 1 / (201 + 3)),
        ({"decisions": DECISION, "actions": {"task": "draft"}}, 0),
        ({"actions": [{"task": ["draft"]}, {"task": None}, "draft", DRAFT]}, 2 * (1 + 0) / (4 + 3)),
        ({}, 0),
        (None, 0),
        ([], 0),
    ],
)
def test_facts(value: Any, score: float) -> None:
    assert scored(FACTS, value, {"facts": REFERENCE}) == pytest.approx(score)


def test_facts_tell_each_list_precision_and_recall() -> None:
    done = one(FACTS).score(valued({"decisions": [DECISION, "made up"], "actions": [HIRE]}), {"facts": REFERENCE})
    expected = {"facts.decisions": 2 / 3, "facts.actions": 2 / 3, "facts.precision": 2 / 3, "facts.recall": 2 / 3}
    assert done.metrics == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "score"),
    [("We release on May 12 and draft it.", 2 / 3), ("Draft. Hire. Launch 12 May. And more.", 1), ("", 0), ("x", 0)],
)
def test_the_share_of_facts_in_a_text(answer: str, score: float) -> None:
    facts = [{"terms": fact["terms"], "optional": fact.get("optional", False)} for fact in REFERENCE]
    assert scored({"type": "facts", "recall": True}, answer, {"facts": facts}) == pytest.approx(score)


def test_the_share_of_facts_in_lists_lets_further_entries_pass() -> None:
    value = {"decisions": [DECISION, "made up", "made up"]}
    assert scored({**FACTS, "recall": True}, value, {"facts": REFERENCE}) == pytest.approx(1 / 3)


def test_no_facts_and_no_entries_are_right() -> None:
    assert scored(FACTS, {}, {"facts": []}) == 1
    assert scored(FACTS, {"decisions": ["x"]}, {"facts": []}) == 0
    assert scored({"type": "facts", "recall": True}, "x", {"facts": []}) == 1


@pytest.mark.parametrize(
    ("fact", "problem"),
    [
        ({"field": "decisions"}, 'needs "terms"'),
        ({"field": "decisions", "terms": []}, 'needs "terms"'),
        ({"field": "decisions", "terms": ["launch"]}, 'needs "terms"'),
        ({"field": "decisions", "terms": [["launch"], []]}, 'needs "terms"'),
        ({"field": "decisions", "terms": [["launch", " "]]}, 'needs "terms"'),
        ({"field": "decision", "terms": [["launch"]]}, 'needs "field": one of decisions, actions'),
        ({"field": ["decisions"], "terms": [["launch"]]}, 'needs "field"'),
        ({"terms": [["launch"]]}, 'needs "field"'),
        ({"field": "decisions", "terms": [["launch"]], "optional": "no"}, 'has an "optional"'),
        ({"field": "decisions", "terms": [["launch"]], "owner": "Dana"}, "has keys that nothing looks at: owner"),
        ({"field": "actions", "terms": [["x"]], "due": None}, 'needs "owner" (null where the text does not say)'),
        ({"field": "actions", "terms": [["x"]], "owner": None, "due": "CANARY"}, 'has a "due" that is not a date'),
        ("launch", "a list of facts"),
    ],
)
def test_a_fact_that_cannot_be_scored_is_refused(fact: Any, problem: str) -> None:
    found = one(FACTS).check({"facts": [REFERENCE[0], fact]})
    assert found is not None and problem in found and "CANARY" not in found
    assert "a list of facts" in str(one(FACTS).check({}))


@pytest.mark.parametrize(
    ("text", "term", "found"),
    [
        ("Drafting it", "draft", True),
        ("redraft", "draft", False),
        ("a  b", "a\nb", True),
        ("costs €5", "€5", True),
        ("GRÖSSE", "größe", True),
        ("a.*b", ".*", True),
        ("ab", ".*", False),
        ("x" * 100_000, "xy", False),
    ],
)
def test_a_term_stands_at_the_beginning_of_a_word(text: str, term: str, found: bool) -> None:
    assert states(text, [[term]]) is found


# Any answer at all

EVERY: list[tuple[Json, Json]] = [
    ({"type": "citation", "field": "a", "key": "t"}, {"t": ["7.2", "x"]}),
    ({"type": "citation", "match": "span", "key": "t"}, {"t": "x y"}),
    ({"type": "contains", "key": "t"}, {"t": ["x", "1"]}),
    ({"type": "contains", "field": "a", "want": "none", "key": "t"}, {"t": ["x", "1"]}),
    ({"type": "date", "key": "t", "field": "a"}, {"t": "2026-03-04"}),
    ({"type": "exact", "key": "t"}, {"t": "x"}),
    ({"type": "exact", "key": "t", "extract": "x(.)?", "field": "a"}, {"t": "x"}),
    ({"type": "facts", "fields": {"a": {"text": "b", "compare": {"c": "name", "d": "date"}}, "b": {}}, "key": "t"},
     {"t": [{"field": "a", "terms": [["x"]], "c": "x", "d": "2026-03-04"}, {"field": "b", "terms": [["1"]]}]}),
    ({"type": "facts", "recall": True, "key": "t"}, {"t": [{"terms": [["x"], ["1", "y"]]}]}),
    ({"type": "json_fields", "fields": {"a": "text", "b": "money", "c": "date", "d": "boolean"}},
     {"a": ["x", None], "b": 1, "c": "2026-03-04", "d": True}),
    ({"type": "json_fields", "average": "mean", "fields": {
        "a": {"type": "list", "of": {"type": "object", "fields": {"a": "number", "b": "text"}}},
        "b": {"type": "ordinal", "levels": ["x", "1", "y"]}, "c": {"type": "list", "of": "date"}}},
     {"a": [{"a": [None, 1], "b": "x"}, {"a": 1}], "b": ["x", "y"], "c": ["2026-03-04"]}),
    ({"type": "json_schema"}, {}),
    ({"type": "label", "field": "a", "key": "t"}, {"t": ["x", "1"]}),
    ({"type": "money", "field": "a", "key": "t"}, {"t": ["1 €", "x 1"]}),
    ({"type": "multi_label", "key": "t"}, {"t": ["x", "1"]}),
    ({"type": "multi_label", "match": "jaccard", "field": "a", "key": "t"}, {"t": "x, y"}),
    ({"type": "multi_label", "key": "t", "labels": ["x", "1", "y and z", "none"]}, {"t": ["x", "1"]}),
    ({"type": "numeric", "key": "t"}, {"t": [1, "2,5"]}),
    ({"type": "numeric", "field": "a", "take": "last", "relative": 0.5, "key": "t"}, {"t": 1}),
    ({"type": "regex", "pattern": "x|1"}, {}),
    ({"type": "regex", "field": "a", "key": "t", "want": "none"}, {"t": ["^x", "1$"]}),
    ({"type": "rouge", "field": "a", "key": "t"}, {"t": ["x 1", "y"]}),
    ({"type": "set_f1", "key": "t", "of": "money"}, {"t": [1, "2 €"]}),
    ({"type": "set_f1", "key": "t", "field": "a"}, {"t": ["x", "y"]}),
    ({"type": "yes_no", "field": "a", "key": "t"}, {"t": "yes"}),
]  # fmt: skip
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
_LIKELY = st.sampled_from(["x", "1", "y", "yes", "1 €", "2026-03-04", "03/04/2026", "x 1", "\ud800", "", 10**400])
_ANY = st.recursive(
    _SCALARS | _LIKELY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcdx"), inner, max_size=4),
    max_leaves=12,
)


def test_every_scorer_is_among_them() -> None:
    ours = {
        name for name, cls in SCORERS.usable()[0].items() if cls.__module__.startswith("workbench.") and not cls.asks
    }
    function_scorers = {name for name, cls in SCORERS.usable()[0].items() if cls.__name__ == "FunctionScorer"}
    assert {spec["type"] for spec, _ in EVERY} == ours - function_scorers


@settings(max_examples=400, deadline=None)
@given(_ANY, st.sampled_from(range(len(EVERY))), st.booleans())
def test_a_score_is_from_0_to_1_whatever_the_answer(value: Any, index: int, as_text: bool) -> None:
    spec, expectations = EVERY[index]
    scorers = built(spec, schema={"type": "object"})
    assert problem_of(scorers, expectations) is None
    text = json.dumps(value)
    answer = parse_answer(text) if as_text else Answer(text, value, isinstance(value, dict), None, text)
    done = total(scorers, answer, expectations)
    assert 0 <= done.value <= 1
    assert all(math.isfinite(figure) for figure in done.metrics.values())
    assert all(0 <= figure <= 1 for name, figure in done.metrics.items() if not name.startswith("class."))


N = 100_000
LONG = [
    "x" * N,
    "1" * N,
    " " * N + "x",
    "x 1, " * (N // 5),
    "/" * N,
    "yes" + "/" * N,
    "answer" + "-" * N + "x",
    "§" * N,
]
LONG += ["1." * (N // 2), "(" * N, "- " * (N // 2), "x\n" * (N // 2), "a" + "\u0301" * N, "2026-03-04 " * (N // 11)]


@pytest.mark.parametrize("index", range(len(EVERY)), ids=lambda index: EVERY[index][0]["type"])
def test_a_long_answer_takes_no_time_by_the_square(index: int) -> None:
    spec, expectations = EVERY[index]
    scorers = built(spec, schema={"type": "object"})
    total(scorers, said("x"), expectations)  # imports what it needs
    started = time.process_time()
    for text in LONG:
        for answer in (said(text), valued({"a": text, "b": text}), valued({"a": text.split(" ")[:1000]})):
            assert 0 <= total(scorers, answer, expectations).value <= 1
    assert time.process_time() - started < 40  # a second or so; by the square: minutes


@settings(max_examples=300, deadline=None)
@given(
    _ANY, st.sampled_from(["exact", "label", "numeric", "date", "money", "multi_label", "set_f1", "facts", "yes_no"])
)
def test_any_expectation_is_refused_or_scored(value: Any, name: str) -> None:
    spec = {"type": name, "recall": True} if name == "facts" else {"type": name, "key": "t"}
    scorer = one(spec, labels=None if name == "multi_label" else QUEUES)
    expectations = {"facts" if name == "facts" else "t": value}
    if scorer.check(expectations) is None:
        assert 0 <= scorer.score(said("x 1"), expectations).value <= 1
