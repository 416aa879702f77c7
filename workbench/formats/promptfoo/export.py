"""An eval set as a promptfooconfig: variables, assertions, metadata and prompts.

losses = write(evalset, Path("promptfooconfig.yaml"))      # what promptfoo cannot hold
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

from workbench.evalset import EvalSet, Item
from workbench.files import write_atomic
from workbench.formats.shared.unwritten import note_unwritten
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.metadata import hidden_slices, metadata_of, scalar_text
from workbench.formats.promptfoo.asserts import GRADED, JSON_KINDS, KINDS
from workbench.formats.promptfoo.prompts import write_prompt
from workbench.formats.promptfoo.shapes import Shape
from workbench.formats.shared.files import dump_yaml
from workbench.formats.shared.templates import is_template
from workbench.formats.base import Loss, where
from workbench.scorers import FieldScorer, Scorer
from workbench.scorers.contains import ContainsScorer
from workbench.scorers.exact import ExactScorer
from workbench.scorers.json_fields import JsonFieldsScorer
from workbench.scorers.json_schema import JsonSchemaScorer
from workbench.scorers.label import LabelScorer
from workbench.scorers.patterns import RegexScorer
from workbench.scorers.rouge import RougeScorer

_HEADER = "# For promptfoo: add `providers`, or name one: promptfoo eval -c FILE -r PROVIDER\n"
_WAYS_AT_MOST = 24
_EXACT_TYPES = ("text", "number", "boolean", "list", "object")


def write(evalset: EvalSet, target: Path) -> list[Loss]:
    """Write a promptfooconfig.

    Raises:
        InputError: it cannot be written there.
    """
    ledger = Ledger()
    note_unwritten(evalset, ledger)
    writer = _Writer(evalset, ledger)
    tests = [writer.test(item) for item in evalset.items]
    document = {
        "description": evalset.spec.description,
        "prompts": writer.prompts(),
        "defaultTest": writer.default(),
        "tests": tests,
    }
    write_atomic(target, _HEADER + dump_yaml({key: value for key, value in document.items() if value}))
    return ledger.losses()


class _Writer:
    def __init__(self, evalset: EvalSet, ledger: Ledger) -> None:
        self._evalset = evalset
        self._ledger = ledger
        self._spec = where(evalset.path / "evalset.yaml")
        self._items = where(evalset.path / "items.jsonl")
        self._lists = False
        self._shape: Shape | None = None  # of the expected JSON objects
        self._said: set[str] = set()  # expectations that the item's assertions say whole
        if evalset.spec.output.labels is not None:
            ledger.add(self._spec, "output.labels: promptfoo has no list of labels")

    def prompts(self) -> list[dict[str, str]]:
        names = self._evalset.spec.variants
        found = [write_prompt(self._evalset, name, self._ledger, self._spec) for name in names]
        kept = [prompt for prompt in found if prompt is not None]
        if not kept:
            self._ledger.add(self._spec, "no variant could be written: a plain prompt stands for them")
            inputs = [name for name in self._evalset.items[0].inputs if name.isidentifier()]
            kept = [{"label": "default", "raw": "\n".join(f"{name}: {{{{{name}}}}}" for name in inputs)}]
        return kept

    def default(self) -> dict[str, Any]:
        """What all tests share: the JSON schema, the threshold, and that lists are values."""
        found: dict[str, Any] = {}
        schema, bar = self._evalset.output_schema, self._evalset.spec.accept.min_score
        scorer = next((each for each in self._evalset.scorers if isinstance(each, JsonSchemaScorer)), None)
        implied = self._shape is not None and not self._shape.broken and self._shape.schema() == schema
        if schema is not None and (scorer is not None or not implied):
            if scorer is None:
                self._ledger.add(
                    self._spec, "output.json_schema: keeping to it is an assertion of its own, of weight 1"
                )
            found["assert"] = [{"type": "is-json", "value": _literal(schema), **self._tags(scorer, "schema")}]
        if bar != 1 or any(isinstance(scorer, RougeScorer) for scorer in self._evalset.scorers):
            found["threshold"] = _number(bar)
        if self._lists:
            found["options"] = {"disableVarExpansion": True}
        return found

    def test(self, item: Item) -> dict[str, Any]:
        self._said = set()
        place = f"{self._items} {item.id}"
        for name in hidden_slices(item):
            self._ledger.tally(self._items, f"slice '{name}': metadata of this name is the item's own")
        for name in [name for name, value in item.inputs.items() if value is None]:
            self._ledger.tally(place, f"input '{name[:60]}' is null: there it is empty")
        self._lists |= any(_expands(value) for value in item.inputs.values())
        asserts = [each for scorer in self._evalset.scorers for each in self._assertions(scorer, item)]
        rest = {name: value for name, value in item.expectations.items() if name not in self._said}
        return {
            "vars": {name: self._literal(value, place) for name, value in item.inputs.items()},
            **({"assert": asserts} if asserts else {}),
            "metadata": {**metadata_of(item), **({"expectations": rest} if rest else {})},
        }

    def _literal(self, value: Any, place: str) -> Any:
        try:
            return _literal(value)
        except ValueError as failure:
            self._ledger.tally(place, str(failure))
            return value

    def _assertions(self, scorer: Scorer, item: Item) -> list[dict[str, Any]]:
        if isinstance(scorer, JsonSchemaScorer) or not scorer.applies(item.expectations):
            return []
        if isinstance(scorer, JsonFieldsScorer):
            return self._objects(scorer, item)
        kind = self._kind(scorer)
        if kind is None or not isinstance(scorer, FieldScorer):
            what = f"scorer '{scorer.name or scorer.type}' has no assertion: its expectations are in the metadata"
            self._ledger.tally(f"{self._items} {item.id}", what)
            return []
        values = scorer.accepted(item.expectations)
        if isinstance(scorer, RegexScorer) and scorer.pattern is not None:
            values = [scorer.pattern]
        texts = [_literal(text) for text in map(scalar_text, values) if text is not None]
        if len(texts) < len(values) or (kind in GRADED and len(texts) > 1):
            self._ledger.tally(f"{self._items} {item.id}", f"scorer '{scorer.name or scorer.type}': several references")
            return []
        self._said |= {kind} & {scorer.expected_key}
        return self._of_kind(kind, texts, self._tags(scorer, kind))

    def _of_kind(self, kind: str, texts: list[Any], tags: dict[str, Any]) -> list[dict[str, Any]]:
        shape = KINDS[kind]
        if shape.many and (len(texts) > 1 or shape.one == shape.many):
            return [{"type": shape.many, "value": texts, **tags}]
        if kind in GRADED:
            return [{"type": shape.one, "value": texts[0], "threshold": self._evalset.spec.accept.min_score, **tags}]
        if len(texts) == 1:
            return [{"type": shape.one, "value": texts[0], **tags}]
        if shape.joins:
            return [{"type": shape.one, "value": text, **tags} for text in texts]
        return [_one_of([{"type": shape.one, "value": text} for text in texts]) | tags]

    def _tags(self, scorer: Scorer | None, kind: str) -> dict[str, Any]:
        if scorer is None:
            return {}
        weight = {} if scorer.weight == 1 else {"weight": _number(scorer.weight)}
        named = scorer.name is not None and scorer.name != JSON_KINDS.get(kind, kind)
        return {**weight, **({"metric": scorer.name} if named else {})}

    def _kind(self, scorer: Scorer) -> str | None:
        """The kind of assertion that says what a scorer does, or nearly; how it differs is a loss."""
        from workbench.formats.promptfoo import WHOLE_TEXT

        name = scorer.name or scorer.type
        if not isinstance(scorer, FieldScorer) or scorer.field or scorer.extract not in (None, WHOLE_TEXT):
            return None
        if isinstance(scorer, ExactScorer):
            if scorer.ignore:
                self._ledger.add(self._spec, f"scorer '{name}': {', '.join(scorer.ignore)} count in promptfoo")
            return {"whole": "equals", "begins": "starts_with", "ends": "ends_with"}[scorer.match]
        if isinstance(scorer, LabelScorer):
            self._ledger.add(self._spec, f"scorer '{name}' is written as 'equals': case and aliases count there")
            return "equals"
        if isinstance(scorer, ContainsScorer):
            if set(scorer.ignore) - {"case"}:
                self._ledger.add(self._spec, f"scorer '{name}': {', '.join(scorer.ignore)} count in promptfoo")
            kind = {"all": "contains", "any": "contains_any", "none": "not_contains"}[scorer.want]
            return kind if "case" not in scorer.ignore else kind.replace("contains", "icontains")
        if isinstance(scorer, RegexScorer):
            return "regex" if scorer.want == "any" else "not_regex"
        if isinstance(scorer, RougeScorer) and scorer.metric == "rouge1":
            return "rouge_n"
        return "rouge_l" if isinstance(scorer, RougeScorer) and scorer.metric == "rougeL" else None

    def _objects(self, scorer: JsonFieldsScorer, item: Item) -> list[dict[str, Any]]:
        """What a JSON answer must equal; one of several, where fields are right in several ways."""
        exact = {name for name, spec in scorer.fields.items() if spec.type in _EXACT_TYPES}
        if exact < set(scorer.fields):
            names = ", ".join(name for name in scorer.fields if name not in exact)
            self._ledger.add(self._spec, f"scorer json_fields: how {names} are compared; equals wants the same value")
        self._ledger.add(self._spec, "scorer json_fields gives credit by field; equals wants the whole object")
        ways = []
        for name, spec in scorer.fields.items():
            value = item.expectations[name]
            ways.append(value if isinstance(value, list) and spec.type != "list" else [value])
        if math.prod(map(len, ways)) > _WAYS_AT_MOST:
            self._ledger.tally(
                f"{self._items} {item.id}", f"more than {_WAYS_AT_MOST} accepted JSON values: not written"
            )
            return []
        self._said |= set(scorer.fields)
        self._shape = self._shape or Shape()
        objects = [dict(zip(scorer.fields, values, strict=True)) for values in itertools.product(*ways)]
        for each in objects:
            self._shape.observe(each)
        found = [{"type": "equals", "value": _literal(each)} for each in objects]
        return [(found[0] if len(found) == 1 else _one_of(found)) | self._tags(scorer, "object")]


def _one_of(assertions: list[dict[str, Any]]) -> dict[str, Any]:
    """A set of which one assertion is enough: its share must hold."""
    return {"type": "assert-set", "threshold": math.floor(10_000 / len(assertions)) / 10_000, "assert": assertions}


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value


def _expands(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], str)


def _literal(value: Any) -> Any:
    """A value whose texts promptfoo takes as they are, not as templates or names of files.

    Raises:
        ValueError: a text cannot be marked so.
    """
    if isinstance(value, list):
        return [_literal(each) for each in value]
    if isinstance(value, dict):
        return {key: _literal(each) for key, each in value.items()}
    if not isinstance(value, str) or not (is_template(value) or value.startswith("file://")):
        return value
    if "endraw" in value:
        raise ValueError("a text with a template that ends a raw block: promptfoo would fill it in")
    return f"{{% raw %}}{value}{{% endraw %}}"
