"""The judges of a run: checked in the plan, asked after the contestants, their cost apart.

check_judges(plan)                                   # raises before anything is sent
await judge_rows(plan, answered, say, sending)                # fills in scores, metric.<judge> and judge_cost_usd
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.catalog import Model
from workbench.client import preflight
from workbench.errors import EngineError, InputError, WorkbenchError
from workbench.evalset import EvalSet
from workbench.journal import Attempt
from workbench.judge.request import Shown, judge_digest
from workbench.privacy import sensitivity_of
from workbench.runner.ask import Sending
from workbench.runner.outcome import attempt_cost, scored
from workbench.runner.pace import Cost
from workbench.runner.plan import Plan
from workbench.runner.question import Question
from workbench.scorers.judge import JudgeScorer
from workbench.servers import engine_of
from workbench.words import counted

if TYPE_CHECKING:
    from workbench.judge.verdict import Verdict  # asks as the runner does, so it imports the runner


_LOOPBACK = re.compile(r"^(https?://)(?:localhost|[^/:]*\.localhost|127(?:\.\d+){3}|\[::1\])(?=[:/]|$)")


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
    if model is None:
        return "models.yaml has no such model. Add it, or name another"
    if model.engine == "rules":
        return "rules cannot judge. Name a model"
    contestants = {
        name for name, questions in plan.questions.items() if any(part.asked for part in questions.of_task(task))
    }
    if any(_same(plan.models[name], model) for name in contestants) and not judge.allow_self:
        return "is a contestant itself. Leave it out of the run, name another judge, or set allow_self: true"
    withheld = max(
        (part.kept_from(model.zone) for questions in plan.questions.values() for part in questions.of_task(task)),
        default=0,
    )
    if withheld:
        kept = counted(withheld, "item is", "items are")
        return f"is hosted, and {kept} restricted. Name a judge in zone local or private"
    for destination in model.destinations():
        preflight(destination)
    reason = engine_of(model).unavailable(model)
    if reason:
        return reason.rstrip(".")
    return _gate_problem(task, judge, model) if judge.weight else None


def _same(contestant: Model, judge: Model) -> bool:
    """Whether they are one model, also where models.yaml has it under two names."""
    if contestant.id == judge.id:
        return True
    if contestant.engine != judge.engine or judge.engine == "rules" or contestant.model != judge.model:
        return False
    return judge.managed or bool(_served_at(contestant) & _served_at(judge))


def _served_at(model: Model) -> set[str]:
    """Where a model is served, with one name for this machine."""
    return {_LOOPBACK.sub(r"\g<1>127.0.0.1", url.lower()).rstrip("/") for url in model.urls}


def _gate_problem(task: EvalSet, judge: JudgeScorer, model: Model) -> str | None:
    """Why a judge may not make up the score of a task."""
    from workbench.judge.calibration import gate_problem, load_calibration

    if judge.calibration is None:
        return (
            "makes up the score (its weight is not 0) without a calibration. Make one with 'workbench judge "
            f"calibrate {task.name}', or set weight: 0"
        )
    path = (task.path / judge.calibration.replace("\0", "")).resolve()  # no name holds a zero byte
    if not path.is_relative_to(task.path.resolve()):
        return "its calibration lies outside the eval set's folder"
    try:
        problem = gate_problem(load_calibration(path), judge_digest(judge, model), judge.min_kappa)
    except EngineError as failure:
        return str(failure).rstrip(".")
    return None if problem is None else f"is refused as a gate: {problem}"


async def judge_rows(
    plan: Plan,
    answered: list[Answered],
    say: Callable[[str, int, int], None],
    sending: Sending | None = None,
    made: Callable[[str, Cost, list[Attempt]], None] = lambda name, cost, attempts: None,
) -> list[str]:
    """Ask the judges about all answers, and complete the rows.

    Args:
        answered: of tasks that have judges.
        say: is told a judge's name, how many it did, and of how many.
        sending: what judges share with the run: its spend ceiling and its intents.
        made: is told a judge's name, what an attempt of it costs, and those that were made for a verdict just now.

    Returns:
        What went wrong, in lines.
    """
    from workbench.judge.verdict import Verdict

    problems: list[str] = []
    by_task: dict[str, list[Answered]] = defaultdict(list)
    for each in answered:
        by_task[each.question.evalset.name].append(each)
    unasked = Verdict(None, None, "the judge was not asked")
    verdicts = {
        name: {judge.figure: [unasked] * len(own) for judge in judges_of(plan.tasks[name])}
        for name, own in by_task.items()
    }
    try:
        for name, own in by_task.items():
            for judge in judges_of(plan.tasks[name]):
                verdicts[name][judge.figure] = await _verdicts(plan, judge, own, say, problems, sending, made)
    finally:  # also where it is interrupted
        for name, own in by_task.items():
            for index, each in enumerate(own):
                _complete(each, {figure: found[index] for figure, found in verdicts[name].items()})
    return problems


async def _verdicts(
    plan: Plan,
    judge: JudgeScorer,
    own: list[Answered],
    say: Callable[[str, int, int], None],
    problems: list[str],
    sending: Sending | None,
    made: Callable[[str, Cost, list[Attempt]], None],
) -> list[Verdict]:
    """A judge's verdicts on a task's answers. Its failure loses nothing of the contestants."""
    from workbench.judge.verdict import Verdict, ask_judge

    model, task = plan.models.known[judge.model], own[0].question.evalset.name
    name, machine = f"{judge.model} judges {task}", plan.models.machine
    told = partial(_tell, say, name, len(own))
    told(0)
    of_cost = partial(made, name, partial(attempt_cost, model=model, machine=machine))
    try:
        found = await ask_judge(model, judge, [_shown(each) for each in own], machine, told, sending, of_cost)
    except Exception as failure:  # noqa: BLE001  (of an unforeseen one only its kind: the message may hold an item's text)
        said = str(failure) if isinstance(failure, WorkbenchError) else f"an unforeseen {type(failure).__name__}."
        problems.append(f"{task}: judge {judge.model} could not be asked: {said}")
        return [Verdict(None, None, "the judge could not be asked")] * len(own)
    silent = [(each, verdict) for each, verdict in zip(own, found, strict=True) if verdict.choice is None]
    if silent:
        kinds = sorted(
            Counter(str(verdict.error_class) for _, verdict in silent).items(), key=lambda each: (-each[1], each[0])
        )
        shown = next((verdict.error for each, verdict in silent if _is_open(each)), None)
        problems.append(
            f"{task}: judge {judge.model} gave no verdict on {len(silent)} of {counted(len(own), 'answer')} "
            f"({', '.join(f'{count} {kind}' for kind, count in kinds)})." + (f" First: {shown}" if shown else "")
        )
    return found


def _is_open(each: Answered) -> bool:
    return "restricted" not in map(sensitivity_of, each.question.prompt.sources)


def _tell(say: Callable[[str, int, int], None], label: str, total: int, done: int) -> None:
    say(label, done, total)


def _shown(each: Answered) -> Shown:
    question = each.question
    said = question.evalset.parse(each.text).said  # a thought is no answer, and scorers do not see it either
    return Shown(question.prompt.text, question.item.expectations, (said,), question.prompt.sources)


def _complete(each: Answered, verdicts: dict[str, Verdict]) -> None:
    """A row with its verdicts: score, figures, and what the judging cost."""
    scores = {figure: verdict.score for figure, verdict in verdicts.items()}
    each.row.update({"error": None, "error_class": None} | scored(each.question, each.text, scores))
    costs = [verdict.cost_usd for verdict in verdicts.values()]
    known = [cost for cost in costs if cost is not None]
    each.row["judge_cost_usd"] = math.fsum(known) if len(known) == len(costs) else None
    if math.isnan(each.row["score"]) and each.row["error_class"] is None:
        each.row["error_class"] = "judge"
        each.row["error"] = "the judge gave no verdict, so there is no score"
