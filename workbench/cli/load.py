"""The command load: what production will feel of a model, and what its tokens cost on this machine."""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING

from workbench import project
from workbench.cli.common import command, count, money, names
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.cli.common import Commands
    from workbench.evalset import EvalSet
    from workbench.load import LoadResult


def add(commands: Commands) -> None:
    """Declare the command."""
    load = command(commands, "load", _load, "load a model's server: latency, throughput, goodput, price of a token")
    load.add_argument("model", metavar="MODEL", help="a model of models.yaml")
    load.add_argument("--task", metavar="NAME", help="whose prompts are asked; the only eval set where left out")
    load.add_argument("--variant", metavar="NAME", help="of the task; the first that the model's entry allows")
    load.add_argument("--synthetic", type=lengths, metavar="IN:OUT", help="made-up prompts: tokens read and written")
    load.add_argument("--loop", choices=["closed", "poisson", "burst"], default="closed")
    levels = load.add_mutually_exclusive_group()
    levels.add_argument("--levels", type=numbers, metavar="1,2,4", help="closed loop: requests in flight")
    levels.add_argument("--rates", type=numbers, metavar="0.5,1,2", help="open loops: requests a second")
    load.add_argument("--burstiness", type=seconds, metavar="SHAPE", help="of bursts: 1 is Poisson; 0.25")
    load.add_argument("--duration", type=seconds, default=10.0, metavar="S", help="of each window; 10")
    load.add_argument("--warmup", type=seconds, metavar="S", help="before each window; a fifth of it, 1 s at least")
    load.add_argument("--repeats", type=count, default=3, metavar="K", help="of each level, interleaved; 3")
    load.add_argument("--ttft", type=seconds, metavar="S", help="limit of the first token")
    load.add_argument("--itl", type=seconds, metavar="S", help="limit of the mean time between a request's tokens")
    load.add_argument("--e2e", type=seconds, metavar="S", help="limit of the whole; the eval set's p95_latency_s")
    load.add_argument("--utilization", type=share, metavar="U", help="how much of the machine you use, such as 0.2")
    load.add_argument("--against", metavar="A,B", help="listed models to hold it against, such as openai/gpt-4o-mini")
    load.add_argument("--max-cost", type=money, metavar="USD", help="needed for a model that is paid by the token")
    load.add_argument("--seed", type=int, default=0)
    load.add_argument("--figure", metavar="FILE", help="where to write the picture, a PNG")
    load.add_argument("--plan", action="store_true", help="say what would be done, and do nothing")
    load.add_argument("--evalsets", default="evalsets", metavar="DIR")
    load.add_argument("--models-file", default="models.yaml", metavar="FILE")


def seconds(text: str) -> float:
    """An argument above 0, such as a number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0, such as 0.5")
    return value


def share(text: str) -> float:
    """An argument above 0 and at most 1."""
    value = seconds(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a share above 0 and at most 1, such as 0.2")
    return value


def numbers(text: str) -> list[float]:
    """An argument that is numbers above 0 with commas between them."""
    return [seconds(part.strip()) for part in text.split(",")]


def lengths(text: str) -> tuple[int, int]:
    """An argument of two token counts, such as 512:128."""
    read, colon, written = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"'{text}' is not IN:OUT in tokens, such as 512:128")
    return count(read), count(written)


def _load(arguments: argparse.Namespace) -> int:
    from workbench.catalog import load_models
    from workbench.load import load_test, plan_load
    from workbench.load.arrivals import BURSTINESS
    from workbench.views.load import conclusions, load_text

    if arguments.loop == "closed" and arguments.rates:
        raise InputError("--rates are for open loops. Add --loop poisson, or give --levels.")
    if arguments.loop != "closed" and arguments.levels:
        raise InputError("--levels are for the closed loop. Give --rates, or leave them out.")
    against = names(arguments.against) or []
    if wrong := [name for name in against if not all(name.partition("/"))]:
        raise InputError(f"--against {wrong[0]}: name PROVIDER/MODEL of the price tables, such as openai/gpt-4o-mini.")
    models = load_models(arguments.models_file)
    model = models.select([arguments.model])[arguments.model]
    plan = plan_load(
        model,
        models,
        task=_task(arguments) if arguments.task or not arguments.synthetic else None,
        variant=arguments.variant,
        synthetic_tokens=arguments.synthetic,
        loop=arguments.loop,
        levels=arguments.levels or arguments.rates,
        burstiness=arguments.burstiness or BURSTINESS,
        duration_s=arguments.duration,
        warmup_s=arguments.warmup,
        repeats=arguments.repeats,
        ttft_s=arguments.ttft,
        itl_s=arguments.itl,
        e2e_s=arguments.e2e,
        max_cost_usd=arguments.max_cost,
        seed=arguments.seed,
    )
    print(plan.describe(), flush=True)
    if arguments.plan:
        return 0
    result = load_test(plan, say=lambda line: print(line, file=sys.stderr, flush=True) if line else None)
    print(load_text(result))
    print()
    print(*conclusions(result, models, arguments.utilization, against), sep="\n")
    if arguments.figure:
        _draw(arguments.figure, result)
    print(f"figures: {project.shown(result.path)}; the requests are beside it, as Parquet")
    return 0 if result.complete else 1


def _draw(path: str, result: LoadResult) -> None:
    from workbench.files import write_atomic
    from workbench.views.figures import png
    from workbench.views.load import load_figure

    write_atomic(project.target(path), png(load_figure(result)))


def _task(arguments: argparse.Namespace) -> EvalSet:
    from workbench.evalset import load_evalsets

    found = load_evalsets(arguments.evalsets, [arguments.task] if arguments.task else None)
    if len(found) > 1:
        raise InputError(f"name the eval set with --task, or give --synthetic. There are: {', '.join(found)}.")
    return next(iter(found.values()))
