"""Figures on planted data: quantiles with intervals over repeats, goodput, throughput of a window, knee, saturation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from workbench.catalog import Machine, Model
from workbench.load.arrivals import Loop
from workbench.load.drive import Request, Times, Window
from workbench.load.engine import EngineWatch, parse
from workbench.load.figures import (
    StepRun,
    keeps,
    knee,
    over_repeats,
    quantile,
    quantiles,
    rate_figure,
    saturation,
    summarize,
    within,
)
from workbench.load.notes import notes_on
from workbench.load.plan import Plan
from workbench.load.result import LoadLimits, Step
from workbench.load.sweep import Sweep, rates_of
from workbench.load.workload import synthetic


def request(due: float, ttft: float, gap: float, tokens: int, **more: Any) -> Request:
    at = [due + ttft + gap * n for n in range(tokens)]
    return Request(due, due, at[-1], at, 10, tokens, measured=True, **more)


def run(level: float, repeat: int, requests: list[Request], start: float = 0.0, end: float = 10.0) -> StepRun:
    return StepRun(level, repeat, Window(start, end, requests), EngineWatch(), None)


def test_an_interval_over_repeats_covers_what_repeats_vary_by_and_one_over_requests_does_not() -> None:
    """p95 of exponential times whose scale varies from repeat to repeat, as a machine's speed does."""
    generator, true = np.random.default_rng(3), -math.log(0.05)
    ours = naive = 0
    tries = 400
    for _ in range(tries):
        repeats = [generator.exponential(math.exp(generator.normal(0, 0.2)), 300) for _ in range(4)]
        found = quantiles(repeats).p95
        assert found.lo is not None and found.hi is not None
        ours += found.lo <= true <= found.hi
        every = np.sort(np.concatenate(repeats))
        low, high = (int(1200 * 0.95 + side * 1.96 * math.sqrt(1200 * 0.95 * 0.05)) for side in (-1, 1))
        naive += every[low] <= true <= every[high]
    assert ours / tries > 0.92
    assert naive / tries < 0.75


def test_an_interval_is_students_of_the_logarithms() -> None:
    found = over_repeats([1.0, 2.0, 4.0])
    reach = math.exp(4.302653 * math.log(2) / math.sqrt(3))
    assert found.value == pytest.approx(2.0)
    assert (found.lo, found.hi) == (pytest.approx(2 / reach, rel=1e-4), pytest.approx(2 * reach, rel=1e-4))


def test_two_repeats_have_no_interval() -> None:
    found = over_repeats([1.0, 4.0])
    assert (found.value, found.lo, found.hi) == (2.0, None, None)


def test_failures_count_as_endless_and_are_never_left_out() -> None:
    times = [np.array([1.0] * 93 + [math.inf] * 7) for _ in range(3)]
    found = quantiles(times)
    assert (found.p50.value, found.p90.value) == (1.0, 1.0)
    assert found.p95.value is None and found.p95.number == math.inf and found.p95_upper is None
    assert found.mean.value is None and found.n == 300
    one_bad = quantiles([np.ones(100), np.ones(100), times[0]])
    assert one_bad.p95.value == 1.0 and one_bad.p95.hi is None  # 7 of 300 failed, all in one repeat


def test_a_quantile_says_when_it_rests_on_too_few() -> None:
    few, enough = (quantiles([np.arange(1.0, n + 1)] * 3) for n in (19, 20))
    assert few.few(0.95) and few.p95_upper is None and few.few(0.99)
    assert not enough.few(0.95) and enough.p95_upper == 20 and enough.few(0.99)


def test_quantiles_are_observed_values() -> None:
    assert quantile(np.array([3.0, 1.0, 2.0, math.inf]), 0.5) == 2.0
    assert math.isnan(quantile(np.empty(0), 0.5))


