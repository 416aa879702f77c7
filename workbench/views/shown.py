"""What the views show: outcomes with all that is known around them, of a run or of a table from anywhere.

shown = Shown.of(run)
shown = Shown.of(outcomes, models=models, tasks=tasks)      # or of a table alone
shown.policy, shown.board, shown.moved
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from workbench.catalog import Models
from workbench.errors import InputError, WorkbenchError
from workbench.evalset import EvalSet, refreshed
from workbench.routing.choose import aged, is_stale
from workbench.routing.moved import Moved
from workbench.scores import prepare
from workbench.views.opening import opening

if TYPE_CHECKING:
    from workbench.routing import Policy
    from workbench.runner import Run


@dataclass
class Shown:
    """Outcomes, and what is known around them.

    Attributes:
        tasks: the eval sets, by task, as their files are now, since a key may have been corrected; those that are not
            there have no limits, and items without a key.
        reveal: whether the text of restricted items is shown.
    """

    outcomes: pd.DataFrame
    models: Models
    tasks: Mapping[str, EvalSet]
    given: Policy | None = None
    reveal: bool = False
    run: Run | None = None

    def __post_init__(self) -> None:
        self.tasks = _as_they_are(self.tasks)

    @classmethod
    def of(
        cls,
        source: Run | pd.DataFrame,
        policy: Policy | None = None,
        models: Models | None = None,
        tasks: Mapping[str, EvalSet] | None = None,
        reveal: bool = False,
    ) -> Shown:
        """Of a run, or of an outcome table.

        Raises:
            InputError: it is neither, or there are no outcomes.
        """
        if isinstance(source, pd.DataFrame):
            made = cls(source, models or Models({}), tasks or {}, policy, reveal)
        elif hasattr(source, "outcomes"):
            run = source
            made = cls(run.outcomes, models or run.models, tasks or run.tasks, policy, reveal, run)
        else:
            raise InputError(f"show takes a run or an outcome table, not {type(source).__name__}.")
        if made.table.empty:
            none = "there are no outcomes to show: the table has no test rows."
            raise InputError("\n".join([none, *opening(made.run)]))
        return made

    @cached_property
    def table(self) -> pd.DataFrame:
        """The prepared outcomes: with `candidate`, `class` and `points`."""
        return prepare(self.outcomes).reset_index(drop=True)

    @cached_property
    def policy(self) -> Policy:
        """The routes: those that were given, the run's own, or decided now; they say where an eval set has changed."""
        return aged(self._policy, self.tasks)

    @cached_property
    def _policy(self) -> Policy:
        from workbench.routing import route

        if self.given is not None:
            return self.given
        if self.run is not None:
            return self.run.policy
        return route(self.outcomes, self.models, limits=self.tasks)

    @cached_property
    def board(self) -> pd.DataFrame:
        """The leaderboard."""
        from workbench.evidence import leaderboard

        return self.run.leaderboard if self.run is not None else leaderboard(self.outcomes)

    @cached_property
    def heat(self) -> pd.DataFrame:
        """Scores by task and slice."""
        from workbench.views.where import heat

        return heat(self.outcomes)

    @cached_property
    def set_figures(self) -> pd.DataFrame:
        """Macro-F1 and balanced accuracy of label fields."""
        from workbench.classification import set_figures

        return self.run.set_figures if self.run is not None else set_figures(self.outcomes)

    @cached_property
    def moved(self) -> Moved:
        """Where limits and prices are moved by hand."""
        return Moved(self.outcomes, self.models, self.tasks, self.policy)

    def renew(self) -> bool:
        """Go on with the eval sets as their files are now; whether one has changed since they were read."""
        found = _as_they_are(self.tasks)
        if all(found[name] is self.tasks[name] for name in found):
            return False
        self.tasks = found
        self.__dict__.pop("policy", None)
        self.moved.renew(self.tasks, self.policy)
        return True

    @property
    def stale(self) -> list[str]:
        """Tasks whose eval set has changed since the outcomes."""
        rows = self.table
        return [name for name, task in self.tasks.items() if is_stale(rows[rows["task"] == name], task)]


def _as_they_are(tasks: Mapping[str, EvalSet]) -> dict[str, EvalSet]:
    """Eval sets with the keys that they have now; one that cannot be loaded any more stays as it was."""
    found = dict(tasks)
    for name, task in tasks.items():
        with suppress(WorkbenchError):
            found[name] = refreshed(task)
    return found
