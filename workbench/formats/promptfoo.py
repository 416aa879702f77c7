"""promptfoo's configs: promptfooconfig.yaml with its prompts, and tests in it or in files that it names.

done = import_evalset("promptfooconfig.yaml", "evalsets/translate")    # each kind of assertion is a scorer
export_evalset(evalset, "promptfoo", "promptfooconfig.yaml")
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.files import read_text, write_atomic
from workbench.formats.base import FILE_LIMIT, FORMATS, Format, Found, Options, Sink, where
from workbench.formats.shared.cells import cell_value
from workbench.formats.shared.config import Config
from workbench.formats.shared.export import file_mode
from workbench.formats.shared.files import head, inside, top_keys
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.names import distinct, identifier
from workbench.formats.shared.prompts import Prompt, as_turns, bare_prompt
from workbench.formats.shared.rows import Rows, first_row, kind_of, open_rows
from workbench.formats.shared.structured import dump_yaml, named, read_structured
from workbench.formats.shared.suites import Suite, Test, tests_in, written_suite

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

_CONFIGS = ("promptfooconfig.yaml", "promptfooconfig.yml", "promptfooconfig.json")
_NO_MODEL = ["echo"]  # stands where a config must name a model: it repeats the prompt
_PROMPT_KEYS = ("id", "label", "raw", "display")
_FILES = (".txt", ".md", ".j2", ".json")
_PROGRAM = re.compile(r"exec:|(?!file:)[a-z]+://|[^\n{]*\.(py|js|ts|mjs|cjs|sh|rb|pl|bash)(:\w+)?\s*$")


class Promptfoo(Format):
    """promptfoo's configs."""

    name = "promptfoo"
    about = "a promptfooconfig (YAML, JSON): prompts and test cases"
    written = ("a config is", ".yaml", ".yml")
    keeps = frozenset({"variants", "output", "scorers", "accept"})

    def sniff(self, source: Path) -> float:
        if source.is_dir():
            return 0.9 if any((source / name).is_file() for name in _CONFIGS) else 0.0
        if source.suffix.lower() in (".csv", ".tsv"):
            return 0.0
        found = top_keys(source, "prompts|providers|targets|tests|defaultTest|scenarios")
        whole = first_row(source) if head(source).lstrip()[:1] == "{" else None
        return 0.9 if len(found) > 1 or "tests" in (whole or ()) else 0.4 if found else 0.0

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        if source.is_dir():
            source = next((source / name for name in _CONFIGS if (source / name).is_file()), source / _CONFIGS[0])
        if options.scorer:
            raise InputError(f"{where(source)}: its tests bring their own assertions. Leave --scorer out.")
        return _read(source, sink)

    def write(self, evalset: EvalSet, target: Path, ledger: Ledger) -> None:
        try:
            _write(evalset, target, ledger)
        except Unusable as failure:
            raise InputError(f"{where(evalset.path)}: {failure}.") from None


FORMATS.add("promptfoo", Promptfoo())


def _read(source: Path, sink: Sink) -> Found:
    found = Found()
    rows = cache(partial(open_rows, found=found, header=True))
    document = read_structured(source) if kind_of(source) in ("json", "yaml") else None
    if document is None or not isinstance(document.data, dict):  # tests without a config
        Suite(partial(tests_in, rows(source)), found).read(sink)
        return found
    config = Config(document, found.ledger)
    if ("providers", _NO_MODEL) in config.items():
        del config["providers"]
    suite = Suite(partial(_tests, config, rows), found, config.mapping("defaultTest"), config.place("defaultTest"))
    prompts = _read_prompts(config, found.ledger)
    if config.get("defaultTest") and not config.mapping("defaultTest"):
        config.lose("defaultTest", "a defaultTest that is no mapping: not read")
    suite.read(sink, prompts)
    description = config.get("description")
    found.spec |= {"description": description} if isinstance(description, str) and description.strip() else {}
    config.note_unused(dict.fromkeys(("providers", "targets"), "belongs into models.yaml"))
    return found


def _tests(config: Config, rows: Callable[[Path], Rows], ledger: Ledger) -> Iterator[tuple[str, Test]]:
    """The tests that a config lists, or that are in files that it names."""
    for place, test in config.entries("tests"):
        if isinstance(test, dict) and "path" not in test:
            yield place, test
            continue
        if not isinstance(test, str | dict):
            raise InputError(f"{place}: must be a test: a mapping with vars and assert.")
        name = str(test["path"] if isinstance(test, dict) else test)
        files = [] if _PROGRAM.match(name) else inside(config.source.parent, name)
        for path in files:
            yield from tests_in(rows(path), ledger)
        if not files:
            why = "a program, which is not run, or not inside the folder; nothing is fetched"
            ledger.add(place, f"tests of {named(name)}: {why}")


