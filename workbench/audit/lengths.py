"""Prompts against a model's context length, counted by the model's own tokenizer.

Local engines are started for it; a server that runs already is asked if it lies in our network. A hosted API offers no
count, so its prompts are not checked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from workbench.audit.report import Finding, count_of
from workbench.catalog import Model, Models
from workbench.client import Client
from workbench.errors import RunError, WorkbenchError
from workbench.evalset import EvalSet
from workbench.loops import run_in_thread
from workbench.privacy import Payload, Sensitivity, gate, sensitivity_of
from workbench.prompts import reference_answer, render
from workbench.servers import engine_of
from workbench.servers.serving import serving

_AT_ONCE = 8


@dataclass
class _Counted:
    """Tokens of a set's prompts by one model."""

    context: int
    longest: list[int] = field(default_factory=list)  # an item's longest prompt
    answers: list[int] = field(default_factory=list)  # the expected answers, as prompts of their own


def too_long(evalset: EvalSet, models: Models) -> tuple[list[Finding], dict[str, list[int]], list[str]]:
    """Prompts that leave no room for an answer, and expected answers longer than `max_tokens`.

    Returns:
        Findings; the tokens of each item's longest prompt, by model; what could not be checked.
    """
    findings: list[Finding] = []
    tokens, missing = {}, []
    for model in models.values():
        if model.engine == "rules" or not _variants(evalset, model):
            continue
        try:
            counted = _checked(evalset, model)
        except WorkbenchError as failure:
            reason = str(failure).removeprefix(f"{model.id}: ").rstrip(".")
            missing.append(f"prompts against {model.id}'s context length: {reason}")
            continue
        tokens[model.id] = counted.longest
        findings += _findings(evalset, model.id, counted)
    return findings, tokens, missing


def _variants(evalset: EvalSet, model: Model) -> list[str]:
    """The variants that the model would be asked."""
    return [name for name in evalset.spec.variants if model.variants is None or name in model.variants]


def _checked(evalset: EvalSet, model: Model) -> _Counted:
    if model.zone == "hosted":
        raise RunError("a hosted API offers no count")
    reason = engine_of(model).unavailable(model)
    if reason is not None:
        raise RunError(reason)
    return run_in_thread(_count(evalset, model))


def _findings(evalset: EvalSet, model: str, counted: _Counted) -> list[Finding]:
    allowed = evalset.spec.generation.max_tokens
    room = counted.context - allowed
    found = []
    long = tuple(item.id for item, count in zip(evalset.items, counted.longest, strict=True) if count > room)
    if long:
        what = (
            f"{count_of(long)} whose prompt leaves {model} no room: it has {counted.context} tokens, of which the "
            f"answer takes {allowed} and the longest prompt {max(counted.longest)}"
        )
        mend = "Raise the model's 'max_model_len', or shorten the prompts"
        found.append(Finding("context", "error", what, mend, long))
    cut = tuple(item.id for item, count in zip(evalset.items, counted.answers, strict=True) if count > allowed)
    if cut:
        most = max(counted.answers)
        what = (
            f"{count_of(cut)} whose expected answer takes {model} up to {most} tokens, more than max_tokens ({allowed})"
        )
        found.append(Finding("context", "error", what, "Raise generation.max_tokens", cut))
    return found


async def _count(evalset: EvalSet, model: Model) -> _Counted:
    """Tokens of every item's longest prompt and of its expected answer.

    Raises:
        WorkbenchError: the server does not start, does not count, or lies elsewhere.
    """
    limit = asyncio.Semaphore(_AT_ONCE)
    async with serving(model) as served, Client(served.endpoint) as client:

        async def count(messages: list[dict[str, str]], sources: tuple[Sensitivity, ...]) -> tuple[int, int | None]:
            payload = Payload({"messages": messages}, sources)
            async with limit:
                found = await client.count_tokens(gate(payload, served.endpoint.destination))
            if found is None:
                raise RunError("its server offers no count, or fails")
            return found

        empty, told = await count([{"role": "user", "content": ""}], ("public",))
        # What models.yaml says is what we start; for a server that runs already it is only known where it is written.
        stated = model.max_model_len if served.server is not None or "max_model_len" in model.model_fields_set else None
        context = stated or told
        if context is None:
            raise RunError("its server does not say how long that is: set 'max_model_len' in models.yaml")
        counted = _Counted(context)
        for item in evalset.items:
            prompts = [render(evalset, name, item) for name in _variants(evalset, model)]
            reference = [{"role": "user", "content": reference_answer(evalset, item)}]
            *asked, answer = await asyncio.gather(
                *(count(prompt.messages, prompt.sources) for prompt in prompts),
                count(reference, (sensitivity_of(item.sensitivity),)),
            )
            counted.longest.append(max(tokens for tokens, _ in asked))
            counted.answers.append(max(0, answer[0] - empty))
        return counted
