"""promptfoo: assertions become scorers that say the same, each that cannot is counted, and the way back is whole."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import COLORS, item, write_evalset
from format_files import lost, score

from workbench.errors import InputError
from workbench.evalset import EvalSet, load_evalset
from workbench.formats import Import, Options, detect, export_evalset, import_evalset
from workbench.prompts import render


def write(project: Path, name: str, content: str | bytes | list[Any] | dict[str, Any]) -> Path:
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False), "utf-8")
    return path


def imported(path: Path, name: str = "mine", **options: Any) -> tuple[Import, EvalSet]:
    done = import_evalset(path, Path("evalsets") / name, options=Options(**options), replace=True)
    assert done.format in ("promptfoo", "promptfoo_tests")
    return done, load_evalset(Path("evalsets") / name)


def case(assertions: list[Any], **more: Any) -> dict[str, Any]:
    return {"vars": {"text": "hi"}, "assert": assertions, **more}


def round_trip(evalset: EvalSet) -> tuple[list[Any], Import]:
    """Written and read again, all that matters is the same."""
    left = export_evalset(evalset, "promptfoo", "out/config.yaml").losses
    done, again = imported(Path("out/config.yaml"), "again")
    assert [i.model_dump() for i in again.items] == [i.model_dump() for i in evalset.items]
    assert again.spec.variants == evalset.spec.variants
    assert again.spec.scorers == evalset.spec.scorers
    assert again.spec.output == evalset.spec.output
    assert again.output_schema == evalset.output_schema
    assert again.spec.accept == evalset.spec.accept
    assert again.spec.description == evalset.spec.description
    return left, done


# CSV


CSV = (
    "language,text,__expected1,__expected2,__metadata:topic,__metadata:tags[],__metadata:id\r\n"
    'French,"Hello, you",icontains:bonjour,not-contains:hello,greeting,"a,b\\,c",t-1\r\n'
    "\r\n"
    'German,"Zeile 1\nZeile 2",Hallo,,greeting,,t-2\r\n'
)


def test_a_csv_of_tests(project: Path) -> None:
    path = write(project, "tests.csv", b"\xef\xbb\xbf" + CSV.encode())
    assert detect(path).name == "promptfoo_tests"
    done, evalset = imported(path)
    first, second = evalset.items
    assert (first.id, first.slice, first.inputs) == (
        "t-1",
        {"topic": "greeting"},
        {"language": "French", "text": "Hello, you"},
    )
    assert first.expectations == {"icontains": "bonjour", "not_contains": "hello"}
    assert second.expectations == {"equals": "Hallo"}
    assert second.inputs["text"] == "Zeile 1\nZeile 2"
    assert score(evalset, "BONJOUR") == 1 and score(evalset, "Bonjour, hello") == 0.5
    assert score(evalset, "Hallo", 1) == 1 and score(evalset, "Hallo!", 1) == 0
    assert [str(loss) for loss in done.losses] == ["tests.csv:2: metadata 'tags' is a list"]
    assert any("there is no prompt, so a plain one shows the variables: language, text" in note for note in done.notes)
    assert render(evalset, "default", first).messages[0]["content"] == "language: French\ntext: Hello, you"
    round_trip(evalset)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_delimiters_and_missing_cells(project: Path, mark: str) -> None:
    text = f"text{mark}note{mark}__expected\na{mark}b{mark}x\nc{mark}{mark}y\nd\n"
    cut = "fewer cells than columns: those that are missing count as empty"
    done, evalset = imported(write(project, "tests.csv", text))
    assert [i.inputs for i in evalset.items] == [{"text": "a", "note": "b"}, {"text": "c", "note": ""}]
    assert lost(done).splitlines() == [
        f"tests.csv:4: {cut}",
        "tests.csv:4: a test is left out: it has no assertion that can be carried over",
    ]


def test_a_row_that_ends_before_its_sensitivity_is_restricted(project: Path) -> None:
    text = "text,__expected,__metadata:sensitivity\na,x,public\nb,y\nc,z,\n"
    done, evalset = imported(write(project, "tests.csv", text), sensitivity="public")
    assert [each.sensitivity for each in evalset.items] == ["public", "restricted", "public"]
    assert "tests.csv:3: metadata 'sensitivity' is none of public, internal, restricted: taken as restricted" in lost(
        done
    )


@pytest.mark.parametrize(
    ("cell", "expectations"),
    [
        ("Paris", {"equals": "Paris"}),
        ("equals: 42", {"equals": "42"}),
        ("contains:a b", {"contains": "a b"}),
        ('contains-all:a, b,"c, d"', {"contains": ["a", "b", "c, d"]}),
        ('contains-all:"a ""b""", "\\\\d\\"", e\\f', {"contains": ['a "b"', '\\d"', "e\\f"]}),
        ('contains-any:" a ","b\nc",,', {"contains_any": [" a ", "b\nc"]}),
        ("icontains-all:a,b", {"icontains": ["a", "b"]}),
        ("contains-any:a,b", {"contains_any": ["a", "b"]}),
        ("icontains-any:a", {"icontains_any": "a"}),
        ("not-contains-any:a,b", {"not_contains": ["a", "b"]}),
        ("not-icontains:a", {"not_icontains": "a"}),
        ("starts-with:The", {"starts_with": "The"}),
        ("ends-with:end", {"ends_with": "end"}),
        (r"regex:^\d+: x$", {"regex": r"^\d+: x$"}),
        ("not-regex:x", {"not_regex": "x"}),
        ("foo:bar", {"equals": "foo:bar"}),
        ("http://x", {"equals": "http://x"}),
        ("f1: lap", {"equals": "f1: lap"}),  # called so by another tool only
    ],
)
def test_the_short_notation(project: Path, cell: str, expectations: dict[str, Any]) -> None:
    quoted = cell.replace('"', '""')
    done, evalset = imported(write(project, "tests.csv", f'text,__expected\nhi,"{quoted}"\n'))
    assert evalset.items[0].expectations == expectations
    assert done.losses == []
    round_trip(evalset)


