"""A prompt for items whose source brings none: the inputs by name, then how to answer.

variants, note = made_variants({"question": values}, 9, form, None, {})       # {'default': {'messages': [...]}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workbench.formats.shared.form import Form
from workbench.formats.shared.templates import literal, reference
from workbench.formats.shared.values import Values

_LONG = 200  # characters; a name stands above such an input, not before it
_WHOLE = ("prompt", "instruction", "messages")  # says itself how to answer


def made_variants(
    inputs: dict[str, Values], count: int, form: Form, turns: str | None, marks: Mapping[str, list[str]]
) -> tuple[dict[str, Any], str]:
    """The variant `default`, and a note that says what it is.

    Args:
        inputs: the items' inputs by name.
        count: how many items there are; what not all of them have is shown where it is there.
        turns: the input that is a list of chat turns, if there is one.
        marks: by input, what answers call the choice in it, or those in its list.
    """
    if turns is not None:
        others = ", ".join(name for name in inputs if name != turns)
        unused = f"; it shows no other input ({others})" if others else ""
        note = f"the prompt is each item's own chat turns, inputs.{turns}{unused}"
        return {"default": {"messages": [{"turns": turns}]}}, note
    only = len(inputs) == 1
    parts = []
    for name, values in inputs.items():
        if name in marks:
            parts.append(_choices(name, values, count, marks[name], only))
            continue
        shown = _shown(name, values, count)
        label = "" if only else f"{name}:\n" if values.longest > _LONG or "{% for" in shown else f"{name}: "
        parts.append(f"{literal(label)}{shown}")
    ask = None if only and next(iter(inputs)) in _WHOLE else form.ask
    text = "\n".join(parts) + (f"\n\n{literal(ask)}" if ask else "")
    note = f"the prompt is made up: {'the input' if only else 'the inputs by name'}"
    return {"default": {"messages": [{"role": "user", "content": text}]}}, note + (", and how to answer" if ask else "")


def holds_turns(values: Values) -> bool:
    """Whether every value is a list of chat turns."""
    entries = values.entries
    return (
        values.lists_only
        and entries is not None
        and entries.objects_only
        and set(entries.fields) >= {"role", "content"}
    )


def _choices(name: str, values: Values, count: int, marks: list[str], only: bool) -> str:
    """The lines that show a choice, or a list of them, by what answers call them."""
    place = reference(name)
    if values.entries is not None:
        mark = f"{{{{ {json.dumps(marks)}[loop.index0] }}}}"
        lines = f"{{% for choice in {place} %}}{mark}. {{{{ choice }}}}\n{{% endfor %}}"
        return lines if only else f"{literal(name)}:\n{lines}"
    line = f"{marks[0]}. {{{{ {place} }}}}"
    return line if values.filled == count else f"{{% if {place} %}}{line}{{% endif %}}"


def _shown(name: str, values: Values, count: int) -> str:
    """The expression that shows an input, whatever it is and whether or not an item has it."""
    place = value = reference(name)
    lists = values.lists_only and values.shapes["list"] and values.entries is not None and values.entries.texts_only
    if lists:
        value = f'{place} | join("\\n")'
    elif values.shapes["list"] or values.shapes["object"]:
        value = f"{place} if {place} is string else {place} | tojson"
    if values.filled == count:
        return f"{{{{ {value} }}}}"
    return f"{{% if {place} is defined and {place} is not none %}}{{{{ {value} }}}}{{% endif %}}"
