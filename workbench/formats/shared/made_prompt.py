"""A prompt for items whose source brings none: the inputs by name, then how to answer.

variants, note = made_variants({"question": values}, count=9, form=form)       # {'default': {'messages': [...]}}
"""

from __future__ import annotations

import json
from typing import Any

from workbench.formats.shared.answers import Form
from workbench.formats.shared.offered import CHOICES
from workbench.formats.shared.templates import literal, reference
from workbench.formats.shared.values import Values

_LONG = 200  # characters; a name stands above such an input, not before it
_WHOLE = ("prompt", "instruction", "messages")  # says itself how to answer


def made_variants(
    inputs: dict[str, Values], count: int, form: Form, turns: str | None = None
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
        note = f"the prompt is each item's own chat turns, inputs.{turns}{unused}"
        return {"default": {"messages": [{"turns": turns}]}}, note
    only = len(inputs) == 1
    parts = []
    for name, values in inputs.items():
        shown = _shown(name, values, count, form)
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


def _shown(name: str, values: Values, count: int, form: Form) -> str:
    """The expression that shows an input, whatever it is and whether or not an item has it."""
    place = value = reference(name)
    lists = values.lists_only and values.shapes["list"] and values.entries is not None and values.entries.texts_only
    called = len(form.labels) >= values.most and all(label.isdigit() or len(label) == 1 for label in form.labels)
    if lists and name in CHOICES and form.labels and called and values.filled == count:
        mark = f"{{{{ {json.dumps(form.labels)}[loop.index0] }}}}"
        return f"{{% for choice in {place} %}}{mark}. {{{{ choice }}}}\n{{% endfor %}}"
    if lists:
        value = f'{place} | join("\\n")'
    elif values.shapes["list"] or values.shapes["object"]:
        value = f"{place} if {place} is string else {place} | tojson"
    if values.filled == count:
        return f"{{{{ {value} }}}}"
    return f"{{% if {place} is defined and {place} is not none %}}{{{{ {value} }}}}{{% endif %}}"
