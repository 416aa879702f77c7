"""The one gate that everything leaves through, and the one function that redacts.

    released = gate(payload, destination)      # raises Withheld where restricted text would reach a hosted model
    redact("Jane Doe, 12 Elm St.", "restricted")   # '[restricted] 20 characters'

Zones are checked, not believed: `check_address` looks at where a name really resolves to, and the client asks it
for every connection that it opens.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from workbench.errors import InputError, Withheld
from workbench.words import counted

if TYPE_CHECKING:
    import pandas as pd

Sensitivity = Literal["public", "internal", "restricted"]
Zone = Literal["local", "private", "hosted"]
SensitivityClass = Literal["open", "restricted"]

REDACTED = "[restricted]"  # stands, with its length, where a text was
_ORDER: dict[str, int] = {"public": 0, "internal": 1, "restricted": 2}
# Columns that hold no text of an item; every other one is redacted, also those that another tool added.
_PLAIN_COLUMNS = frozenset(
    [
        *("task", "item_id", "model", "variant", "repeat", "split", "score", "accepted", "format_ok", "error_class"),
        *("attempts", "format_retries", "input_tokens", "output_tokens", "cost_usd", "judge_cost_usd", "latency_s"),
        *("ttft_s", "wait_s", "concurrency", "engine_id", "sensitivity", "asked_at", "source", "run_id"),
        "evalset_digest",
    ]
)
_RELEASE = object()  # only the gate holds it, so only the gate makes a Released


def sensitivity_of(label: object) -> Sensitivity:
    """The sensitivity that a label states; whatever is unlabeled or unknown is restricted."""
    return cast(Sensitivity, label) if isinstance(label, str) and label in _ORDER else "restricted"


def highest(labels: Iterable[object]) -> Sensitivity:
    """The highest sensitivity of all that is in a payload; of nothing at all, restricted."""
    found = [sensitivity_of(label) for label in labels]
    return max(found, key=_ORDER.__getitem__, default="restricted")


def class_of(label: object) -> SensitivityClass:
    """`open` for public and internal, `restricted` for the rest."""
    return "restricted" if sensitivity_of(label) == "restricted" else "open"


@dataclass(frozen=True)
class Payload:
    """A request body with its provenance.

    Attributes:
        body: what would be sent.
        sources: the sensitivity of every part that went into it (the item, each few-shot example, …).
        encoded: the body as JSON, where that is at hand.
    """

    body: dict[str, Any]
    sources: tuple[Sensitivity, ...]
    encoded: bytes | None = None

    @property
    def sensitivity(self) -> Sensitivity:
        return highest(self.sources)


@dataclass(frozen=True)
class Destination:
    """Where a payload would go: a model's id, its zone, and the base URL (none for in-process rules)."""

    model: str
    zone: Zone
    base_url: str | None = None
    private_hosts: tuple[str, ...] = ()


class Released:
    """A payload that the gate let through to one destination. Whatever sends takes nothing else."""

    __slots__ = ("_encoded", "body", "destination", "sensitivity")

    def __init__(self, payload: Payload, destination: Destination, token: object) -> None:
        if token is not _RELEASE:
            raise TypeError("only workbench.privacy.gate releases a payload")
        self.body = payload.body
        self._encoded = payload.encoded
        self.destination = destination
        self.sensitivity = payload.sensitivity

    def encoded(self) -> bytes:
        """The body as JSON; nothing where there is none."""
        if self._encoded is not None:
            return self._encoded
        return json.dumps(self.body).encode() if self.body else b""


def check_released(released: Released, destination: Destination) -> None:
    """Check what is about to be sent; all that opens a connection to a model calls it.

    Raises:
        TypeError: the gate did not release it.
        ValueError: the gate released it to another destination.
    """
    if type(released) is not Released:
        raise TypeError(f"only what workbench.privacy.gate released is sent, not a {type(released).__name__}")
    if released.destination is not destination and released.destination != destination:
        raise ValueError(f"released for {released.destination.model}, not for {destination.model}")


def permitted(sensitivity: object, zone: str) -> bool:
    """Whether text of a sensitivity may reach a zone; an unknown zone counts as hosted."""
    return sensitivity_of(sensitivity) != "restricted" or zone in ("local", "private")


def gate(payload: Payload, destination: Destination) -> Released:
    """Let a payload through to a destination, or refuse.

    Raises:
        Withheld: the payload carries restricted text and the destination is hosted.
    """
    if not permitted(payload.sensitivity, destination.zone):
        raise Withheld(
            f"{destination.model}: restricted text does not go to a hosted model. Label the items that may go "
            "(sensitivity: public or internal), or use a model in zone local or private."
        )
    return Released(payload, destination, _RELEASE)


def check_address(zone: Zone, host: str, address: str, private_hosts: Collection[str] = ()) -> None:
    """Check that an address which a host resolved to lies in the zone that was declared.

    Raises:
        InputError: a `local` host that is not loopback, a `private` one that is neither private nor listed.
    """
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    ip = mapped or ip
    if zone == "local" and not ip.is_loopback:
        raise InputError(f"zone local: {host} is {address}, which is not this machine. Set zone: private or hosted.")
    inside = ip.is_private and not ip.is_unspecified and not ip.is_link_local  # cloud metadata is link-local
    if zone == "private" and not inside and host not in private_hosts:
        raise InputError(
            f"zone private: {host} is {address}, a public address. Set zone: hosted, or list the host in private_hosts."
        )


def redact(text: Any, sensitivity: object) -> Any:
    """Text as it may be shown or stored outside the journal and the run's Parquet."""
    if not isinstance(text, str) or sensitivity_of(sensitivity) != "restricted":
        return text
    return f"{REDACTED} {counted(len(text), 'character')}"


def redact_outcomes(outcomes: pd.DataFrame) -> pd.DataFrame:
    """An outcome table without the text of restricted items (no `sensitivity` column: of any item)."""
    table = outcomes.copy()
    if "sensitivity" not in table:
        table["sensitivity"] = "restricted"
    hidden = table["sensitivity"].map(class_of) == "restricted"
    for column in table:
        if column in _PLAIN_COLUMNS or str(column).startswith("metric."):
            continue
        shown = table[column].astype(object)
        shown[hidden] = shown[hidden].map(lambda text: redact(text, "restricted"))
        table[column] = shown
    return table
