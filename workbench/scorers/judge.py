"""A judge: another model's verdict on the answer, under a rubric. The verdict comes from a request of its own.

scorers: [{type: judge, name: polite, model: qwen-judge, rubric: "Polite, and no promise is made.", weight: 0}]

A judge that makes up the score (a weight above 0) is a gate: it needs a calibration against given labels, made by
`workbench judge calibrate`, whose agreement is sure to be at least `min_kappa`. One of weight 0 is a further figure.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from workbench.scorers.answer import Answer
from workbench.scorers.base import Score, Scorer, scorer


@scorer("judge")
class JudgeScorer(Scorer):
    """A model's verdict, pass or fail.

    Attributes:
        model: the judge, a model of models.yaml; a hosted one never sees restricted items.
        rubric: what makes an answer pass, in plain words.
        shows: what the judge sees beside the answer: the task's prompt, and the expectations as a reference.
        max_tokens: of its answer; a judge that thinks before it answers needs thousands.
        allow_self: let a model judge its own answers.
        calibration: a file of the eval set's folder, made by `workbench judge calibrate`.
        min_kappa: agreement with given labels (Cohen's kappa, its lower bound) under which it is refused as a gate.
    """

    asks: ClassVar[bool] = True
    type: Literal["judge"]
    model: str = Field(min_length=1)
    rubric: str = Field(min_length=1, max_length=20_000)
    shows: list[Literal["prompt", "expectations"]] = ["prompt", "expectations"]
    max_tokens: int = Field(default=512, ge=1, le=100_000)
    allow_self: bool = False
    calibration: str | None = None
    min_kappa: float = Field(default=0.6, ge=0, le=1)

    @property
    def figure(self) -> str:
        """What its figure is called."""
        return self.name or self.type

    def applies(self, expectations: dict[str, Any]) -> bool:
        return False  # it has no verdict until the judge was asked; see `base.total`

    def score(self, answer: Answer, expectations: dict[str, Any]) -> Score:
        raise TypeError("a judge scores by a request of its own")
