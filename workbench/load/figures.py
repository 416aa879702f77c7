"""From timed requests to figures: quantiles over repeats, throughput, goodput, knee and saturation.

step = summarize([run, run, run], limits)              # the repeats of a level
knee(steps), saturation(steps), within(steps, limits)

Requests of one window depend on each other: they share a queue and a batch. So a window is one observation: each figure
is computed in every repeat, and its interval is Student's t over the repeats, of the logarithm for times and rates,
which are positive and skewed. Bounds of a quantile from all requests at once, as if they were independent, are too
narrow; the upper one of p95 is given beside it, since it tells when there are too few requests for the quantile at all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.economics import quantile_upper_bound
from workbench.load.drive import PAUSE_S, Request, Window
from workbench.load.engine import EngineWatch
from workbench.load.result import CONFIDENCE, ClientShare, Figure, LoadLimits, Quantiles, Step
from workbench.runner.overhead import Measured

FEWEST_REPEATS = 3  # for an interval
PLATEAU = 0.05  # of throughput: less than that more is none
_BEHIND = 0.1  # of what was due in an open loop: more that ended later is a server that is full
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StepRun:
    """One repeat of a level."""

    level: float
    repeat: int
    window: Window
    watch: EngineWatch
    client: Measured | None


def over_repeats(values: Sequence[float], pooled: float | None = None) -> Figure:
    """A positive figure of each repeat as one, with its interval.

    Their geometric mean, and Student's t of the logarithms with n − 1 degrees of freedom. Where one of them is without
    bound (or 0), there is no logarithm: the value is that of all repeats together, or their mean, and the interval
    reaches from the lowest on, without an upper bound (to the highest).

    Args:
        values: one a repeat.
        pooled: the figure of all repeats together, where it has one.
    """
    found = np.asarray(values, dtype=float)
    if np.isnan(found).any() or not len(found):
        return Figure.of(math.nan)
    if not np.isfinite(found).all() or (found <= 0).any():
        value = float(found.mean()) if pooled is None else pooled
        if len(found) < FEWEST_REPEATS:
            return Figure.of(value)
        return Figure.of(value, min(float(found.min()), value), max(float(found.max()), value))
    logs = np.log(found)
    center = float(logs.mean())
    if len(found) < FEWEST_REPEATS:
        return Figure.of(math.exp(center))
    from scipy.special import stdtrit

    reach = float(stdtrit(len(found) - 1, (1 + CONFIDENCE) / 2)) * float(logs.std(ddof=1)) / math.sqrt(len(found))
    return Figure.of(math.exp(center), math.exp(center - reach), math.exp(min(center + reach, 700.0)))


def rate_figure(counts: Sequence[int], lasted_s: Sequence[float]) -> Figure:
    """A rate out of counts, one a repeat; its interval is never narrower than one more or less over all repeats.

    Where nothing was counted at all, the upper bound is that of the rule of three.
    """
    found, total = over_repeats([count / s for count, s in zip(counts, lasted_s, strict=True)]), sum(counts)
    if not total and len(counts) >= FEWEST_REPEATS:
        return Figure.of(0.0, 0.0, 3.0 / sum(lasted_s))
    return _no_surer(found, total)


def _no_surer(figure: Figure, count: int) -> Figure:
    """A figure that rests on so many requests: its interval reaches one of them more, and one less, at least."""
    if figure.value is None or figure.lo is None or not count:
        return figure
    least, hi = 1 + 1 / count, figure.hi if figure.hi is not None else math.inf
    return Figure.of(figure.value, min(figure.lo, figure.value / least), max(hi, figure.value * least))


def quantile(values: Floats, q: float) -> float:
    """The lowest value that a share q of them does not exceed; infinite ones count. NaN where there are none."""
    return float(np.quantile(values, q, method="inverted_cdf")) if len(values) else math.nan


def quantiles(repeats: Sequence[Floats]) -> Quantiles:
    """Quantiles of times, an array a repeat; infinite is what failed."""
    repeats = [values for values in repeats if len(values)]
    every = np.concatenate(repeats) if repeats else np.empty(0)
    figures = {
        name: over_repeats([quantile(values, q) for values in repeats], quantile(every, q))
        for name, q in _QUANTILES.items()
    }
    upper = quantile_upper_bound(every, 0.95, CONFIDENCE) if len(every) else math.inf
    return Quantiles(
        mean=over_repeats([float(values.mean()) for values in repeats]),
        n=len(every),
        p95_upper=float(f"{upper:.6g}") if math.isfinite(upper) else None,
        **figures,
    )


def _ok(request: Request) -> bool:
    return request.error_class is None and request.ended_at is not None


def _ttft(request: Request, since: float) -> float:
    if not _ok(request):
        return math.inf
    assert request.ended_at is not None
    return (request.token_at[0] if request.token_at else request.ended_at) - since


def _latency(request: Request, since: float) -> float:
    return request.ended_at - since if _ok(request) and request.ended_at is not None else math.inf


def mean_itl(request: Request) -> float:
    """A request's time per output token: the mean gap between its pieces; 0 where it has none."""
    at = request.token_at
    return (at[-1] - at[0]) / (len(at) - 1) if len(at) > 1 else 0.0


