"""What a run will ask: every question with its request body and journal key, before anything is sent.

plan = make_plan(tasks, models)
print(plan.describe())
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.catalog import Model, Models
from workbench.client import preflight
from workbench.errors import EngineError, InputError
from workbench.evalset import EvalSet, Item, check_variants
from workbench.journal import request_key
from workbench.outcomes import candidate_id
from workbench.privacy import Payload, permitted
from workbench.prompts import Prompt, render
from workbench.servers import capabilities_of, engine_of


@dataclass(frozen=True)
class Question:
    """One item for one candidate, one repeat."""

    evalset: EvalSet
    item: Item
    model: str
    variant: str
    repeat: int
    prompt: Prompt
    body: dict[str, Any]
    key: str

    @property
    def payload(self) -> Payload:
        return Payload(self.body, self.prompt.sources)

    @property
    def format_retries(self) -> int:
        return self.evalset.spec.output.format_retries

    def format_ok(self, text: str) -> bool:
        return self.evalset.parse(text).format_ok


@dataclass
class Plan:
    """All that a run will do.

    Attributes:
        questions: by model, in the order of models.yaml.
        withheld: how many items each (task, model) may not see: restricted ones and hosted models.
        skipped: models that cannot run here, with the reason and the mend.
        failed: models whose weights are damaged, with the reason.
        notes: what else the user should know.
    """

    tasks: Mapping[str, EvalSet]
    models: Models
    questions: dict[str, list[Question]] = field(default_factory=dict)
    withheld: Counter[tuple[str, str]] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def sample(self) -> dict[str, dict[str, int]]:
        """Items asked of items there are, by task."""
        return {name: {"n": len(task.items), "of": task.total} for name, task in self.tasks.items()}

    def describe(self) -> str:
        """The plan in a few lines."""
        lines = []
        for name, task in self.tasks.items():
            part = "" if len(task.items) == task.total else f" of {task.total} (stratified sample)"
            lines.append(f"task  {name}: {len(task.items)} items{part}")
        for name, questions in self.questions.items():
            model = self.models[name]
            variants = sorted({candidate_id(name, question.variant) for question in questions})
            held = sorted({question.evalset.name for question in questions if "response_format" in question.body})
            mode = "rules" if model.engine == "rules" else f"JSON constrained in {', '.join(held) or 'no task'}"
            lines.append(f"model {name}: {len(questions)} questions, zone {model.zone}, {mode} ({', '.join(variants)})")
        lines += self.withheld_lines()
        lines += [f"skipped: {reason}" for reason in self.skipped.values()]
        lines += [f"failed: {reason}" for reason in self.failed.values()]
        return "\n".join(lines + self.notes)

    def withheld_lines(self) -> list[str]:
        """What the gate keeps back, a line a task × model."""
        return [
            f"withheld: {count} restricted items of {task} do not go to {name} (hosted)"
            for (task, name), count in sorted(self.withheld.items())
        ]


def make_plan(
    tasks: Mapping[str, EvalSet],
    models: Models,
    variants: Iterable[str] | None = None,
    repeats: int = 1,
) -> Plan:
    """Plan a run.

    Args:
        tasks: eval sets by name; samples are taken before.
        models: who is asked. One that was selected by name and cannot run is an error, others are skipped visibly.
        variants: only these variants; None asks those that each model's entry allows.
        repeats: how many times each question is asked, independently.

    Raises:
        InputError: nothing to ask, an unknown variant, an endpoint outside its zone, a named model that cannot run.
    """
    if variants is not None:
        variants = list(variants)
        check_variants(tasks, variants)
    plan = Plan(tasks, models)
    for name, model in models.items():
        preflight(model.destination())
        reason = engine_of(model).unavailable(model)
        if reason and name in models.named:
            raise InputError(reason)
        if reason:
            plan.skipped[name] = reason
            continue
        try:
            identity = engine_of(model).identity(model)
        except EngineError as failure:
            plan.failed[name] = str(failure)
            continue
        plan.questions[name] = [
            question
            for task in tasks.values()
            for question in _questions(plan, task, model, identity, variants, repeats)
        ]
    if not any(plan.questions.values()) and not plan.failed:
        raise InputError(
            "\n".join(["there is nothing to ask.", *plan.withheld_lines(), *plan.skipped.values(), *plan.notes])
        )
    return plan


def _questions(
    plan: Plan, task: EvalSet, model: Model, identity: dict[str, Any], variants: list[str] | None, repeats: int
) -> Iterable[Question]:
    for variant in _variants(plan, task, model, variants):
        for item in task.items:
            prompt = render(task, variant, item)
            body = request_body(task, model, prompt)
            payload = Payload(body, prompt.sources)
            if not permitted(payload.sensitivity, model.zone):
                plan.withheld[task.name, model.id] += 1
                continue
            for repeat in range(repeats):
                key = request_key(identity, body, repeat)
                yield Question(task, item, model.id, variant, repeat, prompt, body, key)


def _variants(plan: Plan, task: EvalSet, model: Model, wanted: list[str] | None) -> list[str]:
    """The variants of a task that a model is asked; the rules have no prompt, so they have one."""
    if model.engine == "rules":
        return ["default"] if task.rules is not None else []
    allowed = [name for name in task.spec.variants if model.variants is None or name in model.variants]
    found = [name for name in allowed if wanted is None or name in wanted]
    if not found:
        own = f" (its entry allows {', '.join(model.variants)})" if model.variants is not None else ""
        asked = f"as {', '.join(wanted)}" if wanted else "so"
        plan.notes.append(f"note: {task.name} has no variant to ask {model.id} {asked}{own}: not asked there")
    return found


def request_body(task: EvalSet, model: Model, prompt: Prompt) -> dict[str, Any]:
    """The request's body: only what the model's server declares that it understands."""
    able, spec = capabilities_of(model), task.spec
    generation = spec.generation
    tokens = "max_completion_tokens" if "max_completion_tokens" in able else "max_tokens"
    body: dict[str, Any] = {
        "model": engine_of(model).served_name(model),
        "messages": prompt.messages,
        tokens: generation.max_tokens,
        "stream": True,
    }
    if "stream_usage" in able:
        body["stream_options"] = {"include_usage": True}
    if "temperature" in able:
        body["temperature"] = generation.temperature
        if generation.top_p is not None:
            body["top_p"] = generation.top_p
    if "seed" in able and generation.seed is not None:
        body["seed"] = generation.seed
    if "stop" in able and generation.stop:
        body["stop"] = generation.stop
    if "json_schema" in able and task.output_schema is not None:
        schema = {"name": task.name, "schema": task.output_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body
