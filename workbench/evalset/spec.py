"""The schema of evalset.yaml.

document.parse(EvalSetFile).variants["few_shot"].examples        # 4
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from workbench.files import StrictModel, plain_data
from workbench.privacy import Sensitivity
from workbench.scorers.spelling import composed
from workbench.scorers.values import plain
from workbench.strict import brief

DEFAULT_MARGIN = 0.05

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # of an eval set and its folder
_VARIANT = re.compile(r"\w[\w.-]{0,99}")  # a candidate is MODEL#VARIANT

Role = Literal["system", "user", "assistant"]


class Message(StrictModel):
    """A turn of a prompt; `content` is a sandboxed jinja template over `inputs`."""

    role: Role
    content: str


class Turns(StrictModel):
    """Stands for turns that the item brings itself: an input that is a list of `role` and `content`."""

    turns: str


class Variant(StrictModel, strict=True):
    """A named prompt. `examples` items of train.jsonl are shown as turns before the last message."""

    messages: list[Message | Turns] = Field(min_length=1)
    examples: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _ends_with_user(self) -> Variant:
        last = self.messages[-1]
        if isinstance(last, Message) and last.role != "user":
            raise ValueError("the last message must have role: user, it is what the model answers")
        return self


class Generation(StrictModel, strict=True):
    """How an answer is generated; sent as it is to servers that understand it."""

    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=256, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = None
    stop: list[str] = []


class Output(StrictModel, strict=True):
    """What an answer looks like: one of a schema's JSON, a label, or free text."""

    json_schema: str | None = None
    labels: list[str] | None = Field(default=None, min_length=2)
    text: Literal[True] | None = None
    format_retries: int = Field(default=0, ge=0, le=5)

    @field_validator("labels")
    @classmethod
    def _each_once(cls, labels: list[str] | None) -> list[str] | None:
        seen: dict[str, str] = {}
        for label in labels or []:
            if not label.strip():
                raise ValueError("a label is empty. Write a word that a model can answer")
            spelling = plain(composed(label))
            other = seen.get(spelling)
            seen[spelling] = label
            if other == label:
                raise ValueError(f"label '{brief(label)}' stands here twice. Keep one of them")
            if other is not None:
                raise ValueError(
                    f"labels '{brief(other)}' and '{brief(label)}' differ in case, spaces, full stop or minus "
                    "sign only, and would be scored as one. Keep one of them"
                )
        return labels

    @model_validator(mode="after")
    def _one_kind(self) -> Output:
        if sum(kind is not None for kind in (self.json_schema, self.labels, self.text)) != 1:
            raise ValueError("name exactly one of json_schema, labels, text")
        return self


class Accept(StrictModel, strict=True):
    """When an answer is good enough to use."""

    min_score: float = Field(ge=0, le=1)


class Limits(StrictModel, strict=True):
    """What a route must keep; set before outcomes are seen."""

    min_score: float = Field(default=0.0, ge=0, le=1)
    margin: float = Field(default=DEFAULT_MARGIN, gt=0, le=1)
    p95_latency_s: float | None = Field(default=None, gt=0)


class EvalSetFile(StrictModel):
    """The schema of evalset.yaml."""

    schema_: Literal[1] = Field(alias="schema")
    name: str
    description: str
    license: str | None = None
    sensitivity: Sensitivity = "restricted"
    variants: dict[str, Variant] = Field(min_length=1)
    generation: Generation = Generation()
    output: Output
    scorers: list[Annotated[dict[str, Any], AfterValidator(plain_data)]] = Field(min_length=1)
    accept: Accept
    limits: Limits = Limits()
    rules: str | None = None

    @field_validator("variants")
    @classmethod
    def _named(cls, variants: dict[str, Variant]) -> dict[str, Variant]:
        for name in variants:
            if not _VARIANT.fullmatch(name):
                raise ValueError(
                    f"'{brief(name)}' is no name for a variant. Use up to 100 letters, digits, '_', '-', '.'"
                )
        return variants