LOST = [
    ('contains-any: "a, b', "contains-any", "quotes do not match"),
    ('contains-any: "a" b', "contains-any", "quotes do not match"),
    ("llm-rubric: is polite", "llm-rubric", "judge"),
    ("grade: is polite", "llm-rubric", "judge"),
    ("javascript: output.length < 3", "javascript", "program"),
    ("fn:output", "javascript", "program"),
    ("file://check.js", "equals", "in a file, which is neither read nor run"),
    ("python: len(output)", "python", "program"),
    ("similar(0.8):x", "similar", "embeddings"),
    ("latency(100)", "latency", "time"),
    ("levenshtein(5):x", "levenshtein", "no scorer"),
    ("is-json", "is-json", "no JSON schema"),
    ("not-equals:x", "not-equals", "its opposite has a scorer"),
    ("regex:(?P<x", "regex", "dialect"),
    ("contains:", "contains", "nothing"),
    ("rouge-n(0.5):x", "rouge-n", "no scorer"),
    ("tool-call-f1:a", "tool-call-f1", "no scorer"),
    *((f"{name}:a", name, "no scorer") for name in ("bleu", "is-html", "trajectory", "trace-span-count")),
]


@pytest.mark.parametrize(("cell", "kind", "why"), LOST)
def test_what_has_no_scorer_is_lost_by_name(project: Path, cell: str, kind: str, why: str) -> None:
    quoted = cell.replace('"', '""')
    done, evalset = imported(write(project, "tests.csv", f'text,__expected1,__expected2\nhi,ok,"{quoted}"\n'))
    assert evalset.items[0].expectations == {"equals": "ok"}
    assert len(done.losses) == 1
    assert done.losses[0].place == "tests.csv:2 assert 2"
    assert f"assertion '{kind}' is left out" in done.losses[0].what and why in done.losses[0].what
    assert f"1 of 2 assertions are not carried over: {kind} 1" in done.notes


def test_every_lost_assertion_is_counted(project: Path) -> None:
    rows = "".join(f'{n},ok,"llm-rubric: nice","python: 1"\n' for n in range(1100))
    done, evalset = imported(write(project, "tests.csv", "text,__expected1,__expected2,__expected3\n" + rows))
    assert len(evalset.items) == 1100
    assert "2200 of 3300 assertions are not carried over: llm-rubric 1100, python 1100" in done.notes
    assert len(done.losses) == 2002  # a line each, and beyond a thousand their number
    assert str(done.losses[-1]).endswith("(further ones) (100 times)")


def test_a_test_without_any_carried_assertion_is_a_loss_not_an_item(project: Path) -> None:
    text = "text,__expected\na,ok\nb,llm-rubric: nice\nc,\n"
    done, evalset = imported(write(project, "tests.csv", text))
    assert len(evalset.items) == 1
    assert "tests.csv:3, 4: a test is left out: it has no assertion that can be carried over (2 times)" in lost(done)
    with pytest.raises(InputError, match=r"holds no items that can be carried over. First: t.csv:2 assert 1"):
        import_evalset(write(project, "t.csv", "text,__expected\nb,llm-rubric: nice\n"), "evalsets/none")
    assert not Path("evalsets/none").exists()


def test_further_columns_are_losses(project: Path) -> None:
    text = (
        "text,__expected1,__expected2,__prefix,__description,__metric,__threshold,__provider,__metadata\n"
        "a,ok,contains:x y,Be brief. ,first,accuracy,0.8,gpt,m\n"
        "b,no,contains:z,,second,accuracy,0.8,,\n"
    )
    done, evalset = imported(write(project, "tests.csv", text))
    assert evalset.spec.accept.min_score == 0.8
    found = lost(done)
    assert "tests.csv:2, 3: a test's key '__description' (2 times)" in found
    assert "tests.csv:2: a test's key '__provider'" in found
    assert "tests.csv:2: a test's key '__metadata'" in found
    assert "tests.csv:2: a test's key '__prefix'" in found
    assert "tests.csv:2, 3: a test's key '__metric' (2 times)" in found


def test_broken_tables_are_refused_with_the_mend(project: Path) -> None:
    with pytest.raises(InputError, match=r"t.csv:2: 3 cells for 2 columns. Quote cells"):
        import_evalset(write(project, "t.csv", "text,__expected\na,b,c\n"), "evalsets/x")
    with pytest.raises(InputError, match=r"t.csv:1: column 'text' is there twice"):
        import_evalset(write(project, "t.csv", "text,text,__expected\na,b,c\n"), "evalsets/x")
    with pytest.raises(InputError, match="not UTF-8"):
        import_evalset(write(project, "t.csv", "text,__expected\né,b\n".encode("latin-1")), "evalsets/x")
    with pytest.raises(InputError, match="git lfs pull"):
        import_evalset(write(project, "t.csv", "version https://git-lfs.github.com/spec/v1\noid"), "evalsets/x")
    with pytest.raises(InputError, match="Leave --map out"):
        path = write(project, "t.csv", "text,__expected\na,b\n")
        import_evalset(path, "evalsets/x", options=Options(mapping={"inputs.a": "text"}))
    with pytest.raises(InputError, match="Leave --scorer out"):
        import_evalset(path, "evalsets/x", options=Options(scorer="exact"))
    with pytest.raises(InputError, match="holds no items"):
        import_evalset(write(project, "t.csv", ""), "evalsets/x", format="promptfoo")


def test_a_huge_cell_and_unicode(project: Path) -> None:
    text = "ü" * 300_000
    _, evalset = imported(write(project, "tests.csv", f'text,__expected\n"{text}",contains:Ünïcode 🎉\n'))
    assert evalset.items[0].inputs["text"] == text
    assert score(evalset, "so: Ünïcode 🎉!") == 1
    round_trip(evalset)


# Meaning


