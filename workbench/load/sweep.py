"""Which levels a load test makes, in which order: a sweep up to saturation, in interleaved repeats.

async for level, repeat in sweep.steps(): sweep.took(run)

The first repeat goes up; where no levels are given it ends where throughput grows no more, and says which levels the
others have. These take them in an order of their own each, so that what drifts (heat, a neighbor) is no level's alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from workbench.load.figures import PLATEAU, StepRun, summarize, throughputs
from workbench.load.result import LoadLimits

_FRACTIONS = (0.25, 0.5, 0.7, 0.85, 1.0, 1.15)  # of the capacity, for an open loop
_MOST = 512  # in flight, of a sweep that finds its own levels


class Sweep:
    """The steps of a load test.

    Args:
        levels: to be measured, or None to double from 1 up to saturation.
        repeats: of each.
        seed: of the order.
    """

    def __init__(self, levels: Sequence[float] | None, repeats: int, seed: int) -> None:
        self.levels = sorted(set(levels)) if levels is not None else []
        self.runs: list[StepRun] = []
        self.repeats = repeats
        self._given = levels is not None
        self._random = random.Random(seed)

    @property
    def planned(self) -> int | None:
        """How many steps there will be; None where that is not known yet."""
        return len(self.levels) * self.repeats if self._given else None

    def steps(self) -> Iterator[tuple[float, int]]:
        """The levels, each with its repeat from 0; `took` is told of each before the next is asked for."""
        if self._given:
            yield from ((level, 0) for level in self.levels)
        else:
            yield from self._upward()
            self._given = True
        for repeat in range(1, self.repeats):
            yield from ((level, repeat) for level in self._random.sample(self.levels, len(self.levels)))

    def _upward(self) -> Iterator[tuple[float, int]]:
        level = 1.0
        while level <= _MOST:
            self.levels.append(level)
            yield level, 0
            if not self.runs or self.runs[-1].level != level:
                return
            *lower, reached = throughputs([summarize([run], LoadLimits()) for run in self.runs])
            if reached < max(lower, default=0.0) * (1 + PLATEAU) or not reached:
                return
            level *= 2

    def took(self, run: StepRun) -> None:
        """A step that came to its end."""
        self.runs.append(run)

    def by_level(self) -> list[list[StepRun]]:
        """What there is, by rising level."""
        return [[run for run in self.runs if run.level == level] for level in sorted({run.level for run in self.runs})]


def rates_of(capacity_per_s: float) -> list[float]:
    """Rates for an open loop, up to beyond what the model can answer."""
    return [float(f"{capacity_per_s * fraction:.3g}") for fraction in _FRACTIONS]
