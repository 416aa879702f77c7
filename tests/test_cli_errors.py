"""Broken input ends in one clear message with exit status 2: file, line, field, mend; no traceback, no secret."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import environment, item, write_evalset, write_models

from workbench.cli import main

ITEMS = [item("a", "CANARY blood"), item("b", "CANARY grass", "green"), item("c", "CANARY sky", "blue")]
RULES = {"rules": [{"pattern": "blood", "answer": "red"}]}
CONTENT = "field 'variants.default.messages.0.content': template: "


def complaint(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What the command says before it ends with exit status 2."""
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("workbench: ") and err.count("\n") == 1
    assert "Traceback" not in err and "CANARY" not in err
    return err.removeprefix("workbench: ").rstrip("\n")


def evalset(root: Path, **changes: Any) -> Path:
    """An eval set of restricted items."""
    return write_evalset(root, "colors", changes.pop("items", ITEMS), **{"sensitivity": "restricted", **changes})


def prompt(content: str, **more: Any) -> dict[str, Any]:
    return {"variants": {"default": {"messages": [{"role": "user", "content": content}], **more}}}


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"colour": 1}, "colour", "unknown key. Remove it, or see which keys there are: schema, name, description"),
        (prompt("x", shots=1), "variants.default.shots", "which keys there are: messages, examples."),
        ({"description": 7}, "description", "must be text, but is a number (it says 7). Quote it."),
        ({"schema": 2}, "schema", "input should be 1"),
        ({"sensitivity": "secret"}, "sensitivity", "input should be 'public', 'internal' or 'restricted'"),
        ({"output": {"labels": ["red", False]}}, "output.labels.1", "YAML reads false (also yes, no, on, off)"),
        ({"output": {"labels": ["red", "green", "blue"], "text": True}}, "output", "name exactly one of json_schema"),
        ({"output": {"labels": [1, 2, 3]}}, "output.labels.0", "must be text, but is a number (it says 1). Quote it."),
        ({"output": {"json_schema": "gone.json"}}, "output.json_schema", "there is no file 'gone.json'"),
        ({"output": {"json_schema": "../colors.json"}}, "output.json_schema", "must be a file inside the eval set's"),
        ({"output": {"json_schema": "/etc/passwd"}}, "output.json_schema", "must be a file inside the eval set's"),
        ({"output": {"json_schema": "a\0b"}}, "output.json_schema", "there is no file"),
        (
            {"scorers": [{"type": "vibes"}]},
            "scorers.0.type",
            "there is no scorer 'vibes'. There are: citation, contains, date, exact",
        ),
        ({"scorers": [{}]}, "scorers.0.type", "there is no scorer 'None'"),
        (
            {"scorers": [{"type": "label", "case": 1}]},
            "scorers.0.case",
            "Scorer 'label' has the keys: type, name, weight",
        ),
        ({"scorers": []}, "scorers", "list should have at least 1 item"),
        ({"accept": {"min_score": True}}, "accept.min_score", "input should be a valid number"),
        ({"accept": {"min_score": 2}}, "accept.min_score", "less than or equal to 1 (it says 2)."),
        ({"limits": {"margin": 0}}, "limits.margin", "greater than 0"),
        ({"generation": {"max_tokens": "4"}}, "generation.max_tokens", "valid integer (it says '4')."),
        (prompt("x", examples=2), "variants.default.examples", "wants 2 items of train.jsonl, which has 0."),
        (prompt("{{ inputs.thing"), "variants.default.messages.0.content", "template: unexpected end of template"),
        (
            prompt("{{ inputs.color }}"),
            "variants.default.messages.0.content",
            "no attribute 'color'. It can use: inputs.",
        ),
        (
            prompt("{{ inputs.__class__ }}"),
            "variants.default.messages.0.content",
            "'__class__' of 'dict' object is unsafe",
        ),
        ({"variants": {"default": {"messages": []}}}, "variants.default.messages", "at least 1 item"),
        ({"rules": {"rules": [{"pattern": "a", "answer": 1}]}}, "rules.0.answer", "must be text, but is a number"),
        ({"rules": {"rules": [{"pattern": "(", "answer": "red"}]}}, "rules.0.pattern", "not a regular expression"),
    ],
)
def test_a_broken_eval_set_is_named_by_file_line_and_field(
    project: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], field: str, problem: str
) -> None:
    evalset(project, **changes)
    said = complaint(capsys, "evalset", "check")
    where, _, rest = said.partition(": ")
    name, _, line = where.rpartition(":")
    assert name in ("evalsets/colors/evalset.yaml", "evalsets/colors/rules.yaml")
    assert rest.startswith(f"field '{field}': ")
    assert problem in rest
    text = (project / name).read_text().splitlines()[int(line) - 1].strip()
    assert text.startswith(("-", field.rpartition(".")[2]))  # an entry of a list, or the key itself


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"id": "CANARY', "not valid JSON: Unterminated string starting at column 8."),
        ("CANARY", "not valid JSON: Expecting value at column 1. Each line holds one JSON object."),
        ('["CANARY"]', "must be a JSON object"),
        ({"inputs": {}, "expectations": {}}, "field 'id': is missing. Add it."),
        (
            item("d", "CANARY", answer="CANARY"),
            "field 'answer': unknown key. Remove it, or see which keys there are: id",
        ),
        ({**item("d"), "inputs": "CANARY"}, "field 'inputs': input should be a valid dictionary."),
        (item("d", "CANARY", sensitivity="CANARY"), "field 'sensitivity': input should be 'public', 'internal' or"),
        (item("d", slice={"topic": ["CANARY"]}), "field 'slice.topic': must be text, but is a list."),
        ({**item("d"), "id": 4711}, "field 'id': must be text, but is a number. Quote it."),
        (item("d", slice={"n": 1.5}), "field 'slice.n': must be text, but is a number. Quote it."),
        (item("d", "CANARY", "CANARY"), "field 'expectations': expectations.label is not among the labels (red, green"),
        ({**item("d"), "expectations": {}}, "field 'expectations': scorer label needs expectations.label. Add it"),
        (item("a", "CANARY"), "id 'a' is already at evalsets/colors/items.jsonl:1. Give each item its own id."),
    ],
)
def test_a_broken_item_is_named_by_its_line_and_never_repeated(
    project: Path, capsys: pytest.CaptureFixture[str], line: str | dict[str, Any], problem: str
) -> None:
    with (evalset(project) / "items.jsonl").open("a") as file:
        file.write(line if isinstance(line, str) else json.dumps(line))
    said = complaint(capsys, "evalset", "check")
    assert said.startswith(f"evalsets/colors/items.jsonl:4: {problem}")


