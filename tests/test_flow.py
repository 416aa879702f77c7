"""The flow to an endpoint: its level, its quotas, its pauses, its breaker; alone in virtual time, and in whole runs."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import item, write_evalset, write_models
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_server import INPUT_TOKENS, OUTPUT_TOKENS, RecordingServer
from virtual_time import now, run_in_virtual_time

import workbench as wb
from workbench.client.limits import remaining, retry_after
from workbench.flow import Bucket, Flow
from workbench.journal import Attempt
from workbench.runner import Run

OK = Attempt("red", input_tokens=10, output_tokens=2, latency_s=1.0)
Serve = Callable[[int], Awaitable[Attempt]]
PRICE = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0}
ATTEMPT_USD = (INPUT_TOKENS * 1.0 + OUTPUT_TOKENS * 10.0) / 1e6


def failed(kind: str, latency_s: float = 1.0, **more: Any) -> Attempt:
    return Attempt(None, more.pop("error", kind), kind, latency_s=latency_s, **more)


def flow_of(level: int, ceiling: int | None = None, **more: Any) -> Flow:
    return Flow("m", level, ceiling, clock=now, **more)


class Endpoint:
    """Asks through a flow in virtual time, and keeps what happened."""

    def __init__(self, flow: Flow, serve: Serve, tokens: int = 0) -> None:
        self.flow, self.serve, self.tokens = flow, serve, tokens
        self.sent_at: list[float] = []
        self.inside = self.most = 0
        self.refused = self.waited_s = 0.0

    async def one(self, number: int) -> Attempt | None:
        attempt: Attempt | None = None
        if not await self.flow.enter():
            self.refused += 1
            return None
        try:
            self.waited_s += await self.flow.clearance(self.tokens)
            if self.flow.dead:
                return None
            self.sent_at.append(now())
            self.inside += 1
            self.most = max(self.most, self.inside)
            try:
                attempt = await self.serve(number)
            finally:
                self.inside -= 1
            return attempt
        finally:
            self.flow.leave(attempt, self.tokens)

    async def all(self, count: int) -> list[Attempt | None]:
        return list(await asyncio.gather(*map(self.one, range(count))))


def steady(seconds: float = 1.0) -> Serve:
    async def serve(number: int) -> Attempt:
        await asyncio.sleep(seconds)
        return Attempt("red", input_tokens=10, output_tokens=2, latency_s=seconds)

    return serve


def scripted(*attempts: Attempt) -> Serve:
    """These attempts one after another as requests come; afterwards, answers."""
    left = list(attempts)

    async def serve(number: int) -> Attempt:
        attempt = left.pop(0) if left else OK
        await asyncio.sleep(attempt.latency_s)
        return attempt

    return serve


# The level.


def test_the_level_starts_at_the_setting_and_rises_by_one_a_round_up_to_its_ceiling() -> None:
    async def work() -> tuple[list[float], Endpoint]:
        flow = flow_of(2, 5)
        asked, levels = Endpoint(flow, steady()), []

        async def look() -> None:
            for _ in range(12):
                await asyncio.sleep(1)
                levels.append(flow.level)

        await asyncio.gather(asked.all(60), look())
        return levels, asked

    levels, asked = run_in_virtual_time(work)
    assert levels[0] == 2 and max(levels) == 5 and asked.most == 5
    assert all(0 <= after - before <= 1.01 for before, after in itertools.pairwise(levels))


def test_the_level_never_exceeds_the_setting_where_there_is_no_ceiling_above_it() -> None:
    async def work() -> Endpoint:
        asked = Endpoint(flow_of(3), steady())
        await asked.all(50)
        return asked

    asked = run_in_virtual_time(work)
    assert asked.most == 3 and asked.flow.level == 3


def test_a_level_that_is_not_used_does_not_rise() -> None:
    async def work() -> Flow:
        asked = Endpoint(flow_of(4, 64), steady())
        for number in range(50):
            await asked.one(number)
        return asked.flow

    assert run_in_virtual_time(work).level < 6  # one at a time says nothing of more


def test_the_level_does_not_rise_where_answers_take_more_than_twice_as_long() -> None:
    """A server that works at four requests at once: more of them only wait inside of it."""

    async def work() -> Endpoint:
        flow = flow_of(4, 256)

        async def serve(number: int) -> Attempt:
            seconds = max(1.0, asked.inside / 4)
            await asyncio.sleep(seconds)
            return Attempt("red", latency_s=seconds)

        asked = Endpoint(flow, serve)
        await asked.all(600)
        return asked

    asked = run_in_virtual_time(work)
    assert 6 <= asked.most <= 14  # about twice the four, and far from the ceiling


@pytest.mark.parametrize("kind", ["rate_limit", "timeout", "overloaded"])
def test_the_level_is_halved_once_a_round_and_never_below_one(kind: str) -> None:
    async def work() -> list[float]:
        flow = flow_of(8, 8)
        levels = []
        for _ in range(5):
            places = [await flow.enter() for _ in range(int(flow.level))]
            await asyncio.sleep(1.0)
            for _ in places:  # all of them were in flight together
                flow.leave(failed(kind, latency_s=0.99))
            levels.append(flow.level)
            flow._answered(OK)  # or the breaker would open
            flow._resume_at = 0
        return levels

    levels = run_in_virtual_time(work)
    assert [round(level) for level in levels] == [4, 2, 1, 1, 1] and min(levels) >= 1


@pytest.mark.parametrize(
    ("attempt", "cut"),
    [
        (failed("server", error="HTTP 503: busy"), True),
        (failed("server", error="HTTP 500: as told"), False),
        (failed("connection"), False),
        (failed("bad_request"), False),
        (failed("refusal"), False),
        (failed("protocol"), False),
    ],
)
def test_only_what_tells_of_too_much_load_cuts_the_level(attempt: Attempt, cut: bool) -> None:
    async def work() -> float:
        flow = flow_of(8)
        await flow.enter()
        await asyncio.sleep(2)
        flow.leave(attempt)
        return flow.level

    assert run_in_virtual_time(work) == (4 if cut else 8)


def test_a_level_that_was_cut_comes_back() -> None:
    async def work() -> tuple[float, Flow]:
        flow = flow_of(8, 8)
        asked = Endpoint(flow, scripted(failed("rate_limit"), failed("rate_limit")))
        await asked.all(2)
        low = flow.level
        await asked.all(200)
        return low, flow

    low, flow = run_in_virtual_time(work)
    assert low == 4 and flow.level == 8 and flow.lowest == 4


# Quotas.


class Clock:
    def __init__(self) -> None:
        self.at = 50.0

    def __call__(self) -> float:
        return self.at


def test_a_bucket_grants_a_burst_of_six_seconds_and_then_its_rate() -> None:
    clock = Clock()
    bucket = Bucket(60, clock)
    assert [bucket.take(1) for _ in range(9)] == [0, 0, 0, 0, 0, 0, 1, 2, 3]
    clock.at += 9
    assert bucket.take(1) == 0  # what was waited for is there
    clock.at += 1000
    assert [bucket.take(1) for _ in range(7)] == [0] * 6 + [1]  # it holds no more than a burst


def test_a_bucket_may_be_overdrawn_by_one_request_that_is_larger_than_it() -> None:
    clock = Clock()
    bucket = Bucket(600, clock)  # holds 60, fills by 10 a second
    assert bucket.take(100) == 0
    assert bucket.take(60) == pytest.approx(10)  # 40 are owed, and 60 are taken
    clock.at += 10
    assert bucket.take(100) == pytest.approx(6)  # a full bucket is all that it waits for


def test_a_bucket_takes_back_what_was_not_used_but_holds_no_more_than_its_size() -> None:
    clock = Clock()
    bucket = Bucket(600, clock)
    assert bucket.take(60) == 0
    bucket.give_back(50)
    assert bucket.take(50) == 0 and bucket.take(10) == pytest.approx(1)
    bucket.give_back(1e9)
    assert bucket.take(60) == 0 and bucket.take(1) == pytest.approx(0.1)
    bucket.give_back(-20)
    assert bucket.take(1) == pytest.approx(2.2)


def in_any_window(times: Sequence[float], per_s: float, burst: float) -> bool:
    """Whether no stretch of time holds more than its quota and one burst."""
    times = sorted(times)
    return all(
        last - first + 1 <= burst + per_s * (times[last] - times[first]) + 1 + 1e-6
        for first in range(len(times))
        for last in range(first, len(times))
    )


def test_requests_a_minute_are_kept_at_any_level() -> None:
    async def work() -> Endpoint:
        asked = Endpoint(flow_of(50, requests_per_minute=60), steady(0.1))
        await asked.all(100)
        return asked

    asked = run_in_virtual_time(work)
    assert in_any_window(asked.sent_at, per_s=1, burst=6) and len(asked.sent_at) == 100
    assert 90 <= asked.sent_at[-1] - asked.sent_at[0] <= 100  # and used
    assert asked.waited_s > 90


def test_tokens_a_minute_count_what_was_used_in_the_end() -> None:
    async def work(tokens: int) -> float:
        asked = Endpoint(flow_of(4, tokens_per_minute=6000), steady(1.0), tokens)
        await asked.all(100)
        return asked.sent_at[-1] - asked.sent_at[0]

    # Each takes 300 at first and 12 in the end: at 100 a second, three seconds each are not waited.
    assert run_in_virtual_time(lambda: work(300)) < 100 < 290
    assert run_in_virtual_time(lambda: work(12)) < 30


def test_tokens_that_nobody_told_stay_taken() -> None:
    async def serve(number: int) -> Attempt:
        return Attempt("red", latency_s=0.0)

    async def work() -> float:
        asked = Endpoint(flow_of(4, tokens_per_minute=6000), serve, 300)
        await asked.all(20)
        return asked.sent_at[-1] - asked.sent_at[0]

    assert run_in_virtual_time(work) >= 20 * 3 - 2 * 6 - 3


# Pauses.


@pytest.mark.parametrize("attempt", [failed("rate_limit"), failed("server", error="HTTP 503: busy")])
def test_what_one_request_is_told_to_wait_all_wait(attempt: Attempt) -> None:
    attempt.retry_after_s, attempt.latency_s = 5.0, 0.5

    async def work() -> Endpoint:
        asked = Endpoint(flow_of(4), scripted(attempt, OK))
        await asked.all(20)
        return asked

    asked = run_in_virtual_time(work)
    first = asked.sent_at[0]
    assert len(asked.sent_at) == 20
    assert not [at for at in asked.sent_at if first + 0.5 < at < first + 5.5]
    assert len({at for at in asked.sent_at if at > first + 5}) > 1  # not all in the same moment


def test_a_server_that_asks_to_wait_too_long_is_not_asked_again() -> None:
    async def work() -> Endpoint:
        asked = Endpoint(flow_of(1), scripted(failed("rate_limit", retry_after_s=7200.0)))
        await asked.all(5)
        return asked

    asked = run_in_virtual_time(work)
    assert len(asked.sent_at) == 1 and asked.refused == 4
    assert asked.flow.dead is not None and "7200 s" in asked.flow.dead


def with_moments(headers: dict[str, str]) -> dict[str, str]:
    """Headers with `at 90` (ISO) and `in 90` (HTTP) as a moment so many seconds from now, not from the collection."""

    def moment(text: str) -> str:
        how, _, seconds = text.partition(" ")
        if how not in ("at", "in"):
            return text
        then = datetime.now(UTC) + timedelta(seconds=int(seconds))
        return then.isoformat() if how == "at" else format_datetime(then, usegmt=True)

    return {name: moment(text) for name, text in headers.items()}


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2.5s"}, 62.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "750ms"}, 0.75),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "12"}, 12),
        ({"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": "at 90"}, 90),
        ({"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "at 90"}, 90),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "30"}, 30),
        ({"ratelimit-remaining": "1", "ratelimit-reset": "30"}, 0),
        ({"x-ratelimit-remaining-requests": "0"}, 0),
        ({"x-ratelimit-remaining-requests": "none", "x-ratelimit-reset-requests": "1s"}, 0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "soon"}, 0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "-5"}, 0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "nan"}, 0),
        ({"x-ratelimit-remaining-requests": "²", "x-ratelimit-reset-requests": "1s"}, 0),
        ({"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "at -90"}, 0),
    ],
)
def test_the_vendors_limits_are_obeyed(headers: dict[str, str], wait_s: float) -> None:
    async def work() -> float:
        flow = flow_of(4)
        await flow.enter()
        flow.heard(with_moments(headers))
        flow.leave(OK)
        await flow.enter()
        return await flow.clearance(0)

    assert run_in_virtual_time(work) == pytest.approx(wait_s, abs=2.0 if wait_s else 0.001)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "in 40"}, 40),
        ({"retry-after": "in -40"}, 0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "2"}, 2),
        ({"retry-after": "9" * 500}, float("inf")),
        ({"retry-after": "Mon, 01 Jan 99999 00:00:00 GMT"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_a_wait_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    found = retry_after(with_moments(headers))
    assert found == (seconds if seconds is None else pytest.approx(seconds, abs=1.5))


def test_two_limits_at_once_are_both_told() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "3",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "1m0s",
    }
    assert [(left.kind, left.amount, left.reset_s) for left in remaining(headers)] == [
        ("requests", 3, 1.0),
        ("tokens", 0, 60.0),
    ]


# The breaker.


@pytest.mark.parametrize("kind", ["connection", "disconnected", "timeout", "server"])
def test_after_five_failures_in_a_row_one_at_a_time_is_tried(kind: str) -> None:
    async def work() -> tuple[Endpoint, float]:
        asked = Endpoint(flow_of(1), steady(1.0))
        await asked.one(0)
        asked.serve = scripted(*[failed(kind, 0.1)] * 7)
        asked.flow.level = 1.0
        await asked.all(5)
        mark, asked.most = now(), 0
        asked.flow.level = 8.0  # the breaker, not the level, holds them back
        await asked.all(20)
        return asked, mark

    asked, mark = run_in_virtual_time(work)
    after = [at - mark for at in asked.sent_at if at >= mark]
    assert after[0] >= 0.5 and after[1] - after[0] >= 1.0 and after[2] - after[1] >= 2.0  # 2 probes failed, 1 did not
    assert asked.flow.dead is None and len(after) == 20
    assert asked.flow.notes[0].startswith(f"m: 5 failures in a row ({kind})") and "answers again" in asked.flow.notes[1]


def test_an_answer_in_between_keeps_the_breaker_closed() -> None:
    async def work() -> Flow:
        bad = failed("server", 0.1)
        asked = Endpoint(flow_of(1), scripted(*[bad, bad, bad, bad, OK] * 5))
        await asked.all(25)
        return asked.flow

    flow = run_in_virtual_time(work)
    assert flow.notes == [] and flow.dead is None


@pytest.mark.parametrize(("answered", "probes"), [(False, 3), (True, 6)])
def test_a_dead_endpoint_is_given_up_after_some_probes_and_it_is_said(answered: bool, probes: int) -> None:
    async def work() -> Endpoint:
        asked = Endpoint(flow_of(1), scripted(*([OK] if answered else []), *[failed("connection", 0.01)] * 1000))
        await asked.all(100)
        return asked

    asked = run_in_virtual_time(work)
    assert len(asked.sent_at) == answered + 5 + probes
    assert asked.flow.dead is not None and asked.flow.dead.startswith(f"it is dead: {5 + probes} failures in a row")


def test_many_that_fail_together_are_no_probes() -> None:
    """A server that restarts breaks all that is in flight at once, and is back a moment later."""

    async def work() -> Endpoint:
        asked = Endpoint(flow_of(64), scripted(*[failed("disconnected", 0.5)] * 64))
        await asked.all(300)
        return asked

    asked = run_in_virtual_time(work)
    assert asked.flow.dead is None and len(asked.sent_at) == 300
    assert "answers again" in asked.flow.notes[-1]


def test_a_probe_that_is_cancelled_makes_way_for_another() -> None:
    async def work() -> Flow:
        flow = flow_of(4)
        asked = Endpoint(flow, scripted(OK, *[failed("connection", 0.01)] * 5))
        await asked.all(6)
        asked.serve = steady(1000.0)
        probe = asyncio.create_task(asked.one(0))
        await asyncio.sleep(2)
        assert asked.inside == 1
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        asked.serve = steady(0.1)
        async with asyncio.timeout(60):
            await asked.all(10)
        return flow

    flow = run_in_virtual_time(work)
    assert "answers again" in flow.notes[-1] and flow._in_flight == 0


@pytest.mark.parametrize("kind", ["auth", "not_found"])
def test_an_endpoint_that_refuses_everybody_is_asked_five_times(kind: str) -> None:
    async def work() -> Endpoint:
        asked = Endpoint(flow_of(1), scripted(*[failed(kind, 0.01, error="HTTP 401: no CANARY")] * 100))
        await asked.all(100)
        return asked

    asked = run_in_virtual_time(work)
    assert len(asked.sent_at) == 5 and asked.refused == 95
    assert asked.flow.dead == f"it refuses every request: {kind} (HTTP 401)"  # what a server says may repeat a prompt


def test_a_limit_that_never_lifts_ends_after_minutes() -> None:
    async def work() -> tuple[Endpoint, float]:
        asked = Endpoint(flow_of(4), scripted(*[failed("rate_limit", 0.1)] * 10_000))

        async def patient(number: int) -> None:
            while not asked.flow.dead:
                await asked.one(number)
                await asyncio.sleep(20)

        started = now()
        await asyncio.gather(*map(patient, range(8)))
        return asked, now() - started

    asked, took_s = run_in_virtual_time(work)
    assert 180 < took_s < 260 and "in a row for its limits" in str(asked.flow.dead)


def test_a_limit_that_lifts_now_and_then_goes_on() -> None:
    async def work() -> Endpoint:
        limited = [failed("rate_limit", 0.1)] * 30
        asked = Endpoint(flow_of(4), scripted(*[*limited, OK] * 20))

        async def patient(number: int) -> None:
            for _ in range(62):
                await asked.one(number)
                await asyncio.sleep(20)

        await asyncio.gather(*map(patient, range(10)))
        return asked

    asked = run_in_virtual_time(work)
    assert asked.flow.dead is None and len(asked.sent_at) == 620


def test_who_waits_for_a_dead_endpoint_is_let_go() -> None:
    async def work() -> Endpoint:
        asked = Endpoint(flow_of(2), steady(5.0))
        tasks = [asyncio.create_task(asked.one(number)) for number in range(30)]
        await asyncio.sleep(1)
        asked.flow.kill("the engine died")
        await asyncio.gather(*tasks)
        assert not await asked.flow.enter()
        return asked

    asked = run_in_virtual_time(work)
    assert len(asked.sent_at) == 2 and asked.refused == 28 and asked.flow._in_flight == 0


def test_a_place_that_was_granted_to_somebody_who_is_cancelled_in_that_moment_goes_on() -> None:
    async def work() -> Flow:
        flow = flow_of(1)
        assert await flow.enter()
        second, third = asyncio.create_task(flow.enter()), asyncio.create_task(flow.enter())
        await asyncio.sleep(1)
        flow.leave(OK)  # the place is the second's
        second.cancel()  # which does not know it yet
        async with asyncio.timeout(60):
            assert await third
        flow.leave(OK)
        return flow

    assert run_in_virtual_time(work)._in_flight == 0


# Whatever happens, places are neither lost nor made.

KINDS = [*[OK] * 4, *map(failed, ("rate_limit", "timeout", "server", "connection", "bad_request"))]
VISIT = st.tuples(
    st.floats(0, 20),  # when it comes
    st.floats(0.01, 5),  # how long it takes
    st.sampled_from(range(len(KINDS))),
    st.none() | st.floats(0, 10),  # when it is cancelled, after it came
    st.booleans(),  # whether it leaves without having sent anything
)


class Watched(Flow):
    """Notices where more is let in than there is room for."""

    peak = 0

    def leave(self, attempt: Attempt | None, tokens: int = 0) -> None:
        before = self._in_flight
        super().leave(attempt, tokens)
        room = self._room if self.dead is None else 10**6
        assert self._in_flight <= max(before - 1, room)
        self.peak = max(self.peak, self._in_flight)


@settings(max_examples=150, deadline=None)
@given(st.lists(VISIT, max_size=40), st.integers(1, 6), st.integers(1, 12), st.none() | st.floats(30, 600))
def test_no_place_is_lost_whoever_comes_leaves_or_is_cancelled(
    visits: list[tuple[float, float, int, float | None, bool]], level: int, ceiling: int, per_minute: float | None
) -> None:
    async def work() -> None:
        flow = Watched("m", level, ceiling, requests_per_minute=per_minute, tokens_per_minute=600, clock=now)
        served = Counter[str]()

        async def visit(comes_s: float, takes_s: float, kind: int, cancelled_s: float | None, idle: bool) -> None:
            await asyncio.sleep(comes_s)
            attempt: Attempt | None = None
            if not await flow.enter():
                served["refused"] += 1
                return
            assert flow.dead is not None or 0 < flow._in_flight <= flow.ceiling
            try:
                await flow.clearance(20)
                if not idle:
                    await asyncio.sleep(takes_s)
                    attempt = KINDS[kind]
            finally:
                flow.leave(attempt, 20)
            served["served"] += 1

        async def until(task: asyncio.Task[None], seconds: float | None) -> None:
            if seconds is not None:
                await asyncio.sleep(seconds)
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        tasks = [asyncio.create_task(visit(*each)) for each in visits]
        await asyncio.gather(
            *(
                until(task, None if each[3] is None else each[0] + each[3])
                for task, each in zip(tasks, visits, strict=True)
            )
        )
        for task, each in zip(tasks, visits, strict=True):
            if each[3] is None:
                assert not task.cancelled() and task.exception() is None
            elif not task.cancelled():
                assert task.exception() is None
        assert served.total() >= sum(each[3] is None for each in visits)  # nobody starves
        assert flow._in_flight == 0 and not any(not place.done() for place in flow._queue)
        assert 1 <= flow.level <= flow.ceiling and flow.peak <= flow.ceiling
        if flow.dead is None:
            async with asyncio.timeout(3000):
                assert await flow.enter()

    run_in_virtual_time(work)


# In whole runs.


def remote(server: RecordingServer, **more: Any) -> dict[str, Any]:
    return {"engine": "openai", "model": "m", "zone": "hosted", "base_url": server.base_url, "price": PRICE, **more}


def go() -> Run:
    return wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False)


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.runner.ask._BACKOFF_S", 0.01)


def check_storm(run: Run, server: RecordingServer, items: int) -> None:
    """All is answered, each refusal is in somebody's attempts, and only answers were paid."""
    table = run.outcomes
    assert run.status == "complete" and run.problems == []
    assert len(table) == items == table["item_id"].nunique() and table["output"].eq("red").all()
    asked = Counter(request.last_user for request in server.requests)
    assert table["attempts"].sum() == len(server.requests) == run.asked
    for row in table.itertuples():
        assert asked[f"Color of thing {row.item_id}?"] == row.attempts
    assert table["cost_usd"].tolist() == pytest.approx([ATTEMPT_USD] * items)


