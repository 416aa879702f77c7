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

from workbench.evalset import EvalSet, Message, Variant
from workbench.files import read_text
from workbench.formats.shared.ledger import Ledger
from workbench.formats.promptfoo.cases import Case, Suite
from workbench.formats.shared.files import inside, read_structured
from workbench.formats.shared.templates import (
    TemplateFailure,
    bare_names,
    over_bare_names,
    over_inputs,
    reference,
    rendered,
)
from workbench.formats.base import FILE_LIMIT, csv_rows, identifier, json_lines, where

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_FILES = (".txt", ".md", ".j2", ".json", ".jsonl", ".yaml", ".yml", ".csv")
_DUMPED = re.compile(r"\s*\{\{-?\s*([A-Za-z_]\w*)\s*\|\s*dump(?:\(\s*\d*\s*\))?\s*-?\}\}\s*")
_FOREIGN = ("env", "_conversation")  # promptfoo's own; a value of a run, not of a test


@dataclass
class Prompt:
    """A prompt whose templates name variables as promptfoo does.

    Attributes:
        messages: its turns; empty where the tests bring their own in the variable `turns`.
        chat: it was written as a chat, not as a text.
        failures: in how many tests it cannot be rendered, with the first place and reason.
    """

    place: str
    name: str = ""
    messages: list[dict[str, str]] = field(default_factory=list)
    turns: str = ""
    chat: bool = False
    failures: int = 0
    first: str = ""

    def names(self) -> set[str]:
        """The variables that it fills in."""
        return set().union(*(bare_names(message["content"]) for message in self.messages)) | {self.turns} - {""}

    def try_on(self, case: Case) -> None:
        """Note whether it can be rendered for a test; a variable that a test does not have is empty."""
        try:
            if self.turns:
                _check_turns(case.vars.get(self.turns))
            for message in self.messages:
                rendered(message["content"], dict.fromkeys(bare_names(message["content"]), "") | case.vars)
        except TemplateFailure as failure:
            self.failures += 1
            self.first = self.first or f"{case.place}: {failure}"

    def variant(self, missing: Collection[str]) -> dict[str, Any]:
        """The variant that it becomes."""
        if self.turns:
            return {"messages": [{"turns": self.turns}]}
        turns = [{**message, "content": over_inputs(message["content"], missing)} for message in self.messages]
        return {"messages": turns}


def _check_turns(turns: Any) -> None:
    kept = isinstance(turns, list) and bool(turns) and all(_is_turn(turn) for turn in turns)
    if not kept or turns[-1]["role"] != "user":
        raise TemplateFailure("its turns are no list of role and content that ends with the user's")


def _is_turn(turn: Any) -> bool:
    roles = ("system", "user", "assistant")
    return isinstance(turn, dict) and set(turn) == {"role", "content"} and turn["role"] in roles and _is_text(turn)


def _is_text(turn: dict[str, Any]) -> bool:
    return isinstance(turn["content"], str)


def read_prompts(suite: Suite, ledger: Ledger) -> list[Prompt]:
    """The prompts of a config, in its order; each with a name of its own where it says one."""
    given = suite.config.get("prompts")
    entries: list[Any]
    if isinstance(given, dict):  # {file: label}, an older way
        entries = [{"id": key, "label": value} for key, value in given.items()]
    else:
        entries = given if isinstance(given, list) else [] if given is None else [given]
    prompts: list[Prompt] = []
    for index, entry in enumerate(entries):
        place = suite.place("prompts", index)
        prompts += [prompt for prompt in _of_entry(entry, place, suite, ledger) if is_usable(prompt, ledger)]
    _name_all(prompts)
    return prompts


def is_usable(prompt: Prompt, ledger: Ledger) -> bool:
    """Whether a prompt can be filled in by tests; otherwise it is a loss."""
    try:
        foreign = prompt.names() & set(_FOREIGN)
    except TemplateFailure as failure:
        ledger.add(prompt.place, f"a prompt is left out: its template cannot be read as jinja ({failure})")
        return False
    if foreign:
        ledger.add(prompt.place, f"a prompt is left out: it uses '{min(foreign)}', which no test holds")
    return not foreign


def _name_all(prompts: list[Prompt]) -> None:
    taken: set[str] = set()
    for number, prompt in enumerate(prompts, 1):
        plain = "default" if len(prompts) == 1 else f"prompt_{number}"
        name = base = identifier(prompt.name)[:60] if prompt.name.strip() else plain
        again = 1
        while name in taken:
            again += 1
            name = f"{base}_{again}"
        taken.add(name)
        prompt.name = name


def _of_entry(entry: Any, place: str, suite: Suite, ledger: Ledger) -> Iterator[Prompt]:
    name = ""
    if isinstance(entry, dict):
        for key in set(entry) - {"id", "label", "raw", "display"}:
            ledger.add(place, f"key '{str(key)[:60]}' of a prompt")
        name = str(entry.get("label") or "")
        if isinstance(entry.get("raw"), str):
            yield from _of_text(entry["raw"], place, name or _plain_name(entry.get("id")), ledger)
            return
        entry = entry.get("id")
    if isinstance(entry, list):
        yield from _of_chat(entry, place, name, ledger)
    elif not isinstance(entry, str):
        ledger.add(place, "a prompt that is neither text nor a file is left out")
    elif entry.startswith("file://") or (_names_file(entry) and inside(suite.root, entry)):
        yield from _of_files(entry, place, name, suite, ledger)
    elif re.match(r"exec:|[a-z]+://|[^\n{]*\.(py|js|ts|mjs|cjs|sh|rb|pl|bash)(:\w+)?\s*$", entry):
        ledger.add(place, f"prompt '{entry[:60]}' is left out: it is a program, or elsewhere")
    else:
        yield from _of_text(entry, place, name, ledger)


