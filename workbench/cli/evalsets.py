"""Commands on eval sets: evalset check, import, export."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import project
from workbench.cli.common import command, names
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.cli.common import Commands


def add(commands: Commands) -> None:
    """Declare the commands."""
    parser = command(commands, "evalset", _none, "check, import and export eval sets")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")

    check = command(actions, "check", _check, "say how sound eval sets are, and what difference they can detect")
    check.add_argument("names", nargs="*", metavar="NAME", help="all where left out")
    check.add_argument("--fix", action="store_true", help="drop duplicates, mark personal data as restricted")
    check.add_argument("--outcomes", metavar="FILE", help="an outcome table: which items tell, and likely label errors")
    check.add_argument("--models", metavar="A,B", help="hold prompts against these models' context lengths")
    check.add_argument("--detector", choices=["auto", "patterns", "presidio"], default="auto", help="of personal data")
    check.add_argument("--ids", action="store_true", help="name all items of each finding, not only the first few")
    check.add_argument("--evalsets", default="evalsets", metavar="DIR")
    check.add_argument("--models-file", default="models.yaml", metavar="FILE")

    taken = command(actions, "import", _import, "make an eval set of another tool's file")
    taken.add_argument("source", metavar="SRC", help="a file, or a data set's folder")
    taken.add_argument("--to", required=True, metavar="DIR", help="the folder to make, such as evalsets/NAME")
    taken.add_argument("--format", metavar="NAME", help="found out where left out")
    taken.add_argument(
        "--map", action="append", default=[], metavar="PLACE=COLUMN", help="inputs.text=question; repeat"
    )
    taken.add_argument("--sensitivity", choices=["public", "internal", "restricted"], help="of items that state none")
    taken.add_argument("--scorer", metavar="TYPE", help="instead of the one that is guessed")
    taken.add_argument("--online", action="store_true", help="SRC may be a data set's name on the Hugging Face hub")
    taken.add_argument("--replace", action="store_true", help="write over an eval set that is there")
    taken.add_argument("--yes", action="store_true", help="take what is guessed without asking")

    given = command(actions, "export", _export, "write an eval set as another tool's file")
    given.add_argument("name", metavar="NAME")
    given.add_argument("--format", required=True, metavar="NAME")
    given.add_argument("--to", required=True, metavar="FILE")
    given.add_argument("--evalsets", default="evalsets", metavar="DIR")


def _none(arguments: argparse.Namespace) -> int:
    raise AssertionError("an action is required")


def _check(arguments: argparse.Namespace) -> int:
    from workbench.audit import apply_fixes, audit
    from workbench.catalog import load_models
    from workbench.evalset import load_evalset, load_evalsets
    from workbench.outcomes.table import read_outcomes

    wanted = names(arguments.models)
    outcomes = read_outcomes(arguments.outcomes) if arguments.outcomes else None
    models = load_models(arguments.models_file).select(wanted) if wanted else None
    clean = True
    for evalset in load_evalsets(arguments.evalsets, arguments.names or None).values():
        report = audit(evalset, outcomes, models, detector=arguments.detector)
        done = apply_fixes(evalset, report) if arguments.fix else []
        for line in done:
            print(f"{evalset.name}: {line}")
        if done:
            report = audit(load_evalset(evalset.path), outcomes, models, detector=arguments.detector)
        print(report.text(all_ids=arguments.ids))
        clean = clean and report.clean
    return 0 if clean else 1


def _import(arguments: argparse.Namespace) -> int:
    from workbench.formats import Options, import_evalset

    options = Options(_mapping(arguments.map), arguments.sensitivity, arguments.online, arguments.scorer)
    done = import_evalset(
        arguments.source,
        arguments.to,
        format=arguments.format,
        options=options,
        replace=arguments.replace,
        confirm=None if arguments.yes or not sys.stdin.isatty() else _confirm,
    )
    print(done)
    shown = project.shown(done.path)
    folder = shown.rpartition("/")[0] or "."
    print(f"next: read {shown}/README.md, then 'workbench evalset check {done.path.name} --evalsets {folder}'")
    return 0


def _mapping(pairs: list[str]) -> dict[str, str]:
    """What goes where, in whichever order a pair says it: the import knows places from columns."""
    mapping: dict[str, str] = {}
    for pair in pairs:
        left, equals, right = (part.strip() for part in pair.partition("="))
        if not (equals and left and right) or left in mapping:
            what = "said twice; write PLACE=COLUMN" if left in mapping else "say where a column goes"
            raise InputError(f"--map {pair}: {what}, such as --map inputs.text=question.")
        mapping[left] = right
    return mapping


def _confirm(notes: list[str]) -> bool:
    print(*(f"guessed: {note}" for note in notes), sep="\n")
    try:
        return input("Take it so? [Y/n] ").strip().casefold() in ("", "y", "yes")
    except EOFError:  # Ctrl-D: nobody said yes
        print()
        return False


def _export(arguments: argparse.Namespace) -> int:
    from workbench.evalset import load_evalset
    from workbench.formats import export_evalset

    evalset = load_evalset(Path(arguments.evalsets) / arguments.name)
    print(export_evalset(evalset, arguments.format, arguments.to))
    return 0
