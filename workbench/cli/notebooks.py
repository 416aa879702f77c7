"""Commands on notebooks: notebook, site."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import project
from workbench.cli.common import command
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.cli.common import Commands


def add(commands: Commands) -> None:
    """Declare the commands."""
    notebook = command(commands, "notebook", _notebook, "run a notebook by papermill, with checked parameters")
    notebook.add_argument("name", nargs="?", metavar="NAME", help="a notebook of notebooks/, or a path")
    notebook.add_argument("-p", dest="given", action="append", default=[], metavar="KEY=VALUE", help="a parameter")
    notebook.add_argument("--to", metavar="FILE", help="exports/NAME.ipynb where left out; with --all a folder")
    notebook.add_argument("--all", action="store_true", help="every notebook of notebooks/index.yaml, in its order")
    notebook.add_argument("--small", action="store_true", help="with --all: with the parameters that CI takes")

    site = command(commands, "site", _site, "make a static site of executed notebooks, readable without installation")
    site.add_argument("--from", dest="executed", default="exports/notebooks", metavar="DIR", help="the executed ones")
    site.add_argument("--to", default="exports/site", metavar="DIR")


def _notebook(arguments: argparse.Namespace) -> int:
    from workbench.notebooks.execute import find_notebook, parameters_of, run_notebook
    from workbench.notebooks.index import load_index, run_all
    from workbench.notebooks.parameters import typed

    if arguments.all:
        if arguments.name or arguments.given:
            raise InputError("--all runs every notebook of the index: leave the name and -p out.")
        failures = run_all(load_index(), project.target(arguments.to or "exports/notebooks"), arguments.small)
        for failure in failures:
            print(f"workbench: {failure}", file=sys.stderr)
        return 1 if failures else 0
    if not arguments.name or arguments.small:
        raise InputError("name a notebook, such as 01_quickstart, or take --all. --small is of --all.")
    source = find_notebook(arguments.name)
    values = typed(parameters_of(source), _pairs(arguments.given), project.shown(source))
    target = Path(arguments.to) if arguments.to else project.target(f"exports/{source.name}")
    print(f"written: {project.shown(run_notebook(source, target, values))}")
    return 0


def _pairs(given: list[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"-p {text}: write it as KEY=VALUE, such as -p sample=20.")
        if name in pairs:
            raise InputError(f"-p {text}: '{name}' is given twice. Give it once.")
        pairs[name] = value
    return pairs


def _site(arguments: argparse.Namespace) -> int:
    from workbench.notebooks.index import load_index
    from workbench.notebooks.site import build_site

    page = build_site(load_index(), project.resolve(arguments.executed), project.target(arguments.to))
    print(f"written: {project.shown(page)}")
    return 0
