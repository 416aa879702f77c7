"""What went wrong in a run, counted as outcomes come: a line for each model, by class of error.

tally.add(row)
lines, failed = tally.told()
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from workbench.words import counted

# The rules abstain by design; a judge's failure is told by the judging, and a scorer's by task: the model answered.
_NO_FAILURES = ("no_match", "judge", "scorer")

_SHOWN = 10  # items that are named


class Tally:
    """Counts outcomes and errors.

    Args:
        named: the names that servers are asked for, which may be shown.

    Attributes:
        rows: outcomes so far.
        kinds: errors by class, over all models.
    """

    def __init__(self, named: frozenset[str] = frozenset()) -> None:
        self.rows = 0
        self.kinds: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self._by_model: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._first: dict[str, str] = {}  # error texts of items that are not restricted
        self._named = named
        self._items: defaultdict[str, list[str]] = defaultdict(list)  # of errors, the first ones
        self._of_task: Counter[str] = Counter()
        self._unscored: Counter[str] = Counter()  # by task, as a scorer failed
        self._unscored_items: defaultdict[str, dict[str, str]] = defaultdict(dict)  # the first ones, and what failed
        self._served: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in an outcome."""
        self.rows += 1
        kind, model = row["error_class"], row["model"]
        if row["served_model"]:
            self._count_served(model, row["served_model"], row["sensitivity"] == "restricted")
        self._of_task[row["task"]] += 1
        if kind is not None:
            self.kinds[kind] += 1
        if kind == "scorer":
            self._unscored[row["task"]] += 1
            if len(self._unscored_items[row["task"]]) <= _SHOWN:
                self._unscored_items[row["task"]].setdefault(row["item_id"], row["error"])
        if kind in _NO_FAILURES:
            return
        self._asked[model] += 1
        if kind is not None:
            self._by_model[model][kind] += 1
            if len(self._items[model]) < _SHOWN:
                self._items[model].append(f"{row['task']}/{row['item_id']}")
            if row["sensitivity"] != "restricted" and row["error"]:
                self._first.setdefault(model, row["error"])

    def _count_served(self, model: str, name: str, restricted: bool) -> None:
        """A server may put anything there: the text of a restricted item is no name, nor are a thousand names."""
        names = self._served[model]
        if restricted and name not in self._named:
            name = "a name that is not shown"
        names[name if name in names or len(names) < _SHOWN else "others"] += 1

    def renamed(self, asked: Mapping[str, str]) -> list[str]:
        """The models that answered under another name than they were asked for, in lines.

        Args:
            asked: the name that each model's server was asked for.
        """
        lines = []
        for model, name in asked.items():
            others = [f"{other} ({count})" for other, count in self._served[model].most_common(5) if other != name]
            if others:
                lines.append(f"{model}: asked for as {name}, answered by {', '.join(others)}")
        return lines

    def told(self, given_up: Collection[str] = ()) -> tuple[list[str], bool]:
        """The problems in lines, and whether the run failed: a model answered nothing, its engine or a scorer failed.

        Args:
            given_up: models whose engine's death was told already.
        """
        lines, failed = [], self.rows > 0 and self.kinds["judge"] == self.rows
        for model in sorted(self._by_model):
            counts = self._by_model[model]
            total = sum(counts.values())
            kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
            said = f" First: {self._first[model]}" if model in self._first else ""
            items = ", ".join(self._items[model]) + (", …" if total > _SHOWN else "")
            if model not in given_up or set(counts) != {"engine"}:
                of = f"of {counted(self._asked[model], 'outcome')}"
                lines.append(
                    f"{model}: {counted(total, f'{of} has', f'{of} have')} no answer ({kinds}): {items}.{said}"
                )
            failed = failed or total == self._asked[model] or counts["engine"] > 0
        return lines + self._scorers_failures(), failed or bool(self._unscored)

    def _scorers_failures(self) -> list[str]:
        """What scorers failed on. Their messages hold no text of an item."""
        lines = []
        for task, count in sorted(self._unscored.items()):
            items = self._unscored_items[task]
            named = ", ".join(list(items)[:_SHOWN]) + (", …" if len(items) > _SHOWN else "")
            of = f"of {counted(self._of_task[task], 'outcome')}"
            told = counted(count, f"{of} has", f"{of} have")
            lines.append(f"{task}: {told} no score, as a scorer failed: {named}. First: {next(iter(items.values()))}")
        return lines
