"""`%%ask`: side by side and through the gate; what is restricted is seen by whoever looks on, and kept nowhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import environment, item, write_evalset, write_models
from IPython.core.error import UsageError
from recording_server import INPUT_TOKENS, OUTPUT_TOKENS, RecordingServer
from test_engines import stand_in
from test_interrupt import Interrupter
from test_redaction import files, is_private, text_of

import workbench as wb
from workbench import magic
from workbench.servers import Launch

CANARY = "CANARY-a1c7-Erika"
PRICE = {"input_usd_per_mtok": 100.0, "output_usd_per_mtok": 1000.0}
REQUEST_USD = (INPUT_TOKENS * 100.0 + OUTPUT_TOKENS * 1000.0) / 1e6


class Cell:
    """What a cell shows: pages as they were, and other things."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from IPython import display as shown

        self.pages: list[dict[str, str]] = []
        self.others: list[Any] = []
        monkeypatch.setattr(shown, "display", self.display)

    def display(self, what: Any, raw: bool = False, display_id: bool = False) -> Cell:
        (self.pages if raw else self.others).append(what)
        return self

    def update(self, what: Any, raw: bool) -> None:
        self.pages.append(what)

    @property
    def html(self) -> str:
        return self.pages[-1]["text/html"]

    @property
    def text(self) -> str:
        return self.pages[-1]["text/plain"]


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A notebook's cell, with nobody looking on."""
    monkeypatch.setattr("workbench.servers.idle.interactive", lambda: True)
    return Cell(monkeypatch)


@pytest.fixture
def two(project: Path, server: RecordingServer) -> RecordingServer:
    """A model here and a hosted one, behind one server."""
    entry = {"engine": "openai", "base_url": server.base_url, "price": PRICE}
    write_models(
        project,
        near={**entry, "model": "near", "zone": "local", "variants": ["few_shot"]},
        far={**entry, "model": "far", "zone": "hosted"},
        rules={"engine": "rules"},
    )
    server.answer = lambda body: f"{body['model']} says {body['messages'][-1]['content']}"
    return server


def bodies(server: RecordingServer) -> list[dict[str, Any]]:
    return [request.body for request in server.requests]


# Asked, and shown.


def test_answers_stand_side_by_side_with_time_tokens_and_cost(cell: Cell, two: RecordingServer) -> None:
    magic.ask("far near --public --system 'Be brief.' --max-tokens 7", "Is {{ this }} a template?\n")
    head, answers, *figures = cell.html.split("<tr>")[1:]
    assert head.index("far") < head.index("near")  # as they were named
    assert answers.index("far says Is {{ this }} a template?") < answers.index("near says Is {{ this }} a template?")
    assert len(figures) == 4 and cell.html.count(f"{INPUT_TOKENS} in, {OUTPUT_TOKENS} out") == 2
    assert cell.html.count(f"${REQUEST_USD:.2g}") == 2 and " s</td>" in figures[0]
    for body in bodies(two):
        assert body["max_tokens"] == 7 and body["messages"][0] == {"role": "system", "content": "Be brief."}


def test_no_run_is_left_behind_and_what_was_answered_is_not_asked_again(
    project: Path, cell: Cell, two: RecordingServer
) -> None:
    magic.ask("near --public", "Well?")
    assert "earlier run" not in cell.html
    magic.ask("near --public", "Well?")
    assert len(two.requests) == 1 and "near says Well?" in cell.html and "in an earlier run" in cell.html
    assert not (project / ".workbench" / "runs").exists()  # 'workbench leaderboard' shows the newest of these


def test_a_script_in_an_answer_stays_text(cell: Cell, two: RecordingServer) -> None:
    two.answer = lambda body: "<script>alert(1)</script><img src=x onerror=alert(2)>"
    magic.ask("near --public", "x")
    assert "&lt;script&gt;alert(1)" in cell.html and "<script" not in cell.html and "<img" not in cell.html