@pytest.mark.parametrize(
    ("assertions", "right", "wrong"),
    [
        ([{"type": "contains-any", "value": ["Aa", "b"]}], "x Aa", "x aa"),
        ([{"type": "icontains-any", "value": ["Aa", "b"]}], "x aa", "x c"),
        ([{"type": "contains", "value": "a"}, {"type": "contains-all", "value": ["b", "c"]}], "c b a", "z"),
        ([{"type": "not-contains", "value": "a"}, {"type": "not-contains", "value": "b"}], "c", "bc"),
        ([{"type": "not-regex", "value": "a+"}, {"type": "not-regex", "value": "b+"}], "c", "cbb"),
        ([{"type": "starts-with", "value": "The"}], "The end", "In the"),
        ([{"type": "ends-with", "value": "end"}], "The end", "end of it"),
        ([{"type": "equals", "value": 4}], "4", "4.0"),
        ([{"type": "equals", "value": 1.0}], "1", "1.0"),
        ([{"type": "equals", "value": True}], "true", "True"),
        ([{"type": "regex", "value": r"^\d{4}$"}], "2024", "24"),
    ],
)
def test_scorers_say_what_the_assertions_say(project: Path, assertions: list[Any], right: str, wrong: str) -> None:
    _, evalset = imported(write(project, "tests.yaml", [case(assertions)]))
    assert score(evalset, right) == 1
    assert score(evalset, wrong) == 0
    round_trip(evalset)


def test_two_equals_are_both_wanted_so_the_second_is_lost(project: Path) -> None:
    both = [{"type": "equals", "value": "a"}, {"type": "equals", "value": "b"}, {"type": "regex", "value": "x"}]
    done, evalset = imported(write(project, "tests.yaml", [case([*both, {"type": "regex", "value": "y"}])]))
    assert evalset.items[0].expectations == {"equals": "a", "regex": "x"}
    assert lost(done).count("a second one of this kind") == 2


@pytest.mark.parametrize(
    ("odd", "kind"),
    [
        ({"type": "assert-set", "assert": [{"type": "equals", "value": "a"}] * 3}, "assert-set"),
        ({"type": "equals", "value": {"city": "Rome"}}, "equals"),
        ({"$ref": "#/assertionTemplates/a"}, "$ref"),
        ({"type": "contains", "value": "a", "transform": "output.trim()"}, "contains"),
    ],
)
def test_sets_objects_references_and_transforms_are_lost(project: Path, odd: dict[str, Any], kind: str) -> None:
    done, evalset = imported(write(project, "tests.yaml", [case([odd, {"type": "icontains", "value": "x"}])]))
    assert evalset.items[0].expectations == {"icontains": "x"} and len(done.losses) == 1
    assert f"tests.yaml:1 assert 1: assertion '{kind}' is left out" in lost(done)


def test_weights_and_metrics(project: Path) -> None:
    heavy = {"type": "equals", "value": "a", "weight": 3, "metric": "accuracy"}
    light = {"type": "contains", "value": "b"}
    tests = [case([heavy, light]), case([heavy, light]), case([{**heavy, "weight": 2}, light])]
    done, evalset = imported(write(project, "tests.yaml", tests))
    assert [(s.name, s.weight) for s in evalset.scorers] == [("equals", 3), ("contains", 1)]
    assert score(evalset, "a") == 0.75
    assert "weight 2 of 'equals': its scorer has one weight, 3" in lost(done) and len(done.losses) == 2
    assert "metric name 'accuracy' of 'equals' (3 times)" in lost(done)
    round_trip(evalset)


def test_a_weight_of_zero_makes_a_figure_only(project: Path) -> None:
    zero = {"type": "contains", "value": "b", "weight": 0}
    done, evalset = imported(write(project, "t.yaml", [case([zero, {"type": "equals", "value": "a"}]), case([zero])]))
    assert len(evalset.items) == 1 and score(evalset, "a") == 1
    assert "a test is left out: none of its assertions has a weight above 0" in lost(done)


@pytest.mark.parametrize(
    ("thresholds", "bar", "said"),
    [
        ([None, None], 1, None),
        ([0.7, 0.7], 0.7, None),
        ([0.7, 0.7, None], 0.7, "tests.yaml:13: a test passes from a score of 1; here from 0.7"),
        ([0.5, 0.9], 0.9, "tests.yaml:1: a test passes from a score of 0.5; here from 0.9"),
        ([0], 0, None),
    ],
)
def test_thresholds(project: Path, thresholds: list[float | None], bar: float, said: str | None) -> None:
    tests = [
        case([{"type": "equals", "value": "a"}], **({} if value is None else {"threshold": value}))
        for value in thresholds
    ]
    done, evalset = imported(write(project, "tests.yaml", tests))
    assert evalset.spec.accept.min_score == bar
    assert (said in lost(done)) if said else done.losses == []


def test_thresholds_of_a_table_are_told_with_the_lines_of_each(project: Path) -> None:
    text = "text,__expected,__threshold\na,x,0.5\nb,y,0.9\nc,z,0.9\nd,z,\ne,z,0.5\nf,z,0.9\n"
    done, evalset = imported(write(project, "tests.csv", text))
    assert evalset.spec.accept.min_score == 0.9
    assert lost(done).splitlines() == [
        "tests.csv:2, 6: a test passes from a score of 0.5; here from 0.9 (2 times)",
        "tests.csv:5: a test passes from a score of 1; here from 0.9",
    ]


def test_a_threshold_that_is_none_is_told(project: Path) -> None:
    text = "text,__expected,__threshold\na,x,80%\nb,y,1\nc,z,7\n"
    done, evalset = imported(write(project, "tests.csv", text))
    assert len(evalset.items) == 3 and evalset.spec.accept.min_score == 1
    assert lost(done) == "tests.csv:2, 4: a threshold that is no number from 0 to 1 (2 times)"


# JSON

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def test_a_schema_that_all_tests_share_is_the_output(project: Path) -> None:
    tests = [
        case([{"type": "is-json", "value": SCHEMA}, {"type": "icontains", "value": "paris"}]),
        case([{"type": "contains-json", "value": json.dumps(SCHEMA)}]),
    ]
    done, evalset = imported(write(project, "tests.yaml", tests))
    assert evalset.output_schema == SCHEMA and done.losses == []
    assert score(evalset, '{"city": "Paris"}') == 1 and score(evalset, '{"town": "Paris"}') == 0.5
    round_trip(evalset)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"type": "array"}, "the top must be an object"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}, "is not in this file"),
        ({"type": "object", "properties": {"a": {"$ref": "http://x/y"}}}, "is not in this file"),
        ({"type": "object", "required": 3}, "not a JSON schema"),
        ("file://none.json", "in a file, which is neither read nor run"),
        ("a: [", "is not valid YAML"),
        ("type: object\nproperties: {a: &a {type: string}, b: *a}", "has aliases"),
    ],
)
def test_schemas_that_cannot_be_kept(project: Path, value: Any, why: str) -> None:
    tests = [case([{"type": "is-json", "value": value}, {"type": "equals", "value": "a"}])]
    done, evalset = imported(write(project, "tests.yaml", tests))
    assert evalset.output_schema is None and why in lost(done)


