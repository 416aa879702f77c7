"""promptfoo's files of tests: tables and lists come back as they were; what no cell can say is told."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from conftest import write_evalset
from format_files import lost, score
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.evalset import EvalSet, load_evalset
from workbench.formats import Export, Options, export_evalset, import_evalset

SCORERS = [
    {"type": "exact", "name": "equals", "key": "equals", "optional": True},
    {"type": "contains", "name": "icontains_any", "key": "icontains_any", "want": "any", "optional": True},
    {"type": "regex", "name": "not_regex", "key": "not_regex", "want": "none", "optional": True},
]
PROMPT = {"default": {"messages": [{"role": "user", "content": "{{ inputs.text }}"}]}}


def texts(project: Path, items: list[dict[str, Any]], **changes: Any) -> EvalSet:
    """An eval set of texts; each item's id is its number."""
    rows = [{"id": f"t{number}", "sensitivity": "public", **each} for number, each in enumerate(items)]
    given = {"output": {"text": True}, "scorers": SCORERS, "variants": PROMPT, **changes}
    return load_evalset(write_evalset(project, "texts", rows, **given))


def again(evalset: EvalSet, name: str) -> tuple[Export, EvalSet]:
    """What was written of it, and what an import makes of that."""
    written = export_evalset(evalset, "promptfoo_tests", f"out/{name}")
    done = import_evalset(written.path, "evalsets/again", replace=True)
    assert done.format == "promptfoo_tests" and done.losses == []
    return written, load_evalset("evalsets/again")


def rows(written: Export) -> list[dict[str, str]]:
    with written.path.open(newline="") as file:
        return list(csv.DictReader(file))


def lines(written: Export) -> list[str]:
    return [loss.what for loss in written.losses]


ITEMS = [
    {
        "inputs": {"text": "Bonjour, toi", "tone": ""},
        "expectations": {"equals": "Hello, you"},
        "slice": {"topic": "greeting"},
    },
    {
        "inputs": {"text": "Zeile 1\nZeile 2", "tone": "{{ rude }}"},
        "expectations": {"icontains_any": ["a, b", 'the "c"', "d"]},
    },
    {
        "inputs": {"text": "=1+1; |x|\t", "tone": "no"},
        "expectations": {"not_regex": ["^a:b$", "[,;]"]},
        "cluster": "k",
        "sensitivity": "restricted",
    },
]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json", "t.yaml"])
def test_tests_come_back_as_they_were(project: Path, name: str) -> None:
    evalset = texts(project, ITEMS, accept={"min_score": 0.5})
    written, read = again(evalset, name)
    assert [each.model_dump() for each in read.items] == [each.model_dump() for each in evalset.items]
    assert (read.spec.scorers, read.spec.output) == (evalset.spec.scorers, evalset.spec.output)
    assert read.spec.accept == evalset.spec.accept
    told = ["the prompts (default): there is no place for that", "generation: set it with the model there"]
    assert lines(written) == told
    assert score(read, 'THE "C" it is', 1) == 1 and score(read, "x a:b", 2) == 1 and score(read, "a, b", 2) == 0


def test_a_table_is_what_a_spreadsheet_shows(project: Path) -> None:
    written, _ = again(texts(project, ITEMS, accept={"min_score": 0.5}), "t.csv")
    first, second, third = rows(written)
    assert list(first) == [
        *("text", "tone", "__expected1", "__expected2"),
        *("__metadata:topic", "__metadata:id", "__metadata:sensitivity", "__metadata:cluster", "__threshold"),
    ]
    assert first["__expected1"] == "equals:Hello, you" and first["__metadata:topic"] == "greeting"
    assert second["__expected1"] == 'icontains-any:"a, b","the ""c""",d'
    assert (third["__expected1"], third["__expected2"]) == ("not-regex:^a:b$", "not-regex:[,;]")
    assert {row["__threshold"] for row in (first, second, third)} == {"0.5"}
    assert second["tone"] == "{% raw %}{{ rude }}{% endraw %}"


def test_what_no_cell_can_say_is_told_with_its_item(project: Path) -> None:
    items = [
        {
            "inputs": {"text": "a", "n": 3, "__x": "y", " b": "z", "l": ["p", "q"]},
            "expectations": {"equals": " spaced "},
        },
        {"inputs": {"text": "b", "c[]": "x"}, "expectations": {"equals": "b", "other": {"k": 1}}, "slice": {"s:": "v"}},
    ]
    written = export_evalset(texts(project, items), "promptfoo_tests", "out/t.csv")
    said = "\n".join(f"{loss.place.rpartition(' ')[2]} {loss.what}" for loss in written.losses)
    for line in (
        "t1 input 'n' is no text, or not there: a cell makes it one (2 times)",
        "t1 input '__x' is left out: promptfoo has columns of its own with such names (2 times)",
        "t1 input ' b' is left out: no column can be called so (2 times)",
        "t1 input 'c[]' is left out: no column can be called so (2 times)",
        "t0 assertion 'equals' is left out: no cell can say it (the space around it?)",
        "t1 metadata 's:' is left out: no column can be called so",
    ):
        assert line in said, said
    assert rows(written)[0]["l"] == '["p", "q"]'
    done = import_evalset("out/t.csv", "evalsets/again")
    assert "a test is left out: it has no assertion that can be carried over" in lost(done) and done.items == 1
    assert load_evalset("evalsets/again").items[0].expectations == {"equals": "b", "other": {"k": 1}}


