"""When requests arrive: the open loop's schedules, which do not wait for answers.

schedule = arrivals("poisson", rate=5.0, generator=np.random.default_rng(0))
next(schedule)                     # seconds from the step's start: 0.13…, then 0.31…, without an end
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

Loop = Literal["closed", "poisson", "burst"]

BURSTINESS = 0.25  # of `burst` where nothing else is said: a coefficient of variation of 2
_BLOCK = 256


def arrivals(
    loop: Loop, rate: float, generator: np.random.Generator, burstiness: float = BURSTINESS
) -> Iterator[float]:
    """Times of arrival in seconds, ascending, without an end.

    Gaps are drawn from a Gamma distribution of mean 1 / rate. Its shape is the burstiness, as vLLM's benchmark has it:
    1 is a Poisson process, less comes in bursts (the gaps' coefficient of variation is 1 / sqrt(shape)).

    Args:
        loop: `poisson` (shape 1) or `burst`.
        rate: requests a second.
        generator: the same one draws the same times.
        burstiness: the shape for `burst`.
    """
    shape = 1.0 if loop == "poisson" else burstiness
    at = 0.0
    while True:
        for gap in generator.gamma(shape, 1.0 / (rate * shape), _BLOCK):
            at += float(gap)
            yield at