def test_a_schema_of_some_tests_is_lost(project: Path) -> None:
    equals = {"type": "equals", "value": "a"}
    tests = [case([{"type": "is-json", "value": SCHEMA}, equals]), case([equals])]
    done, evalset = imported(write(project, "tests.yaml", tests))
    assert evalset.output_schema is None
    assert "not all tests have this one" in lost(done)


# JSONL and lists


def test_jsonl_with_blank_lines_and_a_mark(project: Path) -> None:
    lines = [
        json.dumps(case([{"type": "equals", "value": "a"}], description="d", metadata={"topic": "t", "n": 3, "o": {}})),
        "",
        json.dumps({"vars": {"text": ["x", "y"], "more": [1, 2]}, "assert": [{"type": "contains", "value": "b"}]}),
        json.dumps({"vars": {"text": "{{ broken"}, "assert": [{"type": "similar", "value": "b"}]}),
    ]
    path = write(project, "tests.jsonl", "\ufeff" + "\n".join(lines) + "\n")
    done, evalset = imported(path)
    assert [i.inputs for i in evalset.items] == [
        {"text": "hi"},
        {"text": "x", "more": [1, 2]},
        {"text": "y", "more": [1, 2]},
    ]
    assert evalset.items[0].slice == {"topic": "t", "n": "3"}
    assert [str(loss) for loss in done.losses] == [
        "tests.jsonl:1: a test's key 'description'",
        "tests.jsonl:1: metadata 'o' is an object",
        "tests.jsonl:4: variable 'text' holds a template that cannot be filled in; it stands as it is",
        "tests.jsonl:4 assert 1: assertion 'similar' is left out: it compares embeddings",
        "tests.jsonl:4: a test is left out: it has no assertion that can be carried over",
    ]
    round_trip(evalset)


@pytest.mark.parametrize("name", ["tests.jsonl", "tests.yaml", "tests.txt"])
def test_a_list_of_tests_is_one_whatever_it_is_called(project: Path, name: str) -> None:
    text = "# mine\n---\n- vars: {when: 12:30, yes: no}\n  assert:\n    - {type: equals, value: Yes}\n"
    _, evalset = imported(write(project, name, text))
    assert evalset.items[0].inputs == {"when": "12:30", "yes": "no"}  # as JavaScript's YAML reads them
    assert evalset.items[0].expectations == {"equals": "Yes"}
    _, again = imported(write(project, "b" + name, json.dumps([case([{"type": "equals", "value": "a"}])], indent=1)))
    assert again.items[0].expectations == {"equals": "a"}