def test_weights_are_told_and_a_figure_without_weight_is_left_out(project: Path) -> None:
    scorers = [{**SCORERS[0], "weight": 2.0}, SCORERS[1], {**SCORERS[2], "weight": 0.0}]
    items = [{"inputs": {"text": "a"}, "expectations": {"equals": "b", "icontains_any": "c", "not_regex": "d"}}]
    written = export_evalset(texts(project, items, scorers=scorers), "promptfoo_tests", "t.csv")
    assert "weight 2 of 'equals': in a table all weigh the same" in lines(written)
    assert "assertion 'not-regex' is left out: without its weight of 0 it would count" in lines(written)
    row = rows(written)[0]
    assert [row[name] for name in row if name.startswith("__expected")] == ["equals:b", "icontains-any:c"]
    _, read = again(load_evalset("evalsets/texts"), "t.jsonl")
    assert [each.weight for each in read.scorers] == [2, 1, 0]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_schema_stands_in_every_test(project: Path, name: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}, "required": ["a"]}
    (project / "evalsets/texts").mkdir(parents=True)
    (project / "evalsets/texts/schema.json").write_text(json.dumps(schema))
    scorers = [{"type": "json_schema", "name": "is_json"}, {**SCORERS[1], "extract": "(?s).+"}]
    items = [{"inputs": {"text": f"x{n}"}, "expectations": {"icontains_any": "a"}} for n in range(2)]
    evalset = texts(project, items, scorers=scorers, output={"json_schema": "schema.json"})
    _, read = again(evalset, name)
    assert read.output_schema == schema and read.spec.scorers == evalset.spec.scorers
    assert score(read, '{"a": {}}') == 1 and score(read, '{"b": "a"}') == 0.5


def test_lists_are_no_combinations(project: Path) -> None:
    items = [{"inputs": {"text": ["p", "q"]}, "expectations": {"equals": "b"}}]
    evalset = texts(project, items)
    _, read = again(evalset, "t.jsonl")
    assert [each.inputs for each in read.items] == [{"text": ["p", "q"]}]


def test_the_format_of_configs_reads_tests_too_and_neither_takes_a_scorer(project: Path) -> None:
    export_evalset(texts(project, ITEMS), "promptfoo_tests", "t.csv")
    done = import_evalset("t.csv", "evalsets/again", format="promptfoo")
    assert (done.format, done.items, done.losses) == ("promptfoo", 3, [])
    for name in ("promptfoo", "promptfoo_tests"):
        with pytest.raises(InputError, match="Leave --scorer out"):
            import_evalset("t.csv", "evalsets/more", format=name, options=Options(scorer="exact"))


def test_a_text_that_cannot_be_marked_as_one_is_refused(project: Path) -> None:
    evalset = texts(project, [{"inputs": {"text": "{{ x }} {% endraw %}"}, "expectations": {"equals": "b"}}])
    with pytest.raises(InputError, match="ends a raw block"):
        export_evalset(evalset, "promptfoo_tests", "t.csv")
    assert not (project / "t.csv").exists()


PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
WORDS = PLAIN.filter(lambda text: text.strip() == text != "" and "endraw" not in text)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(PLAIN.filter(lambda text: "endraw" not in text), WORDS, st.lists(WORDS, min_size=1, max_size=3)),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["t.csv", "t.jsonl", "t.yaml"]),
)
def test_any_text_comes_back_or_is_told(rows: list[tuple[str, str, list[str]]], name: str) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_ROOT", folder)
        items = [
            {"inputs": {"text": text, "more": "x"}, "expectations": {"equals": word, "icontains_any": several}}
            for text, word, several in rows
        ]
        evalset = texts(Path(folder), items)
        written = export_evalset(evalset, "promptfoo_tests", f"out/{name}")
        if any("left out" in what for what in lines(written)):
            assert name == "t.csv"
            return
        import_evalset(written.path, "evalsets/again")
        read = load_evalset("evalsets/again")
        assert [each.inputs for each in read.items] == [each.inputs for each in evalset.items]
        for ours, theirs in zip(evalset.items, read.items, strict=True):
            several = ours.expectations["icontains_any"]
            wanted = several[0] if len(several) == 1 else several
            assert theirs.expectations == {"equals": ours.expectations["equals"], "icontains_any": wanted}
