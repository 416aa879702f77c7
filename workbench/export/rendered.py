"""What a gateway's module gives back.

Rendered(text="model_list: …", losses=["…"], variables={"WORKBENCH_RULES_API_BASE": "…"})
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rendered:
    """A config's text, what it cannot express, and the environment variables it reads."""

    text: str
    losses: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
