"""What a gateway's module gives back.

Rendered(text="model_list: …", losses=["…"], variables={"WORKBENCH_RULES_API_BASE": "…"})
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rendered:
    """A config's text and what belongs to it.

    Attributes:
        text: of the file.
        losses: what the policy says and the gateway cannot express, a line each.
        lost_privacy: privacy rules that it cannot express; with one, nothing is written.
        variables: environment variables that the gateway's process needs, with what they hold.
    """

    text: str
    losses: list[str] = field(default_factory=list)
    lost_privacy: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
