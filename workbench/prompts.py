"""From an item to the messages of a request, with the sensitivity of everything that went in.

prompt = render(evalset, "few_shot", item)
prompt.messages          # [{'role': 'system', 'content': …}, …]
prompt.sources           # ('internal', 'restricted'): of the examples and the item
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from workbench.evalset.spec import Message, Turns
from workbench.privacy import Sensitivity, sensitivity_of
from workbench.scorers import FieldScorer
from workbench.scorers.schemas import resolved
from workbench.strict import brief
from workbench.templates import filled

if TYPE_CHECKING:
    from workbench.evalset import EvalSet, Item

Turn = dict[str, str]
_LONGEST_REASON = 160


class TemplateProblem(Exception):
    """A template cannot be rendered; `variant` and `message_index` say which message it is."""

    def __init__(self, message_index: int, problem: str, variant: str = "") -> None:
        super().__init__(problem)
        self.message_index = message_index
        self.variant = variant


@dataclass(frozen=True)
class Prompt:
    """The messages of a request and where their text comes from."""

    messages: list[Turn]
    sources: tuple[Sensitivity, ...]

    @property
    def text(self) -> str:
        """All turns as one readable text."""
        return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in self.messages)


def _render(source: str, item: Item, index: int) -> str:
    try:
        return filled(source, item.inputs)
    except Exception as failure:  # noqa: BLE001  (a filter may raise anything)
        problem = f"template: {_reason(failure, source, item)}. It can use: inputs.<name> (item {brief(item.id)})"
        raise TemplateProblem(index, problem) from None


def _reason(failure: Exception, source: str, item: Item) -> str:
    """Why a template fails, without repeating the inputs: what it quotes of them must stand in the template."""
    said = (str(failure).splitlines() or [""])[0].rstrip(".")
    quoted = re.findall(r"'([^']*)'|\"([^\"]*)\"", said)
    inputs = json.dumps(item.inputs, ensure_ascii=False, default=str)
    known = all((one or two) in source or (one or two) not in inputs for one, two in quoted)
    if isinstance(failure, TemplateError) and known:
        return brief(said, _LONGEST_REASON)
    return f"it cannot be rendered ({type(failure).__name__})"


def render(evalset: EvalSet, variant: str, item: Item) -> Prompt:
    """The prompt of a variant for an item; examples stand as turns before the last message.

    Raises:
        TemplateProblem: a template is broken or names an input that the item does not have.
    """
    before, last = _own_turns(evalset, variant, item, {})
    examples = examples_of(evalset, variant)
    turns = [*before, *map(dict, examples.messages), *last]
    return Prompt(turns, (*examples.sources, sensitivity_of(item.sensitivity)))


def check_item(evalset: EvalSet, item: Item) -> None:
    """Render what every variant says of an item, a text that they share once.

    Raises:
        TemplateProblem: see `render`.
    """
    written: dict[str, str] = {}
    for variant in evalset.spec.variants:
        _own_turns(evalset, variant, item, written)
        examples_of(evalset, variant)


def _own_turns(evalset: EvalSet, variant: str, item: Item, written: dict[str, str]) -> tuple[list[Turn], list[Turn]]:
    """An item's own turns, before and after the examples."""
    *before, last = enumerate(evalset.spec.variants[variant].messages)
    try:
        first = [turn for index, message in before for turn in _turns(message, item, index, written)]
        turns = _turns(last[1], item, last[0], written)
        if turns[-1]["role"] != "user":
            raise TemplateProblem(
                last[0], f"the last turn must be the user's, it is what the model answers (item {brief(item.id)})"
            )
    except TemplateProblem as problem:
        problem.variant = variant
        raise
    return first, turns


def examples_of(evalset: EvalSet, variant: str) -> Prompt:
    """The turns of a variant's examples; they are the same for every item."""
    known = evalset.examples_in_prompts
    if variant not in known:
        spec = evalset.spec.variants[variant]
        index, message = len(spec.messages) - 1, spec.messages[-1]
        examples = list(evalset.train[: spec.examples])
        turns: list[Turn] = []
        try:
            for example in examples:
                turns += _turns(message, example, index, {})
                turns.append({"role": "assistant", "content": reference_answer(evalset, example)})
        except TemplateProblem as problem:
            problem.variant = variant
            raise
        known[variant] = Prompt(turns, tuple(sensitivity_of(example.sensitivity) for example in examples))
    return known[variant]


def _turns(message: Message | Turns, item: Item, index: int, written: dict[str, str]) -> list[Turn]:
    """A message's turn, or those that the item brings for it."""
    if isinstance(message, Message):
        text = written.get(message.content)
        if text is None:
            text = written[message.content] = _render(message.content, item, index)
        return [{"role": message.role, "content": text}]
    turns = item.inputs.get(message.turns)
    if not isinstance(turns, list) or not turns or not all(_is_turn(turn) for turn in turns):
        said = 'must be a list such as [{"role": "user", "content": "…"}]'
        raise TemplateProblem(index, f"inputs.{brief(message.turns)} {said} (item {brief(item.id)})")
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _is_turn(turn: Any) -> bool:
    return (
        isinstance(turn, dict)
        and set(turn) == {"role", "content"}
        and turn["role"] in ("system", "user", "assistant")
        and isinstance(turn["content"], str)
    )


def reference_answer(evalset: EvalSet, item: Item) -> str:
    """What a model would have to answer for this item, in the eval set's output format."""
    if evalset.output_schema is not None:
        names = evalset.output_schema.get("properties", item.expectations)
        answer = {
            name: _accepted(evalset, name, item.expectations[name]) for name in names if name in item.expectations
        }
        return json.dumps(answer, ensure_ascii=False)
    for scorer in evalset.scorers:
        label = scorer.stratum(item.expectations) if scorer.applies(item.expectations) else None
        if label is not None:
            return label
    for scorer in evalset.scorers:
        if isinstance(scorer, FieldScorer) and scorer.weight and scorer.applies(item.expectations):
            return str(_first(item.expectations.get(scorer.expected_key)))
    return str(_first(next(iter(item.expectations.values()), "")))


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _accepted(evalset: EvalSet, name: str, value: Any) -> Any:
    """The first of several accepted values; a list where the answer's schema has a list."""
    schema = (evalset.output_schema or {}).get("properties", {}).get(name)
    kinds = resolved(schema, evalset.output_schema).get("type", "string") if isinstance(schema, dict) else "array"
    return value if "array" in kinds else _first(value)