def test_a_train_item_may_not_be_a_test_item(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evalset(project, train=[ITEMS[1]])
    said = complaint(capsys, "evalset", "check")
    assert said.startswith("evalsets/colors/train.jsonl:1: id 'b' is already at evalsets/colors/items.jsonl:2.")


def test_a_failing_template_does_not_repeat_a_restricted_input(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evalset(project, **prompt("{{ inputs[inputs.thing] }}"))
    assert f"{CONTENT}it cannot be rendered (UndefinedError)" in complaint(capsys, "evalset", "check")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "schema.json:1: not valid JSON"),
        ('{"type": "thing"}', "schema.json: not a JSON schema: 'thing' is not valid"),
        ('{"type": "array"}', "schema.json: the top must be an object"),
        ("[]", "schema.json: not a JSON schema"),
    ],
)
def test_a_broken_schema_is_named(project: Path, capsys: pytest.CaptureFixture[str], schema: str, message: str) -> None:
    (evalset(project, output={"json_schema": "schema.json"}) / "schema.json").write_text(schema)
    assert complaint(capsys, "evalset", "check").startswith(f"evalsets/colors/{message}")


@pytest.mark.parametrize("name", ["evalset.yaml", "items.jsonl"])
def test_a_missing_file_is_named(project: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    folder = evalset(project)
    other = write_evalset(project, "other", ITEMS)
    (folder / name).rename(other / "away")
    expected = f"evalsets/colors/{name}: there is no such file."
    if name == "evalset.yaml":
        expected = "there is no eval set 'colors' in evalsets. It has: other."
    assert complaint(capsys, "evalset", "check", "colors") == expected


def test_an_empty_project_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert "evalsets: there is no such folder" in complaint(capsys, "run", "--plan")
    assert complaint(capsys, "models") == "models.yaml: there is no such file."
    assert "there is no run yet" in complaint(capsys, "leaderboard")


@pytest.mark.parametrize("file", ["evalsets/colors/evalset.yaml", "models.yaml"])
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("schema: 1", "key 'schema' stands here a second time. Keep one of them."),
        ("'open", "not valid YAML: found unexpected end of stream. Check indent and quotes."),
    ],
)
def test_broken_yaml_is_named_by_its_line(
    project: Path, capsys: pytest.CaptureFixture[str], file: str, line: str, problem: str
) -> None:
    evalset(project)
    write_models(project, rules={"engine": "rules"})
    text = (project / file).read_text()
    (project / file).write_text(text + line)
    number = text.count("\n") + 1
    assert complaint(capsys, "run", "--plan") == f"{file}:{number}: {problem}"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"engine": "onnx"}, "field 'models.m.engine': there is no engine 'onnx'; there are: llamacpp"),
        (
            {"engine": "rules", "speed": 1},
            "field 'models.m.speed': unknown key. Remove it, or see which keys there are",
        ),
        (
            {"engine": "llamacpp", "model": "x", "zone": "hosted"},
            "field 'models.m': engine llamacpp runs on this machine",
        ),
        (
            {"engine": "openai", "model": "x", "base_url": "https://user:CANARY@host/v1"},
            "field 'models.m.base_url': must be an http(s) URL without a user name, password or query",
        ),
    ],
)
def test_a_broken_model_is_named_by_file_line_and_field(
    project: Path, capsys: pytest.CaptureFixture[str], entry: dict[str, Any], message: str
) -> None:
    write_models(project, m=entry)
    said = complaint(capsys, "models")
    assert said.startswith("models.yaml:") and message in said


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--models", "rules,nope"], "there is no model 'nope' in models.yaml. It has: rules."),
        (["--tasks", "nope"], "there is no eval set 'nope' in evalsets. It has: colors."),
        (["--tasks", "../evalsets/colors"], "there is no eval set '../evalsets/colors' in evalsets."),
        (["--variants", "nope"], "no eval set has a variant 'nope'. There are: default."),
        (["--tasks", ","], "',' names nothing."),
        (["--models", ""], "'' names nothing."),
        (["--models-file", "gone.yaml"], "gone.yaml: there is no such file."),
    ],
)
def test_an_unknown_name_is_told_the_known_ones(
    project: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    evalset(project, rules=RULES)
    write_models(project, rules={"engine": "rules"})
    assert complaint(capsys, "run", "--plan", *argv).startswith(message)


@pytest.mark.parametrize("sample", ["0", "-3", "1.5", "²", "many"])
def test_a_sample_is_a_whole_number_from_1(capsys: pytest.CaptureFixture[str], sample: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--plan", f"--sample={sample}"])
    assert ended.value.code == 2
    assert "argument --sample: " in capsys.readouterr().err


KEYED = {
    "engine": "openai",
    "model": "x",
    "base_url": "http://127.0.0.1:9/v1",
    "zone": "local",
    "api_key_env": "NO_KEY",
}


def test_a_model_without_its_key_is_skipped_visibly(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    evalset(project, rules=RULES)
    write_models(project, keyed=KEYED, rules={"engine": "rules"})
    assert main(["run", "--plan"]) == 0
    planned = capsys.readouterr().out
    assert "skipped: keyed: its key is not set. Set the environment variable NO_KEY." in planned
    assert "model rules: 3 questions" in planned
    said = complaint(capsys, "run", "--plan", "--models", "keyed,rules")
    assert said == "keyed: its key is not set. Set the environment variable NO_KEY."


@pytest.mark.parametrize(
    ("zone", "url", "message"),
    [
        ("local", "http://192.0.2.1/v1", "zone local: 192.0.2.1 is 192.0.2.1, which is not this machine."),
        ("local", "http://10.0.0.1/v1", "zone local: 10.0.0.1 is 10.0.0.1, which is not this machine."),
        (
            "private",
            "http://8.8.8.8/v1",
            "zone private: 8.8.8.8 is 8.8.8.8, a public address. Set zone: hosted, or list",
        ),
    ],
)
def test_an_endpoint_outside_its_zone_is_refused_in_the_plan(
    project: Path, capsys: pytest.CaptureFixture[str], zone: str, url: str, message: str
) -> None:
    evalset(project)
    write_models(project, m={"engine": "openai", "model": "x", "base_url": url, "zone": zone})
    assert message in complaint(capsys, "run", "--plan")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gone.parquet", None, "gone.parquet: there is no such file."),
        ("o.xlsx", "x", "o.xlsx: outcome tables are .parquet, .csv, .jsonl or .json files."),
        ("o.parquet", "no parquet", "o.parquet: cannot be read as parquet"),
        ("o.csv", "", "o.csv: cannot be read as csv"),
        ("o.jsonl", "{", "o.jsonl: cannot be read as jsonl"),
        ("o.csv", "task,item_id,model\nt,a,m\n", "o.csv: column 'score' is missing. Required are: task, item_id"),
        ("o.csv", "task,item_id,model,score\nt,a,m,1\nt,b,m,7\n", "o.csv: row 2: score is 7. Scores run from 0 to 1."),
        ("o.csv", "task,item_id,model,score\nt,a,m,CANARY\n", "o.csv: row 1: column 'score' has a value that is not a"),
        (
            "o.csv",
            "task,item_id,model,score\nt,a,m,1\nt,a,m,0\n",
            "o.csv: two different outcomes for t, a, m, default, 0.",
        ),
    ],
)
def test_a_broken_outcome_table_is_named(
    capsys: pytest.CaptureFixture[str], name: str, text: str | None, message: str
) -> None:
    if text is not None:
        Path(name).write_text(text)
    assert complaint(capsys, "leaderboard", name).startswith(message)


ROUTE = "schema: 1\nworkbench: 0.1.0\nroutes:\n  - task: t\n    class: {class_}\n    status: decided\n{more}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("routes: [", "routing.yaml:1: not valid YAML"),
        ("schema: 1\nworkbench: 0.1.0\n", "routing.yaml:1: field 'routes': is missing. Add it."),
        (ROUTE.format(class_="secret", more=""), "routing.yaml:5: field 'routes.0.class'"),
        (ROUTE.format(class_="open", more="    extra: 1\n"), "routing.yaml:7: field 'routes.0.extra': unknown key."),
        (ROUTE.format(class_="open", more="    reason: r\n"), "routing.yaml:4: field 'routes.0.margin': is missing."),
        (
            ROUTE.format(
                class_="open",
                more="    margin: 0.05\n    margin_source: default\n    reason: r\n    chain: [{model: m}]\n",
            ),
            "t (open)",
        ),
    ],
)
def test_a_broken_policy_is_named(project: Path, capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    write_models(project, rules={"engine": "rules"})
    Path("routing.yaml").write_text(text)
    assert message in complaint(capsys, "export", "routing.yaml", "--to", "litellm")
    assert not Path("exports").exists()


def test_an_unknown_gateway_is_told_the_known_ones(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_models(project, rules={"engine": "rules"})
    Path("routing.yaml").write_text("schema: 1\nworkbench: 0.1.0\nroutes: []\n")
    said = complaint(capsys, "export", "routing.yaml", "--to", "nope")
    assert said == "there is no gateway 'nope'. There are: json, litellm, vllm-sr."


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["evalset", "check"],
            "workbench: evalsets/shapes/evalset.yaml:",
        ),
        (["leaderboard", "gone.csv"], "workbench: gone.csv: there is no such file.\n"),
        (["run", "--sample", "0"], "usage: workbench run"),
    ],
)
def test_the_process_ends_with_status_2_and_no_traceback(project: Path, argv: list[str], message: str) -> None:
    evalset(project).rename(project / "evalsets" / "shapes")
    command = [sys.executable, "-m", "workbench.cli", *argv]
    done = subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr


def test_pages_on_a_port_that_is_taken_are_one_line_and_not_done(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["ui", "--port", str(taken.getsockname()[1])]) == 2
    assert "cannot be had" in capsys.readouterr().err


def test_a_guess_that_nobody_confirms_is_not_taken(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "own.csv").write_text("question,answer\n" + "".join(f"what is {n}?,{n % 2}\n" for n in range(9)))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda said: (_ for _ in ()).throw(EOFError))
    assert main(["evalset", "import", "own.csv", "--to", "evalsets/own"]) != 0
    assert not (project / "evalsets" / "own").exists() and "Traceback" not in capsys.readouterr().err