def test_rows_of_a_table_as_json_are_told(project: Path) -> None:
    rows = [{"language": "French", "__expected": "icontains:bonjour"}, case([{"type": "equals", "value": "a"}])]
    done = import_evalset(write(project, "tests.json", json.dumps(rows)), "evalsets/x", format="promptfoo")
    assert done.items == 1
    assert lost(done).splitlines() == [
        "tests.json item 1: a test's key 'language'",
        "tests.json item 1: a test's key '__expected'",
        "tests.json item 1: a test is left out: it has no assertion that can be carried over",
    ]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"vars": {"a": 1}, "assert": [{"value": "a"}]}', "t.jsonl:1 assert 1: an assertion has no 'type'"),
        ('{"vars": {"a": 1}, "assert": {"type": "equals"}}', "t.jsonl:1: 'assert' must be a list"),
        ('{"vars": {"a": 1}}\n{"vars": ', "t.jsonl:2: not valid JSON"),
        ('{"vars": {"a": 1}}\n[1]', "t.jsonl:2: must be a JSON object"),
        ('{"vars": {"a": "\\ud800"}}', "surrogate"),
    ],
)
def test_broken_jsonl(project: Path, text: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        import_evalset(write(project, "t.jsonl", text), "evalsets/x")


# Configs


def config(**changes: Any) -> dict[str, Any]:
    tests = [case([{"type": "equals", "value": "a"}])]
    return {"prompts": ["Say {{text}}"], "providers": ["echo", "openai:x"], "tests": tests, **changes}


def test_a_config_with_its_prompts(project: Path) -> None:
    write(
        project,
        "p/chat.json",
        '[{"role": "system", "content": "In {{lang}}"}, {"role": "user", "content": "{{text}}"}]',
    )
    write(project, "p/chat.yaml", "- role: user\n  content: [{type: text, text: A}, {type: text, text: '{{text}}'}]\n")
    write(project, "p/two.txt", "One {{ text }}\n---\nTwo {{text}}\n")
    prompts = [
        "Plain {{text}}",
        {"id": "file://p/chat.json", "label": "My chat"},
        {"raw": "Raw {{text|upper}}", "label": "My chat"},
        "file://p/chat.yaml",
        "p/two.txt",
        '[{"role": "user", "content": "Inline {{text}}"}]',
    ]
    tests = [{"vars": {"text": "hi", "lang": "de"}, "assert": [{"type": "equals", "value": "a"}]}]
    path = write(project, "promptfooconfig.yaml", config(prompts=prompts, tests=tests, description="What it is."))
    done, evalset = imported(path)
    shown = {
        name: [turn["content"] for turn in render(evalset, name, evalset.items[0]).messages]
        for name in evalset.spec.variants
    }
    assert shown == {
        "prompt_1": ["Plain hi"],
        "My_chat": ["In de", "hi"],
        "My_chat_3": ["Raw HI"],
        "two": ["One hi"],
        "two_5": ["Two hi"],
        "prompt_6": ["Inline hi"],
    }
    assert evalset.spec.description == "What it is."
    line = path.read_text().splitlines().index("providers:") + 1
    chat, providers = map(str, done.losses)
    assert "a prompt is left out: 'file://p/chat.yaml' is no text file inside the folder" in chat
    assert providers == f"promptfooconfig.yaml:{line}: 'providers' (2) belongs into models.yaml"
    round_trip(evalset)
    assert import_evalset(project, "evalsets/folder").items == 1  # the folder stands for its config


def test_a_single_prompt_is_the_default_and_variables_may_be_missing(project: Path) -> None:
    tests = [
        {"vars": {"text": "a"}, "assert": [{"type": "equals", "value": "a"}]},
        {"vars": {"text": "b", "tone": "kind", "items": ["x"]}, "assert": [{"type": "equals", "value": "a"}]},
    ]
    done, evalset = imported(write(project, "c.yaml", config(prompts="{{text}} ({{tone}}) {{items}}", tests=tests)))
    assert list(evalset.spec.variants) == ["default"]
    assert [render(evalset, "default", i).messages[0]["content"] for i in evalset.items] == ["a () ", "b (kind) x"]
    assert not any("Python's notation" in note for note in done.notes)
    round_trip(evalset)


def test_prompts_that_cannot_be_said_are_lost(project: Path) -> None:
    write(project, "p/loop.json", '[{% for m in ms %}{"role": "user", "content": "{{m}}"}{% endfor %}]')
    prompts = [
        "Fine {{text}}",
        "{{ text | dump }} and more",
        "{{ text.length }} letters",
        "{{ env.KEY }}",
        "{% for c in _conversation %}{{ c.input }}{% endfor %}{{text}}",
        "file://p/prompt.py",
        "exec:./run.sh",
        "langfuse://mine",
        "file://p/loop.json",
        "file://p/none.txt",
        '[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]',
        '[{"role": "tool", "content": "x"}]',
        '[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]',
        "",
    ]
    done, evalset = imported(write(project, "c.yaml", config(prompts=prompts)))
    assert list(evalset.spec.variants) == ["prompt_1", "prompt_4"]
    assert "the prompts name variables that no test has; they are empty: _conversation" in done.notes  # the first turn
    about_prompts = [str(loss) for loss in done.losses if "prompt" in loss.what]
    assert len(about_prompts) == len(prompts) - 2
    assert any("No filter named 'dump'" in line for line in about_prompts)
    assert any("cannot be rendered for all tests, first c.yaml:" in line for line in about_prompts)


def test_without_any_prompt_left_a_plain_one_is_made_and_said(project: Path) -> None:
    done, evalset = imported(write(project, "c.yaml", config(prompts=["{{ text | dump }} x"])))
    assert render(evalset, "default", evalset.items[0]).messages[0]["content"] == "hi"
    assert any("there is no prompt" in note for note in done.notes)


def test_prompts_that_are_the_tests_own_turns_are_told(project: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    tests = [{"vars": {"messages": turns}, "assert": [{"type": "equals", "value": "d"}]}]
    done, evalset = imported(write(project, "c.yaml", config(prompts=["{{ messages | dump }}"], tests=tests)))
    assert evalset.items[0].inputs == {"messages": turns}
    assert "a prompt is left out: No filter named 'dump'" in lost(done)
    assert any("there is no prompt, so a plain one shows the variables: messages" in note for note in done.notes)


def test_default_tests_files_and_combinations(project: Path) -> None:
    write(project, "tests/a.csv", "text,__expected\nfrom csv,ok\n")
    write(project, "tests/b.jsonl", json.dumps(case([{"type": "equals", "value": "ok"}])))
    write(project, "tests/c.yaml", [case([{"type": "equals", "value": "{{want}}"}])])
    default = {
        "vars": {"lang": "en", "want": "ok"},
        "assert": [{"type": "llm-rubric", "value": "nice"}, {"type": "icontains", "value": "{{lang}}"}],
        "metadata": {"suite": "main"},
        "options": {"provider": "judge"},
    }
    equals = [{"type": "equals", "value": "{{lang}}!"}]
    tests = [
        *("file://tests/*.csv", "tests/b.jsonl", "file://tests/c.yaml"),
        case(equals, vars={"text": "t", "lang": ["de", "fr"]}, options={"disableDefaultAsserts": True}),
        case(equals, vars={"text": "t", "list": ["a", "b"]}, options={"disableVarExpansion": True}),
        case(equals, vars="vars.yaml"),
        case(equals, vars={"text": "file://long.txt"}),
    ]
    path = write(project, "c.yaml", config(tests=tests, defaultTest=default, providers=None))
    done, evalset = imported(path)
    assert [(i.inputs["text"], i.inputs["lang"], i.expectations) for i in evalset.items] == [
        *((text, "en", {"icontains": "en", "equals": "ok"}) for text in ("from csv", "hi", "hi")),
        ("t", "de", {"equals": "de!"}),
        ("t", "fr", {"equals": "fr!"}),
        ("t", "en", {"icontains": "en", "equals": "en!"}),
    ]
    assert evalset.items[5].inputs["list"] == ["a", "b"] and {i.slice["suite"] for i in evalset.items} == {"main"}
    found = lost(done)
    assert "assertion 'llm-rubric' is left out: it needs a model as a judge (in 4 items)" in found
    assert "option 'provider'" in found
    assert "a test is left out: its variables are in another file" in found
    assert "a test is left out: variable 'text' is a file, which is not read" in found
    round_trip(evalset)


def test_variables_name_each_other_and_text_with_braces_comes_back(project: Path) -> None:
    tests = [
        {"vars": {"text": "about {{topic}}", "topic": "cats"}, "assert": [{"type": "equals", "value": "a"}]},
        {
            "vars": {"text": "{% raw %}{{ kept }} {% x{% endraw %}", "topic": "file"},
            "assert": [{"type": "equals", "value": "a"}],
        },
    ]
    _, evalset = imported(write(project, "c.yaml", config(tests=tests)))
    assert [i.inputs["text"] for i in evalset.items] == ["about cats", "{{ kept }} {% x"]
    round_trip(evalset)


def test_nothing_outside_the_folder_is_read_and_nothing_is_run(project: Path) -> None:
    write(project, "secret.txt", "secret")
    inner = project / "inner"
    inner.mkdir()
    (inner / "link.txt").symlink_to(project / "secret.txt")
    tests = [
        {"vars": {"text": "file://../secret.txt"}, "assert": [{"type": "equals", "value": "a"}]},
        {"vars": {"text": "file://link.txt"}, "assert": [{"type": "equals", "value": "a"}]},
        {"vars": {"text": f"file://{project}/secret.txt"}, "assert": [{"type": "equals", "value": "a"}]},
        {"vars": {"text": "file://gen.py"}, "assert": [{"type": "equals", "value": "a"}]},
        "file://gen.py:tests",
        "../tests.csv",
        "huggingface://datasets/x",
        {"path": "file://gen.py:f", "config": {}},
        case([{"type": "equals", "value": "a"}]),
    ]
    write(inner, "gen.py", "raise SystemExit('run!')\n")
    done, evalset = imported(write(inner, "c.yaml", config(tests=tests, prompts=["{{text}}", "file://../secret.txt"])))
    assert [i.inputs for i in evalset.items] == [{"text": "hi"}]
    found = lost(done)
    assert "a test is left out: variable 'text' is a file, which is not read (4 times)" in found
    assert "a program, which is not run" in found and "nothing is fetched" in found
    assert "tests of 'file://gen.py:f': a program, which is not run" in found
    assert "secret" not in (project / "evalsets/mine/items.jsonl").read_text()
    assert "a prompt is left out: 'file://../secret.txt' is no text file inside" in found


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("prompts: [a\ntests: x\n", r"c.yaml:\d: not valid YAML"),
        ("tests: []\ntests: []\nprompts: []\n", "c.yaml:2: key 'tests' stands here a second time"),
        ("prompts: [x]\ntests: [3]\n", "c.yaml:2: must be a test"),
        ("prompts: [x]\ntests: !!python/object:os.system x\n", "not valid YAML"),
        ("prompts: [x]\ntests: [{vars: {a: !!binary aGk=}}]\n", "JSON has no word for"),
        ("prompts: [x]\nscenarios: [{tests: []}]\n", r"holds no items .*'scenarios' \(1\) is not used"),
        ("prompts: [x]\ndefaultTest: file://none.yaml\ntests: []\n", "c.yaml:2: a defaultTest that is no mapping"),
        ("prompts: [x]\ntests: [{vars: {a: b}, options: 3}]\n", "c.yaml:2: 'options' must be a mapping"),
    ],
)
def test_broken_configs(project: Path, text: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        import_evalset(write(project, "c.yaml", text), "evalsets/x", format="promptfoo")


def test_bombs_are_refused(project: Path) -> None:
    names = "abcdefghij"
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in pairwise(names))
    with pytest.raises(InputError, match="stand for more than can be read"):
        import_evalset(write(project, "c.yaml", f"prompts: [x]\n{bomb}tests: []\n"), "evalsets/x", format="promptfoo")
    many = {"vars": {f"v{n}": ["a", "b"] for n in range(20)}, "assert": [{"type": "equals", "value": "a"}]}
    with pytest.raises(InputError, match=r"c.yaml:\d+: its variables have more than 10000 combinations"):
        import_evalset(write(project, "c.yaml", config(tests=[many])), "evalsets/x")


