"""The settings of an lm-evaluation-harness task: its YAML with the files that it includes, and what of it is not read.

settings = Settings(Path("task.yaml"), ledger)
settings["doc_to_text"], settings.split
settings.check()                              # an InputError at the line of what no question can be made of
settings.lose("metric_list", "…")             # into the ledger, at that line
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from workbench.errors import InputError
from workbench.evalset.spec import Generation
from workbench.formats.base import where
from workbench.formats.shared.files import inside
from workbench.formats.shared.ledger import Ledger, Unusable
from workbench.formats.shared.structured import Function, read_structured
from workbench.formats.shared.templates import over_inputs

_INCLUDED_AT_MOST = 20
_MAX_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens")
_USED = {
    *("task", "dataset_path", "dataset_kwargs", "doc_to_text", "doc_to_target", "doc_to_choice", "description"),
    *("output_type", "generation_kwargs", "filter_list", "metric_list"),
}
_WHY = {
    **dict.fromkeys(("target_delimiter", "fewshot_delimiter"), "in a chat the turns are apart"),
    **dict.fromkeys(("num_fewshot", "fewshot_split", "fewshot_config"), "examples come from train.jsonl"),
}


class Settings(dict[str, Any]):
    """What a task says, by key.

    Attributes:
        source: the task's file.
        split: the split that is asked.
        chooses: whether it is multiple choice.
    """

    def __init__(self, source: Path, ledger: Ledger) -> None:
        found, self._places = _including(source)
        super().__init__(found)
        self.source, self._ledger = source, ledger
        self.split = str(self.get("test_split") or self.get("validation_split") or "")
        self.chooses = self.get("output_type") == "multiple_choice"

    def error(self, key: str, problem: str) -> InputError:
        """What is wrong with a setting, with its file and line."""
        return InputError(f"{self._places.get(key, where(self.source))}: {problem}")

    def lose(self, key: str, what: str) -> None:
        """Write down what of a setting is lost."""
        self._ledger.add(self._places.get(key, where(self.source)), what)

    def check(self) -> None:
        """Refuse a task that no question can be made of.

        Raises:
            InputError: with the setting's file and line.
        """
        kind, chooses = str(self.get("output_type") or "generate_until"), self.chooses
        for key, wrong, problem in (
            ("task", isinstance(self.get("task"), list) or "group" in self, "a group of tasks; import each"),
            (
                "output_type",
                not chooses and kind != "generate_until",
                "no question is asked, only likelihoods are measured",
            ),
            ("test_split", not self.split, "names no test_split or validation_split; name one"),
            ("doc_to_choice", "doc_to_choice" in self and not chooses, "choices of generated answers are not read"),
        ):
            if wrong:
                raise self.error(key, f"{problem}.")
        for key in ("doc_to_text", "doc_to_target", *(["doc_to_choice"] if chooses else [])):
            value, what = self.get(key), "is not there" if self.get(key) is None else "is no template"
            if isinstance(value, Function):
                what = f"is a Python function ({value[:60]}), which is never imported"
            elif value is not None and (key != "doc_to_text" or isinstance(value, str)):
                continue
            raise self.error(key, f"'{key}' {what}; write a template or a column's name.")
        try:
            over_inputs(self["doc_to_text"])
        except Unusable as failure:
            raise self.error("doc_to_text", f"its template cannot be read ({failure}).") from None

    def note_unused(self) -> None:
        """Write down the settings that nothing here does."""
        read = {key for key in ("test_split", "validation_split") if self.get(key) == self.split}
        for key, value in self.items():
            if key not in _USED | read and value not in (None, [], {}, "", 0):
                why = f"is not used: {_WHY.get(key, 'nothing here does this')}"
                if isinstance(value, Function):
                    why = f"is a Python function ({value[:60]}), which is never imported"
                self.lose(key, f"'{key}' {why}")
        kwargs = self.get("dataset_kwargs")
        for name in kwargs if isinstance(kwargs, dict) else ():
            if name != "data_files":
                self.lose("dataset_kwargs", f"'{str(name)[:60]}' of dataset_kwargs")


def _including(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """A mapping of settings with those of the files that it includes, all inside its folder; and where each stands.

    Raises:
        InputError: a file is no mapping, or includes what is not there, or itself.
    """

    def load(file: Path, depth: int) -> dict[str, Any]:
        document = read_structured(file, python=True)
        if not isinstance(document.data, dict):
            raise InputError(f"{where(file, 1)}: must be a mapping of settings.")
        own = {str(name): value for name, value in document.data.items()}
        found: dict[str, Any] = {}
        names, place = own.pop("include", None) or [], where(file, document.line(("include",)))
        for name in names if isinstance(names, list) else [names]:
            files = inside(path.parent, str(name), file.parent)
            if not files:
                raise InputError(f"{place}: includes '{str(name)[:60]}', which is not in the folder. Copy it there.")
            if depth >= _INCLUDED_AT_MOST:
                raise InputError(f"{place}: files include each other. Mend them.")
            found |= load(files[0], depth + 1)
        places.update({name: where(file, document.line((name,))) for name in own})
        return found | own

    places: dict[str, str] = {}
    return load(path, 0), places


def named(value: Any) -> str:
    """What a setting says, for a message."""
    if isinstance(value, Function):
        return f"of a Python function ({str(value)[:60]}), which is never imported,"
    return f"'{str(value)[:60]}'"


def listed(given: Any) -> list[Any]:
    """A setting that is a list, or one entry of it."""
    return given if isinstance(given, list) else [given] if given else []


def read_generation(settings: Settings) -> dict[str, Any]:
    """How an answer is generated, as far as a task says."""
    given = settings.get("generation_kwargs")
    given = given if isinstance(given, dict) else {}
    stops = [str(each) for each in listed(given.get("until")) if each not in (None, "")]
    found: dict[str, Any] = {"stop": stops} if stops else {}
    for key, value in given.items():
        if key not in ("until", "do_sample"):
            setting = {"max_tokens" if key in _MAX_TOKENS else str(key): value}
            try:
                Generation.model_validate(setting)
                found |= setting
            except ValidationError:
                settings.lose("generation_kwargs", f"'{str(key)[:60]}' of generation_kwargs")
    if given.get("do_sample") is False:
        found["temperature"] = 0.0
    elif given.get("do_sample") is True:
        found.setdefault("temperature", 1.0)
    return found


def written_generation(generation: Generation, lose: Callable[[str], None]) -> dict[str, Any]:
    """generation_kwargs that say the same."""
    if generation.seed is not None:
        lose("generation.seed")
    return {
        "until": generation.stop,
        "max_gen_toks": generation.max_tokens,
        "do_sample": generation.temperature > 0,
        "temperature": generation.temperature,
        **({"top_p": generation.top_p} if generation.top_p is not None else {}),
    }
