"""Divergence of token probabilities: closed forms, a server that tells planted ones, and the real engine."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import secrets
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, item, write_evalset, write_models
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_server import RecordingServer

from workbench.catalog import load_models
from workbench.divergence import _Progress, measure, read_divergence, same_top, summary, top_k_divergence
from workbench.errors import InputError
from workbench.evalset import load_evalsets
from workbench.outcomes.table import write_outcomes
from workbench.quantization import quantization_report

# Three tokens by engine; only the first two are named where k is 2.
REFERENCE = {1: 0.7, 2: 0.2, 3: 0.1}
CANDIDATE = {1: 0.3, 2: 0.6, 3: 0.1}


def logs(chances: dict[int, float]) -> dict[int, float]:
    return {token: math.log(chance) for token, chance in chances.items()}


def kl(p: dict[int, float], q: dict[int, float]) -> float:
    return sum(chance * math.log(chance / q[token]) for token, chance in p.items())


def test_the_divergence_over_all_tokens_is_the_closed_form() -> None:
    assert top_k_divergence(logs(REFERENCE), logs(CANDIDATE)) == pytest.approx(kl(REFERENCE, CANDIDATE), abs=1e-4)
    assert top_k_divergence(logs(REFERENCE), logs(REFERENCE)) == 0


def test_what_is_not_named_by_both_is_one_class() -> None:
    p, q = {1: 0.7, 2: 0.2}, {1: 0.3, 3: 0.5}
    expected = 0.7 * math.log(0.7 / 0.3) + 0.3 * math.log(0.3 / 0.7)
    assert top_k_divergence(logs(p), logs(q)) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_it_is_a_lower_bound(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    full = [dict(enumerate(rng.dirichlet(np.full(12, 0.5)) + 1e-9)) for _ in range(2)]
    told = [logs(dict(sorted(each.items(), key=lambda pair: -pair[1])[:k])) for each in full]
    found = top_k_divergence(*told)
    assert 0 <= found <= kl(*full) + 1e-5
    assert top_k_divergence(told[0], told[0]) == 0


def test_of_equally_likely_top_tokens_one_is_enough() -> None:
    assert same_top(logs({1: 0.4, 2: 0.4}), logs({2: 0.5, 1: 0.3}))
    assert not same_top(logs(REFERENCE), logs(CANDIDATE))


class Teller:
    """A server in vLLM's way: a token a character, the same chances at every place."""

    def __init__(self, chances: dict[int, float], shift: int = 0, tells: bool = True) -> None:
        self.chances, self.shift, self.tells = chances, shift, tells
        self.seen: list[tuple[str, dict[str, Any]]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.seen.append((self.path, body))
                answer = json.dumps(owner.answer(self.path, body)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        self.base_url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/tokenize":
            text = body.get("prompt") or json.dumps(body["messages"])
            return {"tokens": [ord(each) + self.shift for each in text]}
        assert path == "/v1/completions" and body["max_tokens"] == 1
        named = sorted(logs(self.chances).items(), key=lambda pair: -pair[1])[: body["prompt_logprobs"]]
        place = {str(token): {"logprob": log, "rank": rank} for rank, (token, log) in enumerate(named, 1)}
        told = [None, *[place for _ in body["prompt"][1:]]] if self.tells else None
        return {"choices": [{"text": "x", "prompt_logprobs": told}]}

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def tellers() -> Iterator[dict[str, Teller]]:
    found = {
        "bf16": Teller(REFERENCE),
        "again": Teller(REFERENCE),
        "w4": Teller(CANDIDATE),
        "other": Teller(REFERENCE, shift=1),
        "mute": Teller(REFERENCE, tells=False),
    }
    yield found
    for teller in found.values():
        teller.close()


ANSWERS = {"1": "red", "2": "green", "3": ""}


def asked(project: Path, tellers: dict[str, Teller], **spec: Any) -> tuple[Any, Any, pd.DataFrame]:
    """Eval sets, models and outcomes of `bf16`: three characters and five, and an empty answer."""
    write_evalset(project, "colors", [item(name) for name in ANSWERS], **spec)
    entries = {
        name: {"engine": "openai", "base_url": teller.base_url, "model": "m", "zone": "local"}
        for name, teller in tellers.items()
    }
    write_models(project, **entries, q4={"engine": "llamacpp", "model": "x.gguf"})
    tasks = load_evalsets("evalsets")
    rows = [
        {"task": "colors", "item_id": name, "model": model, "score": 1.0, "output": text}
        for model in (*tellers, "q4")
        for name, text in ANSWERS.items()
    ]
    return tasks, load_models(), pd.DataFrame(rows).assign(evalset_digest=tasks["colors"].digest)


def test_each_model_is_asked_the_same_tokens_and_the_closed_form_comes_out(
    project: Path, tellers: dict[str, Teller]
) -> None:
    tasks, models, outcomes = asked(project, tellers)
    lines: list[str] = []
    found = measure(outcomes, tasks, models, "bf16", say=lines.append)
    assert set(found["model"]) == {"again", "w4"}
    assert [line for line in lines if line.startswith("w4: 0 of 2 texts")]  # an empty answer is no text
    assert re.fullmatch(r"w4: 2 of 2 texts in \d+ s", [line for line in lines if line.startswith("w4:")][-1])
    w4 = found[found["model"] == "w4"].set_index("item_id")
    assert dict(w4["tokens"]) == {"1": 3, "2": 5}  # an empty answer has no place to look at
    assert list(w4["kl_nats"]) == pytest.approx([kl(REFERENCE, CANDIDATE)] * 2, abs=1e-4)
    assert list(w4["top_token_agreement"]) == [0, 0]
    again = found[found["model"] == "again"]
    assert list(again["kl_nats"]) == [0, 0] and list(again["top_token_agreement"]) == [1, 1]
    sent = [
        [body["prompt"] for path, body in tellers[name].seen if path == "/v1/completions"] for name in ("bf16", "w4")
    ]
    assert sorted(sent[0]) == sorted(sent[1]) and len(sent[0]) == 2
    notes = "\n".join(found.attrs["notes"])
    assert "other: its tokenizer is another" in notes
    assert "mute: its server gives no prompt log-probabilities" in notes
    assert "q4: engine llamacpp gives no prompt log-probabilities" in notes


def test_the_time_left_is_told_from_the_texts_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now, lines = [100.0], list[str]()
    monkeypatch.setattr("workbench.divergence.time.monotonic", lambda: now[0])
    progress = _Progress("w4", 4, lines.append)
    progress.begin()
    for at in (101.0, 110.0, 111.0, 120.0):
        now[0] = at
        progress.one()
    assert lines[1:] == ["w4: 2 of 4 texts, about 10 s left", "w4: 4 of 4 texts in 20 s"]


def test_fewer_named_tokens_are_still_a_lower_bound(project: Path, tellers: dict[str, Teller]) -> None:
    tasks, models, outcomes = asked(project, tellers)
    found = measure(outcomes, tasks, models, "bf16", candidates="w4", k=1)
    assert (found["kl_nats"] < kl(REFERENCE, CANDIDATE)).all()  # 1 and 2 are not named by both: nothing can be told
    assert (found["k"] == 1).all()


def test_the_report_takes_it_from_its_file_which_only_its_owner_reads(
    project: Path, tellers: dict[str, Teller]
) -> None:
    tasks, models, outcomes = asked(project, tellers)
    path = write_outcomes(measure(outcomes, tasks, models, "bf16"), project / "divergence.parquet")
    assert path.stat().st_mode & 0o777 == 0o600
    report = quantization_report(outcomes, "bf16", divergence=path)
    rows = report.headline.set_index("model")
    assert rows.loc["w4", "kl_nats"] == pytest.approx(kl(REFERENCE, CANDIDATE), abs=1e-4)
    assert rows.loc["w4", "divergence_tokens"] == 8 and rows.loc["w4", "top_token_agreement"] == 0
    assert rows.loc["again", "kl_nats"] == 0
    assert math.isnan(rows.loc["mute", "kl_nats"])
    assert any("lower bound" in note for note in report.notes)
    assert "KL, nats a token ≥" in report._repr_html_()


def test_restricted_items_go_to_own_servers_and_a_hosted_model_is_never_asked(
    project: Path, tellers: dict[str, Teller], server: RecordingServer
) -> None:
    tasks, _, outcomes = asked(project, tellers, sensitivity="restricted")
    entry = {"engine": "openai", "model": "m", "base_url": tellers["bf16"].base_url, "zone": "local"}
    write_models(project, bf16=entry, far={**entry, "base_url": server.base_url, "zone": "hosted"})
    found = measure(outcomes, tasks, load_models(), "bf16", candidates="far")
    assert found.empty and not server.requests
    assert "hosted: only servers of your own are asked" in found.attrs["notes"][0]
    assert len(tellers["bf16"].seen) == 6


def test_what_cannot_be_measured_is_one_clear_error(project: Path, tellers: dict[str, Teller]) -> None:
    tasks, models, outcomes = asked(project, tellers)
    with pytest.raises(InputError, match="there is no model 'gone'"):
        measure(outcomes, tasks, models, "gone")
    with pytest.raises(InputError, match="q4: engine llamacpp gives no prompt log-probabilities"):
        measure(outcomes, tasks, models, "q4")
    with pytest.raises(InputError, match="mute: its server gives no prompt log-probabilities"):
        measure(outcomes, tasks, models, "mute")
    tellers["w4"].close()
    found = measure(outcomes, tasks, models, "bf16", candidates="w4")
    assert found.empty and "w4: its server tells no tokens by /tokenize" in found.attrs["notes"][0]
    with pytest.raises(InputError, match="no answers of 'bf16'"):
        measure(outcomes.drop(columns="output"), tasks, models, "bf16")
    with pytest.raises(InputError, match="the eval set has changed"):
        measure(outcomes.assign(evalset_digest="another"), tasks, models, "bf16")
    (project / "text.parquet").write_text("no table")
    for wrong in (project / "none.parquet", project / "text.parquet", pd.DataFrame({"task": []})):
        with pytest.raises(InputError):
            read_divergence(wrong)


def test_a_summary_weighs_by_tokens() -> None:
    rows = pd.DataFrame({"tokens": [1, 3], "kl_nats": [0.4, 0.0], "top_token_agreement": [0.0, 1.0]})
    found = summary(rows)
    assert found["kl_nats"] == pytest.approx(0.1) and found["top_token_agreement"] == 0.75
    assert math.isnan(summary(rows.iloc[:0])["kl_nats"])


CHECKPOINTS = {name: REPOSITORY / ".weights" / f"smollm2-{name}" for name in ("hf", "w8a8", "w4a16")}
VLLM = REPOSITORY / ".venv-vllm" / "bin" / "vllm"


@contextlib.contextmanager
def vllm(checkpoint: Path, key: str) -> Iterator[str]:
    """A real vLLM server on loopback, its whole group ended afterwards."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    told = (
        "VLLM_CPU_KVCACHE_SPACE=1 HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_HOST_IP=127.0.0.1 TORCH_COMPILE_DISABLE=1"
    )
    env = {**os.environ, **dict(each.split("=") for each in told.split()), "VLLM_API_KEY": key, "PYTHONPATH": ""}
    command = (
        f"--host 127.0.0.1 --port {port} --served-model-name m --dtype bfloat16 --enforce-eager --max-model-len 2048"
    )
    log = checkpoint.parent / f".{checkpoint.name}.log"
    with log.open("wb") as said:
        running = subprocess.Popen(
            [VLLM.with_name("python"), VLLM, "serve", checkpoint, *command.split()],
            env=env,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 240
        while True:
            assert running.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                break
            time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(running.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        log.unlink()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_on_the_real_engine_fewer_bits_diverge_more_and_a_model_not_from_itself(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not VLLM.exists() or not all((path / ".made").exists() for path in CHECKPOINTS.values()):
        pytest.skip("vLLM's CPU build or the checkpoints are not made: make vllm checkpoints")
    key = secrets.token_hex(8)
    monkeypatch.setenv("TEST_VLLM_KEY", key)
    write_evalset(project, "colors", [item(str(n), thing) for n, thing in enumerate(("sky", "grass", "blood", "snow"))])
    tasks = load_evalsets("evalsets")
    answers = ["The sky is blue, most of the time.", "Green.", "It is red because of iron.", "White, or blue in ice."]
    rows = [
        {"task": "colors", "item_id": str(n), "model": "bf16", "score": 1.0, "output": answer}
        for n, answer in enumerate(answers)
    ]
    with contextlib.ExitStack() as stack:
        urls = {name: stack.enter_context(vllm(path, key)) for name, path in CHECKPOINTS.items()}
        entry = {"engine": "openai", "model": "m", "zone": "local", "api_key_env": "TEST_VLLM_KEY"}
        entries = {"bf16": "hf", "again": "hf", "w8a8": "w8a8", "w4a16": "w4a16"}
        write_models(project, **{name: {**entry, "base_url": urls[at]} for name, at in entries.items()})
        found = measure(pd.DataFrame(rows), tasks, load_models(), "bf16", candidates="again,w8a8,w4a16")
    assert found.attrs["notes"] == []
    by_model = {str(name): summary(own) for name, own in found.groupby("model")}
    assert all(
        figures["divergence_tokens"] == by_model["again"]["divergence_tokens"] > 20 for figures in by_model.values()
    )
    assert by_model["again"]["kl_nats"] < 0.005  # but for what other requests in a batch change in bfloat16
    assert by_model["again"]["kl_nats"] < by_model["w8a8"]["kl_nats"] < by_model["w4a16"]["kl_nats"]
    assert by_model["w4a16"]["kl_nats"] > 0.01
