"""Prompts against a model's context length, counted by the model's own tokenizer.

Local engines are started for it; a server that runs already is asked if it lies in our network. A hosted API offers no
count, so its prompts are not checked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from workbench.audit.report import Finding
from workbench.catalog import Model, Models
from workbench.client import Client
from workbench.errors import WorkbenchError
from workbench.evalset import EvalSet
from workbench.loops import run_in_thread
from workbench.privacy import Payload, gate
from workbench.prompts import reference_answer, render
from workbench.servers import engine_of
from workbench.servers.serving import serving

_AT_ONCE = 8


@dataclass
class _Counted:
    """Tokens of a set's prompts by one model."""

    context: int | None
    longest: list[int] = field(default_factory=list)  # an item's longest prompt
    answers: list[int] = field(default_factory=list)  # the expected answers, as prompts of their own


def too_long(evalset: EvalSet, models: Models) -> tuple[list[Finding], dict[str, list[int]], list[str]]:
    """Prompts that leave no room for an answer, and expected answers longer than `max_tokens`.

    Returns:
        Findings; the tokens of each item's longest prompt, by model; what could not be checked.
    """
    findings, tokens, missing = [], {}, []
    for model in models.values():
        if model.engine == "rules":
            continue
        reason = "a hosted API offers no count" if model.zone == "hosted" else engine_of(model).unavailable(model)
        counted = None
        if reason is None:
            try:
                counted = run_in_thread(_count(evalset, model))
            except WorkbenchError as failure:
                reason = str(failure)
        if counted is None or counted.context is None:
            missing.append(f"prompts against {model.id}'s context length: {reason or 'its server offers no count'}")
            continue
        tokens[model.id] = counted.longest
        findings += _findings(evalset, model.id, counted, counted.context)
    return findings, tokens, missing


def _findings(evalset: EvalSet, model: str, counted: _Counted, context: int) -> list[Finding]:
    room = context - evalset.spec.generation.max_tokens
    long = tuple(item.id for item, count in zip(evalset.items, counted.longest, strict=True) if count > room)
    found = []
    if long:
        what = (
            f"items whose prompt leaves {model} no room: of its {context} tokens, {max(counted.longest)} are taken and "
            f"{evalset.spec.generation.max_tokens} are for the answer"
        )
        found.append(Finding("context", "error", what, "Raise the model's 'context', or shorten the prompts", long))
    allowed = evalset.spec.generation.max_tokens
    cut = tuple(item.id for item, count in zip(evalset.items, counted.answers, strict=True) if count > allowed)
    if cut:
        what = (
            f"items whose expected answer takes {model} more than max_tokens ({allowed}): up to {max(counted.answers)}"
        )
        found.append(Finding("context", "error", what, "Raise generation.max_tokens", cut))
    return found


async def _count(evalset: EvalSet, model: Model) -> _Counted | None:
    """Tokens of every item's longest prompt and of its expected answer; None where the server does not count."""
    variants = [name for name in evalset.spec.variants if model.variants is None or name in model.variants]
    limit = asyncio.Semaphore(_AT_ONCE)
    async with serving(model) as served, Client(served.endpoint) as client:
        context = model.context if served.server is not None else None

        async def count(messages: list[dict[str, str]], sources: tuple[str, ...]) -> int | None:
            nonlocal context
            payload = Payload({"messages": messages}, sources)  # type: ignore[arg-type]
            async with limit:
                found = await client.count_tokens(gate(payload, served.endpoint.destination))
            if found is None:
                return None
            context = context or found[1]
            return found[0]

        empty = await count([{"role": "user", "content": ""}], ("public",))
        if empty is None:
            return None
        longest, answers = [], []
        for item in evalset.items:
            prompts = [render(evalset, name, item) for name in variants or evalset.spec.variants]
            reference = [{"role": "user", "content": reference_answer(evalset, item)}]
            counts = await asyncio.gather(
                *(count(prompt.messages, prompt.sources) for prompt in prompts),
                count(reference, (str(item.sensitivity),)),
            )
            *asked, answer = (number or 0 for number in counts)
            longest.append(max(asked))
            answers.append(max(0, answer - empty))
        return _Counted(context, longest, answers)
