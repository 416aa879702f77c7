"""Prompt files beside a config: what a gateway cannot apply, the application sends.

    files, losses = prompt_files(policy, models, tasks, "litellm.prompts")
    files["litellm.prompts/support_triage.few_shot.json"]

Few-shot examples are items: those of restricted ones are left out, and the loss report says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.evalset import EvalSet
from workbench.prompts import examples_of

if TYPE_CHECKING:
    from workbench.catalog import Models
    from workbench.routing.policy import Policy


def prompt_files(
    policy: Policy, models: Models, tasks: Mapping[str, EvalSet], folder: str
) -> tuple[dict[str, str], list[str]]:
    """The prompts of all candidates of a policy.

    Args:
        tasks: the eval sets that have them.
        folder: where they are to lie, beside the config.

    Returns:
        Their texts by file, and what they lack.
    """
    files: dict[str, str] = {}
    losses: list[str] = []
    wanted = {
        (route.task, link.variant): None
        for route in policy.routes
        for link in route.chain
        if models[link.model].engine != "rules"
    }
    for task, variant in wanted:
        evalset = tasks.get(task)
        measured = policy.evidence.evalsets.get(task)
        if evalset is None or variant not in evalset.spec.variants:
            losses.append(f"{task}#{variant}: no prompt file: its eval set is not here.")
        elif measured not in (None, evalset.digest):
            losses.append(f"{task}#{variant}: no prompt file: the eval set has changed since it was measured.")
        else:
            content, lacks = _prompt(evalset, variant)
            files[f"{folder}/{task}.{variant}.json"] = content
            losses.append(f"{task}#{variant}: the prompt is in {folder}/{task}.{variant}.json{lacks}.")
    return files, losses


def _prompt(evalset: EvalSet, variant: str) -> tuple[str, str]:
    spec = evalset.spec
    examples = examples_of(evalset, variant)
    withheld = "restricted" in examples.sources
    data: dict[str, Any] = {
        "task": evalset.name,
        "variant": variant,
        "messages": [
            message.model_dump() for message in spec.variants[variant].messages
        ],  # jinja; `inputs` is the item's
        "examples": None if withheld else examples.messages,  # before the last message
        "generation": spec.generation.model_dump(exclude_none=True),
        "output": {**spec.output.model_dump(exclude_none=True), "json_schema": evalset.output_schema},
        "evalset_digest": evalset.digest,
    }
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    return text, ", without its examples, which are restricted" if withheld else ""
