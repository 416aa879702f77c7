"""Prompts and chats of other tools, whose templates name variables by themselves: as turns, and back from ours.

read_turns([{"role": "developer", "content": "Translate."}, {"role": "user", "content": "Hi"}])   # turns, what changed
bare_prompt("default", evalset.spec.variants["default"], lose)     # of one turn: 'Translate {{ text }}'
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.evalset import Message, Variant
from workbench.formats.shared.ledger import Unusable
from workbench.formats.shared.templates import bare_names, over_bare_names, over_inputs, rendered
from workbench.words import counted

Turns = list[dict[str, str]]
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


@dataclass
class Prompt:
    """A prompt over bare names.

    Attributes:
        turns: its messages.
        name: what its variant is called.
        place: where it stands.
    """

    turns: Turns
    name: str = ""
    place: str = ""

    def names(self) -> set[str]:
        """The names that it fills in.

        Raises:
            Unusable: a template of it does not compile.
        """
        return set().union(*(bare_names(turn["content"]) for turn in self.turns))

    def try_on(self, values: Mapping[str, Any]) -> None:
        """Fill it in once; a value that is not there is empty.

        Raises:
            Unusable: it cannot be.
        """
        for turn in self.turns:
            rendered(turn["content"], dict.fromkeys(bare_names(turn["content"]), "") | dict(values))

    def variant(self, missing: Collection[str] = ()) -> dict[str, Any]:
        """The variant that it becomes; what is `missing` from some items is empty there."""
        return {"messages": [{**turn, "content": over_inputs(turn["content"], missing)} for turn in self.turns]}


def as_turns(given: Any) -> tuple[Turns, list[str]]:
    """A prompt as chat turns, of which a text is one of the user's; and what was changed, as in `read_turns`.

    Raises:
        Unusable: it is neither a text nor turns.
    """
    return read_turns([{"role": "user", "content": given}] if isinstance(given, str) and given.strip() else given)


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


def bare_prompt(name: str, variant: Variant, lose: Callable[[str], None]) -> Prompt | None:
    """A variant over bare names, without its examples, which are lost; None where it does more than fill in inputs."""
    turns = []
    for message in variant.messages:
        content = over_bare_names(message.content) if isinstance(message, Message) else None
        if content is None or not isinstance(message, Message):
            return None
        turns.append({"role": message.role, "content": content})
    if variant.examples:
        its = counted(variant.examples, "example of train.jsonl is", "examples of train.jsonl are")
        lose(f"variant '{name}': its {its} not in its prompt")
    return Prompt(turns, name)
