"""From an item to the messages of a request, with the sensitivity of everything that went in.

prompt = render(evalset, "few_shot", item)
prompt.messages          # [{'role': 'system', 'content': …}, …]
prompt.sources           # ('internal', 'restricted'): of the examples and the item
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from workbench.privacy import Sensitivity, sensitivity_of
from workbench.scorers import FieldScorer

if TYPE_CHECKING:
    from workbench.evalset import EvalSet, Item, Message, Turns

# Templates come with eval sets, which are untrusted: sandboxed, no imports, a name that is not there is an error.
_JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)


class TemplateProblem(Exception):
    """A template cannot be rendered; `message_index` says which message of the variant."""

    def __init__(self, message_index: int, problem: str) -> None:
        super().__init__(problem)
        self.message_index = message_index


@dataclass(frozen=True)
class Prompt:
    """The messages of a request and where their text comes from."""

    messages: list[dict[str, str]]
    sources: tuple[Sensitivity, ...]

    @property
    def text(self) -> str:
        """All turns as one readable text."""
        return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in self.messages)


@lru_cache(maxsize=512)
def _template(source: str) -> Template:
    return _JINJA.from_string(source)


def _render(source: str, item: Item, index: int) -> str:
    try:
        return _template(source).render(inputs=item.inputs)
    except Exception as failure:  # noqa: BLE001  (a filter may raise anything)
        problem = f"template: {_reason(failure, source, item)}. It can use: inputs.<name> (item {item.id})"
        raise TemplateProblem(index, problem) from None


def _reason(failure: Exception, source: str, item: Item) -> str:
    """Why a template fails, without repeating the inputs: what it quotes of them must stand in the template."""
    said = (str(failure).splitlines() or [""])[0].rstrip(".")
    quoted = re.findall(r"'([^']*)'|\"([^\"]*)\"", said)
    inputs = json.dumps(item.inputs, ensure_ascii=False, default=str)
    known = all((one or two) in source or (one or two) not in inputs for one, two in quoted)
    if isinstance(failure, TemplateError) and known:
        return said
    return f"it cannot be rendered ({type(failure).__name__})"


def render(evalset: EvalSet, variant: str, item: Item) -> Prompt:
    """The prompt of a variant for an item; examples stand as turns before the last message.

    Raises:
        TemplateProblem: a template is broken or names an input that the item does not have.
    """
    spec = evalset.spec.variants[variant]
    *before, last = enumerate(spec.messages)
    turns = [turn for index, message in before for turn in _turns(message, item, index)]
    examples = list(evalset.train[: spec.examples])
    for example in examples:
        turns += _turns(last[1], example, last[0])
        turns.append({"role": "assistant", "content": reference_answer(evalset, example)})
    turns += _turns(last[1], item, last[0])
    if turns[-1]["role"] != "user":
        raise TemplateProblem(
            last[0], f"the last turn must be the user's, it is what the model answers (item {item.id})"
        )
    sources = tuple(sensitivity_of(part.sensitivity) for part in (*examples, item))
    return Prompt(turns, sources)


def _turns(message: Message | Turns, item: Item, index: int) -> list[dict[str, str]]:
    """A message's turn, or those that the item brings for it."""
    if not hasattr(message, "turns"):
        return [{"role": message.role, "content": _render(message.content, item, index)}]
    turns = item.inputs.get(message.turns)
    if not isinstance(turns, list) or not turns or not all(_is_turn(turn) for turn in turns):
        said = 'must be a list such as [{"role": "user", "content": "…"}]'
        raise TemplateProblem(index, f"inputs.{message.turns} {said} (item {item.id})")
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
    kinds = schema.get("type", "string") if isinstance(schema, dict) else "array"
    return value if "array" in kinds else _first(value)
