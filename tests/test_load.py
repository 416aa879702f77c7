"""A load test as a whole: against a server that counts for itself, and against the real engine."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import item, write_evalset, write_models
from null_server import INPUT_TOKENS, NullServer

import workbench as wb
from workbench.catalog import Machine, Model
from workbench.cli import main
from workbench.errors import InputError, RunError
from workbench.load import LoadResult, load_test, plan_load, read_loads
from workbench.load.drive import Times
from workbench.load.plan import Plan
from workbench.load.result import LoadLimits
from workbench.load.workload import synthetic
from workbench.views import load_figure, load_table, load_text
from workbench.views.figures import png

CANARY = "CANARY-77aa-of-an-item"


def entry(server: NullServer, **more: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"engine": "openai", "model": "m", "zone": "local", "base_url": server.base_url}
    return base | {"timeout_s": 20} | more


def loaded(project: Path, server: NullServer, save: bool = False, **options: Any) -> LoadResult:
    path = write_models(project, m=entry(server, **options.pop("entry", {})))
    models = wb.load_models(path)
    usual: dict[str, Any] = {"levels": [2], "duration_s": 0.3, "warmup_s": 0.05}
    if "task" not in options:
        usual["synthetic_tokens"] = (8, 4)
    return load_test(plan_load(models["m"], models, **{**usual, **options}), save=save)


def test_as_many_are_in_flight_as_were_asked_by_the_servers_own_count(project: Path) -> None:
    with NullServer(0.02, 0.005, tokens=6) as server:
        result = loaded(project, server, levels=[64], duration_s=1.0, repeats=3)
        counted = server.stats()
    step = result.steps[0]
    assert counted["most"] == 64
    assert 60 < step.in_flight.number <= 64.01
    assert step.failed == 0 and step.repeats == 3
    assert step.itl_s is not None
    # Never less than what is true; how much more hangs on the machine: benchmarks/load.py.
    assert step.ttft_s.p50.number >= 0.02 and step.latency_s.p50.number >= 0.02 + 5 * 0.005
    assert step.itl_s.mean.number >= 0.9 * 0.005
    assert (step.input_tokens, step.output_tokens) == (INPUT_TOKENS, 6)


def test_an_open_loop_sends_what_the_rate_says_and_is_late_by_little(project: Path) -> None:
    with NullServer(0.01) as server:
        result = loaded(project, server, loop="poisson", levels=[100], duration_s=1.0)
    step = result.steps[0]
    assert 200 < step.requests < 400  # 3 windows
    assert step.client is not None and step.client.late_p95_s >= 0
    assert step.ttft_s.p50.number >= step.service_ttft_s.p50.number >= 0.01
    assert result.level_name(100) == "100 requests/s"


@pytest.mark.slow
def test_the_rates_of_an_open_loop_are_shares_of_what_the_server_can(project: Path) -> None:
    """A server with 2 places and 20 ms each answers 100 a second; it is asked for a quarter of that, up to more."""
    with NullServer(0.02, slots=2) as server:
        result = loaded(project, server, loop="burst", levels=None, duration_s=0.5, repeats=1)
    levels = [step.level for step in result.steps]
    assert len(levels) == 6 and levels[0] < 30 and levels[-1] / levels[0] == pytest.approx(1.15 / 0.25, rel=0.02)
    assert result.burstiness == 0.25 and any("shares of" in note for note in result.notes)


def test_a_sweep_finds_the_servers_places(project: Path) -> None:
    with NullServer(0.04, slots=4) as server:
        result = loaded(project, server, levels=None, duration_s=0.6, repeats=1)
    assert [step.level for step in result.steps][:3] == [1, 2, 4]
    assert result.saturated and result.saturation.level >= 4
    assert result.saturation.requests_per_s.number == pytest.approx(100, rel=0.25)


def test_prompts_are_the_eval_sets_own_and_no_text_is_kept(project: Path) -> None:
    write_evalset(project, "colors", [item(f"i{n}", f"{CANARY} {n}", sensitivity="restricted") for n in range(20)])
    task = wb.load_evalsets()["colors"]
    with NullServer(0.005) as server:
        server.metrics = "vllm:kv_cache_usage_perc 0.5\nvllm:prefix_cache_queries_total 1\n"
        result = loaded(project, server, save=True, task=task, levels=[1, 2])
        assert len(set(server.prompts)) == 20 and all(CANARY in prompt for prompt in server.prompts)
    assert result.workload == "colors.default" and result.prompts == 20
    assert any("20 prompts were asked" in note for note in result.notes)
    assert result.limits.e2e_s is None and result.within is None
    assert not (project / ".workbench" / "journal.sqlite").exists()
    files = sorted((project / ".workbench" / "load").iterdir())
    assert [path.suffix for path in files] == [".json", ".parquet"]
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert CANARY.encode() not in path.read_bytes()
    requests = pd.read_parquet(files[1])
    assert set(requests["level"]) == {1.0, 2.0} and requests["measured"].sum() == sum(s.requests for s in result.steps)
    assert read_loads("m") == [result] and read_loads("other") == []


def test_the_eval_sets_limit_is_the_limit(project: Path) -> None:
    write_evalset(project, "colors", [item(f"i{n}") for n in range(4)], limits={"p95_latency_s": 0.04})
    task = wb.load_evalsets()["colors"]
    with NullServer(0.01, slots=1) as server:
        result = loaded(project, server, task=task, levels=[1, 8], duration_s=0.5)
    assert result.limits.e2e_s == 0.04
    assert result.steps[1].goodput_per_s.number == 0 < result.steps[1].requests_per_s.number
    assert load_table(result)["goodput_per_s"].iloc[1] == 0


def test_the_engines_metrics_are_sampled_beside_the_requests(project: Path) -> None:
    with NullServer(0.05, tokens=1) as server:
        asked = iter(range(10_000))

        def metrics(number: int) -> None:
            server.metrics = (
                f'vllm:kv_cache_usage_perc{{engine="0"}} 0.25\nvllm:prefix_cache_queries_total {200 * next(asked)}\n'
                f"vllm:prefix_cache_hits_total {50 * number}\n"
            )

        server.on_request = metrics
        result = loaded(project, server, duration_s=1.2, repeats=1)
    step = result.steps[0]
    assert (step.kv_cache, step.kv_cache_max) == (0.25, 0.25)
    assert step.prefix_hits == pytest.approx(0.25, abs=0.02)
    assert "KV cache 25%" in load_text(result)


def test_what_the_caches_did_in_the_warm_up_does_not_count(project: Path) -> None:
    """Before the window the cache is nearly full and all prompts hit; in it, it is a quarter full and none does."""
    with NullServer(0.03, tokens=1) as server:
        began: list[float] = []

        def metrics(number: int) -> None:
            began.append(time.monotonic())
            warming = began[-1] - began[1 if number > 1 else 0] < 0.7
            hits.append(hits[-1] + 10 * warming)
            server.metrics = (
                f"vllm:kv_cache_usage_perc {0.9 if warming else 0.25}\nvllm:prefix_cache_queries_total {10 * number}\n"
                f"vllm:prefix_cache_hits_total {hits[-1]}\n"
            )

        hits = [0]
        server.on_request = metrics
        result = loaded(project, server, warmup_s=1.2, duration_s=1.0, repeats=1)
    step = result.steps[0]
    assert hits[-1] > 0  # there were some
    assert (step.kv_cache, step.kv_cache_max, step.prefix_hits) == (0.25, 0.25, 0.0)


def test_all_quantiles_are_told_with_their_intervals_and_fit_a_terminal(project: Path) -> None:
    with NullServer(0.02, 0.005, tokens=6) as server:
        result = loaded(project, server, levels=[1, 8], duration_s=0.4)
    text, table = load_text(result), load_table(result)
    assert max(map(len, text.split("note:")[0].splitlines())) <= 100
    of_eight = text.split("8 in flight:")[1].splitlines()
    assert of_eight[1].split() == ["p50", "p90", "p95", "p99"]
    for line, name in zip(of_eight[2:5], ("TTFT", "ITL", "e2e"), strict=True):
        assert line.split()[:2] == [name, "ms"]
        assert len(re.findall(r"[\d.,]+ \([\d.,]+–[\d.,]+\)", line)) == 4, line
    for time_of in ("ttft", "itl", "e2e"):
        for quantile in ("p50", "p90", "p95", "p99"):
            low, value, high = (table[f"{time_of}_{quantile}{end}_s"] for end in ("_lo", "", "_hi"))
            assert (low <= value).all() and (value <= high).all(), (time_of, quantile)
    assert (table["goodput_per_s_lo"] <= table["goodput_per_s"]).all()
    assert table["ttft_p99_s"].iloc[1] == result.steps[1].ttft_s.p99.value


def test_without_metrics_it_says_so(project: Path) -> None:
    with NullServer(0.005) as server:
        result = loaded(project, server)
    assert result.steps[0].kv_cache is None and result.steps[0].prefix_hits is None
    assert "caches: not offered" in load_text(result)


def test_errors_are_told_and_count_in_the_quantiles(project: Path) -> None:
    with NullServer(0.005) as server:
        server.status = lambda number: 500 if number % 5 == 0 else 200
        result = loaded(project, server, levels=[4])
    step = result.steps[0]
    assert step.errors == {"server": step.failed} and step.failed > 0
    assert step.latency_s.p95.value is None and step.latency_s.p50.value is not None
    assert any("count as endless" in note for note in result.notes)
    assert f"{step.failed} server" in load_text(result) and png(load_figure(result))[:4] == b"\x89PNG"
    first, *_, good = load_figure(result).axes
    assert first.get_ylim()[0] < step.ttft_s.p50.number < first.get_ylim()[1]  # and p95 has no place
    assert good.get_ylim()[1] > max(step.requests_per_s.number, step.goodput_per_s.number)
    assert good.get_xlim()[0] < 4 < good.get_xlim()[1] and "too many requests failed" in first.get_title()


def test_a_server_that_fails_in_mid_run_leaves_the_steps_before_it(project: Path) -> None:
    with NullServer(0.005) as server:
        server.status = lambda number: 200 if number < 150 else 503
        result = loaded(project, server, save=True, levels=[8], repeats=100, duration_s=0.2)
    assert not result.complete and result.steps
    assert "requests in a row failed: HTTP 503: as told" in result.problems[0]
    assert result.path.name.endswith(".partial.json") and result.path.exists()


def test_a_dead_server_is_one_clear_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_models(project, m={"engine": "openai", "model": "m", "zone": "local", "base_url": "http://127.0.0.1:9/v1"})
    assert main(["load", "m", "--synthetic", "5:5"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("workbench: m: the first request failed (connection): cannot connect to 127.0.0.1:9")
    assert said.count("\n") == 1


def test_an_interrupt_keeps_the_steps_before_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with NullServer(0.005) as server:
        write_models(project, m=entry(server))

        def interrupt(number: int) -> None:
            if number == 400:
                os.kill(os.getpid(), signal.SIGINT)

        server.on_request = interrupt
        argv = ["load", "m", "--synthetic", "5:5", "--levels", "1,2", "--duration", "0.3", "--warmup", "0.1"]
        assert main([*argv, "--repeats", "100"]) == 1
    out = capsys.readouterr().out
    assert "problem: interrupted: these are the steps before that" in out and "output tokens/s" in out
    [result] = read_loads("m")
    assert not result.complete and 1 <= len(result.steps) <= 2
    assert not [thread for thread in threading.enumerate() if thread.name == "workbench-load"]


HOSTED = {"zone": "hosted", "price": {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0}}


def test_a_hosted_model_needs_a_ceiling_and_keeps_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with NullServer(0.005, tokens=4) as server:
        with pytest.raises(InputError, match="Say what it may cost: --max-cost USD"):
            loaded(project, server, entry=HOSTED)
        with pytest.raises(InputError, match="not even one request is sure to stay under"):
            loaded(project, server, entry=HOSTED, max_cost_usd=1e-9)
        assert server.prompts == []
        spent = (INPUT_TOKENS * 1.0 + 4 * 10.0) / 1e6
        result = loaded(project, server, entry=HOSTED, max_cost_usd=100 * spent, repeats=100, levels=[1])
        assert "stopped at the spend ceiling" in result.problems[0] and not result.complete
        assert result.cost_usd is not None and result.cost_usd <= 100 * spent
        assert len(server.prompts) <= 100
    assert result.machine_usd_per_hour is None and result.steps[0].kv_cache is None


def test_restricted_items_are_not_asked_of_a_hosted_model(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    restricted = [item(f"i{n}", f"{CANARY} {n}", sensitivity="restricted") for n in range(3)]
    write_evalset(project, "secret", restricted)
    write_evalset(project, "mixed", [*restricted, item("open", "grass")])
    tasks = wb.load_evalsets()
    with NullServer(0.005) as server:
        with pytest.raises(InputError, match="all of secret as default is restricted"):
            loaded(project, server, task=tasks["secret"], entry=HOSTED, max_cost_usd=1)
        result = loaded(project, server, task=tasks["mixed"], entry=HOSTED, max_cost_usd=1)
        assert server.prompts and not any(CANARY in prompt for prompt in server.prompts)
    assert any("withheld: 3 restricted items" in note for note in result.notes)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"repeats": 0}, "at least 1 repeat, and 3 for intervals"),
        ({"levels": [0]}, "whole numbers of requests in flight"),
        ({"levels": [1.5]}, "whole numbers of requests in flight"),
        ({"levels": []}, "whole numbers of requests in flight"),
        ({"loop": "poisson", "levels": [-1]}, "requests a second, above 0"),
        ({"loop": "square"}, "there is no loop 'square'"),
        ({"duration_s": 0}, "duration and warm-up are seconds"),
        ({"burstiness": 2}, "burstiness is above 0 and at most 1"),
        ({"ttft_s": 0}, "limits are seconds above 0"),
        ({"synthetic_tokens": None}, "name what to ask"),
        ({"variant": "x"}, "synthetic prompts have no variant"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_sent(project: Path, options: dict[str, Any], problem: str) -> None:
    with NullServer(0.005) as server:
        with pytest.raises(InputError, match=problem):
            loaded(project, server, **options)
        assert server.prompts == []


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["rules", "--synthetic", "5:5"], "no server to load"),
        (["none", "--synthetic", "5:5"], "there is no model 'none'"),
        (["m", "--task", "none"], "there is no eval set 'none'"),
        (["m", "--task", "colors", "--variant", "none"], "no eval set has a variant 'none'"),
        (["m"], "name the eval set with --task"),
        (["m", "--task", "colors", "--synthetic", "5:5"], "one of the two"),
        (["m", "--synthetic", "5:5", "--against", "gpt"], "name PROVIDER/MODEL"),
        (["m", "--synthetic", "5:5", "--rates", "1"], "--rates are for open loops"),
        (["m", "--synthetic", "5:5", "--loop", "burst", "--levels", "1"], "--levels are for the closed loop"),
    ],
)
def test_wrong_arguments_are_one_clear_line(
    project: Path, capsys: pytest.CaptureFixture[str], argv: list[str], problem: str
) -> None:
    write_evalset(project, "colors", [item("1")])
    write_evalset(project, "other", [item("1")])
    m = {"engine": "openai", "model": "m", "zone": "local", "base_url": "http://127.0.0.1:9/v1"}
    write_models(project, m=m, rules={"engine": "rules"})
    assert main(["load", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("workbench: ") and err.count("\n") == 1 and problem in err


@pytest.mark.parametrize("argv", [["--synthetic", "5"], ["--repeats", "0"], ["--levels", "x"], ["--utilization", "2"]])
def test_arguments_that_are_none_end_with_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["load", "m", *argv])
    assert ended.value.code == 2


def test_a_plan_sends_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with NullServer(0.005) as server:
        write_models(project, m=entry(server))
        assert main(["load", "m", "--synthetic", "5:5", "--plan"]) == 0
        assert server.prompts == []
    assert "levels up to saturation" in capsys.readouterr().out


@pytest.mark.parametrize("trusted", [True, False])
def test_a_plan_says_that_code_of_the_weights_is_run(trusted: bool) -> None:
    model = Model.model_validate({"id": "m", "engine": "vllm", "model": "d", "trust_remote_code": trusted})
    workload, times = synthetic(8, 4, model, 0), Times(1.0, 10.0)
    said = Plan(model, Machine(), workload, "closed", None, 0.25, times, 3, LoadLimits(), None, 0).describe()
    assert ("m runs code that comes with its weights (trust_remote_code)" in said) == trusted


def test_a_file_that_is_no_load_test_is_told(project: Path) -> None:
    with NullServer(0.005) as server:
        path = loaded(project, server, save=True, repeats=1).path
    data = json.loads(path.read_text())
    del data["steps"]
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"no load test of this version \(field 'steps'\)"):
        read_loads()


def test_nothing_measured_is_no_result(project: Path) -> None:
    with NullServer(0.005) as server:
        server.status = lambda number: 200 if number == 1 else 500
        with pytest.raises(RunError, match=r"\d\d requests in a row failed: HTTP 500"):
            loaded(project, server, levels=[8], duration_s=5)


@pytest.mark.slow
def test_the_real_engine(curated: Path, smollm2: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["load", "smollm2-q4", "--synthetic", "24:8", "--levels", "1,4", "--duration", "0.5", "--warmup", "0.1"]
    assert main([*argv, "--utilization", "0.2", "--e2e", "60", "--figure", "load.png"]) == 0
    out = capsys.readouterr().out
    [result] = read_loads("smollm2-q4")
    assert result.complete and [step.level for step in result.steps] == [1, 4]
    for step in result.steps:
        assert step.failed == 0 and step.repeats == 3 and step.requests >= 9
        assert step.output_tokens == 8 and step.input_tokens is not None and 16 <= step.input_tokens <= 32
        assert step.itl_s is not None and step.ttft_s.p50.number < step.latency_s.p50.number
        assert step.prefix_hits is not None and 0 <= step.prefix_hits < 1
        assert step.in_flight.number == pytest.approx(step.level, rel=0.1)
    assert result.within == 4 and "a million tokens" in out and "used to 20%" in out
    assert Path("load.png").read_bytes()[:4] == b"\x89PNG"
