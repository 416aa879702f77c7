"""promptfoo's prompts as variants, and back: texts, chats as JSON, files, and what cannot be said here.

prompts = read_prompts(suite, ledger)              # [Prompt(name='formal', messages=[…])]
prompts[0].variant(missing={"tone"})               # {'messages': [{'role': 'user', 'content': '… {{ inputs.text }}'}]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.evalset import EvalSet, Message
from workbench.files import read_text
from workbench.formats.base import FILE_LIMIT, identifier, where
from workbench.formats.promptfoo.cases import Case, Suite
from workbench.formats.shared.files import inside
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.structured import read_structured
from workbench.formats.shared.templates import bare_names, over_bare_names, over_inputs, reference, rendered
from workbench.formats.shared.turns import read_turns

_FILES = (".txt", ".md", ".j2", ".json", ".yaml", ".yml")
_ELSEWHERE = re.compile(r"exec:|[a-z]+://|[^\n{]*\.(py|js|ts|mjs|cjs|sh|rb|pl|bash)(:\w+)?\s*$")
_DUMPED = re.compile(r"\s*\{\{-?\s*([A-Za-z_]\w*)\s*\|\s*dump(?:\(\s*\d*\s*\))?\s*-?\}\}\s*")
_FOREIGN = {"env", "_conversation"}  # promptfoo's own; a value of a run, not of a test


@dataclass
class Prompt:
    """A prompt whose templates name variables as promptfoo does.

    Attributes:
        messages: its turns; empty where the tests bring their own in the variable `turns`.
        failures: in how many tests it cannot be rendered, with the first place and reason.
    """

    place: str
    name: str = ""
    messages: list[dict[str, str]] = field(default_factory=list)
    turns: str = ""
    failures: int = 0
    first: str = ""

    def names(self) -> set[str]:
        """The variables that it fills in."""
        return set().union(*(bare_names(message["content"]) for message in self.messages)) | {self.turns} - {""}

    def try_on(self, case: Case) -> None:
        """Note whether it can be rendered for a test; a variable that a test does not have is empty."""
        try:
            if self.turns and read_turns(case.vars.get(self.turns)) != (case.vars[self.turns], []):
                raise Unusable("its turns are not of role and content alone")
            for message in self.messages:
                rendered(message["content"], dict.fromkeys(bare_names(message["content"]), "") | case.vars)
        except Unusable as failure:
            self.failures += 1
            self.first = self.first or f"{case.place}: {failure}"

    def variant(self, missing: Collection[str]) -> dict[str, Any]:
        """The variant that it becomes."""
        if self.turns:
            return {"messages": [{"turns": self.turns}]}
        return {"messages": [{**each, "content": over_inputs(each["content"], missing)} for each in self.messages]}


def read_prompts(suite: Suite, ledger: Ledger) -> list[Prompt]:
    """The prompts of a config that tests can fill in, each with a name of its own; the others are losses."""
    given = suite.config.get("prompts")
    prompts: list[Prompt] = []
    for index, entry in enumerate(given if isinstance(given, list) else [] if given is None else [given]):
        place = suite.place("prompts", index)
        try:
            for prompt in _of_entry(entry, place, suite, ledger):
                foreign = prompt.names() & _FOREIGN
                if foreign:
                    raise Unusable(f"it uses '{min(foreign)}', which no test holds")
                prompts.append(prompt)
        except Unusable as failure:
            ledger.add(place, f"a prompt is left out: {failure}")
    taken: set[str] = set()
    for number, prompt in enumerate(prompts, 1):
        name = base = identifier(prompt.name)[:60] if prompt.name.strip() else f"prompt_{number}"
        name = base = "default" if len(prompts) == 1 and not prompt.name.strip() else name
        again = 1
        while name in taken:
            again += 1
            name = f"{base}_{again}"
        taken.add(name)
        prompt.name = name
    return prompts


def _of_entry(entry: Any, place: str, suite: Suite, ledger: Ledger) -> Iterator[Prompt]:
    name, raw = "", None
    if isinstance(entry, dict):
        for key in entry.keys() - {"id", "label", "raw", "display"}:
            ledger.add(place, f"key '{str(key)[:60]}' of a prompt")
        name, raw, entry = str(entry.get("label") or ""), entry.get("raw"), entry.get("id")
    if isinstance(raw, str):
        yield _of_text(raw, place, name, ledger)
    elif not isinstance(entry, str):
        raise Unusable("it is neither a text nor a file")
    elif entry.startswith("file://") or (_names_file(entry) and inside(suite.root, entry)):
        files = [path for path in inside(suite.root, entry) if path.suffix.lower() in _FILES]
        if not files:
            raise Unusable(f"'{entry[:60]}' is no text file inside the folder")
        for path in files:
            for text in _texts(path):
                yield _of_text(text, where(path), name or path.stem, ledger)
    elif _ELSEWHERE.match(entry):
        raise Unusable(f"'{entry[:60]}' is a program, or elsewhere")
    else:
        yield _of_text(entry, place, name, ledger)


def _names_file(text: str) -> bool:
    return "\n" not in text and len(text) < 300 and ("*" in text or Path(text).suffix.lower() in _FILES)


def _texts(path: Path) -> list[str]:
    """The prompts of a file: a chat, or texts between lines of three dashes."""
    if path.suffix.lower() in (".yaml", ".yml"):
        return [json.dumps(read_structured(path).data)]
    text = read_text(path, FILE_LIMIT)
    parts = [text] if path.suffix.lower() == ".json" else re.split(r"(?m)^---[ \t]*\r?$", text)
    return [part.strip() for part in parts if part.strip()]


def _of_text(text: str, place: str, name: str, ledger: Ledger) -> Prompt:
    dumped = _DUMPED.fullmatch(text)
    if dumped:
        return Prompt(place, name, turns=dumped.group(1))
    if not text.strip():
        raise Unusable("it is empty")
    try:
        chat = json.loads(text) if text.lstrip()[:1] in ("[", "{") else None
    except (ValueError, RecursionError):
        chat = None
    if isinstance(chat, list) and chat and all(isinstance(turn, dict) and "role" in turn for turn in chat):
        turns, changes = read_turns(chat)
        for change in changes:
            ledger.add(place, f"of a prompt: {change}")
        return Prompt(place, name, turns)
    if chat is None and re.match(r"\s*[\[{]", text) and re.search(r"[\"']role[\"']\s*:", text):
        raise Unusable("a chat that is put together by its template")
    return Prompt(place, name, [{"role": "user", "content": text}])


def plain_prompt(names: list[str], missing: Collection[str]) -> dict[str, Any]:
    """A variant that shows every variable by its name, where there is no prompt; one alone stands for itself."""
    if len(names) == 1 and not missing:
        content = f"{{{{ {reference(names[0])} }}}}"
    elif all(name.isidentifier() for name in names):
        content = over_inputs("\n".join(f"{name}: {{{{ {name} }}}}" for name in names), missing)
    else:
        content = "\n".join(_line(name, name in missing) for name in names)
    return {"messages": [{"role": "user", "content": content}]}


def _line(name: str, missing: bool) -> str:
    quoted = json.dumps(name, ensure_ascii=False)
    line = f"{{{{ {quoted} }}}}: {{{{ {reference(name)} }}}}"
    return f"{{% if {quoted} in inputs %}}{line}{{% endif %}}" if missing else line


def write_prompt(evalset: EvalSet, name: str, ledger: Ledger, place: str) -> dict[str, str] | None:
    """A variant as an entry of `prompts`; None, and a loss, where promptfoo cannot say it."""
    variant = evalset.spec.variants[name]
    if variant.examples:
        ledger.add(place, f"variant '{name}': its {variant.examples} examples of train.jsonl are not in its prompt")
    first = variant.messages[0]
    if len(variant.messages) == 1 and not isinstance(first, Message):
        return {"label": name, "raw": f"{{{{ {first.turns} | dump }}}}"}
    turns = []
    for message in variant.messages:
        content = over_bare_names(message.content) if isinstance(message, Message) else None
        if content is None or not isinstance(message, Message):
            ledger.add(place, f"variant '{name}' is left out: its template does more than fill in inputs")
            return None
        turns.append({"role": message.role, "content": content})
    alone = len(turns) == 1
    return {"label": name, "raw": turns[0]["content"] if alone else json.dumps(turns, ensure_ascii=False, indent=1)}
