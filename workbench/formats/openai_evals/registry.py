"""The registry of OpenAI evals: which eval a YAML file is about, and which file of samples belongs to it.

chosen, samples = of_registry(Path("registry/evals/finance.yaml"), found)
chosen = of_samples(Path("registry/data/finance/samples.jsonl"), found)         # None where none names them
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.files import read_yaml
from workbench.formats.base import Found, Loss, where
from workbench.formats.openai_evals.export import CLASSES
from workbench.formats.shared.files import head

_FILES_AT_MOST = 2000
_HEAD = 65536
_CLASS = re.compile(r"^\s*class:\s*[\"']?evals\.", re.MULTILINE)


@dataclass
class Eval:
    """An eval of the registry."""

    name: str
    cls: str
    args: dict[str, Any]
    place: str
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str | None:
        """match, includes, fuzzy_match or json_match; None for a class that is scored by other means."""
        return next((kind for kind, cls in CLASSES.items() if cls == self.cls), None)


def is_registry(path: Path) -> bool:
    """Whether a YAML file names a class of evals."""
    return _CLASS.search(head(path, _HEAD)) is not None


def of_registry(registry: Path, found: Found) -> tuple[Eval, Path]:
    """The eval that a registry file is about, and its samples.

    Raises:
        InputError: it names none, or they are not there.
    """
    evals, aliases = _evals(registry, found)
    evals.sort(key=lambda each: each.name not in aliases)  # those with a short name first
    chosen = next((each for each in evals if isinstance(each.args.get("samples_jsonl"), str)), None)
    if chosen is None:
        raise InputError(f"{where(registry)}: no eval names a file of samples (args: samples_jsonl).")
    for other in evals:
        if other is not chosen:
            found.losses.append(Loss(other.place, f"eval '{other.name[:60]}' is another one; import it by its samples"))
    path = _samples_of(registry, chosen)
    if path is None:
        raise InputError(
            f"{chosen.place}: there is no file '{chosen.args['samples_jsonl'][:100]}' in this folder, or in data/ "
            "beside it. Only files of the same registry are read; name the JSONL itself."
        )
    found.notes.append(f"eval '{chosen.name}' with the samples {where(path)}")
    return chosen, path


def _evals(registry: Path, found: Found) -> tuple[list[Eval], set[str]]:
    """The evals of a registry file, and those that a short name stands for."""
    document = read_yaml(registry)
    evals: list[Eval] = []
    aliases: set[str] = set()
    about: dict[str, dict[str, Any]] = {}
    for key, entry in document.data.items():
        name, place = str(key), where(registry, document.line((key,)))
        if not isinstance(entry, dict):
            raise InputError(f"{place}: '{name[:60]}' must be a mapping with 'class' and 'args', or with 'id'.")
        more = {key: value for key, value in entry.items() if key not in ("class", "args", "id")}
        if "class" in entry:
            args = entry.get("args") or {}
            if not isinstance(args, dict):
                raise InputError(f"{place}: field '{name[:60]}.args': must be a mapping.")
            evals.append(Eval(name, str(entry["class"]), dict(args), place))
            about.setdefault(name, {}).update(more)
        elif "id" in entry:
            aliases.add(str(entry["id"]))
            about.setdefault(str(entry["id"]), {}).update(more)
        else:
            found.losses.append(Loss(place, f"'{name[:60]}' is no eval: it has no class"))
    for each in evals:
        each.about = about[each.name]
    return evals, aliases


def _samples_of(registry: Path, chosen: Eval) -> Path | None:
    """The file of samples that an eval names, inside of the registry's own tree."""
    name = str(chosen.args.get("samples_jsonl", "")).replace("\0", "")
    tree = registry.parent.parent if registry.parent.name == "evals" else registry.parent
    for folder in (tree / "data", registry.parent, registry.parent / "data"):
        path = folder / name
        if name and path.resolve().is_relative_to(tree.resolve()) and path.is_file():
            return path
    return None


def of_samples(samples: Path, found: Found) -> Eval | None:
    """The eval whose samples these are, out of a registry file that lies where it belongs."""
    folders = [samples.parent, *(folder.parent / "evals" for folder in samples.parents if folder.name == "data")]
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())[:_FILES_AT_MOST]]
    for path in files:
        named = path.suffix in (".yaml", ".yml") and path.is_file() and samples.name in head(path, _HEAD)
        if not named or not is_registry(path):
            continue
        seen = Found({})
        for each in _evals(path, seen)[0]:
            mine = _samples_of(path, each)
            if mine is not None and mine.resolve() == samples.resolve():
                found.losses += seen.losses
                found.notes.append(f"eval '{each.name}' of {where(path)}")
                return each
    found.notes.append("no registry file says how the samples are scored: taken as Match, the usual one")
    return None
