"""Chat turns as other tools write them, made into ours.

turns, changes = read_turns([{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
# [{'role': 'system', …}, …], ['role developer is sent as system']
"""

from __future__ import annotations

from typing import Any

from workbench.formats.shared.ledger import Unusable

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def read_turns(given: Any) -> tuple[list[dict[str, str]], list[str]]:
    """A list of chat turns, and what was changed to make it one that a model can be sent.

    Raises:
        Unusable: it cannot be sent.
    """
    if not isinstance(given, list) or not given:
        raise Unusable("no list of chat turns")
    turns: list[dict[str, str]] = []
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
