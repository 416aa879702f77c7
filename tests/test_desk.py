"""The desk: fair to all lanes, quick to commit, and quick to stop; and what it tells repeats no restricted text."""

from __future__ import annotations

import _thread
import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually, item, write_evalset, write_models
from recording_server import RecordingServer

import workbench as wb
from workbench.journal import Journal
from workbench.rules import Rules
from workbench.runner import Run
from workbench.runner.outcome import outcome
from workbench.runner.question import Question
from workbench.servers.serving import serving_all

RULES = {"rules": [{"pattern": "thing", "answer": "red"}]}
CANARY = "CANARY-7f3a"


def entry(server: RecordingServer, **more: Any) -> dict[str, Any]:
    return {"engine": "openai", "model": "m", "zone": "local", "base_url": server.base_url, **more}


def go(**options: Any) -> Run:
    return wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False, **options)


@pytest.fixture
def slow_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules that take 5 ms each."""
    answer = Rules.answer

    def slowly(self: Rules, inputs: dict[str, Any]) -> str | None:
        time.sleep(0.005)
        return answer(self, inputs)

    monkeypatch.setattr(Rules, "answer", slowly)


def test_an_interrupt_stops_rules_too(project: Path, slow_rules: None) -> None:
    write_evalset(project, "colors", [item(str(n)) for n in range(3000)], rules=RULES)
    write_models(project, rules={"engine": "rules"})
    threading.Timer(1.0, _thread.interrupt_main).start()
    started = time.monotonic()
    run = go()
    assert run.status == "interrupted" and 0 < run.rows < 2000 and time.monotonic() - started < 8


def test_hosted_models_are_asked_while_the_rules_still_work(
    project: Path, server: RecordingServer, slow_rules: None
) -> None:
    write_evalset(project, "colors", [item(str(n)) for n in range(600)], rules=RULES)
    write_models(project, rules={"engine": "rules"}, far=entry(server, zone="hosted", concurrency=4))
    committed: list[float] = []
    put = Journal.put_many

    def noting(self: Journal, answers: Any) -> None:
        put(self, answers)
        committed.append(time.monotonic())

    started = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "put_many", noting)
        run = go()
    assert run.rows == 1200 and run.status == "complete"
    took_s = time.monotonic() - started
    assert server.requests[0].at - started < took_s / 2
    gaps = [after - before for before, after in pairwise(committed)]
    assert max(gaps) < took_s / 3 and len(committed) > 5  # answers do not wait for the rules to end


def test_an_engine_that_loads_is_not_waited_for_after_an_interrupt(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_evalset(project, "colors", [item(str(n)) for n in range(20)])
    write_models(project, m=entry(server))
    loading, real = threading.Event(), serving_all

    @asynccontextmanager
    async def slowly(model: Any, say: Any = lambda line: None) -> AsyncIterator[Any]:
        loading.set()
        await asyncio.sleep(30)
        async with real(model, say) as served:
            yield served

    monkeypatch.setattr("workbench.runner.endpoints.serving_all", slowly)
    threading.Thread(target=lambda: (loading.wait(20), _thread.interrupt_main())).start()
    started = time.monotonic()
    run = go()
    assert run.status == "interrupted" and server.requests == [] and time.monotonic() - started < 15


@pytest.mark.parametrize("fault", ["401", "500", pytest.param("429", marks=pytest.mark.slow), "other"])
def test_what_a_server_repeats_of_restricted_items_is_told_nowhere(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr("workbench.runner.ask._BACKOFF_S", 0.001)
    monkeypatch.setattr("workbench.flow._PAUSE_S", 0.001)
    server.message = lambda body: f"you may not ask: {body['messages'][-1]['content']}"
    server.fault = fault if fault != "other" else "echo_model"
    items = [item(f"i{n}", f"{CANARY} {n}", sensitivity="restricted") for n in range(30)]
    write_evalset(project, "colors", items)
    write_models(project, m=entry(server))
    run = go()
    assert run.rows and (run.problems or run.notes)
    told = json.dumps([run.problems, run.notes, run.describe(), (run.path / "run.json").read_text()])
    assert CANARY not in told


def test_a_word_for_a_key_is_a_word_in_an_answer(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", "red")
    write_evalset(project, "colors", [item("1")])
    write_models(project, m=entry(server, api_key_env="THE_KEY"))
    assert go().outcomes["score"].tolist() == [1.0]


def test_a_failure_in_mid_run_says_how_many_have_no_outcome(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(question: Question, *args: Any) -> dict[str, Any]:
        if question.item.id == "i014":
            raise RuntimeError("no")
        return outcome(question, *args)

    monkeypatch.setattr("workbench.runner.execute.outcome", fails)
    write_evalset(project, "colors", [item(f"i{n:03}") for n in range(100)])
    write_models(project, m=entry(server, concurrency=1, max_concurrency=1))
    run = go()
    assert run.status == "failed" and run.rows < 100
    assert any(f"{100 - run.rows} of its questions have no outcome" in problem for problem in run.problems)


def test_refusals_for_a_limit_do_not_use_up_the_other_retries(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.runner.ask._BACKOFF_S", 0.001)
    server.faults = ["429", "429", "429", "429", "500", "ok"]
    write_evalset(project, "colors", [item("1")])
    write_models(project, m=entry(server))
    row = go().outcomes.iloc[0]
    assert (row["attempts"], row["score"]) == (6, 1.0)


def test_a_stream_that_fails_after_its_first_words_may_be_billed(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.runner.ask._BACKOFF_S", 0.001)
    server.faults = ["late_error"]
    write_evalset(project, "colors", [item("1")])
    price = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0}
    write_models(project, far=entry(server, zone="hosted", price=price))
    row = go().outcomes.iloc[0]
    assert row["attempts"] == 2 and row["score"] == 1.0 and row["cost_usd"] != row["cost_usd"]
    assert eventually(lambda: not list((project / ".workbench" / "intents").glob("*.intents")), 5)
