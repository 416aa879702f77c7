"""A checked eval set.

small = evalset.sample(24)             # stratified, the same items every time
evalset.parse('{"queue": "bug"}')      # a model's text as an Answer
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.evalset.items import FileItems, Item
from workbench.evalset.spec import EvalSetFile
from workbench.privacy import Sensitivity, class_of, sensitivity_of
from workbench.rules import Rules
from workbench.scorers import Answer, Scorer, parse_answer

if TYPE_CHECKING:
    from workbench.prompts import Prompt


_MOST_STRATA = 1000
_Stratum = tuple[str, str]


@dataclass(frozen=True)
class EvalSet:
    """A checked eval set.

    Attributes:
        spec: evalset.yaml.
        items: the test items, every one with its sensitivity; those of a large file are read as they are asked for.
        train: items for few-shot examples and tuning.
        output_schema: the JSON schema of an answer, or None.
        rules: the table of the rules model, or None.
        digest: SHA-256 over the files it is made of.
        total: how many test items the folder has; more than `items` in a sample.
    """

    path: Path
    spec: EvalSetFile
    items: Sequence[Item]
    train: Sequence[Item]
    output_schema: dict[str, Any] | None
    scorers: tuple[Scorer, ...]
    rules: Rules | None
    digest: str
    total: int = field(default=0)

    @property
    def name(self) -> str:
        return self.spec.name

    def parse(self, text: str) -> Answer:
        """A model's text as an answer under this eval set's output format."""
        return parse_answer(text, self.output_schema, self.spec.output.labels, self._aliases)

    @cached_property
    def by_sensitivity(self) -> Counter[Sensitivity]:
        """How many items there are of each sensitivity."""
        if isinstance(self.items, FileItems):
            return self.items.by_sensitivity
        return Counter(sensitivity_of(item.sensitivity) for item in self.items)

    @cached_property
    def examples_in_prompts(self) -> dict[str, Prompt]:
        """The few-shot turns of variants, kept by `prompts.render`."""
        return {}

    @cached_property
    def _aliases(self) -> dict[str, list[str]]:
        merged: dict[str, list[str]] = defaultdict(list)
        for scorer in self.scorers:
            for label, others in scorer.aliases_of_labels().items():
                merged[label] += others
        return merged

    def sample(self, n: int | None) -> EvalSet:
        """A stratified sample of n items, by sensitivity class and expected label.

        The choice hangs on the items' ids alone: the same items every time, and a smaller sample is part of a
        larger one as far as the strata's rounding allows.
        """
        if n is None or n >= len(self.items):
            return self
        if n < 1:
            raise InputError(f"a sample needs at least 1 item, not {n}.")
        sizes: dict[_Stratum, int] = defaultdict(int)
        first: dict[_Stratum, list[tuple[int, int]]] = defaultdict(list)  # each stratum's n lowest digests
        by_label = True
        for index, item in enumerate(self.items):
            key = (class_of(item.sensitivity), self.stratum(item) if by_label else "")
            sizes[key] += 1
            digest = int.from_bytes(hashlib.sha256(item.id.encode()).digest())
            _keep_lowest(first[key], (-digest, -index), n)
            if len(sizes) > _MOST_STRATA:  # labels that hardly repeat part nothing
                by_label = False
                sizes, first = _by_class(sizes, first, n)
        # Every item gets its rank within its stratum as a share: the n lowest shares are the sample.
        ranked = [
            ((rank + 0.5) / sizes[key], key, -digest, -index)
            for key, members in first.items()
            for rank, (digest, index) in enumerate(sorted(members, reverse=True))
        ]
        chosen = sorted(index for *_, index in sorted(ranked)[:n])
        return replace(self, items=tuple(self.items[index] for index in chosen))

    def stratum(self, item: Item) -> str:
        """The label that an item counts under in a stratified sample; empty where its scorers know none."""
        for scorer in self.scorers:
            label = scorer.stratum(item.expectations) if scorer.applies(item.expectations) else None
            if label is not None:
                return label
        return ""


def _keep_lowest(kept: list[tuple[int, int]], entry: tuple[int, int], n: int) -> None:
    if len(kept) < n:
        heapq.heappush(kept, entry)
    else:
        heapq.heappushpop(kept, entry)


def _by_class(
    sizes: dict[_Stratum, int], first: dict[_Stratum, list[tuple[int, int]]], n: int
) -> tuple[dict[_Stratum, int], dict[_Stratum, list[tuple[int, int]]]]:
    """Strata by label, put together by sensitivity class."""
    merged: dict[_Stratum, int] = defaultdict(int)
    lowest: dict[_Stratum, list[tuple[int, int]]] = defaultdict(list)
    for (of_class, label), size in sizes.items():
        merged[of_class, ""] += size
        for entry in first[of_class, label]:
            _keep_lowest(lowest[of_class, ""], entry, n)
    return merged, lowest
