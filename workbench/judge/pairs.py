"""Pairs: which of two candidates' answers a judge prefers, in random order.

judge_pairs(run.outcomes, "a", "b", model, scorer, machine).preference        # of a over b, with its interval

A judge often prefers what it reads first, so the order of each pair is drawn by its item; `both_orders` asks twice and
counts only verdicts that hold either way.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.catalog import Machine, Model
from workbench.errors import InputError
from workbench.evalset import EvalSet, Item
from workbench.intervals import Estimate, mean_interval
from workbench.judge.request import Shown, said_of
from workbench.judge.verdict import Verdict, judge_outputs
from workbench.privacy import sensitivity_of
from workbench.scorers.judge import JudgeScorer
from workbench.scores import prepare
from workbench.servers import engine_of
from workbench.words import counted

_REDACTED = re.compile(r"\[restricted\] \d+ characters?")


@dataclass(frozen=True)
class PairVerdicts:
    """A judge's preference between two candidates.

    Attributes:
        notes: what it rests on, in lines: answers that are the same, what the judge did not see.
        table: a row a pair: `item_id`, `a_first` (whether a was shown first), `choice` (`a`, `b`, `tie`, or None).
        preference: the mean of 1 for a, 0.5 for a tie and 0 for b, with its interval.
        first_chosen: the share of decided verdicts that went to what was shown first; 0.5 shows no bias of position.
        cost_usd: of asking the judge; None is unknown.
    """

    a: str
    b: str
    table: pd.DataFrame
    preference: Estimate
    first_chosen: Estimate
    cost_usd: float | None
    notes: tuple[str, ...] = ()


def judge_pairs(
    outcomes: pd.DataFrame,
    a: str,
    b: str,
    model: Model,
    scorer: JudgeScorer,
    machine: Machine | None = None,
    *,
    both_orders: bool = False,
    tasks: Mapping[str, EvalSet] | None = None,
) -> PairVerdicts:
    """Ask a judge which of two candidates' answers is better, on the items that both answered.

    Answers that say the same are a tie, and are not asked about.

    Args:
        outcomes: an outcome table with `prompt` and `output`.
        a: a candidate's id.
        b: the other one's.
        model: the judge; neither candidate's own model, unless the scorer allows it.
        scorer: with the rubric.
        machine: what a local judge's time costs.
        both_orders: ask each pair twice, and call it a tie where the verdict turns with the order.
        tasks: the eval sets by name, whose expectations the judge sees as a reference, where its scorer shows them; an
            outcome table has none. Without them it sees no reference, and a note says so.

    Raises:
        InputError: no shared items with texts, an item that its eval set does not have, or the judge is a contestant or
            cannot run.
        Withheld: restricted text would reach a hosted judge.
    """
    if model.id in (a.partition("#")[0], b.partition("#")[0]) and not scorer.allow_self:
        raise InputError(f"judge {model.id} is a contestant itself. Name another judge, or set allow_self: true.")
    reason = engine_of(model).unavailable(model)
    if reason:
        raise InputError(reason)
    pairs = _pairs(outcomes, a, b)
    references = _references(pairs, scorer, tasks)
    orders = [
        pairs.assign(a_first=[_drawn(task, item) for task, item in zip(pairs["task"], pairs["item_id"], strict=True)])
    ]
    if both_orders:
        orders.append(orders[0].assign(a_first=~orders[0]["a_first"]))
    asked = pd.concat(orders, ignore_index=True)
    verdicts = _asked(asked, references, model, scorer, machine or Machine())
    asked["choice"] = pd.Series(
        [_whose(verdict, first) for verdict, first in zip(verdicts, asked["a_first"], strict=True)], dtype=object
    )  # of text alone it would turn None into NaN
    table = _both(asked) if both_orders else asked
    told, notes = table[["task", "item_id", "a_first", "choice"]], tuple(_notes(pairs, scorer, tasks))
    return PairVerdicts(a, b, told, *_figures(table, asked), _cost(verdicts), notes)


_SAME = Verdict("tie", 0.0)


def _asked(
    asked: pd.DataFrame,
    references: Mapping[tuple[str, str], Item],
    model: Model,
    scorer: JudgeScorer,
    machine: Machine,
) -> list[Verdict]:
    """A verdict for each row; nobody is asked about answers that say the same."""
    shown = [
        None if row["a"] == row["b"] else _shown(row, references.get((row["task"], row["item_id"])))
        for _, row in asked.iterrows()
    ]
    differing = [each for each in shown if each is not None]
    found = iter(judge_outputs(model, scorer, differing, machine) if differing else [])
    return [_SAME if each is None else next(found) for each in shown]


def _references(
    pairs: pd.DataFrame, scorer: JudgeScorer, tasks: Mapping[str, EvalSet] | None
) -> dict[tuple[str, str], Item]:
    """The items whose expectations the judge sees, by task and id."""
    if tasks is None or "expectations" not in scorer.shows:
        return {}
    found = {}
    for name in pairs["task"].unique():
        known = {item.id: item for item in tasks[name].items} if name in tasks else {}
        for item_id in pairs.loc[pairs["task"] == name, "item_id"]:
            if item_id not in known:
                raise InputError(f"tasks: eval set '{name}' has no item '{item_id}', so the judge has no reference.")
            found[name, item_id] = known[item_id]
    return found


def _notes(pairs: pd.DataFrame, scorer: JudgeScorer, tasks: Mapping[str, EvalSet] | None) -> Iterator[str]:
    same = int((pairs["a"] == pairs["b"]).sum())
    if same:
        yield f"{counted(same, 'pair')} of the same answer: a tie, and not asked about"
    if tasks is None and "expectations" in scorer.shows:
        yield "the judge saw no reference: an outcome table has none. Name the eval sets by tasks"
    if "prompt" in scorer.shows and not pairs["prompt"].map(lambda text: isinstance(text, str) and text != "").all():
        yield "the judge did not see every task: the outcome table does not have all prompts"


def _pairs(outcomes: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    table = prepare(outcomes)
    if "output" not in table:
        raise InputError("the outcome table has no column 'output', so there is nothing to judge.")
    table = table[table["repeat"] == 0]
    keys = ["task", "item_id"]
    left = table[(table["candidate"] == a) & table["output"].notna()].set_index(keys)
    right = table[(table["candidate"] == b) & table["output"].notna()].set_index(keys)
    shared = left.index.intersection(right.index)
    if shared.empty:
        raise InputError(f"'{a}' and '{b}' share no answered items: nothing can be compared.")
    answers = {name: rows.loc[shared, "output"].map(said_of) for name, rows in (("a", left), ("b", right))}
    found = pd.DataFrame(answers)
    found["prompt"] = left.loc[shared, "prompt"] if "prompt" in left else ""
    restricted = (left.loc[shared, "class"] == "restricted") | (right.loc[shared, "class"] == "restricted")
    if any(_REDACTED.fullmatch(str(text)) for column in ("a", "b", "prompt") for text in found[column]):
        raise InputError("the table's restricted texts are redacted. Judge the run's own outcomes.parquet.")
    found["cluster"] = left.loc[shared, "cluster"] if "cluster" in left else None
    found["sensitivity"] = np.where(restricted, "restricted", "internal")
    return found.reset_index()


def _drawn(task: str, item: str) -> bool:
    """A coin that falls the same way for an item every time, so that the journal answers a repeated run."""
    return hashlib.sha256(f"{task}\0{item}".encode()).digest()[0] % 2 == 0


def _shown(row: pd.Series[Any], item: Item | None) -> Shown:
    answers = (row["a"], row["b"]) if row["a_first"] else (row["b"], row["a"])
    prompt = row["prompt"] if isinstance(row["prompt"], str) else ""
    own = sensitivity_of(row["sensitivity"])
    if item is None:
        return Shown(prompt, {}, answers, (own,))
    return Shown(prompt, item.expectations, answers, (own, sensitivity_of(item.sensitivity)))


def _whose(verdict: Verdict, a_first: bool) -> str | None:
    if verdict.choice in (None, "tie"):
        return verdict.choice
    return "a" if (verdict.choice == "first") == a_first else "b"


def _both(asked: pd.DataFrame) -> pd.DataFrame:
    """One row a pair: what both orders agree on, else a tie; none where an order has no verdict."""
    half = len(asked) // 2
    first, second = asked.iloc[:half].copy(), asked.iloc[half:]
    pairs = zip(first["choice"], second["choice"], strict=True)
    agreed = [None if None in pair else pair[0] if pair[0] == pair[1] else "tie" for pair in pairs]
    return first.assign(choice=pd.Series(agreed, index=first.index, dtype=object))


def _figures(table: pd.DataFrame, asked: pd.DataFrame) -> tuple[Estimate, Estimate]:
    judged, decided = table[table["choice"].notna()], asked[asked["choice"].isin(["a", "b"])]
    points = np.array(judged["choice"].map({"a": 1.0, "tie": 0.5, "b": 0.0}), dtype=np.float64)
    firsts = np.array((decided["choice"] == "a") == decided["a_first"], dtype=np.float64)
    return mean_interval(points, _clusters(judged)), mean_interval(firsts, _clusters(decided))


def _clusters(rows: pd.DataFrame) -> NDArray[np.int64]:
    """What verdicts come in: clusters, and the two orders of a pair."""
    own = "\0" + rows["task"] + "\0" + rows["item_id"]
    codes: NDArray[np.int64] = pd.factorize(rows["cluster"].where(rows["cluster"].notna(), own))[0]
    return codes


def _cost(verdicts: Sequence[Verdict]) -> float | None:
    known = [verdict.cost_usd for verdict in verdicts if verdict.cost_usd is not None]
    return sum(known) if len(known) == len(verdicts) else None