def test_a_storm_of_refusals_that_lifts_ends_with_every_item_answered(
    project: Path, server: RecordingServer, no_backoff: None
) -> None:
    server.faults = ["429"] * 40
    write_evalset(project, "colors", [item(str(n)) for n in range(30)])
    write_models(project, far=remote(server, concurrency=8))
    run = go()
    check_storm(run, server, 30)
    assert len(server.requests) == 70


def test_a_storm_with_a_wait_is_waited_out_by_all(project: Path, server: RecordingServer, no_backoff: None) -> None:
    server.faults, server.retry_after, server.delay_s = ["429"] * 4 + ["ok"] * 10 + ["503"], "1", 0.02
    write_evalset(project, "colors", [item(str(n)) for n in range(24)])
    write_models(project, far=remote(server, concurrency=4))
    run = go()
    check_storm(run, server, 24)
    for refused in (request for request in server.requests if request.fault != "ok"):
        # What was in flight when it was refused had been sent before.
        assert not [r for r in server.requests if refused.at + 0.2 < r.at < refused.at + 0.95]
    waits = run.outcomes["wait_s"] + run.outcomes["latency_s"]
    assert waits.max() > 1


def test_a_server_with_room_for_three_is_found_out(project: Path, server: RecordingServer, no_backoff: None) -> None:
    server.room, server.delay_s = 3, 0.02
    write_evalset(project, "colors", [item(str(n)) for n in range(120)])
    write_models(project, far=remote(server, concurrency=16))
    run = go()
    check_storm(run, server, 120)
    refused = [request.fault for request in server.requests].count("429")
    assert 13 <= refused < 100  # at a level that does not fall, every item would be refused several times


