"""Asking a judge: through the same client, journal and gate as the contestants, its cost apart.

verdicts = judge_outputs(model, scorer, shown, machine)         # a Verdict for each
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.catalog import Machine, Model
from workbench.errors import InputError
from workbench.journal import Attempt, Journal
from workbench.judge.request import JudgeQuestion, Shown, judge_question
from workbench.loops import run_in_thread
from workbench.privacy import gate
from workbench.runner.ask import Sending, Use, depth_of
from workbench.runner.desk import Desk
from workbench.runner.endpoints import serve_lane
from workbench.runner.lane import Lane
from workbench.runner.outcome import attempt_cost, total_cost
from workbench.scorers.judge import JudgeScorer
from workbench.servers import engine_of

_CHOICES = {"pass": 1.0, "fail": 0.0}


@dataclass(frozen=True)
class Verdict:
    """What a judge said.

    Attributes:
        choice: `pass` or `fail`; of pairs `first`, `second` or `tie`; None where it gave no verdict.
        cost_usd: of asking it; None is unknown.
        error: why there is no verdict; it may repeat what the judge was shown.
        error_class: of what kind that is: an attempt's, or `format` where the judge's answer holds no verdict.
    """

    choice: str | None
    cost_usd: float | None
    error: str | None = None
    error_class: str | None = None

    @property
    def score(self) -> float | None:
        """1 for pass, 0 for fail, None otherwise."""
        return _CHOICES.get(self.choice or "")


def judge_outputs(
    model: Model,
    scorer: JudgeScorer,
    shown: Sequence[Shown],
    machine: Machine,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Verdict]:
    """A judge's verdict on each answer; see `ask_judge`."""
    return run_in_thread(ask_judge(model, scorer, shown, machine, progress))


async def ask_judge(
    model: Model,
    scorer: JudgeScorer,
    shown: Sequence[Shown],
    machine: Machine,
    progress: Callable[[int], None] = lambda done: None,
    sending: Sending | None = None,
    made: Callable[[list[Attempt]], None] = lambda attempts: None,
) -> list[Verdict]:
    """A judge's verdict on each answer, or pair of answers.

    What the journal holds is not asked again; equal requests are asked once.

    Args:
        model: the judge.
        scorer: with the rubric.
        shown: what it is to judge.
        machine: what a local judge's time costs.
        progress: is told how many are done.
        sending: what it shares with the run that it judges for; None where it asks for itself.
        made: is given the attempts that were made for a verdict just now.

    Raises:
        InputError: the judge is the rules, or outside its zone.
        Withheld: restricted text would reach a hosted judge; nothing of it was sent.
        EngineError: a local judge does not start.
    """
    if model.engine == "rules":
        raise InputError(f"judge {model.id}: rules cannot judge. Name a model.")
    identity = engine_of(model).identity(model)
    questions = [judge_question(model, identity, scorer, each) for each in shown]
    for question in questions:
        gate(question.payload, model.destination())  # all of them before anything is sent
    found: list[Verdict | None] = [None] * len(questions)
    places = {id(question): place for place, question in enumerate(questions)}
    done = 0

    def take(question: JudgeQuestion, attempts: list[Attempt]) -> None:
        nonlocal done
        found[places[id(question)]] = _verdict(question, attempts, model, machine)
        done += 1
        progress(done)

    sending = sending or Sending(machine)
    with Journal.open() as journal, Desk(journal, sending.intents, sending.retry_errors) as desk:
        lane = Lane(model.id, iter(questions), take, made=made, depth=depth_of(model), asks_new=True)
        use = Use()
        try:
            await serve_lane(desk.open(lane), model, sending, use)
        finally:
            sending.judges.sent += use.sent
            sending.judges.notes += use.notes
            sending.judges.twice += desk.twice
    unasked = Verdict(None, None, use.dead or "the judge was not asked", "not_asked")
    return [verdict or unasked for verdict in found]


def _verdict(question: JudgeQuestion, attempts: list[Attempt], model: Model, machine: Machine) -> Verdict:
    last = attempts[-1]
    cost = total_cost([attempt_cost(attempt, model, machine) for attempt in attempts])
    choice = question.choice(last.text)
    if choice is not None:
        return Verdict(choice, cost)
    if last.text is not None and last.finish_reason == "length":
        cut = f"the judge ran out of tokens before its verdict (max_tokens: {question.max_tokens}). Give it more"
        return Verdict(None, cost, cut, "format")
    if last.text is not None:
        return Verdict(None, cost, "the judge's answer holds no verdict", "format")
    return Verdict(None, cost, last.error, last.error_class)