def test_a_rate_of_few_is_not_certain_where_repeats_agree() -> None:
    same = rate_figure([4, 4, 4], [2.0, 2.0, 2.0])
    assert (
        same.value == 2.0
        and same.lo == pytest.approx(2 * 12 / 13, 1e-4)
        and same.hi == pytest.approx(2 * 13 / 12, 1e-4)
    )
    none = rate_figure([0, 0, 0], [2.0, 2.0, 2.0])
    assert (none.value, none.lo, none.hi) == (0.0, 0.0, 0.5)


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({}, True),
        ({"ttft_s": 0.5, "itl_s": 0.1, "e2e_s": 0.9}, True),
        ({"ttft_s": 0.49}, False),
        ({"itl_s": 0.09}, False),
        ({"e2e_s": 0.89}, False),
    ],
)
def test_goodput_keeps_all_limits(limits: dict[str, float], kept: bool) -> None:
    one = request(0.0, 0.5 - 1e-9, 0.1 - 1e-9, 5)
    assert keeps(one, LoadLimits(**limits)) is kept
    one.error_class = "timeout"
    assert not keeps(one, LoadLimits(**limits))


def test_limits_are_held_against_the_time_since_a_request_was_due() -> None:
    late = request(0.0, 0.5, 0.0, 1)
    late.sent_at = 0.45
    step = summarize([run(1, 0, [late])], LoadLimits())
    assert not keeps(late, LoadLimits(ttft_s=0.4))
    assert step.ttft_s.p50.value == 0.5 and step.service_ttft_s.p50.value == 0.05


def test_throughput_is_what_came_within_the_window() -> None:
    """Of 20 tokens astride its end, half counts; a prompt counts where its first token came."""
    astride = request(8.95, 0.1, 0.1, 20)
    before = request(-5.0, 0.5, 0.01, 3)
    step = summarize([run(1, 0, [astride, before])], LoadLimits())
    assert step.output_tokens_per_s.value == pytest.approx(1.0)
    assert step.total_tokens_per_s.value == pytest.approx(2.0)
    assert step.requests_per_s.value == 0.0
    assert step.in_flight.value == pytest.approx(0.105)


def test_tokens_that_come_several_at_a_time_are_counted_by_the_server() -> None:
    two = request(0.0, 0.1, 0.1, 10)
    two.output_tokens = 20
    gone_on = request(5.0, 0.1, 0.1, 10)
    gone_on.ended_at = gone_on.output_tokens = None
    gone_on.measured = False
    step = summarize([run(1, 0, [two, gone_on])], LoadLimits())
    assert step.output_tokens_per_s.value == pytest.approx(4.0)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("missing", [["input_tokens"], ["input_tokens", "output_tokens"]])
def test_an_answer_without_a_count_leaves_the_tokens_read_unknown(streamed: bool, missing: list[str]) -> None:
    asked = [request(n, 0.1, 0.1, 4) for n in range(8)]
    for name in missing:
        setattr(asked[3], name, None)
    if not streamed:
        for each in asked:
            each.token_at = []
    steps = [summarize([run(1, repeat, asked) for repeat in range(3)], LoadLimits())]
    assert steps[0].total_tokens_per_s.value is None and steps[0].uncounted == 3
    assert any(note.startswith("3 of 24 requests came without a count") for note in noted("closed", steps))
    assert not any("without a count" in note for note in noted("closed", laws([1], [1])))
    # What failed, or was given up, has none and hides none.
    lost = Request(1.0, 1.0, 1.1, error_class="server", measured=True)
    given_up = request(2.0, 0.1, 0.1, 4)
    given_up.ended_at = given_up.input_tokens = given_up.output_tokens = None
    step = summarize([run(1, 0, [request(0.0, 0.1, 0.1, 4), lost, given_up])], LoadLimits())
    assert step.total_tokens_per_s.value is not None and step.uncounted == 0


def test_errors_are_counted_by_class() -> None:
    failed = [Request(1.0, 1.0, 1.1, error_class=kind, measured=True) for kind in ("timeout", "server", "server")]
    given_up = Request(2.0, 2.0, None, measured=True)
    step = summarize([run(1, 0, [request(0.0, 0.1, 0.1, 2), *failed, given_up])], LoadLimits())
    assert step.errors == {"timeout": 1, "server": 2, "unanswered": 1} and step.failed == 4
    assert step.latency_s.p50.value is None and step.requests == 5 and step.input_tokens == 10


