"""The command: parses, calls, prints. Whatever it does, a notebook can do with the package.

    workbench run --sample 20
    workbench route && workbench export exports/routing.yaml --to litellm

Exit status: 0 done; 1 the run or a verification failed; 2 the input is wrong.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence

from workbench import __version__
from workbench.cli import engines, evalsets, judges, load, models, notebooks, quantization, routing, runs
from workbench.errors import WorkbenchError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status.
    """
    gc.set_threshold(20_000, 20, 50)  # a short life with many small objects, hardly any of them in circles
    arguments = _parser().parse_args(argv)
    try:
        action: Callable[[argparse.Namespace], int] = arguments.action
        return action(arguments)
    except WorkbenchError as failure:
        print(f"workbench: {failure}", file=sys.stderr)
        return failure.exit_status
    except KeyboardInterrupt:
        print("workbench: interrupted", file=sys.stderr)
        return 1
    except BrokenPipeError:  # only the report goes to standard output, and by then all is on disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read it has gone
        return 0
    finally:
        gc.freeze()  # what is left goes with the process: looking through it takes 0.1 s


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="workbench", description="Which model should each of our tasks use?")
    parser.add_argument("--version", action="version", version=f"workbench {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for room in (runs, routing, evalsets, judges, models, engines, load, quantization, notebooks):
        room.add(commands)
    return parser