def keeps(request: Request, limits: LoadLimits) -> bool:
    """Whether a request was answered within all limits, counted from when it was due."""
    if not _ok(request):
        return False
    times = (
        (_ttft(request, request.due_at), limits.ttft_s),
        (mean_itl(request), limits.itl_s),
        (_latency(request, request.due_at), limits.e2e_s),
    )
    return all(limit is None or value <= limit for value, limit in times)


def _times(runs: Sequence[StepRun], of: Callable[[Request], float]) -> Quantiles:
    return quantiles([np.array([of(request) for request in run.window.measured], float) for run in runs])


def _gaps(window: Window) -> Floats:
    found = [np.diff(request.token_at) for request in window.measured if len(request.token_at) > 1]
    return np.concatenate(found) if found else np.empty(0)


def tokens_per_piece(runs: Sequence[StepRun]) -> float:
    """Tokens of an answer over the pieces that it came in; 1 where the server does not count."""
    counted = [r for run in runs for r in run.window.requests if _ok(r) and r.output_tokens and r.token_at]
    pieces = sum(len(request.token_at) for request in counted)
    return sum(request.output_tokens or 0 for request in counted) / pieces if pieces else 1.0


@dataclass(frozen=True)
class _Rates:
    output: float
    total: float
    requests: int
    good: int
    behind: int
    in_flight: float
    pausing: float
    lasted_s: float


def _counted(request: Request, tokens: int | None) -> float:
    """Tokens of a request: those of an answer that a server did not count are unknown, of an error nothing."""
    return math.nan if tokens is None and _ok(request) else tokens or 0


def _rates(run: StepRun, limits: LoadLimits, per_piece: float) -> _Rates:
    """What went on within a window: what arrived in it counts, whenever it was asked for."""
    window = run.window
    lasted = window.end_s - window.start_s
    written = read = busy = pausing = 0.0
    answered = good = ended_within = 0
    for request in window.requests:
        within = sum(window.start_s <= at < window.end_s for at in request.token_at)
        share = (request.output_tokens or 0) / len(request.token_at) if _ok(request) and request.token_at else 0.0
        written += within * (share or per_piece)
        first = request.token_at[0] if request.token_at else request.ended_at
        if first is not None and window.start_s <= first < window.end_s:
            read += _counted(request, request.input_tokens)
            if _ok(request) and not request.token_at:
                written += _counted(request, request.output_tokens)  # it came whole
        ended = request.ended_at
        if ended is not None and window.start_s <= ended < window.end_s:
            ended_within += 1
            answered += _ok(request)
            good += keeps(request, limits)
        if request.error_class and ended is not None:
            pausing += max(min(ended + PAUSE_S, window.end_s) - max(ended, window.start_s), 0.0)
        until = window.end_s if ended is None else min(ended, window.end_s)
        busy += max(until - max(request.sent_at, window.start_s), 0.0)
    behind = len(window.measured) - ended_within
    tokens = (written / lasted, (written + read) / lasted)
    return _Rates(*tokens, answered, good, behind, busy / lasted, pausing / lasted, lasted)


