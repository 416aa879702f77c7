"""What a run will ask: every question with its request body and journal key, before anything is sent.

plan = make_plan(tasks, models)
print(plan.describe())
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from workbench.catalog import Model, Models
from workbench.client import preflight
from workbench.errors import EngineError, InputError
from workbench.evalset import EvalSet, check_variants
from workbench.outcomes import candidate_id
from workbench.runner.question import Part, Questions, Shape
from workbench.servers import engine_of
from workbench.words import counted

_HOW = {
    None: "",
    "openai": " in batches of its API (at half price, within 24 hours)",
    "vllm": " in batches of vllm run-batch",
}


@dataclass
class Plan:
    """All that a run will do.

    Attributes:
        questions: by model, in the order of models.yaml.
        withheld: how many items each (task, model) may not see: restricted ones and hosted models.
        closed: (task, candidate) that is not asked, since its examples are restricted and its model is hosted.
        skipped: models that cannot run here, with the reason and the mend.
        failed: models whose weights are damaged, with the reason.
        notes: what else the user should know.
        batch: models that have `batch` are asked in batches, and not live.
    """

    tasks: Mapping[str, EvalSet]
    models: Models
    questions: dict[str, Questions] = field(default_factory=dict)
    withheld: dict[tuple[str, str], int] = field(default_factory=dict)
    closed: set[tuple[str, str]] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    batch: bool = False

    def batched(self, model: Model) -> str | None:
        """How a model is asked in batches; None where it is asked live."""
        return model.batch if self.batch else None

    @property
    def sample(self) -> dict[str, dict[str, int]]:
        """Items asked of items there are, by task."""
        return {name: {"n": len(task.items), "of": task.total} for name, task in self.tasks.items()}

    def describe(self) -> str:
        """The plan in a few lines."""
        lines = []
        for name, task in self.tasks.items():
            part = "" if len(task.items) == task.total else f" of {task.total} (stratified sample)"
            lines.append(f"task  {name}: {counted(len(task.items), 'item')}{part}")
        for name, questions in self.questions.items():
            model = self.models[name]
            variants = sorted({candidate_id(name, part.variant) for part in questions.parts if part.asked})
            held = sorted({part.task.name for part in questions.parts if part.shape.constrained})
            mode = "rules" if model.engine == "rules" else f"JSON constrained in {', '.join(held) or 'no task'}"
            how = _HOW[self.batched(model)]
            asked = f"model {name}: {counted(len(questions), 'question')}{how}, zone {model.zone}, {mode}"
            asked += f" ({', '.join(variants)})" if variants else ""
            code = ", runs code that comes with its weights (trust_remote_code)" if model.trust_remote_code else ""
            lines.append(asked + code)
        lines += self.withheld_lines()
        lines += [f"skipped: {reason}" for reason in self.skipped.values()]
        lines += [f"failed: {reason}" for reason in self.failed.values()]
        return "\n".join(lines + self.notes)

    def withheld_lines(self) -> list[str]:
        """What the gate keeps back, a line a task × model, and one a task × candidate for restricted examples."""
        items = [
            f"withheld: {counted(count, f'restricted item of {task} does', f'restricted items of {task} do')} not go "
            f"to {name} (hosted)"
            for (task, name), count in sorted(self.withheld.items())
        ]
        examples = [
            f"withheld: {task} is not asked of {candidate} (hosted), since the variant shows restricted examples of "
            "train.jsonl. Label them, or leave the variant out"
            for task, candidate in sorted(self.closed)
        ]
        return items + examples


def make_plan(
    tasks: Mapping[str, EvalSet],
    models: Models,
    variants: Iterable[str] | None = None,
    repeats: int = 1,
    batch: bool = False,
) -> Plan:
    """Plan a run.

    Args:
        tasks: eval sets by name; samples are taken before.
        models: who is asked. One that was selected by name and cannot run is an error, others are skipped visibly.
        variants: only these variants; None asks those that each model's entry allows.
        repeats: how many times each question is asked, independently.
        batch: ask models that have `batch` in batches.

    Raises:
        InputError: nothing to ask, an unknown variant, an endpoint outside its zone, a named model that cannot run.
    """
    if variants is not None:
        variants = list(variants)
        check_variants(tasks, variants)
    plan = Plan(tasks, models, batch=batch)
    if batch and not any(model.batch for model in models.values()):
        plan.notes.append("note: no model here has batch in models.yaml, so all are asked live")
    for name, model in models.items():
        for destination in model.destinations():
            preflight(destination)
        reason = engine_of(model).unavailable(model, batch=plan.batched(model) is not None)
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
        parts = [part for task in tasks.values() for part in _parts(plan, task, model, identity, variants)]
        plan.questions[name] = Questions(parts, repeats)
    if not any(map(len, plan.questions.values())) and not plan.failed:
        why = [*plan.withheld_lines(), *plan.skipped.values(), *_without_rules(plan), *plan.notes]
        raise InputError("\n".join(["there is nothing to ask.", *why]))
    return plan


def _without_rules(plan: Plan) -> list[str]:
    """Which eval sets have no rules, where rules are asked; what a plan of other models need not tell."""
    without = ", ".join(name for name, task in plan.tasks.items() if task.rules is None)
    mend = "Name a rules.yaml in evalset.yaml ('rules: rules.yaml'), or ask another model"
    return [
        f"{name} has nothing to answer by: no rules table in {without}. {mend}"
        for name in plan.questions
        if plan.models[name].engine == "rules" and without
    ]


def _parts(
    plan: Plan, task: EvalSet, model: Model, identity: dict[str, object], variants: list[str] | None
) -> Iterable[Part]:
    shape = Shape(task, model, identity)
    for variant in _variants(plan, task, model, variants):
        part = Part(task, model, variant, shape)
        if part.closed:
            plan.closed.add((task.name, candidate_id(model.id, variant)))
        elif part.withheld:
            plan.withheld[task.name, model.id] = part.withheld  # the same in every variant
        yield part


def _variants(plan: Plan, task: EvalSet, model: Model, wanted: list[str] | None) -> list[str]:
    """The variants of a task that a model is asked; the rules have no prompt, so they have one."""
    if model.engine == "rules":
        return ["default"] if task.rules is not None else []
    allowed = [name for name in task.spec.variants if model.variants is None or name in model.variants]
    found = [name for name in allowed if wanted is None or name in wanted]
    if not found:
        own = f" (its entry allows {', '.join(model.variants)})" if model.variants is not None else ""
        asked = f"as {', '.join(wanted)}" if wanted else "so"
        mend = ". Add one to the set's evalset.yaml, or take 'variants' out of the entry" if own and not wanted else ""
        plan.notes.append(f"note: {task.name} has no variant to ask {model.id} {asked}{own}: not asked there{mend}")
    return found
