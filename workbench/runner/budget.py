"""A spend ceiling: nothing is sent whose worst case could go over it.

budget = Budget(max_cost_usd=5.0)
if await budget.reserve(0.02): ...           # False: the ceiling is reached
budget.settle(0.02, 0.004)
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from workbench.errors import InputError


class Budget:
    """What may be spent, and what is. All is done in one event loop.

    Attributes:
        limit_usd: the ceiling; None is none.
        spent_usd: what is known to be spent, and of what is not known the worst case.
        exhausted: whether something was not sent because of it.
    """

    def __init__(self, limit_usd: float | None = None) -> None:
        if limit_usd is not None and not 0 <= limit_usd < math.inf:
            raise InputError(f"a spend ceiling is a number of USD from 0 on, not {limit_usd:g}.")
        self.limit_usd = limit_usd
        self.spent_usd = 0.0
        self.exhausted = False
        self._reserved_usd = 0.0
        self._reservations = 0
        self._settled = asyncio.Event()

    async def reserve(self, worst_usd: float, wanted: Callable[[], bool] = lambda: True) -> bool:
        """Set aside what a request costs at most.

        Args:
            worst_usd: NaN is unknown, and is refused where there is a ceiling.
            wanted: whether the request is still to be sent.

        Returns:
            Whether it may be sent. Where only requests in flight stand in its way, it waits for them.
        """
        if self.limit_usd is None:
            return True
        while wanted() and not self._fits(worst_usd):
            if not self._reservations or math.isnan(worst_usd):
                self.exhausted = True
                return False
            self._settled.clear()
            await self._settled.wait()
        if not wanted():
            return False
        self._reserved_usd += worst_usd
        self._reservations += 1
        return True

    def settle(self, worst_usd: float, cost_usd: float | None) -> None:
        """Replace what was set aside by what it cost; None is unknown, and counts as the worst case."""
        if self.limit_usd is None:
            return
        self._reservations -= 1
        self._reserved_usd -= worst_usd
        self.spent_usd += worst_usd if cost_usd is None else cost_usd
        self._settled.set()

    def add(self, cost_usd: float) -> None:
        """Count what an earlier run set out to spend."""
        self.spent_usd += cost_usd

    @property
    def left_usd(self) -> float:
        """What may still be spent; infinite where there is no ceiling."""
        return math.inf if self.limit_usd is None else self.limit_usd - self.spent_usd - self._reserved_usd

    def _fits(self, worst_usd: float) -> bool:
        assert self.limit_usd is not None
        return self.spent_usd + self._reserved_usd + worst_usd <= self.limit_usd + 1e-12