def summarize(runs: Sequence[StepRun], limits: LoadLimits) -> Step:
    """The repeats of a level as one step."""
    measured = [request for run in runs for request in run.window.measured]
    rates = [_rates(run, limits, tokens_per_piece(runs)) for run in runs]
    lasted_s = [each.lasted_s for each in rates]
    gaps = [_gaps(run.window) for run in runs]
    means = [np.array([mean_itl(r) for r in run.window.measured if len(r.token_at) > 1], float) for run in runs]
    answered = [request for request in measured if _ok(request)]
    errors = Counter(r.error_class or "unanswered" for r in measured if not _ok(r))
    kv_cache = [run.watch.kv_cache_mean for run in runs if run.watch.kv_cache_mean is not None]
    hits = [run.watch.prefix_hits for run in runs if run.watch.prefix_hits is not None]
    return Step(
        level=runs[0].level,
        repeats=len(runs),
        requests=len(measured),
        errors=dict(errors),
        ttft_s=_times(runs, lambda request: _ttft(request, request.due_at)),
        itl_s=quantiles(gaps) if any(map(len, gaps)) else None,
        tpot_s=quantiles(means) if any(map(len, means)) else None,
        latency_s=_times(runs, lambda request: _latency(request, request.due_at)),
        service_ttft_s=_times(runs, lambda request: _ttft(request, request.sent_at)),
        service_latency_s=_times(runs, lambda request: _latency(request, request.sent_at)),
        output_tokens_per_s=over_repeats([each.output for each in rates]),
        total_tokens_per_s=_no_surer(
            over_repeats([each.total for each in rates]), sum(each.requests for each in rates)
        ),
        requests_per_s=rate_figure([each.requests for each in rates], lasted_s),
        goodput_per_s=rate_figure([each.good for each in rates], lasted_s),
        behind=sum(each.behind for each in rates),
        in_flight=over_repeats([each.in_flight for each in rates]),
        pausing=float(np.mean([each.pausing for each in rates])),
        input_tokens=_mean([request.input_tokens for request in answered]),
        output_tokens=_mean([request.output_tokens for request in answered]),
        uncounted=sum(None in (request.input_tokens, request.output_tokens) for request in answered),
        kv_cache=_mean(kv_cache),
        kv_cache_max=max((each for run in runs for each in run.watch.kv_cache), default=None),
        prefix_hits=_mean(hits),
        client=_client(runs),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(f"{np.mean(known):.6g}") if known and len(known) == len(values) else None


def _client(runs: Sequence[StepRun]) -> ClientShare | None:
    shares = [run.client for run in runs if run.client is not None]
    if not shares:
        return None
    late = [quantile(np.array([r.sent_at - r.due_at for r in run.window.measured]), 0.95) for run in runs]
    return ClientShare(
        lag_s=max(share.lag_s for share in shares),
        lag_p95_s=max(share.lag_p95_s for share in shares),
        busy=max(share.busy for share in shares),
        late_p95_s=max([each for each in late if math.isfinite(each)], default=0.0),
    )


def throughputs(steps: Sequence[Step]) -> list[float]:
    """Output tokens a second by step; requests a second for all of them where one has answers without a count."""
    tokens = [step.output_tokens_per_s.value for step in steps]
    if None in tokens or not any(tokens):
        return [step.requests_per_s.value or 0.0 for step in steps]
    return [each or 0.0 for each in tokens]


def knee(steps: Sequence[Step]) -> float:
    """The level with the highest power: throughput over mean latency (Kleinrock 1979, "Power and deterministic rules of
    thumb for probabilistic problems in computer communications"). Beyond it, latency grows faster than throughput.
    """
    reached = throughputs(steps)
    power = [each / step.latency_s.mean.number for each, step in zip(reached, steps, strict=True)]
    return steps[int(np.argmax(power))].level


def falls_behind(step: Step) -> bool:
    """Whether a server could not keep up with an open loop: much less ended than was due, and more than by chance."""
    return step.behind > max(_BEHIND * step.requests, 2 * math.sqrt(step.requests))


def saturation(steps: Sequence[Step], open_loop: bool = False) -> tuple[float, bool]:
    """The level with the highest throughput, and whether a plateau was reached.

    It was where the highest level adds less than 5 % to what a lower one had, or, in an open loop, where the server
    could not keep up with it.
    """
    reached = throughputs(steps)
    best = steps[int(np.argmax(reached))]
    if open_loop and falls_behind(steps[-1]):
        return best.level, True
    if len(steps) < 2:
        return best.level, False
    return best.level, reached[-1] < max(reached[:-1]) * (1 + PLATEAU)


def within(steps: Sequence[Step], limits: LoadLimits) -> float | None:
    """The highest level up to which every one keeps all limits at p95."""
    if limits == LoadLimits():
        return None
    found = None
    for step in steps:
        if not _keeps_p95(step, limits):
            break
        found = step.level
    return found


def _keeps_p95(step: Step, limits: LoadLimits) -> bool:
    itl = step.tpot_s.p95.number if step.tpot_s else 0.0
    times = ((step.ttft_s.p95.number, limits.ttft_s), (itl, limits.itl_s), (step.latency_s.p95.number, limits.e2e_s))
    return all(limit is None or value <= limit for value, limit in times)
