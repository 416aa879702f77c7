"""What a load test found: the file's schema, reading, and writing.

result = read_loads("smollm2-q4")[0]         # the newest first
result.saturation.output_tokens_per_s.value

`.workbench/load/<model>-<engine>-<workload>-<loop>.json` holds the figures, a Parquet file beside it the requests:
times and counts, no text. Both are readable by their owner only. A newer test of the same kind replaces an older one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from workbench import project
from workbench.errors import InputError
from workbench.files import StrictModel, read_json, write_atomic
from workbench.load.arrivals import Loop

CONFIDENCE = 0.95


class Figure(StrictModel):
    """A figure and its 95 % interval over the repeats.

    Attributes:
        value: None where it is without bound: more requests failed than the quantile leaves out. Of a rate, None where
            it is not known.
        lo: None where it is not known, as with fewer than three repeats.
        hi: likewise, or without bound.
    """

    value: float | None
    lo: float | None = None
    hi: float | None = None

    @classmethod
    def of(cls, value: float, lo: float = math.nan, hi: float = math.nan) -> Figure:
        """What is not finite becomes None."""
        rounded = [float(f"{each:.6g}") if math.isfinite(each) else None for each in (value, lo, hi)]
        return cls(value=rounded[0], lo=rounded[1], hi=rounded[2])

    @property
    def number(self) -> float:
        """The value; infinite where it is without bound."""
        return math.inf if self.value is None else self.value


class Quantiles(StrictModel):
    """Quantiles of a time in seconds; what failed counts as endless.

    Attributes:
        n: how many times they rest on, over all repeats.
        p95_upper: an upper 95 % confidence bound of p95 by order statistics, as if all requests were independent; None
            with fewer than 59, or where there is none.
    """

    mean: Figure
    p50: Figure
    p90: Figure
    p95: Figure
    p99: Figure
    n: int
    p95_upper: float | None = None

    def few(self, quantile: float) -> bool:
        """Whether they are too few for a 95 % bound of that quantile."""
        return self.n < math.log(1 - CONFIDENCE) / math.log(quantile)


class ClientShare(StrictModel):
    """What the client itself added, the worst of the repeats.

    Attributes:
        lag_s: how late its event loop was at the median.
        lag_p95_s: the same at the 95th percentile.
        busy: the share of a core that its sending thread took.
        late_p95_s: open loop: how long after it was due a request was sent, at the 95th percentile.
    """

    lag_s: float
    lag_p95_s: float
    busy: float
    late_p95_s: float


class Step(StrictModel):
    """One level, over all its repeats.

    Attributes:
        level: requests in flight in a closed loop, requests a second in an open one.
        repeats: how many windows it was measured in.
        requests: due in the windows, failed ones included.
        errors: how many of them failed, by class; `unanswered` had no answer when the step was ended.
        ttft_s: from when it was due to its first text; of an answer without a stream, to its end.
        itl_s: between two pieces of streamed text, which are tokens with most engines.
        tpot_s: a request's mean gap between pieces, its time per output token.
        latency_s: from when it was due to its end.
        service_ttft_s: from when it was sent; in a closed loop the same.
        service_latency_s: likewise.
        output_tokens_per_s: written within the window.
        total_tokens_per_s: and read; not known where one answer came without a count.
        requests_per_s: answered within the window.
        goodput_per_s: those of them that were answered within all limits.
        behind: how many more were due in the windows than ended in them: a server that is full leaves more and more.
        in_flight: how many were in flight, on average over the window.
        pausing: how many places of a closed loop were idle on average, as each is for a moment after a failed request.
        input_tokens: of an answered request, on average; None where the server does not count all.
        output_tokens: likewise.
        uncounted: answers in the windows that came without a count of their tokens.
        kv_cache: the share of the KV cache in use on average, warm-up excluded; None where the engine does not tell.
        kv_cache_max: at most.
        prefix_hits: the share of prompt tokens that the prefix cache had, warm-up excluded; None likewise.
    """

    level: float
    repeats: int
    requests: int
    errors: dict[str, int]
    ttft_s: Quantiles
    itl_s: Quantiles | None
    tpot_s: Quantiles | None
    latency_s: Quantiles
    service_ttft_s: Quantiles
    service_latency_s: Quantiles
    output_tokens_per_s: Figure
    total_tokens_per_s: Figure
    requests_per_s: Figure
    goodput_per_s: Figure
    behind: int = 0
    in_flight: Figure
    pausing: float = 0.0
    input_tokens: float | None
    output_tokens: float | None
    uncounted: int = 0
    kv_cache: float | None
    kv_cache_max: float | None
    prefix_hits: float | None
    client: ClientShare | None

    @property
    def failed(self) -> int:
        return sum(self.errors.values())


class LoadLimits(StrictModel):
    """What an answer must keep, in seconds; None limits nothing.

    Attributes:
        itl_s: of a request's mean gap between pieces, its time per output token.
    """

    ttft_s: float | None = None
    itl_s: float | None = None
    e2e_s: float | None = None

    def describe(self) -> str:
        """In words."""
        named = (("TTFT", self.ttft_s), ("inter-token", self.itl_s), ("end to end", self.e2e_s))
        return ", ".join(f"{name} {value:g} s" for name, value in named if value is not None) or "none"


class LoadResult(StrictModel):
    """A load test.

    Attributes:
        engine_id: engine, version, weights digest.
        engine: a digest of all that the answers depend on.
        workload: what was asked, such as `support_triage.few_shot`.
        prompts: how many different prompts there were; None for no two alike.
        started: UTC.
        machine_usd_per_hour: of this machine; None where it is unknown, or where the model runs elsewhere.
        duration_s: of a window.
        steps: by rising level.
        knee: the level with the highest power, throughput over mean latency (Kleinrock 1979).
        saturation: the level with the highest throughput.
        saturated: whether the next lower level has hardly less, or the next higher one no more: a plateau was reached.
        within: the highest level up to which p95 of all limited times keeps the limits; None where not even the first
            does, or nothing is limited.
        cost_usd: of the test itself at a hosted model.
        complete: whether all steps were made.
    """

    schema_: Literal[1] = 1
    workbench: str
    model: str
    zone: str
    engine_id: str
    engine: str
    workload: str
    task: str | None
    variant: str | None
    prompts: int | None
    loop: Loop
    burstiness: float | None
    started: str
    seed: int
    machine_usd_per_hour: float | None
    cores: int | None
    warmup_s: float
    duration_s: float
    limits: LoadLimits
    steps: list[Step]
    knee: float
    saturated_at: float
    saturated: bool
    within: float | None
    cost_usd: float | None
    complete: bool
    notes: list[str]
    problems: list[str]

    def step(self, level: float) -> Step:
        """The step of a level."""
        return next(step for step in self.steps if step.level == level)

    @property
    def saturation(self) -> Step:
        """The step with the highest throughput."""
        return self.step(self.saturated_at)

    @property
    def at_limits(self) -> Step | None:
        """The highest step that keeps the limits at p95."""
        return None if self.within is None else self.step(self.within)

    @property
    def name(self) -> str:
        """Of its files; what was cut off does not replace what is complete."""
        return f"{self.model}-{self.engine}-{self.workload}-{self.loop}{'' if self.complete else '.partial'}"

    @property
    def path(self) -> Path:
        """Of its figures; the requests are beside it, as Parquet."""
        return folder() / f"{self.name}.json"

    def level_name(self, level: float) -> str:
        """A level with its unit."""
        return f"{level:g} in flight" if self.loop == "closed" else f"{level:.3g} requests/s"

    def save(self) -> Path:
        """Write the figures.

        Raises:
            RunError: they cannot be written.
        """
        write_atomic(self.path, self.model_dump_json(indent=1, by_alias=False) + "\n", 0o600)
        return self.path


def folder() -> Path:
    """Where load tests are kept."""
    return project.state("load")


def read_loads(model: str | None = None) -> list[LoadResult]:
    """The load tests of this project, the newest first.

    Args:
        model: only this one's.

    Raises:
        InputError: a file there is none of ours.
    """
    found = [_read(path) for path in sorted(project.kept("load").glob("*.json"))]
    return sorted(_of(found, model), key=lambda result: result.started, reverse=True)


def _of(results: Iterable[LoadResult], model: str | None) -> list[LoadResult]:
    return [result for result in results if model in (None, result.model)]


def _read(path: Path) -> LoadResult:
    try:
        return LoadResult.model_validate(read_json(path))
    except ValidationError as failure:
        place = ".".join(map(str, failure.errors()[0]["loc"]))
        raise InputError(
            f"{project.shown(path)}: is no load test of this version (field '{place}'). Remove it, and measure again."
        ) from None