def laws(throughput: Sequence[float], latency: Sequence[float]) -> list[Step]:
    """Steps of levels 1, 2, 4, … with so many tokens a second and such latencies."""
    steps = []
    for index, (tokens, took) in enumerate(zip(throughput, latency, strict=True)):
        requests = [request(10 / 100 * n, took, 0.0, 1) for n in range(100)]
        runs = [run(2**index, repeat, requests) for repeat in range(3)]
        step = summarize(runs, LoadLimits())
        steps.append(step.model_copy(update={"output_tokens_per_s": over_repeats([tokens] * 3)}))
    return steps


def test_the_knee_is_where_throughput_over_latency_is_highest() -> None:
    steps = laws([1, 2, 4, 4, 4], [1, 1, 1, 2, 4])
    assert knee(steps) == 4
    assert knee(laws([1, 1, 1], [1, 2, 4])) == 1


def test_saturation_is_where_throughput_is_highest_and_says_whether_there_is_a_plateau() -> None:
    assert saturation(laws([1, 2, 4, 4.1], [1] * 4)) == (8, True)
    assert saturation(laws([1, 2, 4, 8], [1] * 4)) == (8, False)
    assert saturation(laws([1, 2, 4, 3], [1] * 4)) == (4, True)
    assert saturation(laws([1], [1])) == (1, False)


def noted(loop: Loop, steps: list[Step], **entry: Any) -> list[str]:
    """What a reader of a managed engine's figures is told."""
    known = {"id": "m", "engine": "llamacpp", "model": "m.gguf", "concurrency": 4, **entry}
    model = Model.model_validate(known)
    asked = (synthetic(8, 4, model, 0), loop, None, 0.25, Times(1.0, 10.0), 3, LoadLimits(), None, 0)
    return notes_on(Plan(model, Machine(), *asked), steps, saturated=True)


def test_a_server_that_falls_behind_an_open_loop_is_told() -> None:
    steps = laws([1, 2, 4], [1, 1, 1])
    steps[-1] = steps[-1].model_copy(update={"behind": 60})
    assert [note for note in noted("poisson", steps) if "fell behind at 4:" in note]
    assert not any("fell behind" in note for note in [*noted("closed", steps), *noted("poisson", steps[:-1])])


def test_places_that_pause_after_failures_are_not_the_clients_slowness() -> None:
    """Two places whose requests take 0.05 s, of which each second fails: they pause for a third of the time."""
    requests = [
        Request(at + gap, at + gap, at + gap + 0.05, [], 10, 1, error_class=kind, measured=True)
        for place in range(2)
        for at in np.arange(0.0, 10.0, 0.15)
        for gap, kind in ((0.0, None), (0.05, "server"))
    ]
    step = summarize([run(2, 0, requests)], LoadLimits())
    assert step.pausing == pytest.approx(2 / 3, rel=0.02) and step.in_flight.number == pytest.approx(4 / 3, rel=0.02)
    slow = step.model_copy(update={"level": 4.0})
    said = noted("closed", [step, slow])
    assert [note for note in said if "fewer requests" in note] == [
        "fewer requests were in flight than asked at 4: the client was not quick enough",
        "fewer requests were in flight than asked at 2: a place pauses for 0.05 s after a failed one",
    ]


def places_note(loop: Loop, steps: list[Step], **entry: Any) -> str:
    """What is said of a managed engine's places, or nothing."""
    found = [note for note in noted(loop, steps, **entry) if "places by its entry" in note]
    assert len(found) <= 1
    return "".join(found)


