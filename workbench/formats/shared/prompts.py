"""Other tools' prompts, whose templates name variables by themselves, as variants of ours; and back.

prompt = Prompt(turns_of('[{"role": "user", "content": "Translate {{text}}"}]')[0])
prompt.variant(missing={"tone"})                # {'messages': [{'role': 'user', 'content': '… {{ inputs.text }}'}]}
bare_turns(evalset.spec.variants["default"])    # [{'role': 'user', 'content': 'Translate {{ text }}'}]
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.evalset import Message, Variant
from workbench.formats.shared.ledger import Unusable
from workbench.formats.shared.templates import (
    bare_names,
    expression,
    literal,
    over_bare_names,
    over_inputs,
    rendered,
)

Turns = list[dict[str, str]]
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


@dataclass
class Prompt:
    """A prompt over bare names.

    Attributes:
        turns: its messages.
        name: what its variant is called.
        place: where it stands.
        own: a variable that holds an item's own messages, which stand for all of the prompt.
    """

    turns: Turns
    name: str = ""
    place: str = ""
    own: str = ""

    def names(self) -> set[str]:
        """The variables that it fills in.

        Raises:
            Unusable: a template of it does not compile.
        """
        return {self.own} - {""} | set().union(*(bare_names(turn["content"]) for turn in self.turns))

    def try_on(self, values: Mapping[str, Any]) -> None:
        """Fill it in once; a variable that is not there is empty.

        Raises:
            Unusable: it cannot be.
        """
        if self.own and read_turns(values.get(self.own)) != (values[self.own], []):
            raise Unusable("its turns are not of role and content alone")
        for turn in self.turns:
            rendered(turn["content"], dict.fromkeys(bare_names(turn["content"]), "") | dict(values))

    def variant(self, missing: Collection[str] = ()) -> dict[str, Any]:
        """The variant that it becomes; what is `missing` from some items is empty there."""
        if self.own:
            return {"messages": [{"turns": self.own}]}
        return {"messages": [{**turn, "content": over_inputs(turn["content"], missing)} for turn in self.turns]}


def read_turns(given: Any) -> tuple[Turns, list[str]]:
    """A list of chat turns, and what was changed to make it one that a model can be sent.

    Raises:
        Unusable: it cannot be sent.
    """
    if not isinstance(given, list) or not given:
        raise Unusable("no list of chat turns")
    turns: Turns = []
    changes: set[str] = set()
    for each in given:
        role = each.get("role") if isinstance(each, dict) else None
        if not isinstance(role, str) or role not in _ROLES:
            raise Unusable("a chat turn with another role than system, user, assistant")
        turns.append({"role": _ROLES[role], "content": _text(each.get("content"))})
        changes |= {f"key '{str(key)[:60]}' of a chat turn is left out" for key in each.keys() - {"role", "content"}}
        changes |= {"role developer is sent as system"} if role == "developer" else set()
    if turns[-1]["role"] == "system":
        turns[-1]["role"] = "user"
        changes.add("the last turn is the system's; it is sent as the user's, which a model answers")
    if turns[-1]["role"] != "user":
        raise Unusable("chat turns that do not end with the user's")
    return turns, sorted(changes)


def _text(content: Any) -> str:
    """A turn's text; of several parts all of them, if all are text."""
    parts = content if isinstance(content, list) and content else [{"text": content}]
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise Unusable("a chat turn whose content is no text")
    return "\n".join(map(str, texts))


def turns_of(text: str) -> tuple[Turns, list[str]]:
    """A prompt as it is written, a chat as JSON or a text; and what was changed to make it one that can be sent.

    Raises:
        Unusable: it is neither.
    """
    if not text.strip():
        raise Unusable("it is empty")
    try:
        chat = json.loads(text) if text.lstrip()[:1] in ("[", "{") else None
    except (ValueError, RecursionError):
        chat = None
    if isinstance(chat, list) and chat and all(isinstance(turn, dict) and "role" in turn for turn in chat):
        return read_turns(chat)
    if chat is None and re.match(r"\s*[\[{]", text) and re.search(r"[\"']role[\"']\s*:", text):
        raise Unusable("a chat that is put together by its template")
    return [{"role": "user", "content": text}], []


def plain_variant(names: Iterable[str], missing: Collection[str]) -> dict[str, Any]:
    """A variant that shows every variable by its name, where there is no prompt; one alone stands for itself."""
    shown = {name: f"{{{{ {expression(name, name in missing)} }}}}" for name in names}
    if len(shown) == 1 and not missing:
        content = next(iter(shown.values()))
    elif all(name.isidentifier() for name in shown):
        content = over_inputs("\n".join(f"{name}: {{{{ {name} }}}}" for name in shown), missing)
    else:
        content = "\n".join(f"{literal(name)}: {value}" for name, value in shown.items())
    return {"messages": [{"role": "user", "content": content}]}


def bare_turns(variant: Variant) -> Turns | None:
    """A variant's messages over bare names; None where its templates do more than fill in inputs."""
    turns = []
    for message in variant.messages:
        content = over_bare_names(message.content) if isinstance(message, Message) else None
        if content is None or not isinstance(message, Message):
            return None
        turns.append({"role": message.role, "content": content})
    return turns