def _plain_name(name: Any) -> str:
    return name if isinstance(name, str) and re.fullmatch(r"[\w .-]{1,60}", name) else ""


def _names_file(text: str) -> bool:
    return "\n" not in text and len(text) < 300 and ("*" in text or Path(text).suffix.lower() in _FILES)


def _of_files(entry: str, place: str, name: str, suite: Suite, ledger: Ledger) -> Iterator[Prompt]:
    files = [path for path in inside(suite.root, entry) if path.suffix.lower() in _FILES]
    if not files:
        ledger.add(place, f"prompt '{entry[:60]}' is left out: no such text file inside the folder")
    for path in files:
        label, kind, here = name or path.stem, path.suffix.lower(), where(path)
        if kind == ".csv":
            for line, row in csv_rows(path):
                yield from _of_text(row.get("prompt", ""), where(path, line), row.get("label", "") or label, ledger)
        elif kind == ".jsonl":
            for line, chat in json_lines(path):
                yield from _of_chat([chat], where(path, line), label, ledger)
        elif kind in (".yaml", ".yml"):
            data = read_structured(path).data
            yield from _of_chat(data if isinstance(data, list) else [data], here, label, ledger)
        else:
            text = read_text(path, FILE_LIMIT)
            parts = re.split(r"(?m)^---[ \t]*\r?$", text) if kind != ".json" else [text]
            for part in [part.strip() for part in parts if part.strip()]:
                yield from _of_text(part, here, label, ledger)


def _of_text(text: str, place: str, name: str, ledger: Ledger) -> Iterator[Prompt]:
    dumped = _DUMPED.fullmatch(text)
    if dumped:
        yield Prompt(place, name, turns=dumped.group(1), chat=True)
        return
    try:
        chat = json.loads(text) if text.lstrip()[:1] in ("[", "{") else None
    except (ValueError, RecursionError):
        chat = None
    if isinstance(chat, list) and chat and all(isinstance(turn, dict) and "role" in turn for turn in chat):
        yield from _of_chat(chat, place, name, ledger)
    elif chat is None and re.match(r"\s*[\[{]", text) and re.search(r"[\"']role[\"']\s*:", text):
        ledger.add(place, "a prompt is left out: a chat that is put together by its template")
    elif not text.strip():
        ledger.add(place, "a prompt is left out: it is empty")
    else:
        yield Prompt(place, name, [{"role": "user", "content": text}])


def _of_chat(chat: list[Any], place: str, name: str, ledger: Ledger) -> Iterator[Prompt]:
    turns: list[dict[str, str]] = []
    for turn in chat:
        text = _text_of(turn.get("content")) if isinstance(turn, dict) else None
        if text is None or turn.get("role") not in _ROLES:
            ledger.add(place, "a prompt is left out: a turn is no text of system, user or assistant")
            return
        for key in set(turn) - {"role", "content"}:
            ledger.add(place, f"key '{str(key)[:60]}' of a prompt's turn")
        turns.append({"role": _ROLES[turn["role"]], "content": text})
    if not turns or turns[-1]["role"] != "user":
        ledger.add(place, "a prompt is left out: its last turn is not the user's")
        return
    yield Prompt(place, name, turns, chat=True)


def _text_of(content: Any) -> str | None:
    """A turn's text; of several parts all of them, if all are text."""
    if isinstance(content, list) and content:
        texts = [part.get("text") if isinstance(part, dict) else None for part in content]
        return "\n".join(map(str, texts)) if all(isinstance(text, str) for text in texts) else None
    return content if isinstance(content, str) else None


def plain_prompt(names: list[str], missing: Collection[str]) -> dict[str, Any]:
    """A variant that shows every variable by its name, where there is no prompt; one alone stands for itself."""
    if len(names) == 1 and not missing:
        return {"messages": [{"role": "user", "content": f"{{{{ {reference(names[0])} }}}}"}]}
    template = "\n".join(f"{name}: {{{{ {name} }}}}" for name in names)
    if all(name.isidentifier() for name in names):
        return {"messages": [{"role": "user", "content": over_inputs(template, missing)}]}
    lines = []
    for name in names:
        line = f"{{{{ {json.dumps(name, ensure_ascii=False)} }}}}: {{{{ {reference(name)} }}}}\n"
        there = f"{json.dumps(name, ensure_ascii=False)} in inputs"
        lines.append(f"{{% if {there} %}}{line}{{% endif %}}" if name in missing else line)
    return {"messages": [{"role": "user", "content": "".join(lines)}]}


def write_prompt(evalset: EvalSet, name: str, ledger: Ledger, place: str) -> dict[str, str] | None:
    """A variant as an entry of `prompts`; None, and a loss, where promptfoo cannot say it."""
    variant: Variant = evalset.spec.variants[name]
    if variant.examples:
        ledger.add(place, f"variant '{name}': its {variant.examples} examples of train.jsonl are not in its prompt")
    if len(variant.messages) == 1 and not isinstance(variant.messages[0], Message):
        return {"label": name, "raw": f"{{{{ {variant.messages[0].turns} | dump }}}}"}
    turns = []
    for message in variant.messages:
        content = over_bare_names(message.content) if isinstance(message, Message) else None
        if content is None or not isinstance(message, Message):
            ledger.add(place, f"variant '{name}' is left out: its template does more than fill in inputs")
            return None
        turns.append({"role": message.role, "content": content})
    if len(turns) == 1:
        return {"label": name, "raw": turns[0]["content"]}
    return {"label": name, "raw": json.dumps(turns, ensure_ascii=False, indent=1)}