def test_unused_settings_are_losses(project: Path) -> None:
    tests = [case([{"type": "equals", "value": "a"}], provider="x", options={"transform": "output.trim()"})]
    path = write(project, "c.yaml", config(tests=tests, evaluateOptions={"repeat": 3}, tags={"a": "b"}))
    done, _ = imported(path)
    found = lost(done)
    for key in ("a test's key 'provider'", "option 'transform'", "'evaluateOptions' (1) is not used", "'tags' (1)"):
        assert key in found


def test_messages_do_not_repeat_what_is_tested(project: Path) -> None:
    secret = "Miller owes 4000"
    tests = [
        {"vars": {"text": secret, "d": {"a": 1}}, "assert": [{"type": "similar", "value": secret}]},
        {"vars": {"text": secret, "d": {"a": 1}}, "assert": [{"type": "equals", "value": "a"}]},
        {
            "vars": {"text": f"{{% {secret} %}}", "d": {}},
            "assert": [{"type": "equals", "value": f"{{{{ {secret} }}}}"}],
        },
    ]
    prompts = ["{{ d[text] }}", "{{ text.missing }}", "{{text}}"]
    done, _ = imported(write(project, "c.yaml", config(tests=tests, prompts=prompts)))
    assert len(done.losses) >= 5
    assert secret not in lost(done) and "Miller" not in lost(done)


@pytest.mark.parametrize("value", ["{{ kw }}", "{{ ['alpha', 'beta'] | join(', ') }}"])
def test_a_list_that_is_a_template_is_parted_once_it_is_filled_in(project: Path, value: str) -> None:
    test = {"vars": {"kw": "alpha,beta"}, "assert": [{"type": "contains-any", "value": value}]}
    _, evalset = imported(write(project, "promptfooconfig.yaml", {"prompts": ["{{kw}}"], "tests": [test]}))
    assert evalset.items[0].expectations == {"contains_any": ["alpha", "beta"]}


def test_a_long_list_is_parted_in_no_time_by_the_square(project: Path) -> None:
    test = {"vars": {"text": "x"}, "assert": [{"type": "contains-any", "value": "a," * 200_000}]}
    started = time.process_time()
    _, evalset = imported(write(project, "tests.jsonl", json.dumps(test) + "\n"))
    assert len(evalset.items[0].expectations["contains_any"]) == 200_000 and time.process_time() - started < 30


# Sniffing, sensitivity, ids


