"""A prompt for items whose source brings none: the inputs by name, then how to answer.

made = made_variants({"question": values}, form)       # {'default': {'messages': [...]}}, and a note
"""

from __future__ import annotations

import json
import re
from typing import Any

from workbench.formats.table.form import AnswerForm
from workbench.formats.table.values import Values

_TEMPLATE = re.compile(r"\{[{%#]")
_NAME = re.compile(r"[^\W\d]\w*")
_CHOICES = ("choices", "options", "endings")
_TEXTS = {"text", "list_text", "object_text", "empty"}
_LONG = 200  # characters; a name stands above such an input, not before it
_WHOLE = ("prompt", "instruction", "messages")  # says itself how to answer


def made_variants(
    inputs: dict[str, Values], count: int, form: AnswerForm, turns: str | None = None
) -> tuple[dict[str, Any], str]:
    """The variant `default`, and a note that says what it is.

    Args:
        inputs: the items' inputs by name.
        count: how many items there are; what not all of them have is shown where it is there.
        turns: the input that is a list of chat turns, if there is one.
    """
    if turns is not None:
        others = ", ".join(name for name in inputs if name != turns)
        unused = f"; it shows no other input ({others})" if others else ""
        return _default({"turns": turns}), f"the prompt is each item's own chat turns, inputs.{turns}{unused}"
    only = len(inputs) == 1
    parts = []
    for name, values in inputs.items():
        shown = _shown(name, values, count, form)
        label = "" if only else f"{name}:\n" if values.longest > _LONG or "{% for" in shown else f"{name}: "
        parts.append(f"{literal(label)}{shown}")
    ask = None if only and next(iter(inputs)) in _WHOLE else form.ask
    text = "\n".join(parts) + (f"\n\n{literal(ask)}" if ask else "")
    note = (
        f"the prompt is made up: {'the input' if only else 'the inputs by name'}{', and how to answer' if ask else ''}"
    )
    return _default({"role": "user", "content": text}), note


def _default(message: dict[str, str]) -> dict[str, Any]:
    return {"default": {"messages": [message]}}


def holds_turns(values: Values) -> bool:
    """Whether every value is a list of chat turns."""
    entries = values.entries
    return (
        values.lists_only
        and entries is not None
        and entries.objects_only
        and set(entries.fields) >= {"role", "content"}
    )


def literal(text: str) -> str:
    """Text that a template shows as it is."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if _TEMPLATE.search(text) else text


def _shown(name: str, values: Values, count: int, form: AnswerForm) -> str:
    """The expression that shows an input, whatever it is and whether or not an item has it."""
    plain_name = _NAME.fullmatch(name) and not hasattr(dict, name)  # inputs.items would be the method
    place = f"inputs.{name}" if plain_name else f"inputs[{json.dumps(name, ensure_ascii=False)}]"
    listed = values.lists_only and values.kinds["list"] and values.entries is not None
    lists = listed and values.entries is not None and set(values.entries.kinds) <= _TEXTS
    letters = all(len(label) == 1 and label.isalpha() for label in form.labels) and form.labels
    if lists and name in _CHOICES and letters and values.filled == count:
        letter = "{{ 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[loop.index0] }}"
        return f"{{% for choice in {place} %}}{letter}. {{{{ choice }}}}\n{{% endfor %}}"
    value = place
    if lists:
        value = f'{place} | join("\\n")'
    elif values.kinds["list"] or values.kinds["object"]:
        value = f"{place} if {place} is string else {place} | tojson"
    if values.filled == count:
        return f"{{{{ {value} }}}}"
    return f"{{% if {place} is defined and {place} is not none %}}{{{{ {value} }}}}{{% endif %}}"
