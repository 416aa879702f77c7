"""JSON in a text, read within bounds: no numbers beyond all that is computed with, nothing nested without end.

json_at('Sure: {"a": 1} …', 6)        # ({'a': 1}, 14)
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

_DEEPEST = 100  # of lists and objects in one another; what is done with them later recurses
FENCE = re.compile(r"```[a-zA-Z0-9]*[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError("a number beyond all that is computed with")
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def json_at(text: str, start: int = 0) -> tuple[Any, int]:
    """The JSON value at a place of a text and where it ends; None and how far it was read where there is none."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as failure:
        return None, max(failure.pos, start)
    except (ValueError, RecursionError):
        return None, min(start + 20_000, len(text))
    if text.count("{", start, end) + text.count("[", start, end) > _DEEPEST and _depth(value) > _DEEPEST:
        return None, end
    return value, end


def _depth(value: Any) -> int:
    """How deep lists and objects are in one another, without recursion."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth
