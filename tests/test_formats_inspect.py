"""inspect_ai: samples of every shape, multiple choice by letters, and what a file of samples cannot say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import COLORS, item, write_evalset
from format_files import lost, score

from workbench.errors import InputError
from workbench.evalset import EvalSet, load_evalset
from workbench.formats import FORMATS, Import, Options, detect, export_evalset, import_evalset
from workbench.prompts import render


def write(project: Path, name: str, content: Any) -> Path:
    path = project / name
    if isinstance(content, list):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def imported(path: Path, name: str = "mine", **options: Any) -> tuple[Import, EvalSet]:
    done = import_evalset(path, Path("evalsets") / name, options=Options(**options), replace=True)
    assert done.format == "inspect_ai"
    return done, load_evalset(Path("evalsets") / name)


def asked(evalset: EvalSet, index: int = 0) -> str:
    return "\n".join(turn["content"] for turn in render(evalset, "default", evalset.items[index]).messages)


def round_trip(evalset: EvalSet) -> list[Any]:
    left = export_evalset(evalset, "inspect_ai", "out/samples.jsonl").losses
    done, again = imported(Path("out/samples.jsonl"), "again")
    assert [i.model_dump() for i in again.items] == [i.model_dump() for i in evalset.items]
    assert again.spec.variants == evalset.spec.variants
    assert again.spec.scorers == evalset.spec.scorers
    assert again.spec.output == evalset.spec.output
    assert again.spec.accept == evalset.spec.accept
    assert done.losses == []
    return left


def test_plain_samples_as_jsonl(project: Path) -> None:
    rows = [
        {"input": "Say hi", "target": "Hi", "id": 7, "metadata": {"topic": "x", "level": 3, "ok": True, "tags": ["a"]}},
        {"input": "Say bye", "target": ["Bye", "Ciao"]},
        {"input": "Sum?", "target": 4},
    ]
    path = write(project, "samples.jsonl", rows)
    assert detect(path).name == "inspect_ai"
    done, evalset = imported(path)
    first = evalset.items[0]
    assert (first.id, first.inputs, first.expectations) == ("7", {"input": "Say hi"}, {"answer": "Hi"})
    assert first.slice == {"topic": "x", "level": "3", "ok": "true"}
    assert evalset.items[1].expectations == {"answer": ["Bye", "Ciao"]}
    assert evalset.items[2].expectations == {"answer": "4"}
    assert asked(evalset) == "Say hi"
    assert score(evalset, "well, HI!") == 1 and score(evalset, "ciao", 1) == 1 and score(evalset, "no") == 0
    assert evalset.spec.accept.min_score == 1
    assert lost(done) == "samples.jsonl:1: metadata 'tags' is a list"
    assert any("includes()" in note for note in done.notes)
    assert any("short texts, numbers, true/false are slices" in note for note in done.notes)
    assert round_trip(evalset) == []


def test_csv_with_a_mark_delimiters_and_json_in_cells(project: Path) -> None:
    text = (
        "input;target;choices;metadata;sandbox;notes\r\n"
        '"Which?; Say";B;"[""one"",""two, or three""]";"{""topic"": ""x""}";docker;n\r\n'
        "\r\n"
        "Again?;A;red, blue;;;\r\n"
        "Third?;B;red blue;not json;;\r\n"
    )
    done, evalset = imported(write(project, "samples.csv", b"\xef\xbb\xbf" + text.encode()))
    assert [i.inputs["choices"] for i in evalset.items] == [["one", "two, or three"], ["red", "blue"], ["red", "blue"]]
    assert [i.expectations["label"] for i in evalset.items] == ["B", "A", "B"]
    assert evalset.items[0].slice == {"topic": "x"}
    assert [str(loss) for loss in done.losses] == [
        "samples.csv:2: 'sandbox': nothing is run here",
        "samples.csv:2, 4, 5: column 'notes' is no field of a sample (3 times)",
        "samples.csv:5: metadata that is no object",
    ]
    round_trip(evalset)


def test_messages_and_lists_in_csv_cells(project: Path) -> None:
    turns = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    cell = json.dumps(turns).replace('"', '""')
    _, evalset = imported(write(project, "s.csv", f'input,target\n"{cell}","[""a"", ""b""]"\n[not json],c\n'))
    assert render(evalset, "default", evalset.items[0]).messages == turns
    assert evalset.items[0].expectations == {"answer": ["a", "b"]}
    assert asked(evalset, 1) == "[not json]"


def test_multiple_choice(project: Path) -> None:
    rows = [
        {"input": "Smallest?", "target": "A", "choices": ["1", "2", "3"]},
        {"input": "Even?", "target": ["B", "D"], "choices": ["1", "2", "3", "4"]},
        {"input": "Odd?", "target": "AC", "choices": ["1", "2", "3", "4"]},
        {"input": "Odd?", "target": "A, C", "choices": ["1", "2", "3", "4"]},
        {"input": "Second?", "target": 1, "choices": ["x", "y"]},
        {"input": "Y?", "target": "yellow", "choices": ["red", "yellow"]},
        {"input": "lower", "target": "b", "choices": ["red", "yellow"]},
    ]
    done, evalset = imported(write(project, "mcq.jsonl", rows))
    assert evalset.spec.output.labels == ["A", "B", "C", "D"]
    assert [i.expectations["label"] for i in evalset.items] == ["A", ["B", "D"], ["A", "C"], ["A", "C"], "B", "B", "B"]
    assert asked(evalset) == "Smallest?\n\nA) 1\nB) 2\nC) 3\n\nAnswer with the letter only."
    assert score(evalset, "ANSWER: A") == 1 and score(evalset, "B") == 0
    assert score(evalset, "D", 1) == 1 and score(evalset, "C", 1) == 0
    assert done.losses == []
    assert any("any one of them is accepted (inspect wants all of them) (3)" in note for note in done.notes)
    assert any("became letters" in note for note in done.notes)
    round_trip(evalset)


def test_choices_that_do_not_fit_are_left_out(project: Path) -> None:
    good = {"input": "Q", "target": "A", "choices": ["x", "y"]}
    rows = [
        good,
        {**good, "target": "C"},
        {**good, "target": "none of it"},
        {**good, "choices": [str(n) for n in range(27)]},
        {**good, "choices": [{"a": 1}]},
        {**good, "choices": None},
        good,
    ]
    done, evalset = imported(write(project, "mcq.jsonl", rows))
    assert len(evalset.items) == 2
    found = lost(done)
    assert "mcq.jsonl:2, 3: a sample is left out: its target is no letter of its choices (2 times)" in found
    assert "mcq.jsonl:4, 5: a sample is left out: its choices are no list of at most 26 texts (2 times)" in found
    assert "mcq.jsonl:6: a sample is left out: it has no choices, most have some" in found


def test_a_few_with_choices_among_plain_ones_are_left_out(project: Path) -> None:
    plain = {"input": "Q", "target": "a"}
    rows = [plain, plain, {**plain, "choices": ["a", "b"]}]
    done, evalset = imported(write(project, "s.jsonl", rows))
    assert len(evalset.items) == 2 and evalset.spec.output.text
    assert lost(done) == (
        "s.jsonl:3: a sample is left out: it has choices, most have none, and an eval set asks in one way"
    )


def test_chats(project: Path) -> None:
    parts = [{"type": "text", "text": "Part 1"}, {"type": "text", "text": "part 2"}]
    rows = [
        {"input": [{"role": "user", "content": parts}], "target": "a"},
        {
            "input": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": "Q", "source": "input"},
                {"role": "assistant", "content": "A"},
                {"role": "user", "content": "R"},
            ],
            "target": "b",
        },
        {"input": "plain", "target": "c"},
        {"input": [{"role": "user", "content": [{"type": "image", "image": "x.png"}]}], "target": "d"},
        {"input": [{"role": "tool", "content": "x"}], "target": "e"},
        {"input": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}], "target": "f"},
        {"input": [], "target": "g"},
        {"input": 3, "target": "h"},
        {"input": " ", "target": "i"},
    ]
    done, evalset = imported(write(project, "s.jsonl", rows))
    assert [asked(evalset, n) for n in range(3)] == ["Part 1\npart 2", "S\nQ\nA\nR", "plain"]
    assert len(evalset.items) == 3
    found = lost(done)
    for what in (
        "s.jsonl:2: key 'source' of a chat turn is left out",
        "s.jsonl:4: a sample is left out: a chat turn whose content is no text",
        "s.jsonl:5: a sample is left out: a chat turn with another role",
        "s.jsonl:6: a sample is left out: chat turns that do not end with the user's",
        "s.jsonl:7, 8: a sample is left out: no list of chat turns (2 times)",
        "s.jsonl:9: a sample is left out: its input is empty",
    ):
        assert what in found
    assert any("2 inputs are chats" in note for note in done.notes)
    round_trip(evalset)


def test_chats_with_choices_are_told(project: Path) -> None:
    turns = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    rows = [
        {"input": turns, "target": "B", "choices": ["x", "y"]},
        {"input": turns, "target": "B"},
        {"input": "R", "target": "A", "choices": ["v", "w"]},
    ]
    done, evalset = imported(write(project, "s.jsonl", rows))
    assert len(evalset.items) == 1 and evalset.items[0].expectations == {"answer": "B"}
    what = "a sample is left out: it has choices, and among the samples are chats, which list their own (2 times)"
    assert lost(done) == f"s.jsonl:1, 3: {what}"


def test_samples_without_a_target_are_left_out(project: Path) -> None:
    rows = [{"input": "a", "target": "x"}, {"input": "b", "target": ""}, {"input": "c"}, {"input": "d", "target": {}}]
    done, evalset = imported(write(project, "s.jsonl", rows))
    assert len(evalset.items) == 1
    assert "s.jsonl:2, 3: a sample is left out: it has no target, so nothing could score it (2 times)" in lost(done)
    assert "s.jsonl:4: a sample is left out: its target is no text" in lost(done)
    with pytest.raises(InputError, match=r"holds no items that can be carried over. First: t.jsonl:1"):
        import_evalset(write(project, "t.jsonl", [{"input": "b", "target": ""}]), "evalsets/x")


def test_json_lists_ids_and_own_metadata(project: Path) -> None:
    rows = [
        {"input": "a", "target": "x", "id": "one", "metadata": {"id": "two", "cluster": "c", "sensitivity": "public"}},
        {"input": "b", "target": "y", "id": "one", "metadata": {"sensitivity": "none", "long": "l" * 101}},
        {"input": "c", "target": "y", "metadata": {"id": "three", "topic": None}, "files": {"a": "b"}, "setup": "x"},
    ]
    done, evalset = imported(write(project, "s.json", json.dumps(rows, indent=1)), sensitivity="internal")
    assert [(i.id, i.cluster, i.sensitivity, i.slice) for i in evalset.items] == [
        ("one", "c", "public", {}),
        ("one-2", None, "restricted", {}),
        ("three", None, "internal", {}),
    ]
    found = lost(done)
    for what in (
        "metadata 'id'",
        "'long' is a text of more than",
        "'topic' is empty",
        "'sensitivity' is none of public",
        "'files'",
        "'setup'",
    ):
        assert what in found
    round_trip(evalset)


@pytest.mark.parametrize(
    ("scorer", "expectations", "bar"),
    [
        ("exact", {"answer": "x"}, 1),
        ("rouge", {"answer": "x"}, 0.5),
        ("label", {"label": "x"}, 1),
        ("multi_label", {"labels": "x"}, 1),
    ],
)
def test_a_scorer_of_the_users_choice(project: Path, scorer: str, expectations: dict[str, Any], bar: float) -> None:
    _, evalset = imported(write(project, "s.jsonl", [{"input": "a", "target": "x"}]), scorer=scorer)
    assert [s.type for s in evalset.scorers] == [scorer]
    assert evalset.items[0].expectations == expectations and evalset.spec.accept.min_score == bar
    assert score(evalset, "x") == 1


def test_braces_and_unicode_are_text(project: Path) -> None:
    text = "{{ inputs.secret }} {% if %} 🎉 " + "ü" * 200_000
    _, evalset = imported(write(project, "s.jsonl", [{"input": text, "target": "{{ x }}"}]))
    assert asked(evalset) == text and score(evalset, "so {{ x }}") == 1
    round_trip(evalset)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("s.jsonl", '{"input": "a", "target": "b"}\n{"input": ', "s.jsonl:2: not valid JSON"),
        ("s.jsonl", '{"input": "a", "target": "b"}\n7\n', "s.jsonl:2: must be a JSON object"),
        ("s.csv", "input,target\na,b,c\n", "s.csv:2: 3 cells for 2 columns"),
        ("s.json", '{"input": "a", "target": "b"', "s.json"),
        ("s.jsonl", "", "s.jsonl"),
    ],
)
def test_broken_files(project: Path, name: str, content: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        import_evalset(write(project, name, content), "evalsets/x", format="inspect_ai")
    assert not Path("evalsets/x").exists()


def test_a_mapping_is_refused_and_a_header_is_needed(project: Path) -> None:
    path = write(project, "s.jsonl", [{"input": "a", "target": "b"}])
    with pytest.raises(InputError, match="Leave --map out"):
        import_evalset(path, "evalsets/x", options=Options(mapping={"id": "x"}))
    sniff = FORMATS.find("inspect_ai").sniff
    assert sniff(path) == 0.8
    assert sniff(write(project, "a.jsonl", [{"input": "a", "target": "b", "more": 1}])) == 0.6
    assert sniff(write(project, "b.jsonl", [{"input": "a", "ideal": "b"}])) == 0
    assert sniff(write(project, "c.csv", "What is one and one?,2\nAnd two?,4\n")) == 0
    assert sniff(write(project, "d.yaml", "input: a\ntarget: b\n")) == 0
    assert sniff(project) == 0


def test_messages_do_not_repeat_what_is_tested(project: Path) -> None:
    secret = "Miller owes"
    rows = [
        {"input": "a", "target": "b"},
        {"input": secret, "target": {secret: secret}},
        {"input": [{"role": "user", "content": [{"type": "image", "image": secret}]}], "target": "x"},
        {"input": "x", "target": secret, "choices": [secret + "!"]},
    ]
    done, _ = imported(write(project, "s.jsonl", rows))
    assert len(done.losses) == 3 and secret not in lost(done)


# Exports of our own


def test_a_label_set_keeps_its_items_and_says_what_differs(project: Path) -> None:
    rows = [
        item("a", sensitivity="public", slice={"topic": "x", "id": "hidden"}, cluster="c"),
        item("b", thing="{{ odd }}", label="blue"),
    ]
    rows[1]["expectations"]["label"] = ["blue", "green"]
    variants = {
        "default": {
            "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "{{ inputs.thing }}?"}]
        },
        "other": {"messages": [{"role": "user", "content": "{{ inputs.thing }}"}]},
    }
    folder = write_evalset(
        project, "colors", rows, train=[item("t")], variants=variants, accept={"min_score": 0.9},
        limits={"min_score": 0.5}, license="CC0-1.0",
    )  # fmt: skip
    evalset = load_evalset(folder)
    left = "\n".join(map(str, export_evalset(evalset, "inspect_ai", "out.jsonl").losses))
    done, again = imported(Path("out.jsonl"))
    for before, after in zip(evalset.items, again.items, strict=True):
        assert (after.id, after.cluster, after.sensitivity) == (before.id, before.cluster, before.sensitivity)
        assert {name: after.inputs[name] for name in before.inputs} == before.inputs
        assert after.expectations == {**before.expectations, "answer": before.expectations["label"]}
        assert render(again, "default", after).messages == render(evalset, "default", before).messages
    assert again.items[0].slice == {"topic": "x"} and done.losses == []
    for what in (
        "variant 'other'", "variant 'default': its prompt is written filled in", "output.labels", "scorer 'label'",
        "accept.min_score", "generation", "limits", "license", "train.jsonl: 1 item for", "slice 'id'",
    ):  # fmt: skip
        assert what in left
    assert COLORS[0] in Path("out.jsonl").read_text()
    second = export_evalset(again, "inspect_ai", "out2.jsonl").losses
    assert imported(Path("out2.jsonl"), "third")[1].items == again.items and second == []


def test_a_json_set_keeps_its_expectations(project: Path) -> None:
    folder = project / "evalsets" / "json"
    folder.mkdir(parents=True)
    properties = {"queue": {"type": "string"}, "n": {"type": "integer"}}
    (folder / "schema.json").write_text(json.dumps({"type": "object", "properties": properties}))
    rows = [{"id": "1", "inputs": {"thing": "x"}, "expectations": {"queue": ["a", "b"], "n": 3}}]
    write_evalset(
        project, "json", rows, output={"json_schema": "schema.json"},
        scorers=[{"type": "json_fields", "fields": {"queue": "text", "n": "number"}}],
    )  # fmt: skip
    evalset = load_evalset(folder)
    left = "\n".join(map(str, export_evalset(evalset, "inspect_ai", "out.jsonl").losses))
    _, again = imported(Path("out.jsonl"))
    assert json.loads(again.items[0].expectations["answer"]) == {"queue": "a", "n": 3}
    assert again.items[0].expectations["queue"] == ["a", "b"] and again.items[0].expectations["n"] == 3
    assert again.items[0].inputs["thing"] == "x"
    assert "output.json_schema" in left and "scorer 'json_fields'" in left


def test_a_sample_that_ends_before_its_metadata_is_restricted(project: Path) -> None:
    text = 'input,target,metadata\na,b,"{""sensitivity"": ""internal""}"\nc,d\ne,f,\n'
    done, evalset = imported(write(project, "t.csv", text), sensitivity="public")
    assert [each.sensitivity for each in evalset.items] == ["internal", "restricted", "public"]
    assert "t.csv:3: fewer cells than columns" in lost(done) and "taken as restricted" in lost(done)


def test_an_export_is_whole_or_not_at_all(project: Path) -> None:
    evalset = load_evalset(write_evalset(project, "colors", [item("a")]))
    (project / "out.jsonl").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        export_evalset(evalset, "inspect_ai", "out.jsonl")
    assert not list(project.glob(".out*"))