def _read_prompts(config: Config, ledger: Ledger) -> list[Prompt]:
    """The prompts of a config, each with a name of its own; what none can be made of is lost."""
    found: list[Prompt] = []
    for place, entry in config.entries("prompts"):
        about = entry if isinstance(entry, dict) else {"id": entry}
        ledger.tally_keys(place, (key for key in about if key not in _PROMPT_KEYS), "a prompt's key")
        with ledger.leaving_out(place, "a prompt"):
            for text, name in _prompt_texts(about, config.source.parent):
                turns, changes = _turns(text)
                prompt = Prompt(turns, name, place)
                prompt.names()
                found.append(prompt)
                for change in changes:
                    ledger.add(place, f"of a prompt: {change}")
    taken: list[str] = []
    for number, prompt in enumerate(found, 1):
        plain = identifier(prompt.name)[:60] if prompt.name.strip() else ""
        prompt.name = distinct(plain or ("default" if len(found) == 1 else f"prompt_{number}"), taken)
        taken.append(prompt.name)
    return found


def _prompt_texts(about: dict[str, Any], root: Path) -> Iterator[tuple[str, str]]:
    """The texts of an entry, with their names: itself, or what is in a file."""
    name, text = str(about.get("label") or ""), about.get("raw", about.get("id"))
    if not isinstance(text, str):
        raise Unusable("it is neither a text nor a file")
    file = "raw" not in about and "\n" not in text and (text.startswith("file://") or text.endswith(_FILES))
    paths = [path for path in inside(root, text) if path.suffix in _FILES] if file else []
    if (file and not paths) or (not file and "raw" not in about and _PROGRAM.match(text)):
        raise Unusable(f"{named(text)} is no text file inside the folder, but a program or elsewhere")
    if not file:
        yield text, name
    for path in paths:
        content = read_text(path, FILE_LIMIT)
        for part in [content] if path.suffix == ".json" else re.split(r"(?m)^---[ \t]*\r?$", content):
            yield part.strip(), name or path.stem


def _turns(text: str) -> tuple[list[dict[str, str]], list[str]]:
    """A prompt as it is written, a chat as JSON or a text, as turns; and what was changed to make it one."""
    chat = cell_value(text)
    if isinstance(chat, list) and chat and all(isinstance(turn, dict) and "role" in turn for turn in chat):
        return as_turns(chat)
    if chat is text and re.match(r"\s*[\[{]", text) and re.search(r"[\"']role[\"']\s*:", text):
        raise Unusable("a chat that is put together by its template")
    return as_turns(text)


def _write(evalset: EvalSet, target: Path, ledger: Ledger) -> None:
    default, tests = written_suite(evalset, ledger)
    document = {
        "description": evalset.spec.description,
        "prompts": _written_prompts(evalset, partial(ledger.add, where(evalset.path / "evalset.yaml"))),
        "providers": _NO_MODEL,
        "defaultTest": default,
        "tests": list(tests),
    }
    header = "# For promptfoo: put your models for `echo`, or name one: promptfoo eval -c FILE -r PROVIDER\n"
    text = header + dump_yaml({key: value for key, value in document.items() if value})
    write_atomic(target, text, file_mode(evalset))


def _written_prompts(evalset: EvalSet, lose: Callable[[str], None]) -> list[dict[str, str]]:
    """The variants of an eval set as a list of prompts; those that cannot be said so are lost."""
    found = []
    for name, variant in evalset.spec.variants.items():
        prompt = bare_prompt(name, variant, lose)
        if prompt is None:
            lose(f"variant '{name}' is left out: its template does more than fill in inputs")
            continue
        alone = len(prompt.turns) == 1 and prompt.turns[0]["role"] == "user"
        chat = json.dumps(prompt.turns, ensure_ascii=False, indent=1)
        found.append({"label": name, "raw": prompt.turns[0]["content"] if alone else chat})
    if not found:
        lose("no variant could be written: a plain prompt stands for them")
        inputs = [name for name in evalset.items[0].inputs if name.isidentifier()]
        found = [{"label": "default", "raw": "\n".join(f"{name}: {{{{{name}}}}}" for name in inputs)}]
    return found
