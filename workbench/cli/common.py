"""What the commands share: how arguments are declared and read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.routing import Policy

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def command(
    commands: Commands,
    name: str,
    action: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    """A command, its help, and what it calls."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(action=action)
    return parser


def count(text: str) -> int:
    """An argument that is a whole number from 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1")
    return int(text)


def money(text: str) -> float:
    """An argument that is an amount in USD, from 0 on."""
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not an amount in USD, such as 5 or 0.25")
    return amount


def port(text: str) -> int:
    """An argument that is a port."""
    if count(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port")
    return int(text)


def names(text: str | None) -> list[str] | None:
    """An argument that is a list of names with commas between them; None where it was left out."""
    if text is None:
        return None
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise InputError(f"'{text}' names nothing. Give names with commas between them, or leave the option out.")
    return found


CHAMPION = "champion"  # in place of a policy's file: the one that MLflow has under that alias


def policy_of(text: str) -> Policy:
    """An argument that is a policy: its file, or the word `champion`; a file of that name wins."""
    from workbench import project
    from workbench.routing import load_policy

    if text != CHAMPION:
        return load_policy(text)
    path = project.resolve(text)
    if path.is_file():
        print(f"note: {project.shown(path)} is a file, so it is read, and not MLflow's champion")
        return load_policy(path)
    from workbench.tracking import champion

    return champion()
