"""What running an exported config showed: the golden route table beside it, and a line in the file itself.

proof = export.prove(policy)         # None where .venv-gateways is not there
proof.failures                       # empty: every request landed where the policy says
keep(proof, export.path)             # litellm.routes.json, and "# Verified with …" in litellm.yaml
forget(export.path)                  # before another config is written there
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from workbench import project
from workbench.errors import InputError
from workbench.files import read_text, write_atomic
from workbench.words import counted

NOT_VERIFIED = "Not verified yet."
_LINE = re.compile(r"^# (Not verified yet\.|Verified |NOT verified ).*$", re.MULTILINE)


@dataclass(frozen=True)
class Landing:
    """One request of the route table.

    Attributes:
        group: what the client says: a model group, or metadata.
        failing: the deployments that fail, with how: `dead`, `429`, `500`, `context`, `content`, `401`.
        expected: the link that the policy names, `nowhere` where none is left.
        landed: by gateway: who answered.
    """

    task: str
    class_: str
    group: str
    failing: dict[str, str]
    expected: str
    landed: dict[str, str]

    @property
    def right(self) -> bool:
        return set(self.landed.values()) == {self.expected}

    def __str__(self) -> str:
        how = ", ".join(f"{name} {kind}" for name, kind in self.failing.items()) or "all alive"
        seen = ", ".join(f"{where} in the {by}" for by, where in self.landed.items())
        return f"{self.group} ({how}): {self.expected} expected, {seen}"


@dataclass
class Proof:
    """What a gateway did with a config.

    Attributes:
        by: what ran it, with its version.
        routes: the route table.
        refused: requests that have to be answered by nobody, and were not.
        failures: what is wrong with the file, and requests that landed elsewhere than the policy says.
        limits: what this verification does not show.
        did, did_many: what a line of the route table is, and what several are.
    """

    by: dict[str, str] = field(default_factory=dict)
    routes: list[Landing] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    did: str = "request landed where the policy says"
    did_many: str = "requests landed where the policy says"

    @property
    def empty(self) -> bool:
        """Whether there was nothing to show."""
        return not self.routes and not self.failures

    def __str__(self) -> str:
        if self.empty:
            return "nothing to verify: no route has a model"
        right = sum(landing.right for landing in self.routes)
        did = counted(right, self.did, self.did_many)
        if self.refused:
            did += f", {counted(len(self.refused), 'was', 'were')} rightly refused"
        with_ = " and ".join(f"{name} {version}" for name, version in self.by.items()) or "nothing"
        if not self.failures:
            return "\n".join([f"verified with {with_}: {did}", *self.limits])
        seen = f"NOT verified with {with_}: {did}, {counted(len(self.failures), 'finding')}"
        return "\n".join([seen, *(f"FAILED: {line}" for line in self.failures)])


def gateway_program(name: str) -> Path | None:
    """A program of .venv-gateways, such as `python` or `litellm`; None where it is not installed."""
    named = os.environ.get("WORKBENCH_GATEWAYS")
    base = Path(named) if named else project.root() / ".venv-gateways"
    found = base / "bin" / name
    return found if found.exists() else None


def routes_file(config: Path) -> Path:
    """Where the route table of a config lies: `litellm.routes.json` beside `litellm.yaml`."""
    return config.with_suffix(".routes.json")


def keep(proof: Proof, config: Path) -> Path:
    """Write the route table beside a config, and into its header what verified it.

    Returns:
        The route table's file.
    """
    text = read_text(config)
    said = str(proof).splitlines()[0]
    _stamp(config, text, f"{said[:1].upper()}{said[1:]} ({datetime.now(UTC).date().isoformat()}).")
    table = {
        "config": config.name,
        "config_sha256": content_digest(text),  # of the file without its comments
        "verified_with": proof.by,
        "routes": [
            {("class" if key == "class_" else key): value for key, value in asdict(landing).items()}
            for landing in proof.routes
        ],
        "refused": proof.refused,
        "failures": proof.failures,
        "limits": proof.limits,
    }
    path = routes_file(config)
    write_atomic(path, json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    return path


def forget(config: Path) -> None:
    """Remove the route table beside a config before another is written there: nobody may take it for that one's."""
    routes_file(config).unlink(missing_ok=True)


def forget_unless_of(config: Path) -> None:
    """Remove the route table beside a config, and what its header says, where they are of an earlier text of it.

    So an edited file that the gateway does not even load is not called verified.
    """
    path = routes_file(config)
    if not path.exists():
        return
    text = read_text(config)
    try:
        known = json.loads(read_text(path))["config_sha256"] == content_digest(text)
    except (InputError, ValueError, TypeError, KeyError):  # whatever it is, it does not speak for this file
        known = False
    if not known:
        path.unlink()
        _stamp(config, text, NOT_VERIFIED)


def _stamp(config: Path, text: str, said: str) -> None:
    """Write into a config's header what verified it."""
    stamped = _LINE.sub(lambda _: f"# {said}", text, count=1)
    if stamped != text:
        write_atomic(config, stamped)


def content_digest(text: str) -> str:
    """SHA-256 of a config without its comment lines."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
