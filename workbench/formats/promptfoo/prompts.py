"""promptfoo's prompts and templates over bare names: texts, chats as JSON and files of them, as variants; and back.

prompts = read_prompts([("config.yaml:3", "file://prompt.txt")], root, ledger)      # a list of them, each with a name
prompts[0].variant(missing={"tone"})            # {'messages': [{'role': 'user', 'content': '… {{ inputs.text }}'}]}
written_prompts(evalset, lose)                  # [{'label': 'default', 'raw': 'Translate {{ text }}'}]
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.evalset import EvalSet
from workbench.files import read_text
from workbench.formats.base import FILE_LIMIT
from workbench.formats.shared.files import inside
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.names import identifier
from workbench.formats.shared.prompts import Turns, bare_turns, read_turns
from workbench.formats.shared.templates import bare_names, expression, is_template, literal, over_inputs, rendered

PROGRAM = re.compile(r"exec:|(?!file:)[a-z]+://|[^\n{]*\.(py|js|ts|mjs|cjs|sh|rb|pl|bash)(:\w+)?\s*$")
_RAW = re.compile(r"\{% raw %\}((?:(?!endraw).)*)\{% endraw %\}", re.DOTALL)  # as `raw` writes it
_FILES = (".txt", ".md", ".j2", ".json")
_FOREIGN = {"env", "_conversation"}  # other tools' own variables: values of a run, not of a test


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
        """The variables that it fills in.

        Raises:
            Unusable: a template of it does not compile.
        """
        return set().union(*(bare_names(turn["content"]) for turn in self.turns))

    def try_on(self, values: Mapping[str, Any]) -> None:
        """Fill it in once; a variable that is not there is empty.

        Raises:
            Unusable: it cannot be.
        """
        for turn in self.turns:
            rendered(turn["content"], dict.fromkeys(bare_names(turn["content"]), "") | dict(values))

    def variant(self, missing: Collection[str] = ()) -> dict[str, Any]:
        """The variant that it becomes; what is `missing` from some items is empty there."""
        return {"messages": [{**turn, "content": over_inputs(turn["content"], missing)} for turn in self.turns]}


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


def read_prompts(entries: Iterable[tuple[str, Any]], root: Path, ledger: Ledger) -> list[Prompt]:
    """The prompts of a list, each with a name of its own; what none can be made of is lost.

    Args:
        entries: texts, names of text files, or mappings with `raw` or `id` and `label`; and where they stand.
    """
    prompts: list[Prompt] = []
    for place, entry in entries:
        about = entry if isinstance(entry, dict) else {"id": entry}
        for key in about:
            if key not in ("id", "label", "raw", "display"):
                ledger.add(place, f"key '{str(key)[:60]}' of a prompt")
        try:
            for text, name in _texts(about, root):
                turns, changes = turns_of(text)
                prompt = Prompt(turns, name, place)
                if foreign := prompt.names() & _FOREIGN:
                    raise Unusable(f"it uses '{min(foreign)}', which no test holds")
                prompts.append(prompt)
                for change in changes:
                    ledger.add(place, f"of a prompt: {change}")
        except Unusable as failure:
            ledger.add(place, f"a prompt is left out: {failure}")
    taken: set[str] = set()
    for number, prompt in enumerate(prompts, 1):
        plain = identifier(prompt.name)[:60] if prompt.name.strip() else ""
        wanted = plain or ("default" if len(prompts) == 1 else f"prompt_{number}")
        prompt.name = wanted if wanted not in taken else f"{wanted}_{number}"
        taken.add(prompt.name)
    return prompts


def _texts(about: dict[str, Any], root: Path) -> Iterator[tuple[str, str]]:
    """The texts of an entry, with their names: itself, or what is in a file."""
    name, text = str(about.get("label") or ""), about.get("raw", about.get("id"))
    if not isinstance(text, str):
        raise Unusable("it is neither a text nor a file")
    file = "raw" not in about and "\n" not in text and (text.startswith("file://") or text.endswith(_FILES))
    paths = [path for path in inside(root, text) if path.suffix in _FILES] if file else []
    if (file and not paths) or (not file and "raw" not in about and PROGRAM.match(text)):
        raise Unusable(f"'{text[:60]}' is no text file inside the folder, but a program or elsewhere")
    if not file:
        yield text, name
    for path in paths:
        content = read_text(path, FILE_LIMIT)
        for part in [content] if path.suffix == ".json" else re.split(r"(?m)^---[ \t]*\r?$", content):
            yield part.strip(), name or path.stem


def written_prompts(evalset: EvalSet, lose: Callable[[str], None]) -> list[dict[str, str]]:
    """The variants of an eval set as a list of prompts; those that cannot be said so are lost."""
    found = []
    for name, variant in evalset.spec.variants.items():
        turns = bare_turns(variant)
        if turns and variant.examples:
            lose(f"variant '{name}': its {variant.examples} examples of train.jsonl are not in its prompt")
        if turns is None:
            lose(f"variant '{name}' is left out: its template does more than fill in inputs")
        elif len(turns) == 1 and turns[0]["role"] == "user":
            found.append({"label": name, "raw": turns[0]["content"]})
        else:
            found.append({"label": name, "raw": json.dumps(turns, ensure_ascii=False, indent=1)})
    if not found:
        lose("no variant could be written: a plain prompt stands for them")
        inputs = [name for name in evalset.items[0].inputs if name.isidentifier()]
        found = [{"label": "default", "raw": "\n".join(f"{name}: {{{{{name}}}}}" for name in inputs)}]
    return found


def raw(value: Any) -> Any:
    """A value whose texts a template over bare names, such as `filled_in` fills in, shows as they are.

    Raises:
        Unusable: a text cannot be marked so.
    """
    if isinstance(value, list):
        return [raw(each) for each in value]
    if isinstance(value, dict):
        return {key: raw(each) for key, each in value.items()}
    if not isinstance(value, str) or not (is_template(value) or value.startswith("file://")):
        return value  # tools that fill in templates also read a text that names a file
    if "endraw" in value:
        raise Unusable("a text with a template that ends a raw block, which would be filled in")
    return f"{{% raw %}}{value}{{% endraw %}}"


def filled_in(value: Any, values: Mapping[str, Any]) -> Any:
    """A value with the templates over bare names in its texts filled in.

    Raises:
        Unusable: one cannot be.
    """
    if isinstance(value, str):
        if whole := _RAW.fullmatch(value):
            return whole[1]  # jinja would make every line end a \n
        return rendered(value, values) if is_template(value) else value
    if isinstance(value, list):
        return [filled_in(each, values) for each in value]
    return {key: filled_in(each, values) for key, each in value.items()} if isinstance(value, dict) else value
