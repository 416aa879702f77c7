"""Prompts against a context length, by the tokenizer of the real engine; nothing restricted reaches a hosted one."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audited import Plant, Rows, colors, found, says
from conftest import write_models
from recording_server import RecordingServer

from workbench.audit import Audit, audit
from workbench.audit import lengths as lengths_room
from workbench.catalog import load_models
from workbench.cli import main
from workbench.client import Client
from workbench.evalset import EvalSet
from workbench.privacy import Payload, gate
from workbench.prompts import render
from workbench.servers.serving import serving

CONTEXT = 256
MAX_TOKENS = 4  # of `write_evalset`


def local(path: Path, **more: Any) -> dict[str, Any]:
    return {"engine": "llamacpp", "model": str(path), "max_model_len": CONTEXT, "concurrency": 2, "threads": 1, **more}


def few(items: Rows, train: Rows) -> None:
    """Six items, for the engine takes its time."""
    del items[3:20], items[6:23], items[9:]


def planted(change: Plant) -> Plant:
    def plant(items: Rows, train: Rows) -> None:
        few(items, train)
        change(items, train)

    return plant


def lengths(root: Path, evalset: EvalSet, **models: dict[str, Any]) -> Audit:
    return audit(evalset, models=load_models(write_models(root, **models)))


def of_context(report: Audit) -> list[tuple[str, str, tuple[str, ...]]]:
    return [finding for finding in found(report) if finding[0] == "context"]


def test_counts_are_the_engines_own_and_what_is_too_long_is_found(project: Path, smollm2: Path) -> None:
    words = " ".join(f"leaf {number}" for number in range(60))
    evalset = colors(project, planted(lambda items, train: says(items[4], f"and {words}")))
    report = lengths(project, evalset, smollm=local(smollm2), rules={"engine": "rules"})

    model = load_models(project / "models.yaml")["smollm"]

    async def usage() -> list[int]:
        async with serving(model) as served, Client(served.endpoint) as client:
            longest = []
            for entry in evalset.items:
                counts = []
                for variant in evalset.spec.variants:
                    prompt = render(evalset, variant, entry)
                    body = {"model": model.id, "messages": prompt.messages, "max_tokens": 1}
                    attempt = await client.attempt(gate(Payload(body, prompt.sources), served.endpoint.destination))
                    counts.append(attempt.input_tokens or _told(attempt.error or ""))
                longest.append(max(counts))
            return longest

    assert report.tokens == {"smollm": asyncio.run(usage())}
    assert of_context(report) == [("context", "error", (evalset.items[4].id,))]
    finding = next(finding for finding in report.findings if finding.check == "context")
    assert finding.what == (
        f"1 item whose prompt leaves smollm no room: it has {CONTEXT} tokens, of which the answer takes {MAX_TOKENS} "
        f"and the longest prompt {max(report.tokens['smollm'])}"
    )
    assert "context length" not in str(report.not_checked)


def _told(error: str) -> int:
    """What the engine says of a prompt that it refuses: 'request (631 tokens) exceeds …'."""
    return int(error.partition("request (")[2].partition(" tokens")[0])


@pytest.mark.parametrize(("context", "items"), [(104, ()), (103, ("c-003",)), (24, ("c-002", "c-003")), (1, ...)])
def test_the_last_token_that_fits_is_no_finding(project: Path, context: int, items: Any) -> None:
    evalset = colors(project, planted(lambda items, train: items.__delitem__(slice(3, None))))
    counted = lengths_room._Counted(context, longest=[20, 21, 100], answers=[MAX_TOKENS] * 3)
    named = [finding.items for finding in lengths_room._findings(evalset, "m", counted)]
    assert named == ([] if items == () else [("c-001", "c-002", "c-003")] if items is ... else [items])


def test_an_expected_answer_that_max_tokens_would_cut_is_found(project: Path, smollm2: Path) -> None:
    long = "a rather long name for the color of ripe tomatoes"

    def plant(items: Rows, train: Rows) -> None:
        items[1]["expectations"]["label"] = long

    output = {"output": {"labels": ["red", "green", "blue", long]}}
    evalset = colors(project, planted(plant), **output)
    report = lengths(project, evalset, smollm=local(smollm2))
    assert of_context(report) == [("context", "error", (evalset.items[1].id,))]
    (said,) = re.findall(r"takes smollm up to (\d+) tokens, more than max_tokens \(4\): c-002\. Raise", str(report))
    assert 8 <= int(said) <= 13  # ten words


def hosted(server: RecordingServer, **more: Any) -> dict[str, Any]:
    price = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}
    return {"engine": "openai", "model": "m", "base_url": server.base_url, "price": price, **more}


def test_a_hosted_model_is_sent_nothing_and_said_to_be_unchecked(project: Path, server: RecordingServer) -> None:
    report = lengths(project, colors(project), far=hosted(server))
    assert server.requests == []
    assert report.not_checked[0] == "prompts against far's context length: a hosted API offers no count"
    assert report.tokens == {} and found(report) == []


def counting(server: RecordingServer, monkeypatch: pytest.MonkeyPatch, reply: Callable[[dict[str, Any]], Any]) -> None:
    """Let the server offer a count in vLLM's way: two characters a token."""
    handler = server._http.RequestHandlerClass
    original = handler.do_POST

    def do_POST(self: Any) -> None:
        if self.path != "/tokenize":
            original(self)
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.requests.append(body)
        self.whole(200, json.dumps(reply(body)))

    monkeypatch.setattr(handler, "do_POST", do_POST)


