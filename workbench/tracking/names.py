"""Names in MLflow: of candidates' runs, which its page of evaluation runs cuts, and of metrics, which it may refuse.

run_names(["gemma3-q4", "rules"])                              # as they are: the first letters tell them apart
run_names(["smollm2-q4#few_shot", "smollm2-q4#terse"])         # {…: 'smol#few smollm2-q4#few_shot', …}
legal_names(["total", "Total (EUR)"])                          # {'total': 'total', 'Total (EUR)': 'Total _EUR_'}
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, count

from workbench.outcomes import split_candidate

SEEN = 8  # letters of a longer name that the page shows; one of nine stands there whole
_MODEL, _VARIANT = 4, 3  # of them, in a mark that names both
_WORD = re.compile(r"[^\W_]+")
_ILLEGAL = re.compile(r"[^\w.\- ]")  # a slash makes a path, which MLflow takes in some places only
_LONGEST = 150  # letters; MLflow takes 250, a figure and a task come before them


def run_names(candidates: Sequence[str]) -> dict[str, str]:
    """The name of each candidate's run: its id, after a mark where another id begins with the same letters.

    Args:
        candidates: their ids, `model` or `model#variant`, each once.
    """
    often = Counter(map(seen, candidates))
    alike = {name: split_candidate(name) for name in candidates if often[seen(name)] > 1}
    several = len({variant for _, variant in alike.values()}) > 1
    models = _marks({split_candidate(name)[0] for name in candidates}, _MODEL if several else SEEN)
    variants = _marks({variant for _, variant in alike.values()}, _VARIANT)
    names = {name: name for name in candidates}
    for name, (model, variant) in alike.items():
        told = f"#{variants[variant]}" if several and variant != "default" else ""
        names[name] = f"{models[model]}{told} {name}"
    return names


def legal_names(names: Iterable[str]) -> dict[str, str]:
    """Names as a part of a metric's: what MLflow refuses is an underscore, and those that are alike then get a number.

    A name that MLflow takes stays as it is.
    """
    found: dict[str, str] = {}
    for name in sorted(set(names), key=lambda name: (_legal(name) != name, name)):
        legal = _legal(name)
        numbered = (f"{legal}_{number}" for number in count(2))
        found[name] = next(each for each in chain([legal], numbered) if each not in found.values())
    return found


def _legal(name: str) -> str:
    return _ILLEGAL.sub("_", name)[:_LONGEST]


def seen(name: str) -> str:
    """What the page shows of a name."""
    return name if len(name) <= SEEN + 1 else name[:SEEN]


def _marks(names: Iterable[str], width: int) -> dict[str, str]:
    """A few letters for each name that no other has: its first ones, else of words of its own, else with a number."""
    left, found = sorted(names), dict[str, str]()
    for spoken in ({name: name for name in left}, {name: _own_words(name, left) for name in left}):
        cut = {name: spoken[name][:width].rstrip("_-. ") for name in left}
        often = Counter(cut.values())
        alone = {name: mark for name, mark in cut.items() if mark and often[mark] == 1}
        found |= {name: mark for name, mark in alone.items() if mark not in found.values()}
        left = [name for name in left if name not in found]
    for name in left:
        numbered = (f"{name[: width - len(str(number))]}{number}" for number in range(2, 10**width))
        free = (mark for mark in chain([name[:width].rstrip("_-. ")], numbered) if mark and mark not in found.values())
        found[name] = next(free)
    return found


def _own_words(name: str, names: Sequence[str]) -> str:
    """The words of a name that not all names with the same first word have."""
    words = _WORD.findall(name)
    others = [_WORD.findall(other) for other in names]
    like = [other for other in others if other[:1] == words[:1]]
    return "".join(word for word in words if not all(word in other for other in like))
