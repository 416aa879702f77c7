"""The judges of a run: checked in the plan, asked after the contestants, their cost apart.

check_judges(plan)                                   # raises before anything is sent
await judge_rows(plan, answered, say)                # fills in scores, metric.<judge> and judge_cost_usd
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from workbench.errors import InputError, WorkbenchError
from workbench.evalset import EvalSet
from workbench.judge.calibration import gate_problem, load_calibration
from workbench.judge.request import Shown, rubric_digest
from workbench.judge.verdict import Verdict, ask_judge
from workbench.privacy import permitted
from workbench.runner.ask import scored
from workbench.runner.plan import Plan, Question
from workbench.scorers.judge import JudgeScorer
from workbench.servers import engine_of


@dataclass(frozen=True)
class Answered:
    """An answer that a judge is to see, and its row of the outcome table, which it completes."""

    question: Question
    text: str
    row: dict[str, Any]


def judges_of(task: EvalSet) -> Iterator[JudgeScorer]:
    """The judges of an eval set."""
    return (scorer for scorer in task.scorers if isinstance(scorer, JudgeScorer))


def check_judges(plan: Plan) -> None:
    """Refuse judges that cannot, or may not, judge.

    Raises:
        InputError: a judge is not in models.yaml or cannot run; is a contestant; is hosted where items are restricted;
            or makes up the score without a calibration that carries it.
    """
    for task in plan.tasks.values():
        for judge in judges_of(task):
            problem = _problem(plan, task, judge)
            if problem:
                raise InputError(f"{task.name}: judge {judge.model}: {problem}.")


def _problem(plan: Plan, task: EvalSet, judge: JudgeScorer) -> str | None:
    model = plan.models.known.get(judge.model)
    if model is None or model.engine == "rules":
        return "models.yaml has no such model. Add it, or name another"
    asked = [question for questions in plan.questions.values() for question in questions if question.evalset is task]
    if any(question.model == judge.model for question in asked) and not judge.allow_self:
        return "is a contestant itself. Leave it out of the run, name another judge, or set allow_self: true"
    withheld = {question.item.id for question in asked if not permitted(question.payload.sensitivity, model.zone)}
    if withheld:
        return f"is hosted, and {len(withheld)} items are restricted. Name a judge in zone local or private"
    reason = engine_of(model).unavailable(model)
    if reason:
        return reason.rstrip(".")
    return _gate_problem(task, judge) if judge.weight else None


def _gate_problem(task: EvalSet, judge: JudgeScorer) -> str | None:
    """Why a judge may not make up the score of a task."""
    if judge.calibration is None:
        return (
            "makes up the score (its weight is not 0) without a calibration. Make one with 'workbench judge "
            f"calibrate {task.name}', or set weight: 0"
        )
    path = (task.path / judge.calibration).resolve()
    if not path.is_relative_to(task.path.resolve()):
        return "its calibration lies outside the eval set's folder"
    problem = gate_problem(load_calibration(path), rubric_digest(judge), judge.min_kappa)
    return None if problem is None else f"is refused as a gate: {problem}"


async def judge_rows(plan: Plan, answered: list[Answered], say: Callable[[str, int, int], None]) -> list[str]:
    """Ask the judges about all answers, and complete the rows.

    Args:
        answered: of tasks that have judges.
        say: is told a judge's name, how many it did, and of how many.

    Returns:
        What went wrong, in lines.
    """
    problems = []
    by_task: dict[str, list[Answered]] = defaultdict(list)
    for each in answered:
        by_task[each.question.evalset.name].append(each)
    for name, own in by_task.items():
        verdicts: dict[str, list[Verdict]] = {}
        for judge in judges_of(plan.tasks[name]):
            model = plan.models.known[judge.model]
            told = partial(_tell, say, f"{judge.model} judges {name}", len(own))
            try:
                found = await ask_judge(model, judge, [_shown(each) for each in own], plan.models.machine, told)
            except WorkbenchError as failure:
                problems.append(f"{name}: judge {judge.model}: {failure}")
                found = [Verdict(None, None, "the judge could not be asked")] * len(own)
            verdicts[judge.figure] = found
            missing = sum(verdict.choice is None for verdict in found)
            if missing:
                problems.append(f"{name}: judge {judge.model} gave no verdict on {missing} of {len(own)} answers")
        for index, each in enumerate(own):
            _complete(each, {figure: found[index] for figure, found in verdicts.items()})
    return problems


def _tell(say: Callable[[str, int, int], None], label: str, total: int, done: int) -> None:
    say(label, done, total)


def _shown(each: Answered) -> Shown:
    question = each.question
    return Shown(question.prompt.text, question.item.expectations, (each.text,), question.prompt.sources)


def _complete(each: Answered, verdicts: dict[str, Verdict]) -> None:
    """A row with its verdicts: score, figures, and what the judging cost."""
    scores = {figure: verdict.score for figure, verdict in verdicts.items()}
    each.row.update(scored(each.question, each.text, scores))
    costs = [verdict.cost_usd for verdict in verdicts.values()]
    known = [cost for cost in costs if cost is not None]
    each.row["judge_cost_usd"] = math.fsum(known) if len(known) == len(costs) else None
    if math.isnan(each.row["score"]):
        each.row["error_class"] = "judge"
        each.row["error"] = "the judge gave no verdict, so there is no score"
