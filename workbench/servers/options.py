"""What an engine's `engine_args` may say: they are checked against the engine's own help before anything starts.

known = helped(python, ["serve", "--help=all"], "vllm")      # {"enforce-eager": True, …}; asked once an environment
check(model, known, "vLLM 0.32.0")                           # raises InputError, and names the nearest ones
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

from workbench import project
from workbench.catalog import Model
from workbench.errors import InputError, WorkbenchError
from workbench.files import write_atomic
from workbench.servers.environments import package_version

_WAIT_S = 180
_KEPT = 8  # environments whose answers are kept
_LINE = re.compile(r"^[\s│]*(--[a-z0-9].*)$")
_OPTION = re.compile(r"--([a-z0-9][a-z0-9-]*)")
_FLAG = re.compile(r"--[a-z0-9-]+(,? *[,/] *-{1,2}[a-z0-9-]+)*(\s{2,}.*|\s*│?)?")


def helped(python: Path, argv: list[str], package: str) -> dict[str, bool] | None:
    """The options that a command beside an interpreter lists in its help, and whether each takes a value.

    Args:
        argv: what makes it list all.
        package: whose version tells whether the answer is still good; it is also the command's name.

    Returns:
        None where it does not answer: then the engine checks its options itself.
    """
    about = f"{python} {package_version(python, package)} {' '.join(argv)}"
    cache = project.state("engines") / f"options-{package}.json"
    kept: dict[str, dict[str, bool]] = {}
    with contextlib.suppress(OSError, ValueError, TypeError):  # what is wrong with a cache costs time only
        kept = dict(json.loads(cache.read_text()))
    if isinstance(kept.get(about), dict):
        return kept[about]
    env = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "COLUMNS": "200", "NO_COLOR": "1"}
    command = [str(python), str(python.with_name(package)), *argv]
    try:
        said = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_WAIT_S,
            env=_with(env),
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    known = parsed(said.stdout)
    if said.returncode or not known:
        return None
    with contextlib.suppress(WorkbenchError):
        write_atomic(cache, json.dumps({**dict(list(kept.items())[-_KEPT:]), about: known}), mode=0o600)
    return known


def _with(env: Mapping[str, str]) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **env}


def parsed(text: str) -> dict[str, bool]:
    """The options in a help text as argparse or typer write it, without hyphens before them."""
    known: dict[str, bool] = {}
    for line in text.splitlines():
        found = _LINE.match(line)
        if found:
            head = re.split(r"\s{2,}", found[1])[0]
            takes = _FLAG.fullmatch(head) is None
            known |= dict.fromkeys(_OPTION.findall(head), takes)
    return known


def check(model: Model, known: Mapping[str, bool] | None, engine: str) -> None:
    """Hold an entry's `engine_args` against the options that there are.

    Raises:
        InputError: one is unknown, or is given a value of the wrong kind.
    """
    if known is None:
        return
    for name, value in model.engine_args.items():
        option = name.replace("_", "-")
        if option not in known:
            raise unknown(model, name, [each.replace("-", "_") for each in known], engine)
        if known[option] and isinstance(value, bool):
            raise InputError(f"{model.place}: engine_args: {name} of {engine} takes a value, not {str(value).lower()}.")
        if not known[option] and not isinstance(value, bool):
            raise InputError(f"{model.place}: engine_args: {name} of {engine} is true or false, not {value!r}.")
        if value is False and f"no-{option}" not in known:
            raise InputError(f"{model.place}: engine_args: {name} of {engine} cannot be switched off. Leave it out.")


def unknown(model: Model, name: str, known: Collection[str], engine: str) -> InputError:
    """The error for an option that an engine does not have."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    near += [each for each in known if name in each and each not in near][: 3 - len(near)]
    hint = f" Nearest: {', '.join(near)}." if near else ""
    return InputError(f"{model.place}: engine_args: {engine} has no option '{name}'.{hint}")


def named(model: Model) -> dict[str, str | bool | int | float]:
    """An entry's `engine_args` in one spelling: hyphens and underscores are the same in a name."""
    return {name.replace("-", "_"): value for name, value in model.engine_args.items()}


def command_line(name: str, value: str | bool | int | float) -> str:
    """An entry of `engine_args` as an argument."""
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{option}" if value else f"--no-{option}"
    return f"--{option}={value}"
