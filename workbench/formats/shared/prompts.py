"""Chats and prompts of other tools, whose templates name variables by themselves: as turns, and back from ours.

read_turns([{"role": "developer", "content": "Translate."}, {"role": "user", "content": "Hi"}])   # turns, what changed
bare_turns(evalset.spec.variants["default"])    # [{'role': 'user', 'content': 'Translate {{ text }}'}]
"""

from __future__ import annotations

from typing import Any

from workbench.evalset import Message, Variant
from workbench.formats.shared.ledger import Unusable
from workbench.formats.shared.templates import over_bare_names

Turns = list[dict[str, str]]
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


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


def bare_turns(variant: Variant) -> Turns | None:
    """A variant's messages over bare names; None where its templates do more than fill in inputs."""
    turns = []
    for message in variant.messages:
        content = over_bare_names(message.content) if isinstance(message, Message) else None
        if content is None or not isinstance(message, Message):
            return None
        turns.append({"role": message.role, "content": content})
    return turns
