"""In and out: other tools' files to an eval set's folder, and back. One format is one module, all of one shape.

done = import_evalset("tests.csv", "evalsets/mine")     # finds out format and columns; done.losses: what was lost
print(export_evalset(evalset, "promptfoo", "out/tests.yaml"))  # what promptfoo cannot hold is listed

An import writes a folder whole or not at all, drops nothing in silence, and runs nothing that a file holds.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from workbench import project
from workbench.errors import InputError
from workbench.evalset import EvalSet
from workbench.formats.base import FORMATS, Format, Found, Options, check_readable, told_in_words, where
from workbench.formats.folder import check, fill
from workbench.formats.shared.export import file_mode, is_restricted, note_unwritten
from workbench.formats.shared.ledger import Ledger, Loss
from workbench.words import counted

__all__ = [
    "FORMATS",
    "Export",
    "Format",
    "Found",
    "Import",
    "Loss",
    "Options",
    "detect",
    "export_evalset",
    "import_evalset",
]

_OURS = (
    *("huggingface", "inspect_ai", "lm_eval", "mlflow_records"),
    *("openai_evals", "promptfoo", "promptfoo_tests", "table"),
)
for _module in _OURS:
    import_module(f"workbench.formats.{_module}")  # each registers itself

_SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")
_HUB_NAME = re.compile(r"(?!.*\.(csv|tsv|jsonl?|parquet|arrow|ya?ml|txt|py)$)[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass
class Import:
    """What an import did.

    Attributes:
        format: the format's name.
        path: the new folder.
        items: how many items it holds.
        losses: what could not be carried over, line by line.
        notes: what was guessed.
    """

    format: str
    path: Path
    items: int
    losses: list[Loss] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{project.shown(self.path)}: {counted(self.items, 'item')}, read as {self.format}"]
        lines += [f"guessed: {note}" for note in self.notes]
        lines += [f"not carried over: {len(self.losses)}"] if self.losses else ["everything was carried over"]
        return "\n".join([*lines, *(f"  {loss}" for loss in self.losses)])


@dataclass
class Export:
    """What an export wrote.

    Attributes:
        format: the format's name.
        path: the file or folder.
        items: how many items are in it.
        restricted: how many of them are restricted; they stand there in clear.
        closed: whether it is readable by its owner only.
        losses: what the tool's format cannot hold, line by line.
    """

    format: str
    path: Path
    items: int
    restricted: int
    closed: bool
    losses: list[Loss] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{project.shown(self.path)}: {counted(self.items, 'item')}, written as {self.format}"]
        if self.restricted:
            held = "the file holds them in clear, and is readable by its owner only"
            lines.append(f"{self.restricted} of {self.items} items are restricted: {held}")
        elif self.closed:
            lines.append("its prompts may show restricted examples: it is readable by its owner only")
        lines += [f"not expressed: {len(self.losses)}"] if self.losses else ["everything was expressed"]
        return "\n".join([*lines, *(f"  {loss}" for loss in self.losses)])


def detect(source: Path) -> Format:
    """The format of a file or folder.

    Raises:
        InputError: none is sure enough.
    """
    with told_in_words(source, "cannot be read"):
        check_readable(source)
        formats, problems = FORMATS.usable()
        sure, _, found = max(
            ((fmt.sniff(source), name, fmt) for name, fmt in formats.items()), key=lambda each: each[:2]
        )
    if sure <= 0 and source.suffix.lower() in _SPREADSHEETS:
        raise InputError(f"{where(source)}: a spreadsheet, which no format reads. Save it as CSV in UTF-8.")
    if sure <= 0:
        told = f"{where(source)}: no format recognizes this. Name one: --format {'|'.join(formats)}"
        raise InputError("\n".join([told, *problems]))
    return found


def import_evalset(
    source: str | Path,
    to: str | Path,
    *,
    format: str | None = None,
    options: Options | None = None,
    replace: bool = False,
    confirm: Callable[[list[str]], bool] | None = None,
) -> Import:
    """Make an eval set's folder of another tool's file.

    Args:
        source: a file, or a folder of a data set; with `options.online` also the name of one on the hub.
        to: the folder to make, `evalsets/NAME`.
        format: its name; found out where left out.
        replace: write over a folder that is there.
        confirm: is shown what was guessed, and says whether to go on.

    Raises:
        InputError: the source is broken or of no known format, the folder is there, or what was guessed is not
            confirmed. Nothing is written.
    """
    options = options or Options()
    target = project.resolve(to)
    if target.exists() and not replace:
        raise InputError(f"{project.shown(target)}: is there already. Choose another name, or say --replace.")
    path = project.resolve(source)
    on_hub = not path.exists() and _HUB_NAME.fullmatch(str(source)) is not None
    if on_hub and not options.online:
        raise InputError(f"{source}: there is no such file or folder. If it is a name on the hub, say --online.")
    if not on_hub:
        with told_in_words(path, "cannot be read"):
            check_readable(path)
    reader = FORMATS.find(format or "huggingface") if format or on_hub else detect(path)
    if options.mapping and not reader.mapped:
        what = f"{reader.name} names its columns itself. Leave --map out, or say --format table."
        raise InputError(f"{where(path)}: {what}")
    with told_in_words(target, "cannot be written"):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=target.parent, prefix=".import-")
    with scratch:
        folder = Path(scratch.name) / target.name
        with told_in_words(target, "cannot be written"):
            folder.mkdir()
        with told_in_words(path, "cannot be read"):
            count, found = fill(folder, target, reader, path, options)
        check(folder, target, reader, path, options)
        if confirm is not None and found.notes and not confirm(found.notes):
            raise InputError("not imported. Say where columns go with --map, or name a --format or --scorer.")
        with told_in_words(target, "cannot be written"):
            if target.exists():
                shutil.rmtree(target)
            folder.chmod(0o755)
            folder.rename(target)
    return Import(reader.name, target, count, found.losses, found.notes)


def export_evalset(evalset: EvalSet, format: str, to: str | Path) -> Export:
    """Write an eval set as another tool's file; one with restricted items is its owner's alone to read.

    Raises:
        InputError: no such format, it cannot be exported to, or the file cannot be written.
    """
    writer = FORMATS.find(format)
    target = project.target(to)
    what, *suffixes = writer.written or ("",)
    if suffixes and target.suffix.lower() not in suffixes:
        listed = " or ".join(filter(None, (", ".join(suffixes[:-1]), suffixes[-1])))
        raise InputError(f"{where(target)}: {what} written as {listed}. Name such a file.")
    ledger = Ledger()
    writer.write(evalset, target, ledger)
    if target.is_file() and file_mode(evalset) == 0o600:  # for a format from elsewhere, which may not know
        target.chmod(0o600)
    note_unwritten(evalset, ledger, writer.keeps)
    examples = evalset.train if "train" in writer.keeps else ()
    restricted = evalset.by_sensitivity["restricted"] + sum(map(is_restricted, examples))
    closed = file_mode(evalset) == 0o600
    return Export(writer.name, target, len(evalset.items) + len(examples), restricted, closed, ledger.losses())