@pytest.mark.parametrize(
    ("name", "content", "sure"),
    [
        ("a.csv", "question,answer\na,b\n", None),
        ("a.csv", "question,my__expected\na,b\n", None),
        ("a.csv", 'x,"__expected"\na,b\n', "promptfoo_tests"),
        ("a.jsonl", '{"input": "a", "target": "b"}\n', None),
        ("a.jsonl", '{"vars": {}, "assert": []}\n', "promptfoo_tests"),
        ("a.jsonl", '{"vars": {"x": "' + "y" * 20_000 + '"}}\n', "promptfoo_tests"),
        ("a.json", '{\n "prompts": ["a"],\n "tests": []\n}', "promptfoo"),
        ("a.yaml", "schema: 1\nname: x\n", None),
        ("a.yaml", "task: x\ndataset_path: json\ndoc_to_text: y\n", None),
        ("a.yaml", "providers: [a]\nprompts: [b]\n", "promptfoo"),
        ("a.json", '{"description": "d", "tests": [{"vars": {"x": 1}}], "prompts": ["a"]}', "promptfoo"),
        ("a.json", '{"vars": {"x": 1}, "tests": []}', "promptfoo"),
        ("a.yaml", "- vars: {tests: a, prompts: b}\n  assert: []\n", "promptfoo_tests"),
        ("a.yaml", "- vars:\n    tests: a\n    prompts: b\n", "promptfoo_tests"),
        ("a.bin", "\x00\x01\x02", None),
    ],
)
def test_sniffing(project: Path, name: str, content: str, sure: str | None) -> None:
    from workbench.formats import FORMATS

    path = write(project, name, content)
    ours = ("promptfoo", "promptfoo_tests")
    assert any(FORMATS.find(each).sniff(path) > 0.3 for each in ours) is (sure is not None)
    assert sure is None or detect(path).name == sure


def test_ids_clusters_and_sensitivity_are_the_items(project: Path) -> None:
    metadata = [
        {"id": "x", "cluster": "c1", "sensitivity": "public"},
        {"id": "x", "sensitivity": "top secret"},
        {"id": 7, "note": "n" * 101},
    ]
    tests = [case([{"type": "equals", "value": "a"}], metadata=each) for each in metadata]
    done, evalset = imported(write(project, "t.yaml", tests), sensitivity="internal")
    assert [(i.id, i.cluster, i.sensitivity, i.slice) for i in evalset.items] == [
        ("x", "c1", "public", {}),
        ("x-2", None, "restricted", {}),
        ("7", None, "internal", {}),
    ]
    assert "a text of more than 100 characters" in lost(done)
    assert "'sensitivity' is none of public, internal, restricted: taken as restricted" in lost(done)


# Exports of our own


def test_a_label_set_keeps_its_items_and_says_what_differs(project: Path) -> None:
    items = [
        item("a", sensitivity="public", slice={"topic": "x", "id": "hidden"}, cluster="c"),
        item("b", thing="{{ odd }} file://x", label="blue"),
        item("c", thing="file://secret"),
    ]
    items[1]["expectations"]["label"] = ["blue", "green"]
    items[1]["inputs"]["list"] = ["p", "q"]
    items[2]["inputs"]["none"] = None
    folder = write_evalset(
        project, "colors", items, train=[item("t")], rules={"rules": []} if False else None,
        limits={"min_score": 0.5}, generation={"temperature": 0, "max_tokens": 4},
    )  # fmt: skip
    evalset = load_evalset(folder)
    left = "\n".join(map(str, export_evalset(evalset, "promptfoo", "out.yaml").losses))
    done, again = imported(Path("out.yaml"))
    for before, after in zip(evalset.items, again.items, strict=True):
        assert (after.id, after.cluster, after.sensitivity) == (before.id, before.cluster, before.sensitivity)
        assert {**before.inputs, "none": ""} == {**after.inputs, "none": ""}
        assert after.expectations["label"] == before.expectations["label"]
    assert again.items[0].slice == {"topic": "x"}
    assert again.spec.variants == evalset.spec.variants and again.spec.accept == evalset.spec.accept
    assert score(again, "green", 1) == 1 and score(again, "red", 1) == 0
    assert again.items[1].expectations["regex"] == "^(blue|green)$"
    for what in (
        "several accepted answers are written as a regular expression", "output.labels",
        "scorer 'label': written as 'equals'", "generation", "limits", "train.jsonl: 1 item for",
        "slice 'id'", "input 'none' is null",
    ):  # fmt: skip
        assert what in left
    assert "license" not in left and done.losses == []
    assert COLORS[0] in Path("out.yaml").read_text()


def test_a_text_set_comes_back_whole(project: Path) -> None:
    scorers = [
        {"type": "exact", "name": "main", "key": "answer", "weight": 2},
        {"type": "contains", "want": "none", "key": "banned", "optional": True},
        {"type": "rouge", "key": "answer", "weight": 0},
        {"type": "numeric", "key": "number", "weight": 0, "optional": True},
        {"type": "exact", "name": "loose", "key": "answer", "ignore": ["case"], "weight": 0},
    ]
    rows = [
        {
            "id": "1",
            "inputs": {"q": "1e3 or yes?"},
            "expectations": {"answer": "1e3", "banned": ["x", "y"], "number": 3},
        },
        {"id": "2", "inputs": {"q": "null"}, "expectations": {"answer": ["012", "0x1F"]}},
    ]
    variants = {
        "a": {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "{{ inputs.q }}"}]},
        "b": {"messages": [{"role": "user", "content": "{% for x in [1] %}{{ inputs.q }}{% endfor %}"}]},
        "c": {"messages": [{"role": "user", "content": "{{ inputs.q }}"}], "examples": 1},
    }
    folder = write_evalset(
        project, "texts", rows, output={"text": True}, scorers=scorers, variants=variants,
        train=[{**rows[0], "id": "t"}],
    )  # fmt: skip
    evalset = load_evalset(folder)
    left = "\n".join(map(str, export_evalset(evalset, "promptfoo", "out.yaml").losses))
    _, again = imported(Path("out.yaml"))
    assert [i.inputs for i in again.items] == [i.inputs for i in evalset.items]
    assert again.items[1].expectations["regex"] == "^(012|0x1F)$" and again.items[0].expectations["equals"] == "1e3"
    assert again.items[0].expectations["answer"] == "1e3" and again.items[0].expectations["number"] == 3
    assert again.items[0].expectations["not_icontains"] == ["x", "y"]
    assert list(again.spec.variants) == ["a", "c"]
    assert [turn["content"] for turn in render(again, "a", again.items[0]).messages] == ["S", "1e3 or yes?"]
    for what in (
        "variant 'b' is left out", "variant 'c': its 1 example of", "scorer 'numeric' has no assertion",
        "scorer 'loose': case count", "scorer 'rouge' has no assertion",
    ):  # fmt: skip
        assert what in left, what