def pairs(body: dict[str, Any]) -> int:
    """A token for two characters."""
    return sum(len(turn["content"]) for turn in body["messages"]) // 2


def private(server: RecordingServer, **more: Any) -> dict[str, Any]:
    return {"engine": "openai", "model": "m", "base_url": server.base_url, "zone": "private", **more}


def test_a_private_server_is_asked_for_restricted_items_too(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting(server, monkeypatch, lambda body: {"count": pairs(body), "max_model_len": 50})
    bare = {"default": {"messages": [{"role": "user", "content": "Color of {{ inputs.thing }}?"}]}}
    evalset = colors(project, few, variants=bare)
    report = lengths(project, evalset, near=private(server), far=hosted(server))
    assert report.tokens["near"] == [
        pairs({"messages": render(evalset, "default", entry).messages}) for entry in evalset.items
    ]
    assert of_context(report) == [("context", "error", ("c-021", "c-022"))]  # over 46
    assert "jane.roe@example.com" in json.dumps(server.requests) and len(server.requests) == 1 + 2 * 9


def test_only_the_variants_that_a_model_is_asked_are_counted(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting(server, monkeypatch, lambda body: {"count": pairs(body), "max_model_len": 5000})
    models = {"bare": private(server, variants=["default"]), "other": private(server, variants=["elsewhere"])}
    report = lengths(project, colors(project, few), **models, whole=private(server))
    assert list(report.tokens) == ["bare", "whole"] and report.not_checked[0].startswith("hardness")
    assert all(one + 30 < other for one, other in zip(*report.tokens.values(), strict=True))  # three examples more


def test_a_context_that_is_written_down_counts_before_the_servers(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting(server, monkeypatch, lambda body: {"count": pairs(body), "max_model_len": 10})
    report = lengths(project, colors(project, few), near=private(server, max_model_len=5000))
    assert of_context(report) == [] and len(report.tokens["near"]) == 9


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (
            lambda body: {"count": pairs(body)},
            "its server does not say how long that is: set 'max_model_len' in models.yaml",
        ),
        (lambda body: {"error": "no such thing"}, "its server offers no count, or fails"),
        (  # in mid-audit: half a count is none
            lambda body: {"count": 7, "max_model_len": 99} if "clear sky" not in str(body) else {},
            "its server offers no count, or fails",
        ),
    ],
)
def test_a_server_that_does_not_count_is_said_to_be_unchecked(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch, reply: Any, why: str
) -> None:
    counting(server, monkeypatch, reply)
    report = lengths(project, colors(project, few), near=private(server))
    assert report.not_checked[0] == f"prompts against near's context length: {why}"
    assert report.tokens == {} and of_context(report) == []


def test_an_engine_or_address_that_will_not_do_is_said_to_be_unchecked(project: Path, tmp_path: Path) -> None:
    public = {"engine": "openai", "model": "m", "base_url": "http://8.8.8.8/v1", "zone": "private"}
    report = lengths(project, colors(project), gone=local(tmp_path / "gone.gguf"), outside=public)
    assert report.tokens == {} and report.clean
    assert report.not_checked[0].startswith("prompts against gone's context length: ")
    assert "gone.gguf" in report.not_checked[0]
    assert "outside's context length: zone private: 8.8.8.8 is 8.8.8.8, a public address" in report.not_checked[1]


def test_the_command_takes_models(project: Path, server: RecordingServer, capsys: pytest.CaptureFixture[str]) -> None:
    write_models(project, far=hosted(server), rules={"engine": "rules"})
    colors(project)
    assert main(["evalset", "check", "colors", "--models", "far,rules"]) == 0
    assert (
        "not checked: prompts against far's context length: a hosted API offers no count\n" in capsys.readouterr().out
    )
    assert server.requests == []
