"""Several endpoints are one model: balanced by who is free, and gone on with where one dies."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import item, write_evalset, write_models
from recording_server import RecordingServer
from test_engines import ENTRY, ask, colors, engines, left, stand_in

from workbench.errors import InputError
from workbench.servers.process import Launch


def entry(*urls: str, **more: Any) -> dict[str, Any]:
    return {
        **{"engine": "openai", "model": "m", "zone": "local", "base_url": list(urls)},
        **{"concurrency": 2, "max_concurrency": 2, **more},
    }


def asked(server: RecordingServer) -> list[str]:
    return [request.last_user for request in server.requests]


KEPT = ["task", "item_id", "model", "variant", "repeat", "score", "accepted", "format_ok", "error", "output", "prompt"]


def test_requests_are_balanced_by_who_is_free(project: Path) -> None:
    with RecordingServer(delay_s=0.02) as fast, RecordingServer(delay_s=0.1) as slow:
        colors(project, 60, m=entry(fast.base_url, slow.base_url), alone=entry(fast.base_url))
        run = ask(project)
        assert run.status == "complete" and run.asked == 120 and not run.problems
        table = run.outcomes
        both, one = (table[table["model"] == name][KEPT].drop(columns="model").reset_index() for name in ("m", "alone"))
        assert both.drop(columns="index").equals(one.drop(columns="index"))
        of_slow = len(slow.requests)
        assert 4 <= of_slow <= 24  # a sixth of them, were the times all that there is
        assert max(fast.most_at_once, slow.most_at_once) <= 4  # `concurrency` is an endpoint's own
        assert slow.most_at_once >= 2
        assert set(table[table["model"] == "m"]["engine_id"]) == {
            f"openai {url} m" for url in (fast.base_url, slow.base_url)
        }


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hangup", "reset", "stop"])
def test_where_one_dies_in_mid_run_the_other_goes_on(project: Path, fault: str) -> None:
    dead = threading.Event()

    def reply(body: dict[str, Any]) -> str:
        return "ok" if not dead.is_set() else "hangup" if fault == "stop" else fault

    with RecordingServer(delay_s=0.02) as good, RecordingServer(delay_s=0.02, fault=reply) as bad:

        def count(request: Any) -> None:
            if len(bad.requests) >= 10 and not dead.is_set():
                dead.set()
                if fault == "stop":  # nobody listens any more
                    threading.Thread(target=lambda: (bad._http.shutdown(), bad._http.server_close())).start()

        bad.on_request = count
        colors(project, 150, m=entry(good.base_url, bad.base_url))
        run = ask(project)
    table = run.outcomes
    assert run.status == "complete" and not run.problems
    assert len(table) == 150 and table["error"].isna().all()
    answers = Counter(asked(good)) + Counter(r.last_user for r in bad.requests if r.fault == "ok")
    assert len(answers) == 150
    assert table["attempts"].sum() == run.asked
    assert any("failures in a row" in note for note in run.notes) and bad.base_url.split("/")[2] in str(run.notes)


def test_where_all_are_dead_the_model_is_given_up(project: Path) -> None:
    with RecordingServer(fault="401") as one, RecordingServer(fault="401") as two:
        colors(project, 60, m=entry(one.base_url, two.base_url))
        run = ask(project)
    assert run.status == "failed" and one.requests and two.requests
    assert any("were not asked" in problem and "refuses every request" in problem for problem in run.problems)
    assert len(one.requests) + len(two.requests) < 30


def test_every_endpoint_passes_the_zone_check(project: Path) -> None:
    with RecordingServer() as server:
        colors(project, 2, m=entry(server.base_url, "http://8.8.8.8/v1"))
        with pytest.raises(InputError, match="not this machine"):
            ask(project)
        write_evalset(project, "colors", [item("a", "thing", sensitivity="restricted")])
        write_models(project, m=entry(server.base_url, "http://8.8.4.4/v1", zone="private"))
        with pytest.raises(InputError, match="a public address"):
            ask(project)
        assert not server.requests


def test_limits_are_an_endpoints_own(project: Path) -> None:
    with RecordingServer() as one, RecordingServer() as two:
        # In a burst of 6 s an endpoint may be asked 4 times: 8 at once of both, where one alone would wait.
        colors(project, 8, m=entry(one.base_url, two.base_url, requests_per_minute=40))
        run = ask(project)
    assert run.status == "complete" and run.outcomes["wait_s"].max() < 3
    assert len(one.requests) == len(two.requests) == 4


# Replicas of a managed engine.


def test_replicas_on_several_gpus_are_one_model(project: Path, standing_in: dict[str, Launch]) -> None:
    colors(project, 40, a={**ENTRY, "concurrency": 2, "gpus": ["0", "1"]})
    seen = project / "devices"
    launch = stand_in(delay_s=0.02)
    code = f"import os; open({str(seen)!r}, 'a').write(os.environ['CUDA_VISIBLE_DEVICES'] + '\\n'); "
    code += f"import sys, runpy; sys.argv = {launch.argv[1:]!r}; runpy.run_path(sys.argv[0])"
    standing_in["a"] = Launch([sys.executable, "-c", code], launch.model)
    run = ask(project)
    assert run.status == "complete" and len(run.outcomes) == 40 and engines() == [] and not left()
    assert sorted(seen.read_text().split()) == ["0", "1"]
    assert run.outcomes["concurrency"].max() == 2
    # One machine, and one meter: costs add up to the time in which any of them was busy.
    assert run.outcomes["cost_usd"].sum() == pytest.approx(0.4 / 3600 * run.engines["a"].busy_s, rel=0.01)


def test_a_replica_that_dies_is_started_again_and_the_other_goes_on(
    project: Path,
    standing_in: dict[str, Launch],
) -> None:
    colors(project, 80, a={**ENTRY, "concurrency": 2, "gpus": ["0", "1"]})
    standing_in["a"] = stand_in(delay_s=0.05, count=str(project / "count"), die_at=[11])
    run = ask(project)
    assert run.status == "complete" and run.outcomes["error"].isna().all() and len(run.outcomes) == 80
    assert any("was started again" in note for note in run.notes) and run.outcomes["attempts"].sum() == run.asked


def test_real_replicas(project: Path, smollm2: Path) -> None:
    write_evalset(project, "colors", [item(f"i{n}", f"thing {n}") for n in range(6)], generation={"max_tokens": 4})
    write_models(
        project,
        m={"engine": "llamacpp", "model": str(smollm2), "threads": 1, "concurrency": 1, "max_model_len": 512}
        | {"gpus": ["0", "1"]},
    )
    run = ask(project)
    assert run.status == "complete" and len(run.outcomes) == 6 and engines() == []
    use = run.engines["m"]
    assert use.weights_bytes == smollm2.stat().st_size and use.memory_bytes and use.memory_bytes > 50e6