def test_a_json_set_keeps_schema_and_expectations(project: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"queue": {"type": "string", "enum": ["a", "b"]}, "due": {"type": ["string", "null"]}},
        "required": ["queue", "due"],
    }
    rows = [
        {"id": "1", "inputs": {"t": "x"}, "expectations": {"queue": ["a", "b"], "due": "2026-01-01", "other": "kept"}},
        {"id": "2", "inputs": {"t": "y"}, "expectations": {"queue": "b", "due": None}},
    ]
    scorers = [{"type": "json_fields", "fields": {"queue": "label", "due": "date"}}]
    variants = {"default": {"messages": [{"role": "user", "content": "{{ inputs.t }}"}]}}
    folder = project / "evalsets" / "json"
    folder.mkdir(parents=True)
    (folder / "schema.json").write_text(json.dumps(schema))
    write_evalset(
        project, "json", rows, output={"json_schema": "schema.json"}, scorers=scorers, variants=variants,
        accept={"min_score": 0.8},
    )  # fmt: skip
    evalset = load_evalset(folder)
    left = "\n".join(map(str, export_evalset(evalset, "promptfoo", "out.yaml").losses))
    _, again = imported(Path("out.yaml"))
    assert again.output_schema == schema and again.spec.accept == evalset.spec.accept
    assert [i.expectations for i in again.items] == [i.expectations for i in evalset.items]
    assert [scorer.type for scorer in again.scorers] == ["json_schema"]
    assert "scorer 'json_fields' has no assertion: its expectations are in the metadata" in left
    assert "output.json_schema: keeping to it" in left


@pytest.mark.parametrize("text", ["a\r\nb", "{{ a }}\r\n{# b #}", "file://a\r\n", "{%\rb", "{{ x }}\n", "{# c\n\r #}"])
def test_line_ends_come_back_as_they_were(project: Path, text: str) -> None:
    folder = write_evalset(project, "ends", [item("a", thing=text, label=text)], output={"text": True},
        scorers=[{"type": "exact", "key": "label"}])  # fmt: skip
    export_evalset(load_evalset(folder), "promptfoo", "out.yaml")
    done, again = imported(Path("out.yaml"))
    assert again.items[0].inputs == {"thing": text} and again.items[0].expectations["label"] == text
    assert again.items[0].expectations["equals"] == text and done.losses == []


def test_line_ends_of_a_variable_that_is_a_template_are_said(project: Path) -> None:
    tests = [{"vars": {"name": "Ann", "text": "Hi {{ name }}\r\nBye"}, "assert": [{"type": "equals", "value": "a"}]}]
    done, evalset = imported(write(project, "tests.yaml", tests))
    assert evalset.items[0].inputs["text"] == "Hi Ann\nBye"
    assert lost(done) == "tests.yaml:1: variable 'text' is a template: its line ends are \\n here"


def test_a_dialect_of_json_schema_is_not_written(project: Path) -> None:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **SCHEMA}  # its validator refuses all of it
    folder = project / "evalsets" / "json"
    folder.mkdir(parents=True)
    (folder / "schema.json").write_text(json.dumps(schema))
    rows = [{"id": "1", "inputs": {"thing": "x"}, "expectations": {"city": "Rome"}}]
    scorers = [{"type": "json_schema"}, {"type": "json_fields", "fields": {"city": "text"}}]
    write_evalset(project, "json", rows, output={"json_schema": "schema.json"}, scorers=scorers)
    left = "\n".join(map(str, export_evalset(load_evalset(folder), "promptfoo", "out.yaml").losses))
    assert "output.json_schema: its $schema" in left
    assert imported(Path("out.yaml"))[1].output_schema == SCHEMA


def test_a_schema_that_is_the_only_assertion_has_a_weight(project: Path) -> None:
    folder = project / "evalsets" / "json"
    folder.mkdir(parents=True)
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    rows = [{"id": "1", "inputs": {"thing": "x"}, "expectations": {"city": "Rome"}}]
    scorers = [{"type": "json_schema", "weight": 0}, {"type": "json_fields", "fields": {"city": "text"}}]
    write_evalset(project, "json", rows, output={"json_schema": "schema.json"}, scorers=scorers)
    left = "\n".join(map(str, export_evalset(load_evalset(folder), "promptfoo", "out.yaml").losses))
    assert "output.json_schema: keeping to it is an assertion of its own, of weight 1" in left
    done, again = imported(Path("out.yaml"))
    assert len(again.items) == 1 and done.losses == []  # with a weight of 0 promptfoo would pass no test


def test_defaults_that_are_no_mapping(project: Path) -> None:
    path = write(project, "c.yaml", config(defaultTest={"metadata": "file://x.yaml"}))
    with pytest.raises(InputError, match="'metadata' must be a mapping"):
        import_evalset(path, "evalsets/x")


def test_names_that_no_disk_can_hold(project: Path) -> None:
    (project / "a.txt").symlink_to(project / "b.txt")
    (project / "b.txt").symlink_to(project / "a.txt")
    odd = ["file://" + "x" * 280 + ".txt", "file://a.txt", "file://a\0b.txt", "file://[.txt", "file:///**/x"]
    tests: list[Any] = [{"vars": {"text": name}, "assert": [{"type": "equals", "value": "a"}]} for name in odd]
    tests += ["x" * 290 + ".csv", case([{"type": "equals", "value": "a"}])]
    prompts = ["x" * 290 + ".txt", "{{text}}"]
    done, evalset = imported(write(project, "c.yaml", json.dumps(config(tests=tests, prompts=prompts))))
    assert len(evalset.items) == 1 and "variable 'text' is a file, which is not read (5 times)" in lost(done)
