"""Whether a rules table fits its eval set: a misspelt input or answer would abstain, or be wrong, in silence.

refuse_unfitting(evalset, {"subject", "body"})       # an InputError with the file and line of what does not fit
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from workbench.evalset.model import EvalSet
from workbench.rules import Rules, as_text
from workbench.scorers.schemas import resolved
from workbench.scorers.validity import schema_problem
from workbench.strict import brief

# What a schema says of all fields of an object at once, also behind a $ref: a single field cannot keep it.
_OF_THE_WHOLE = {"required", "minProperties", "allOf", "anyOf", "oneOf", "not", "if", "then", "else"}
_OF_THE_WHOLE |= {"enum", "const", "$ref", "dependentRequired", "dependentSchemas", "unevaluatedProperties"}


def refuse_unfitting(evalset: EvalSet, inputs: Set[str]) -> None:
    """Hold an eval set's rules, where it has some, against its items and its output format.

    Args:
        inputs: the names of all inputs that any item has.

    Raises:
        InputError: an input that no item has, or an answer that the output format does not allow.
    """
    rules = evalset.rules
    if rules is None:
        return
    for index, name in enumerate(rules.spec.text):
        if name not in inputs:
            known = brief(", ".join(sorted(inputs)), 160)
            raise rules.document.error(("text", index), f"no item has an input '{brief(name)}'. They have: {known}.")
    for place, answer in rules.answers():
        if problem := _answer_problem(evalset, answer):
            raise rules.document.error(place, problem)
    if rules.spec.fields:
        _refuse_fields(evalset, rules)


def _answer_problem(evalset: EvalSet, answer: Any) -> str | None:
    """Why the output format does not allow a whole answer."""
    labels = evalset.spec.output.labels
    read = evalset.parse(as_text(answer))
    if labels is not None and (read.value is None or not isinstance(answer, str)):
        return f"must be one of the labels of evalset.yaml: {brief(', '.join(labels), 160)}."
    return None if read.format_ok else f"evalset.yaml's output does not allow it: {read.problem}."


def _refuse_fields(evalset: EvalSet, rules: Rules) -> None:
    schema = evalset.output_schema
    if schema is None:
        if evalset.spec.output.labels is not None:
            raise rules.document.error(
                ("fields",), "answers of this set are labels, not objects. Give 'rules' instead."
            )
        return
    schema = resolved(schema, schema)  # what stands beside a $ref stays, so also the $defs
    missing = [name for name in schema.get("required", []) if name not in rules.spec.fields]
    if missing:
        raise rules.document.error(("fields",), f"the output's schema requires '{brief(missing[0])}'. Add its rules.")
    of_one = {keyword: value for keyword, value in schema.items() if keyword not in _OF_THE_WHOLE}
    for place, name, value in rules.values():
        if problem := schema_problem({name: value}, of_one):
            raise rules.document.error(place, f"evalset.yaml's output does not allow it: it {problem}.")
