"""Questions: one item for one candidate and one repeat, made as they are asked for, so that a million need no memory.

questions = Questions(parts, repeats=1)
len(questions), next(iter(questions)).key
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workbench.catalog import Model
from workbench.evalset import EvalSet, Item
from workbench.journal import canonical
from workbench.privacy import Payload, Sensitivity, permitted, sensitivity_of
from workbench.prompts import Prompt, examples_of, render
from workbench.servers import capabilities_of, engine_of

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


class Shape:
    """What all requests of a task to a model have in common, so that only the messages are made anew for each.

    Attributes:
        worst_tokens: that an answer may take.
        constrained: whether the server is held to the task's JSON schema.
    """

    def __init__(self, task: EvalSet, model: Model, identity: dict[str, Any]) -> None:
        self._body = _body(task, model)
        self.constrained = "response_format" in self._body
        self.worst_tokens = task.spec.generation.max_tokens
        rest = {name: value for name, value in self._body.items() if name not in ("model", "messages")}
        self._wire = (f'{{"model":{_encode(self._body["model"])},"messages":', f",{_encode(rest)[1:]}")
        before = {name: value for name, value in self._body.items() if name < "messages"}
        after = {name: value for name, value in self._body.items() if name > "messages"}
        first = f"{canonical(before)[1:-1]}," if before else ""
        self._keyed = (f'[{canonical(identity)},{{{first}"messages":', f",{canonical(after)[1:]},")

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """The request's body."""
        return {**self._body, "messages": prompt.messages}

    def encoded(self, messages: str) -> bytes:
        """The request's body as JSON, of its messages as JSON."""
        return f"{self._wire[0]}{messages}{self._wire[1]}".encode()

    def key(self, messages: str, repeat: int) -> str:
        """What `journal.request_key` says of the body, of its messages as canonical JSON."""
        return hashlib.sha256(f"{self._keyed[0]}{messages}{self._keyed[1]}{repeat}]".encode()).hexdigest()


@dataclass(slots=True, eq=False)
class Question:
    """One item for one candidate, one repeat."""

    evalset: EvalSet
    item: Item
    model: str
    variant: str
    repeat: int
    prompt: Prompt
    key: str
    _shape: Shape
    _messages: str

    @property
    def body(self) -> dict[str, Any]:
        return self._shape.body(self.prompt)

    @property
    def payload(self) -> Payload:
        return Payload(self._shape.body(self.prompt), self.prompt.sources, self._shape.encoded(self._messages))

    @property
    def worst_tokens(self) -> tuple[int, int]:
        """The most tokens that it takes: its prompt's bytes and more, its longest answer."""
        return most_tokens(self._messages), self._shape.worst_tokens

    @property
    def format_retries(self) -> int:
        return self.evalset.spec.output.format_retries

    def format_ok(self, text: str) -> bool:
        """Whether an answer keeps its format."""
        return self.evalset.parse(text).format_ok


def most_tokens(messages: str) -> int:
    """No tokenizer makes more tokens of a text than it has bytes; templates add some around each turn."""
    return len(messages.encode()) + 64


@dataclass(frozen=True)
class Part:
    """A task in one variant for one model."""

    task: EvalSet
    model: Model
    variant: str
    shape: Shape

    @property
    def _prompt(self) -> str:
        """The variant whose prompt an answer is kept with: rules have none, so the set's first may stand for it."""
        return self.variant if self.variant in self.task.spec.variants else next(iter(self.task.spec.variants))

    @property
    def _examples(self) -> tuple[Sensitivity, ...]:
        return examples_of(self.task, self._prompt).sources

    @property
    def closed(self) -> bool:
        """Whether the gate keeps the variant's examples from the model, and so every item."""
        return not all(permitted(source, self.model.zone) for source in self._examples)

    @property
    def withheld(self) -> int:
        """How many items the gate keeps from the model."""
        if self.closed:
            return len(self.task.items)
        return sum(n for label, n in self.task.by_sensitivity.items() if not permitted(label, self.model.zone))

    def kept_from(self, zone: str) -> int:
        """How many of the items that are asked may not reach another zone, such as a judge's."""
        if not all(permitted(source, zone) for source in self._examples):
            return self.asked
        seen = (
            n
            for label, n in self.task.by_sensitivity.items()
            if permitted(label, self.model.zone) and not permitted(label, zone)
        )
        return sum(seen) if self.asked else 0

    @property
    def asked(self) -> int:
        """How many items are asked."""
        return len(self.task.items) - self.withheld

    def questions(self, repeats: int) -> Iterator[Question]:
        """The questions, in the order of the items."""
        shape, model, zone = self.shape, self.model.id, self.model.zone
        if self.closed:
            return
        for item in self.task.items:
            if not permitted(sensitivity_of(item.sensitivity), zone):
                continue
            prompt = render(self.task, self._prompt, item)
            messages = canonical(prompt.messages)
            for repeat in range(repeats):
                key = shape.key(messages, repeat)
                yield Question(self.task, item, model, self.variant, repeat, prompt, key, shape, messages)


class Questions:
    """All questions to a model; each is made when it is its turn."""

    def __init__(self, parts: list[Part], repeats: int) -> None:
        self.parts = parts
        self._repeats = repeats

    def __len__(self) -> int:
        return sum(part.asked for part in self.parts) * self._repeats

    def __iter__(self) -> Iterator[Question]:
        for part in self.parts:
            yield from part.questions(self._repeats)

    def of_task(self, task: EvalSet) -> list[Part]:
        """The parts of one task."""
        return [part for part in self.parts if part.task is task]


def _body(task: EvalSet, model: Model) -> dict[str, Any]:
    """The request's body but for its messages: only what the model's server declares that it understands."""
    able, spec = capabilities_of(model), task.spec
    generation = spec.generation
    tokens = "max_completion_tokens" if "max_completion_tokens" in able else "max_tokens"
    body: dict[str, Any] = {
        "model": engine_of(model).served_name(model),
        "messages": None,
        tokens: generation.max_tokens,
        "stream": True,
    }
    if "stream_usage" in able:
        body["stream_options"] = {"include_usage": True}
    if "temperature" in able:
        body["temperature"] = generation.temperature
        if generation.top_p is not None:
            body["top_p"] = generation.top_p
    if "seed" in able and generation.seed is not None:
        body["seed"] = generation.seed
    if "stop" in able and generation.stop:
        body["stop"] = generation.stop
    if "json_schema" in able and task.output_schema is not None:
        schema = {"name": task.name, "schema": task.output_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body
