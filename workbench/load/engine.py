"""What an engine says of itself while it is under load: the use of its KV cache, and what its prefix cache had.

async with watched(client) as engine:
    engine.begin()                       # once it is warm: nothing before that counts
engine.kv_cache, engine.prefix_hits      # shares; None where the engine does not tell

Out of `/metrics`, in Prometheus' text format: vLLM's names, and llama.cpp's.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import fmean
from typing import Protocol

_EVERY_S = 0.5
_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\})? (\S+)(?: \d+)?$")
# Gauges of the cache's use, from 0 to 1; a server has one of them, once for each of its engines.
_KV_CACHE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "vllm:cpu_cache_usage_perc")
# Counters of tokens: found in the cache, and all; found there, and those that were not.
_VLLM = ("vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total")
_LLAMACPP = ("llamacpp:prompt_tokens_cached_total", "llamacpp:prompt_tokens_total")


class _Source(Protocol):
    async def metrics(self) -> str | None: ...


@dataclass
class EngineWatch:
    """What was seen since it began.

    Attributes:
        kv_cache: the share of the KV cache in use, at each look.
        prefix_hits: the share of prompt tokens that the prefix cache had; None where the engine does not tell.
        begun: whether the warm-up is over.
    """

    kv_cache: list[float] = field(default_factory=list)
    prefix_hits: float | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self) -> None:
        """Look from now on."""
        self.begun.set()

    @property
    def kv_cache_mean(self) -> float | None:
        return fmean(self.kv_cache) if self.kv_cache else None

    @property
    def kv_cache_max(self) -> float | None:
        return max(self.kv_cache, default=None)


def parse(text: str) -> dict[str, float]:
    """Metrics by name, those of several labels added up, gauges of a share apart: of these the highest."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match is None:
            continue
        try:
            name, value = match[1], float(match[2])
        except ValueError:
            continue
        before = found.get(name, 0.0)
        found[name] = max(before, value) if name in _KV_CACHE else before + value
    return found


@asynccontextmanager
async def watched(source: _Source, offered: bool = True) -> AsyncIterator[EngineWatch]:
    """Look at an engine's metrics from when it is begun to the block's end; what it has to tell is there afterwards.

    Args:
        offered: False asks nothing, as for a hosted API.
    """
    watch = EngineWatch()
    if not offered or not parse(await source.metrics() or ""):
        yield watch
        return
    first: dict[str, float] = {}
    task = asyncio.create_task(_look(source, watch, first))
    try:
        yield watch
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    if first:
        watch.prefix_hits = _hits(first, parse(await source.metrics() or ""))


async def _look(source: _Source, watch: EngineWatch, first: dict[str, float]) -> None:
    """Fill in what the metrics are as it begins, and then look again and again."""
    await watch.begun.wait()
    now = parse(await source.metrics() or "")
    first |= now
    while first:
        watch.kv_cache += [now[name] for name in _KV_CACHE if name in now][:1]
        await asyncio.sleep(_EVERY_S)
        now = parse(await source.metrics() or "")


def _hits(first: Mapping[str, float], last: Mapping[str, float]) -> float | None:
    """The share of prompt tokens between two looks that came out of the cache."""
    for hit, other in (_VLLM, _LLAMACPP):
        if hit in last and other in last:
            hits, others = (last[name] - first.get(name, 0.0) for name in (hit, other))
            asked = others if (hit, other) == _VLLM else hits + others
            return hits / asked if asked > 0 and 0 <= hits <= asked else None
    return None
