"""An eval set as a promptfooconfig: variables, assertions, metadata and prompts.

losses = write(evalset, Path("promptfooconfig.yaml"))      # what promptfoo cannot hold
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from workbench.evalset import EvalSet, Item
from workbench.files import write_atomic
from workbench.formats.base import Loss, where
from workbench.formats.promptfoo.asserts import GRADED, KINDS, SCHEMA
from workbench.formats.promptfoo.plan import WHOLE_TEXT
from workbench.formats.promptfoo.prompts import write_prompt
from workbench.formats.shared.export import note_unwritten
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.metadata import hidden_slices, metadata_of, scalar_text
from workbench.formats.shared.structured import dump_yaml
from workbench.formats.shared.templates import is_template
from workbench.scorers import FieldScorer, Scorer
from workbench.scorers.contains import ContainsScorer
from workbench.scorers.exact import ExactScorer
from workbench.scorers.json_schema import JsonSchemaScorer
from workbench.scorers.label import LabelScorer
from workbench.scorers.patterns import RegexScorer
from workbench.scorers.rouge import RougeScorer

_HEADER = "# For promptfoo: add `providers`, or name one: promptfoo eval -c FILE -r PROVIDER\n"

_ANCHORS = {"equals": "^({})$", "starts_with": "^({})", "ends_with": "({})$", "regex": "{}"}


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
        self._evalset, self._ledger = evalset, ledger
        self._spec, self._items = where(evalset.path / "evalset.yaml"), where(evalset.path / "items.jsonl")
        self._lists = False
        self._kinds = {id(scorer): self._kind(scorer) for scorer in evalset.scorers}
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
        if schema is not None:
            scorer = next((each for each in self._evalset.scorers if isinstance(each, JsonSchemaScorer)), None)
            if scorer is None:
                what = "output.json_schema: keeping to it is an assertion of its own, of weight 1"
                self._ledger.add(self._spec, what)
            found["assert"] = [{"type": "is-json", "value": _literal(schema), **(_weight(scorer) if scorer else {})}]
        if bar != 1 or any(isinstance(scorer, RougeScorer) for scorer in self._evalset.scorers):
            found["threshold"] = _number(bar)
        return found | ({"options": {"disableVarExpansion": True}} if self._lists else {})

    def test(self, item: Item) -> dict[str, Any]:
        place = f"{self._items} {item.id}"
        for name in hidden_slices(item):
            self._ledger.tally(self._items, f"slice '{name}': metadata of this name is the item's own")
        values = {}
        for name, value in item.inputs.items():
            if value is None:
                self._ledger.tally(place, f"input '{name[:60]}' is null: there it is empty")
            self._lists = self._lists or (isinstance(value, list) and bool(value) and isinstance(value[0], str))
            try:
                values[name] = _literal(value)
            except ValueError as failure:
                self._ledger.tally(place, str(failure))
                values[name] = value
        asserts: list[dict[str, Any]] = []
        said: set[str] = set()  # expectations that the assertions say whole
        for scorer in self._evalset.scorers:
            if scorer.applies(item.expectations) and not isinstance(scorer, JsonSchemaScorer):
                made = self._assertions(scorer, item, place)
                asserts += made
                kind = str(self._kinds[id(scorer)])
                if made and kind == getattr(scorer, "expected_key", "") and made[0]["type"] in _types(kind):
                    said.add(kind)
        rest = {name: value for name, value in item.expectations.items() if name not in said}
        metadata = {**metadata_of(item), **({"expectations": rest} if rest else {})}
        return {"vars": values, **({"assert": asserts} if asserts else {}), "metadata": metadata}

    def _assertions(self, scorer: Scorer, item: Item, place: str) -> list[dict[str, Any]]:
        kind, name = self._kinds[id(scorer)], scorer.name or scorer.type
        if kind is None or not isinstance(scorer, FieldScorer):
            self._ledger.tally(place, f"scorer '{name}' has no assertion: its expectations are in the metadata")
            return []
        values = scorer.accepted(item.expectations)
        if isinstance(scorer, RegexScorer) and scorer.pattern is not None:
            values = [scorer.pattern]
        texts = [text for text in map(scalar_text, values) if text is not None]
        shape, weight = KINDS[kind], _weight(scorer)
        if len(texts) < len(values) or (len(texts) > 1 and kind in GRADED):
            self._ledger.tally(place, f"scorer '{name}': several references, or none that is a text")
            return []
        if len(texts) > 1 and kind in _ANCHORS:
            what = f"scorer '{name}': several accepted answers are written as a regular expression"
            self._ledger.tally(place, what)
            return [{"type": "regex", "value": _literal(_either(kind, texts)), **weight}]
        if shape.many and (len(texts) > 1 or shape.one == shape.many):
            return [{"type": shape.many, "value": _literal(texts), **weight}]
        bar = {"threshold": self._evalset.spec.accept.min_score} if kind in GRADED else {}
        return [{"type": shape.one, "value": _literal(text), **bar, **weight} for text in texts]

    def _kind(self, scorer: Scorer) -> str | None:
        """The kind of assertion that says what a scorer does, or nearly; how it differs is a loss."""
        found, differs = _nearest(scorer)
        name = scorer.name or scorer.type
        if differs:
            self._ledger.add(self._spec, f"scorer '{name}': {differs}")
        if found is not None and scorer.name not in (None, found):
            self._ledger.add(self._spec, f"scorer '{name}': there its name is '{found}'")
        return found


def _nearest(scorer: Scorer) -> tuple[str | None, str]:
    if isinstance(scorer, JsonSchemaScorer):
        return SCHEMA, ""
    if not isinstance(scorer, FieldScorer) or scorer.field or scorer.extract not in (None, WHOLE_TEXT):
        return None, ""
    if isinstance(scorer, ExactScorer):
        kind = {"whole": "equals", "begins": "starts_with", "ends": "ends_with"}[scorer.match]
        return kind, f"{', '.join(scorer.ignore)} count in promptfoo" if scorer.ignore else ""
    if isinstance(scorer, LabelScorer):
        return "equals", "written as 'equals', where case and aliases count"
    if isinstance(scorer, ContainsScorer):
        kind = {"all": "contains", "any": "contains_any", "none": "not_contains"}[scorer.want]
        more = set(scorer.ignore) - {"case"}
        kind = kind if "case" not in scorer.ignore else kind.replace("contains", "icontains")
        return kind, f"{', '.join(sorted(more))} count in promptfoo" if more else ""
    if isinstance(scorer, RegexScorer):
        return "regex" if scorer.want == "any" else "not_regex", ""
    kinds = {"rouge1": "rouge_n", "rougeL": "rouge_l"}
    return kinds.get(scorer.metric) if isinstance(scorer, RougeScorer) else None, ""


def _types(kind: str) -> tuple[str, str]:
    return (KINDS[kind].one, KINDS[kind].many) if kind in KINDS else ("", "")


def _either(kind: str, texts: list[str]) -> str:
    """A regular expression that any one of several accepted answers fits."""
    parts = [f"(?:{text})" if kind == "regex" else re.escape(text) for text in texts]
    return _ANCHORS[kind].format("|".join(parts))


def _weight(scorer: Scorer) -> dict[str, Any]:
    return {} if scorer.weight == 1 else {"weight": _number(scorer.weight)}


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value


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
