"""How an answer is generated, by the names that other tools have for it.

read_generation({"max_gen_toks": 9, "until": ["\n"], "top_k": 3})       # {'max_tokens': 9, 'stop': ['\n']}, ['top_k']
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from workbench.evalset.spec import Generation

_NAMES = {"max_gen_toks": "max_tokens", "max_new_tokens": "max_tokens", "until": "stop"}
_SAMPLES = "do_sample"  # false stands for temperature 0, whatever else is said


def read_generation(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What other tools' settings say of ours, and the names of those that say nothing."""
    found: dict[str, Any] = {}
    rest: list[str] = []
    for key, value in given.items():
        name = _NAMES.get(key, str(key))
        listed = value if isinstance(value, list) else [value]
        said = [str(each) for each in listed if each not in (None, "")] if name == "stop" else value
        try:
            Generation.model_validate({name: said})
            found |= {name: said} if said != [] else {}
        except ValidationError:
            rest += [] if key == _SAMPLES else [str(key)]
    samples = given.get(_SAMPLES)
    if isinstance(samples, bool):
        found["temperature"] = found.get("temperature", 1.0) if samples else 0.0
    return found, rest
