"""A batch's answers on their way into the journal.

collected = collect(model, machine, journal, folder, part)
collected.cost_usd, collected.lost
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from workbench.catalog import Machine, Model
from workbench.journal import Attempt, Journal
from workbench.runner.batch.file import attempt_of, lines_of, missing
from workbench.runner.batch.state import Folder, Part
from workbench.runner.batch.vllm import died
from workbench.runner.outcome import attempt_cost
from workbench.servers import engine_of

_CHUNK = 512


@dataclass
class Collected:
    """What a batch brought.

    Attributes:
        lost: requests without an answer.
        instead: by key, attempts that the journal does not take: they end in a failure, and it has an answer.
    """

    lost: int = 0
    instead: dict[str, list[Attempt]] = field(default_factory=dict)
    _costs: list[float | None] = field(default_factory=list)

    @property
    def cost_usd(self) -> float | None:
        """What all of it cost; None is unknown."""
        return None if None in self._costs else math.fsum(cost for cost in self._costs if cost is not None)

    def add(self, key: str, attempts: list[Attempt], cost_usd: float | None) -> None:
        """Count a request, by all its attempts."""
        self._costs.append(cost_usd)
        if attempts[-1].text is None:
            self.lost += 1
            if len(attempts) > 1:
                self.instead[key] = attempts


def collect(
    model: Model,
    machine: Machine,
    journal: Journal,
    folder: Folder,
    part: Part,
    busy_s: float | None = None,
    made: Callable[[list[Attempt]], None] = lambda attempts: None,
) -> Collected:
    """Put a batch's answers, and what has none, into the journal; behind the answers that were in a wrong format.

    It may be done again where it was cut off: what is there already stays as it is.

    Args:
        busy_s: each request's share of a local engine's time.
        made: is given what came of each request, once.
    """
    collected = Collected()
    engine_id = engine_of(model).engine_id(model)
    found = _answers(model, folder, part)
    while some := list(islice(found, _CHUNK)):
        known = journal.get_many([key for key, _ in some])
        new: dict[str, list[Attempt]] = {}
        for key, attempt in some:
            attempt.asked_at, attempt.engine_id, attempt.busy_s = part.asked_at, engine_id, busy_s
            stored = known.get(key, [])
            attempts = stored
            if not any(each.batch and each.asked_at == part.asked_at for each in stored):
                # As in a lane, what failed was tried afresh.
                attempts = new[key] = ([] if stored and stored[-1].text is None else stored) + [attempt]
                made([attempt])
            collected.add(key, attempts, attempt_cost(attempt, model, machine))
        journal.put_many(new)
    return collected


def _answers(model: Model, folder: Folder, part: Part) -> Iterator[tuple[str, Attempt]]:
    """Each request of a batch once, with what came of it."""
    wanted, key = set(folder.keys(part)), model.api_key()
    for kind in ("output", "errors"):
        for name, line in lines_of(folder.output(part, kind)):
            if name in wanted:
                wanted.remove(name)
                yield name, died(attempt_of(line, key))
    yield from ((name, missing()) for name in sorted(wanted))
