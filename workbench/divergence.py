"""How far a variant's token probabilities are from the reference's, on the reference's own answers (teacher-forced).

    found = measure(run.outcomes, tasks, models, "smollm2-bf16", candidates="smollm2-w8a8,smollm2-w4a16")
    write_outcomes(found, run.path / "divergence.parquet")          # readable by its owner only

Each prompt with the reference's answer behind it is given to every engine as the same token ids; vLLM says with
`prompt_logprobs` what it held likely at each place of the answer. No other engine here does. Nothing is generated, so
one flipped token does not hide what comes after it.

Only the k likeliest tokens are told. So the divergence is over the tokens that both engines name, with all others as
one class: merging classes never raises a Kullback-Leibler divergence (the data-processing inequality: Cover and Thomas,
Elements of Information Theory, 2nd ed., 2.7 and 2.8), so what is found is a lower bound.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench import project
from workbench.catalog import Model, Models
from workbench.client import Client
from workbench.economics import cost_per_accepted
from workbench.errors import InputError, WorkbenchError
from workbench.evalset import EvalSet
from workbench.loops import run_in_thread
from workbench.outcomes.table import normalize
from workbench.privacy import Payload, Released, Sensitivity, gate, highest, permitted, sensitivity_of
from workbench.prompts import render
from workbench.servers.serving import serving
from workbench.words import counted

FILE = "divergence.parquet"
COLUMNS = ("task", "variant", "item_id", "reference", "model", "k", "tokens", "kl_nats", "top_token_agreement")
TOP_K = 20  # the most that vLLM tells unless its max_logprobs is raised
_ENGINES = ("vllm", "openai")
_AT_ONCE = 4
_SAY_S = 5.0  # between two lines on a model's progress
_LEAST = 1e-6  # no more than this is read out of what single-precision probabilities leave to 1

Chances = Mapping[int, float]  # log-probabilities by token id


@dataclass
class _Text:
    """A prompt and the reference's answer to it."""

    task: str
    variant: str
    item_id: str
    messages: list[dict[str, str]]
    answer: str
    sources: tuple[Sensitivity, ...]
    ids: list[int] = field(default_factory=list)  # of both, by the reference's tokenizer
    begins: int = 0  # where the answer does
    chances: list[Chances] | None = None  # of the reference, at each place of the answer


class _Progress:
    """What is said of a model while it is asked: how many texts are done, and about how long the others take."""

    def __init__(self, name: str, of: int, say: Callable[[str], None]) -> None:
        self._name, self._of, self._say = name, of, say
        self._done = 0
        say(f"{name}: 0 of {counted(of, 'text')}; its server is asked for")

    def begin(self) -> None:
        """The server is there: loading it says nothing of the time that texts take."""
        self._began = self._said = time.monotonic()

    def one(self) -> None:
        """A text is done."""
        self._done += 1
        now = time.monotonic()
        if self._done == self._of:
            self._say(f"{self._name}: {self._done} of {counted(self._of, 'text')} in {now - self._began:.0f} s")
        elif now - self._said >= _SAY_S:
            self._said = now
            left = (now - self._began) / self._done * (self._of - self._done)
            self._say(f"{self._name}: {self._done} of {self._of} texts, about {left:.0f} s left")


class _Unfit(Exception):
    """Why a model cannot be measured."""