def test_an_endless_storm_ends(
    project: Path, server: RecordingServer, no_backoff: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.flow._LIMITED_S", 0.5)
    monkeypatch.setattr("workbench.runner.ask._BACKOFF_S", 0.1)
    server.fault = "429"
    write_evalset(project, "colors", [item(str(n)) for n in range(200)])
    write_models(project, far=remote(server, concurrency=4))
    run = go()
    assert run.status == "failed" and len(server.requests) < 300
    assert [line for line in run.problems if "questions were not asked: it refused" in line]
    assert run.outcomes["error_class"].eq("rate_limit").all() and run.outcomes["cost_usd"].eq(0).all()


@pytest.mark.parametrize("told", ["0", "Sat, 01 Jan 2000 00:00:00 GMT"])
def test_a_server_that_says_to_wait_no_time_is_not_hammered(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    monkeypatch.setattr("workbench.runner.ask._BACKOFF_S", 0.1)
    server.faults, server.retry_after = ["429"] * 3, told
    write_evalset(project, "colors", [item("1")])
    write_models(project, far=remote(server))
    assert go().status == "complete"
    first, *_, last = server.requests
    assert last.at - first.at > 0.5 * (0.1 + 0.2 + 0.4) * 0.9


@contextmanager
def hanging_up() -> Iterator[tuple[str, list[float]]]:
    """A server that takes connections and says nothing; its address, and when somebody connected."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        at: list[float] = []
        listener.settimeout(0.05)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    continue
                at.append(time.monotonic())
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", at
        finally:
            ended.set()
            thread.join()


def test_a_dead_endpoint_among_live_ones_is_told_and_not_hammered(
    project: Path, server: RecordingServer, no_backoff: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.flow._PAUSE_S", 0.05)
    write_evalset(project, "colors", [item(str(n)) for n in range(150)])
    with hanging_up() as (address, connections):
        write_models(
            project,
            dead=remote(server, base_url=address, concurrency=4),
            far=remote(server, concurrency=4),
            near=remote(server, model="near", zone="local", concurrency=4),
        )
        run = go()
    assert 5 <= len(connections) <= 5 + 4 + 3  # what was in flight, and the probes
    counts = run.outcomes[run.outcomes["output"].eq("red")].groupby("model").size().to_dict()
    assert counts == {"far": 150, "near": 150} and run.status == "failed"
    lines = [line for line in run.problems if line.startswith("dead: ") and "questions were not asked" in line]
    assert len(lines) == 1 and "it is dead" in lines[0]
    assert [line for line in run.notes if line.startswith("dead: 5 failures in a row")]


def test_a_server_that_restarts_in_mid_run_loses_nothing(
    project: Path, server: RecordingServer, no_backoff: None
) -> None:
    server.faults, server.delay_s = ["ok"] * 20 + ["hangup"] * 24, 0.02
    write_evalset(project, "colors", [item(str(n)) for n in range(80)])
    write_models(project, far=remote(server, concurrency=24))
    run = go()
    assert run.status == "complete" and run.outcomes["output"].eq("red").all() and len(run.outcomes) == 80


def test_requests_a_minute_are_kept_by_the_servers_clock(project: Path, server: RecordingServer) -> None:
    write_evalset(project, "colors", [item(str(n)) for n in range(45)])
    write_models(project, far=remote(server, concurrency=16, requests_per_minute=300))
    run = go()
    times = [request.at for request in server.requests]
    assert run.status == "complete" and len(times) == 45
    assert in_any_window(times, per_s=5, burst=30 + 1)  # an arrival may be late, and the next one not
    assert max(times) - min(times) > 2.5 and run.outcomes["wait_s"].max() > 1
    assert run.outcomes["latency_s"].max() < 1  # a wait in the own quota is no latency of the model


def test_a_limit_in_an_answers_headers_holds_the_next_requests_back(project: Path, server: RecordingServer) -> None:
    def use_up(request: Any) -> None:
        used = len(server.requests) == 3
        server.extra = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"} if used else {}

    server.on_request = use_up
    write_evalset(project, "colors", [item(str(n)) for n in range(8)])
    write_models(project, far=remote(server, concurrency=1, max_concurrency=1))
    assert go().status == "complete"
    times = [request.at for request in server.requests]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps[3] >= 0.99 and max(gaps[:3] + gaps[4:]) < 0.5