def test_a_knee_at_the_places_of_an_engine_may_be_its_entrys_setting() -> None:
    at_places = laws([1, 2, 4, 4, 4], [1, 1, 1, 2, 4])  # knee and saturation at 4
    said = places_note("closed", at_places)
    assert "4 places by its entry (concurrency)" in said and "knee and the level with the most throughput" in said
    assert places_note("closed", at_places, concurrency=8) == ""
    assert places_note("closed", at_places, concurrency=2, gpus=["0", "1"], engine="vllm", model="d") == said
    assert "3 places by its entry (max_num_seqs)" in places_note(
        "closed", at_places, engine="vllm", model="d", engine_args={"max_num_seqs": 3}
    )
    # Somebody else's server has no places that we know of.
    assert places_note("closed", at_places, engine="openai", model="m", base_url="http://127.0.0.1:1/v1") == ""
    later = places_note("closed", laws([1, 2, 2.1, 2.2], [1, 1, 2, 4]))  # the knee is at 2, the most at 8
    assert "the level with the most throughput may be" in later and "knee" not in later
    # An open loop's levels are rates: how many are in flight is what counts.
    few = [step.model_copy(update={"in_flight": over_repeats([1.5] * 3)}) for step in at_places]
    assert places_note("poisson", few) == ""


def test_the_limits_hold_up_to_the_first_level_that_breaks_them() -> None:
    steps = laws([1, 2, 4, 8], [0.1, 0.2, 0.4, 0.2])
    assert within(steps, LoadLimits(e2e_s=0.3)) == 2
    assert within(steps, LoadLimits(e2e_s=0.05)) is None
    assert within(steps, LoadLimits()) is None


def test_a_sweep_without_levels_doubles_until_throughput_grows_no_more() -> None:
    sweep, asked = Sweep(None, 3, seed=1), []
    for level, repeat in sweep.steps():
        asked.append((level, repeat))
        tokens = int(min(level, 6) * 10)
        sweep.took(run(level, repeat, [request(n / tokens, 0.1, 0.0, 1) for n in range(tokens)]))
    assert asked[:5] == [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0)]
    assert sorted(asked[5:10]) == [(level, 1) for level in (1, 2, 4, 8, 16)]
    assert sorted(asked[10:]) == [(level, 2) for level in (1, 2, 4, 8, 16)]
    assert [level for level, _ in asked[5:10]] != [level for level, _ in asked[10:]]  # an order of its own
    assert sweep.planned == 15 and [len(runs) for runs in sweep.by_level()] == [3] * 5


def test_a_sweep_ends_where_nothing_is_answered() -> None:
    sweep = Sweep(None, 1, seed=0)
    for level, repeat in sweep.steps():
        sweep.took(run(level, repeat, [Request(1.0, 1.0, 1.1, error_class="server", measured=True)]))
    assert sweep.levels == [1]


def test_rates_go_beyond_the_capacity() -> None:
    assert rates_of(10.0)[0] < 5 < 10 < rates_of(10.0)[-1]


VLLM = """# HELP vllm:kv_cache_usage_perc KV-cache usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="a b"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="a b"} 0.5
vllm:prefix_cache_queries_total{engine="0"} 100.0
vllm:prefix_cache_hits_total{engine="0"} 1e1
nonsense
vllm:broken{engine="0"} abc
"""


def test_metrics_are_read() -> None:
    found = parse(VLLM)
    assert found["vllm:kv_cache_usage_perc"] == 0.5 and found["vllm:prefix_cache_hits_total"] == 10
    assert "vllm:broken" not in found and parse("<html>") == {}


def test_one_level_with_an_answer_that_is_not_counted_is_compared_by_requests_as_all_are() -> None:
    steps = laws([100, 200, 400, 400], [1, 1, 1, 1])
    assert saturation(steps) == (4, True) and knee(steps) == 4
    unknown = steps[2].output_tokens_per_s.model_copy(update={"value": None})
    steps[2] = steps[2].model_copy(update={"output_tokens_per_s": unknown})
    rates = [over_repeats([each] * 3) for each in (1, 2, 4, 4)]
    steps = [step.model_copy(update={"requests_per_s": rate}) for step, rate in zip(steps, rates, strict=True)]
    assert saturation(steps) == (4, True) and knee(steps) == 4