def measure(
    outcomes: pd.DataFrame,
    tasks: Mapping[str, EvalSet],
    models: Models,
    reference: str,
    *,
    candidates: str | Sequence[str] | None = None,
    items: int = 50,
    k: int = TOP_K,
    say: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Ask each model how likely it holds the reference's answers. Managed servers are started one after another.

    Args:
        outcomes: an outcome table with the reference's answers.
        tasks: the eval sets that they are from; the prompts are made from them again.
        models: where the models are. A hosted one is not asked.
        reference: a model's id.
        candidates: ids of its variants, the noise run among them; all other models of the table where left out.
        items: of each task and prompt, at most; an even sample of those that were answered.
        k: how many tokens each engine names at a place.
        say: is given lines on the progress, each beginning with the model's id and a colon.

    Returns:
        A row a task × variant × item × candidate with the columns `COLUMNS`: `tokens` of the answer, and over them the
        means `kl_nats` (a lower bound) and `top_token_agreement`. `attrs["notes"]` says what was left out, and why.

    Raises:
        InputError: the reference is not in the table or not in models.yaml, or cannot be asked, or an eval set changed.
    """
    table = normalize(outcomes)
    named = project.listed(candidates) or sorted(set(table["model"]) - {reference})
    for name in (reference, *named):
        if name not in models.known:
            raise InputError(f"there is no model '{name}' in models.yaml, so it cannot be asked.")
    problem = _unfit(models.known[reference])
    if problem:
        raise InputError(f"{reference}: {problem}. Choose a reference on vLLM.")
    texts = _texts(table[table["model"] == reference], tasks, items)
    if not texts:
        raise InputError(f"the outcome table has no answers of '{reference}' to these eval sets.")
    return run_in_thread(_measured(texts, models, reference, named, k, say))


def _unfit(model: Model) -> str | None:
    """Why a model's engine cannot be asked, or None."""
    if model.engine not in _ENGINES:
        return f"engine {model.engine} gives no prompt log-probabilities"
    return "it is hosted: only servers of your own are asked" if model.zone == "hosted" else None


def _texts(rows: pd.DataFrame, tasks: Mapping[str, EvalSet], items: int) -> list[_Text]:
    """The reference's answers with their prompts, an even sample of each task and variant."""
    found: list[_Text] = []
    if "output" not in rows:
        return found
    rows = (
        rows[rows["output"].notna() & (rows["output"] != "")]
        .sort_values(["repeat"])
        .drop_duplicates(["task", "variant", "item_id"])
    )
    for (name, variant), own in rows.sort_values("item_id").groupby(["task", "variant"], sort=True):
        task = tasks.get(str(name))
        if task is None or variant not in task.spec.variants:
            continue
        digests = set(own["evalset_digest"].dropna()) if "evalset_digest" in own else set()
        if any(digest != task.digest for digest in digests):
            raise InputError(f"{name}: the eval set has changed since these outcomes were made. Run it again.")
        known = {item.id: item for item in task.items}
        made = []
        for item_id, output in zip(own["item_id"], own["output"], strict=True):
            if item_id not in known:
                continue
            prompt = render(task, str(variant), known[item_id])
            open_item = sensitivity_of(known[item_id].sensitivity) != "restricted"
            if open_item and highest(prompt.sources) == "restricted":
                continue  # the table holds its answer redacted, for the examples in its prompt
            made.append(_Text(str(name), str(variant), item_id, prompt.messages, output, prompt.sources))
        found += made if len(made) <= items else [made[i * len(made) // items] for i in range(items)]
    return found


async def _measured(
    texts: list[_Text], models: Models, reference: str, named: list[str], k: int, say: Callable[[str], None]
) -> pd.DataFrame:
    notes: list[str] = []
    rows: list[dict[str, Any]] = []
    for name in (reference, *(name for name in named if name != reference)):
        model = models.known[name]
        problem = _unfit(model)
        if problem is None:
            try:
                chances = await _asked(model, texts, k, name == reference, _Progress(name, len(texts), say))
            except _Unfit as failure:
                problem = str(failure)
            except WorkbenchError as failure:
                problem = str(failure).removeprefix(f"{name}: ").rstrip(".")
            else:
                missed = sum(found is None for found in chances)
                if missed == len(texts):
                    problem = "its server gives no prompt log-probabilities"
                elif missed:
                    notes.append(
                        f"{name}: {counted(missed, f'of {len(texts)} texts has', f'of {len(texts)} texts have')} none, "
                        "such as those over its context"
                    )
        if problem is not None:
            if name == reference:
                raise InputError(f"{name}: {problem}.")
            notes.append(f"{name}: {problem}")
            continue
        for text, found in zip(texts, chances, strict=True):
            if name == reference:
                text.chances = found
            elif found is not None and text.chances is not None:
                rows.append(_row(text, found, reference, name, k))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.attrs["notes"] = notes
    return table


def _row(text: _Text, found: list[Chances], reference: str, model: str, k: int) -> dict[str, Any]:
    places = list(zip(text.chances or [], found, strict=True))
    return {
        "task": text.task,
        "variant": text.variant,
        "item_id": text.item_id,
        "reference": reference,
        "model": model,
        "k": k,
        "tokens": len(places),
        "kl_nats": float(np.mean([top_k_divergence(p, q) for p, q in places])),
        "top_token_agreement": float(np.mean([same_top(p, q) for p, q in places])),
    }


async def _asked(
    model: Model, texts: list[_Text], k: int, first: bool, progress: _Progress
) -> list[list[Chances] | None]:
    """What a model holds likely at each place of the answers; None where its server does not say."""
    turn = asyncio.Semaphore(_AT_ONCE)
    heard: list[int] = []
    found: list[list[Chances] | Exception | None]
    async with serving(model) as served, Client(served.endpoint) as client:
        destination = served.endpoint.destination
        progress.begin()

        def released(body: dict[str, Any], text: _Text) -> Released:
            return gate(Payload({"model": served.endpoint.model, **body}, text.sources), destination)

        async def one(text: _Text) -> list[Chances] | None:
            if not permitted(highest(text.sources), model.zone):
                return None
            async with turn:
                prompt = await client.token_ids(released({"messages": text.messages}, text))
                answer = await client.token_ids(released({"prompt": text.answer, "add_special_tokens": False}, text))
                if not prompt or not answer:
                    return None
                heard.append(len(prompt))
                if first:
                    text.ids, text.begins = [*prompt, *answer], len(prompt)
                elif text.ids and [*prompt, *answer] != text.ids:
                    raise _Unfit("its tokenizer is another than the reference's")
                body = {"prompt": [*prompt, *answer], "max_tokens": 1, "temperature": 0, "prompt_logprobs": k}
                told = await client.prompt_logprobs(released(body, text))
            return None if told is None or len(told) != len(prompt) + len(answer) else [*told[len(prompt) :]]

        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(_caught(one(text), progress)) for text in texts]
    found = [task.result() for task in asking]
    if not heard:
        raise _Unfit("its server tells no tokens by /tokenize: it does not run, or is not vLLM")
    for each in found:
        if isinstance(each, Exception):
            raise each
    return [each for each in found if not isinstance(each, Exception)]


async def _caught(work: Any, progress: _Progress) -> Any:
    """A task's result, or what it raised: a group of tasks would wrap it."""
    try:
        return await work
    except (WorkbenchError, _Unfit) as failure:
        return failure
    finally:
        progress.one()


def top_k_divergence(p: Chances, q: Chances) -> float:
    """The Kullback-Leibler divergence of q from p in nats, over the tokens that both name and one class for the rest.

    Args:
        p: log-probabilities by token, of the reference.
        q: those of the candidate.
    """
    shared = p.keys() & q.keys()
    told = math.fsum(math.exp(p[token]) * (p[token] - q[token]) for token in shared)
    rest = [max(1 - math.fsum(math.exp(chances[token]) for token in shared), _LEAST) for chances in (p, q)]
    return max(told + rest[0] * math.log(rest[0] / rest[1]), 0.0)


def same_top(p: Chances, q: Chances) -> bool:
    """Whether the likeliest token is the same; of several that are equally likely, one is enough."""
    tops = [{token for token, chance in chances.items() if chance >= max(chances.values())} for chances in (p, q)]
    return bool(tops[0] & tops[1])


def summary(rows: pd.DataFrame) -> dict[str, float]:
    """Over all tokens of some rows: `kl_nats` with `kl_lo` and `kl_hi` (95 %), `top_token_agreement`, their number."""
    tokens = rows["tokens"].to_numpy(float)
    if not tokens.sum() > 0:
        return dict.fromkeys(("kl_nats", "kl_lo", "kl_hi", "top_token_agreement", "divergence_tokens"), math.nan)
    # A ratio of two sums over the same items, as a cost over accepted answers is.
    kl = cost_per_accepted(rows["kl_nats"].to_numpy(float) * tokens, tokens)
    agreement = float((rows["top_token_agreement"].to_numpy(float) * tokens).sum() / tokens.sum())
    return {
        "kl_nats": kl.value,
        "kl_lo": kl.lo,
        "kl_hi": kl.hi,
        "top_token_agreement": agreement,
        "divergence_tokens": float(tokens.sum()),
    }


def read_divergence(source: pd.DataFrame | str | Path) -> pd.DataFrame:
    """What `measure` found, or the Parquet that it was kept in.

    Raises:
        InputError: there is no such file, or it is another table.
    """
    if isinstance(source, pd.DataFrame):
        table, where = source, "the divergence table"
    else:
        path = project.resolve(source)
        where = project.shown(path)
        if not path.is_file():
            raise InputError(f"{where}: there is no such file.")
        try:
            table = pd.read_parquet(path)
        except (ValueError, OSError) as failure:
            raise InputError(f"{where}: cannot be read as parquet: {str(failure).splitlines()[0]}.") from None
    lacking = [name for name in COLUMNS if name not in table]
    if lacking:
        raise InputError(f"{where}: column '{lacking[0]}' is missing: it is no divergence table.")
    return table