def test_an_answer_does_not_command_the_terminal(cell: Cell, two: RecordingServer) -> None:
    two.answer = lambda body: (
        "a\tb\r\n\x1b[31mred\x1b]0;title\x07 \x9b2J \0\r over \u202egnp.exe \u2066 né 漢 👩\u200d🔬\n"
    )
    magic.ask("near --public", "Hello")
    assert (
        "a\tb\n\\x1b[31mred\\x1b]0;title\\x07 \\x9b2J \\x00\\r over \\u202egnp.exe \\u2066 né 漢 👩\u200d🔬"
        in cell.text
    )


def test_one_models_failure_is_its_own(cell: Cell, two: RecordingServer) -> None:
    two.fault = lambda body: "400" if body["model"] == "far" else "ok"
    magic.ask("far near rules --internal", "Well?")
    assert "no answer: bad_request" in cell.html and "HTTP 400: as told" in cell.html and "near says Well?" in cell.html
    assert "rules answer the items of an eval set" in cell.html


def test_a_key_that_is_not_set_is_told_and_the_others_answer(
    project: Path, cell: Cell, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET_KEY", raising=False)
    entry = {"engine": "openai", "model": "m", "base_url": server.base_url, "zone": "hosted"}
    write_models(project, far={**entry, "api_key_env": "NOT_SET_KEY"}, other=entry)
    magic.ask("far other --public", "x")
    assert "NOT_SET_KEY" in cell.html and ">red<" in cell.html and "unknown" in cell.html  # its price


def test_what_an_engine_does_is_shown_until_the_answer_is_there(
    project: Path,
    cell: Cell,
    standing_in: dict[str, Launch],
) -> None:
    write_models(project, a={"engine": "llamacpp", "model": "m.gguf"}, b={"engine": "llamacpp", "model": "n.gguf"})
    standing_in |= {"a": stand_in(delay_s=0.4), "b": replace(stand_in(hang=True), ready_timeout_s=2.5)}
    magic.ask("a b", "Color?")
    assert any("loading b (" in page["text/html"] for page in cell.pages) and "loading" not in cell.html
    assert "[restricted] 3 characters" in cell.html and "b: not ready after 2" in cell.html


def test_an_interrupt_keeps_what_is_there(cell: Cell, two: RecordingServer) -> None:
    two.on_request = lambda request: two.released.wait(60) and None if request.body["model"] == "far" else None
    with Interrupter(lambda: "near says" in cell.html if cell.pages else False):
        magic.ask("near far --public", "Well?")
    assert "near says Well?" in cell.html and "(interrupted)" in cell.html


def test_the_real_engine_answers(project: Path, cell: Cell, smollm2: Path) -> None:
    write_models(project, smol={"engine": "llamacpp", "model": str(smollm2), "max_model_len": 512, "threads": 1})
    magic.ask("smol --internal --max-tokens 12", "What is the capital of France?")
    figures, _, answer = cell.text.partition("\n")
    found = re.search(r"time ([\d.]+) s, first token ([\d.]+) s, tokens (\d+) in, (\d+) out, cost \$", figures)
    assert found and answer.strip(), cell.text
    time_s, first_s, read, written = map(float, found.groups())
    assert first_s <= time_s and read > 8 and 1 <= written <= 12


# Through the gate.


def test_what_is_not_labeled_reaches_no_hosted_model(cell: Cell, two: RecordingServer) -> None:
    magic.ask("near far", f"Patient {CANARY}")
    assert [body["model"] for body in bodies(two)] == ["near"]
    assert "the text is restricted, and far is hosted" in cell.html and "--public or --internal say" in cell.html
    assert f"[restricted] {len('near says Patient ' + CANARY)} characters" in cell.html
    assert not any(CANARY in page for told in cell.pages for page in told.values())


@pytest.mark.parametrize("label", ["--public", "--internal"])
def test_what_is_labeled_does(cell: Cell, two: RecordingServer, label: str) -> None:
    magic.ask(f"near far {label}", "Color?")
    assert {body["model"] for body in bodies(two)} == {"near", "far"} and "say that it may" not in cell.html


def test_an_error_that_repeats_a_restricted_text_is_not_shown(cell: Cell, two: RecordingServer) -> None:
    two.fault, two.message = "400", lambda body: f"bad: {body['messages'][-1]['content']}"
    magic.ask("near", f"Patient {CANARY}")
    assert "no answer: bad_request" in cell.html and CANARY not in cell.html and "[restricted]" in cell.html


def test_whoever_looks_on_sees_restricted_answers_that_no_state_holds(
    cell: Cell, two: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(magic, "_somebody_there", lambda kernel: True)
    magic.ask("near far", f"Patient {CANARY}")
    (part,) = cell.others
    sent: list[Any] = []
    monkeypatch.setattr(part, "send", lambda content, buffers=None: sent.append(content))
    part._handle_custom_msg({"kind": "ready"}, [])
    assert sent[0]["answers"] == [{"model": "near", "answer": f"near says Patient {CANARY}"}]
    assert CANARY not in repr(part.get_state()) and CANARY not in repr(part._repr_mimebundle_())
    assert CANARY not in cell.html and "innerHTML" not in str(part._esm)


NOTEBOOK = [
    "%load_ext workbench",
    "%%ask near far\nA secret.",
    "%%ask near far --public\nOpen.",
    "%%ask nope\nx",
]


def test_an_executed_notebook_has_no_restricted_answer(project: Path, two: RecordingServer) -> None:
    two.answer = lambda body: f"{CANARY} {body['messages'][-1]['content']}" if "A sec" in str(body) else "blue"
    cells = [nbformat.v4.new_code_cell(source) for source in NOTEBOOK]
    cells[-1].metadata["tags"] = ["raises-exception"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), project / "in.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "in.ipynb", "--output", "out.ipynb"]
    done = subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    restricted, public, wrong = (each.outputs for each in nbformat.read(project / "out.ipynb", 4).cells[1:])
    assert len(restricted) == len(public) == 1 and "widget" not in str(restricted[0].data)
    assert "[restricted]" in restricted[0].data["text/html"] and public[0].data["text/html"].count(">blue<") == 2
    assert "UsageError: %%ask: there is no model 'nope'" in str(wrong) and "Traceback" not in str(wrong)
    leaks = [path for path in files(project) if not is_private(path, project) and CANARY.encode() in text_of(path)]
    assert leaks == [] and any(CANARY.encode() in text_of(path) for path in files(project))  # in the journal it is


# Kept.


@pytest.fixture
def colors(project: Path, two: RecordingServer) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """An eval set of single texts; what its items.jsonl has."""
    path = write_evalset(project, "colors", [item("i1"), item("i2")]) / "items.jsonl"
    path.write_text(path.read_text().rstrip("\n"))  # as some editors leave it
    path.chmod(0o640)
    yield lambda: [json.loads(line) for line in path.read_text().splitlines()]
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(".")] == []
    assert list((project / ".workbench" / "kept").glob("*")) == []


def test_a_prompt_is_kept_as_an_item(cell: Cell, colors: Callable[[], list[dict[str, Any]]]) -> None:
    before = wb.load_evalsets()["colors"]
    magic.ask("near --internal --keep colors --expect green", "a leaf\n")
    *_, kept = colors()
    assert kept == {
        "id": kept["id"],
        "inputs": {"thing": "a leaf"},
        "expectations": {"label": "green"},
        "sensitivity": "internal",
    }
    assert f"kept as item {kept['id']} of colors (internal)" in cell.html
    after = wb.load_evalsets()["colors"]
    assert len(after.items) == 3 and after.digest != before.digest
    magic.ask("""near --keep colors --expect '{"label": ["green", "blue"]}'""", "the sea")
    assert colors()[-1]["expectations"] == {"label": ["green", "blue"]} and colors()[-1]["sensitivity"] == "restricted"


@pytest.mark.parametrize(
    ("options", "text", "said"),
    [
        ("--keep colors", "x", "expectations.label. Add it: say what is right with --expect"),
        ("--keep colors --expect pink", "x", "expectations.label is not among the labels"),
        ("--keep colors --expect red", "thing i2", "has an item with this text already"),
        ("--keep gone --expect red", "x", "there is no eval set 'gone'"),
        ("--keep colors,other --expect red", "x", "name one eval set"),
        ("--expect red", "x", "--expect goes with --keep"),
    ],
)
def test_what_cannot_be_kept_is_told_and_nothing_is_asked(
    cell: Cell,
    colors: Callable[[], list[dict[str, Any]]],
    two: RecordingServer,
    options: str,
    text: str,
    said: str,
) -> None:
    with pytest.raises(UsageError) as failure:
        magic.ask(f"near --internal {options}", text)
    assert said in str(failure.value) and "\n" not in str(failure.value)
    assert len(colors()) == 2 and not two.requests and not cell.pages


def test_an_eval_set_with_several_inputs_takes_no_single_text(project: Path, cell: Cell, two: RecordingServer) -> None:
    folder = write_evalset(project, "pairs", [item("i1", inputs={"thing": "a", "shade": "b"})])
    before = (folder / "items.jsonl").read_bytes()
    with pytest.raises(UsageError, match="its items have the inputs shade, thing, and a prompt is one text"):
        magic.ask("near --keep pairs --expect red", "x")
    assert (folder / "items.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("output", "scorer", "first", "given", "kept"),
    [
        ({"labels": ["1", "2"]}, {"type": "label"}, {"label": "1"}, "2", {"label": "2"}),  # no number: a label
        ({"text": True}, {"type": "multi_label"}, {"labels": ["a"]}, '["b", "c"]', {"labels": ["b", "c"]}),
        ({"text": True}, {"type": "exact"}, {"answer": "a"}, "true", {"answer": "true"}),
    ],
)
def test_what_is_expected_is_text_unless_only_a_value_fits(
    project: Path,
    cell: Cell,
    two: RecordingServer,
    output: dict[str, Any],
    scorer: dict[str, Any],
    first: dict[str, Any],
    given: str,
    kept: dict[str, Any],
) -> None:
    write_evalset(project, "some", [{**item("i1"), "expectations": first}], output=output, scorers=[scorer])
    magic.ask(f"near --public --keep some --expect '{given}'", "new")
    assert wb.load_evalsets()["some"].items[-1].expectations == kept


# Said wrong.


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        ("", "x", "%%ask: name at least one model of models.yaml. It has: far, near, rules."),
        ("gone near lost", "x", "there is no model 'gone' or 'lost' in models.yaml. It has: far, near, rules."),
        ("near --public --internal", "x", "not allowed with"),
        ("near --publik", "x", "unrecognized arguments: --publik"),
        ("near --max-tokens 0", "x", "--max-tokens 0: give a number from 1"),
        ("near --max-tokens many", "x", "invalid int value"),
        ("near --system 'open", "x", "No closing quotation"),
        ("near --models-file gone.yaml", "x", "gone.yaml: there is no such file"),
        ("near", "  \n", "the cell has no prompt"),
    ],
)
def test_what_is_said_wrong_is_one_line(cell: Cell, two: RecordingServer, line: str, text: str, said: str) -> None:
    with pytest.raises(UsageError) as failure:
        magic.ask(line, text)
    assert said in str(failure.value) and "\n" not in str(failure.value) and not two.requests


def test_help_lists_every_option(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    magic.ask("--help", "")
    told = capsys.readouterr().out
    for option in ("--public", "--internal", "--system", "--max-tokens", "--keep", "--expect", "--models-file"):
        assert option in told


def test_a_terminal_shows_restricted_answers_and_a_pipe_does_not(
    two: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for looked_on in (True, False):
        with monkeypatch.context() as patch:
            shown = Cell(patch)
            patch.setattr(magic, "_somebody_there", lambda kernel, there=looked_on: there)
            magic.ask("near", f"Patient {CANARY}")
            assert (f"near says Patient {CANARY}" in shown.text) == looked_on and len(shown.pages) == 1
