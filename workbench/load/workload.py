"""What a load test asks: an eval set's own prompts, or made-up ones of a wanted length.

workload = of_evalset(task, "few_shot", model, seed=0)
workload = synthetic(512, 128, model, seed=0)
next(workload.payloads)                  # goes to the gate

Nothing is taken from the journal, and nothing is written there: a load test wants the answering, not the answers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.catalog import Model
from workbench.errors import InputError
from workbench.evalset import EvalSet, check_variants
from workbench.privacy import Payload
from workbench.runner.question import Part, Shape, most_tokens
from workbench.servers import capabilities_of, engine_of
from workbench.words import counted

_MOST_PROMPTS = 5000  # of an eval set; rendered before the test begins
# Plain words that tokenizers in use have whole.
_WORDS = (  # noqa: SIM905
    "the of and to in is it for as on with at by from or an be this that not are but have was they you which one all "
    "we can her has there been if more when will would who so no out up into them some could time these two may then "
    "do first any my now such like our over man me even most made after also did many before must through back years "
    "where much your way well down should because each just those people how too little state good very make world"
).split()
_WRITES_ON = frozenset({"llamacpp", "vllm"})  # engines that go on to the asked length where they are told


@dataclass
class Workload:
    """What is asked.

    Attributes:
        name: for people and file names, such as `support_triage.few_shot` or `synthetic.512.128`.
        task: the eval set's name; None for made-up prompts.
        payloads: without an end.
        prompts: how many different ones; None is no two alike.
        most_tokens: that one request takes at most, prompt and answer.
        notes: what else the user should know.
    """

    name: str
    task: str | None
    variant: str | None
    payloads: Iterator[Payload]
    prompts: int | None
    most_tokens: tuple[int, int]
    notes: list[str] = field(default_factory=list)


def of_evalset(task: EvalSet, variant: str | None, model: Model, seed: int) -> Workload:
    """The prompts of an eval set, shuffled, again and again.

    Args:
        variant: one of its variants; None takes the first that the model's entry allows.

    Raises:
        InputError: no such variant, or the gate lets none of the items through to the model.
    """
    if variant is None:
        allowed = [name for name in task.spec.variants if model.variants is None or name in model.variants]
        if not allowed:
            raise InputError(
                f"{task.name} has no variant that the entry of {model.id} allows. Name one with --variant."
            )
        variant = allowed[0]
    elif variant not in task.spec.variants:
        check_variants({task.name: task}, [variant])
    part = Part(task, model, variant, Shape(task, model, engine_of(model).identity(model)))
    if not part.asked:
        raise InputError(
            f"{model.id} is hosted, and all of {task.name} as {variant} is restricted: the gate lets none of it "
            "through. Ask a model in zone local or private, or use --synthetic."
        )
    generator = random.Random(seed)
    if len(task.items) > _MOST_PROMPTS:
        chosen = sorted(generator.sample(range(len(task.items)), _MOST_PROMPTS))
        part = replace(part, task=replace(task, items=tuple(task.items[index] for index in chosen)))
    questions = list(part.questions(1))
    payloads = [question.payload for question in questions]
    notes = []
    if part.withheld:
        said = counted(part.withheld, f"restricted item of {task.name} does", f"restricted items of {task.name} do")
        notes.append(f"withheld: {said} not go to {model.id} (hosted)")

    def endless() -> Iterator[Payload]:
        while True:
            generator.shuffle(payloads)
            yield from payloads

    tokens = [question.worst_tokens for question in questions]
    most = (max(each[0] for each in tokens), max(each[1] for each in tokens))
    return Workload(f"{task.name}.{variant}", task.name, variant, endless(), len(payloads), most, notes)


def synthetic(input_tokens: int, output_tokens: int, model: Model, seed: int, tokens_per_word: float = 1.0) -> Workload:
    """Made-up prompts of about so many tokens, no two alike, so that no prefix cache helps.

    Managed engines are told to write on to the asked length; others write up to it. What was really read and written is
    measured.

    Args:
        tokens_per_word: of the model's tokenizer, as measured.
    """
    able = capabilities_of(model)
    body: dict[str, Any] = {"model": engine_of(model).served_name(model), "stream": True}
    body["max_completion_tokens" if "max_completion_tokens" in able else "max_tokens"] = output_tokens
    if "stream_usage" in able:
        body["stream_options"] = {"include_usage": True}
    if "temperature" in able:
        body["temperature"] = 0.0
    notes = []
    if model.engine in _WRITES_ON:
        body["ignore_eos"] = True
    else:
        notes.append(f"answers of {model.id} may be shorter than {output_tokens} tokens: it ends them where it likes")
    generator = random.Random(seed)
    words = max(1, round(input_tokens / tokens_per_word))

    def endless() -> Iterator[Payload]:
        while True:
            text = " ".join(generator.choices(_WORDS, k=words))
            yield Payload({**body, "messages": [{"role": "user", "content": text}]}, ("public",))

    longest = max(map(len, _WORDS)) + 1
    most = (most_tokens("x" * (words * longest)), output_tokens)
    return Workload(f"synthetic.{input_tokens}.{output_tokens}", None, None, endless(), None, most, notes)
