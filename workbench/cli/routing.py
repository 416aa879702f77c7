"""Commands on routes: route, what-if."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from workbench import project
from workbench.cli.common import CHAMPION, command, money, names
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.catalog import Models
    from workbench.cli.common import Commands
    from workbench.evalset import EvalSet
    from workbench.routing import Policy
    from workbench.routing.repricing import LocalPrices


def add(commands: Commands) -> None:
    """Declare the commands."""
    route = command(commands, "route", _route, "choose a model for each task, and write routing.yaml")
    _shared(route)
    route.add_argument("--to", default="exports/routing.yaml", metavar="FILE", help="where to write the policy")
    route.add_argument("--champion", action="store_true", help="also register it in MLflow, for gates to find")
    route.add_argument("--verifiers", metavar="A,B", help="what a cascade may trust: format,agreement,metric.NAME")
    route.add_argument("--with-slices", action="store_true", help="requests will state their item's slices")
    route.add_argument("--budget", type=money, metavar="USD", help="of each route a month; takes --traffic")

    other = command(commands, "what-if", _what_if, "which routes would change at other prices, or without a model")
    _shared(other)
    other.add_argument(
        "--price", action="append", default=[], metavar="MODEL=IN:OUT", help="USD a million tokens; several times"
    )
    other.add_argument("--price-date", metavar="YYYY-MM-DD", help="listed prices of that date")
    other.add_argument("--without", action="append", default=[], metavar="MODEL", help="as if it were gone")
    other.add_argument("--without-provider", action="append", default=[], metavar="HOST", help="all models there")


def _shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="an outcome table; the newest run's of these models where left out"
    )
    parser.add_argument("--evalsets", metavar="DIR", help="where the limits are; evalsets/ where it is there")
    parser.add_argument("--models-file", default="models.yaml", metavar="FILE")
    parser.add_argument(
        "--objective",
        default="cost",
        metavar="NAME",
        help="cost, score, latency, or weights: accepted=0.05,latency=0.001",
    )
    parser.add_argument("--policies", metavar="A,B", help="per_task,rules_first,cascade,per_request")
    parser.add_argument("--zones", metavar="A,B", help="only models in these: local,private,hosted")
    parser.add_argument(
        "--utilization",
        type=float,
        metavar="SHARE",
        help="price local models by their newest load test ('workbench load'), the task's own first, at that share of "
        "its full load",
    )
    parser.add_argument("--traffic", type=_traffic, metavar="N/month", help="requests of each route a month")


def _traffic(text: str) -> float:
    """Requests a month: 200000, or 200000/month."""
    try:
        value = float(text.removesuffix("/month").replace(",", "").replace("_", ""))
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of requests, such as 200000/month")
    return value


def _objective(text: str) -> str | dict[str, float]:
    """A name, or the weights of a utility."""
    if "=" not in text:
        return text
    weights = {}
    for part in names(text) or []:
        name, _, value = part.partition("=")
        try:
            weights[name.strip()] = float(value)
        except ValueError:
            raise InputError(f"objective: '{part}' is not a weight such as accepted=0.05.") from None
    return weights


def _given(arguments: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The outcomes, and what both commands ask."""
    from workbench.catalog import load_models
    from workbench.evalset import load_evalsets
    from workbench.outcomes.table import latest_outcomes, read_outcomes
    from workbench.routing import Constraints
    from workbench.routing.policy import KINDS

    models = load_models(arguments.models_file)
    outcomes = read_outcomes(arguments.file or latest_outcomes(models))
    folder = arguments.evalsets or ("evalsets" if project.resolve("evalsets").is_dir() else None)
    limits: dict[str, EvalSet] | None = dict(load_evalsets(folder)) if folder else None
    for task in sorted(set(outcomes["task"]) - set(limits or {})):
        print(f"note: {task} has no eval set here, so no limits: only the default margin holds")
    zones = names(arguments.zones)
    for zone in zones or []:
        if zone not in ("local", "private", "hosted"):
            raise InputError(f"there is no zone '{zone}'. There are: local, private, hosted.")
    budget = getattr(arguments, "budget", None)
    stated = zones is not None or arguments.traffic is not None or budget is not None
    constraints = Constraints.model_validate(
        {"zones": zones, "traffic_per_month": arguments.traffic, "budget_usd_per_month": budget}
    )
    asked = {
        "models": models,
        "limits": limits,
        "objective": _objective(arguments.objective),
        "policies": names(arguments.policies) or KINDS,
        "constraints": constraints if stated else None,
        "local_usd_per_mtok": _local(models, set(outcomes["model"]), arguments.utilization),
    }
    return outcomes, asked


def _local(models: Models, asked: set[str], utilization: float | None) -> LocalPrices | None:
    """What local models' tokens cost by their load tests, where that is asked for."""
    from workbench.breakeven import prices_to_route_by

    prices, notes = prices_to_route_by(models, asked, utilization, "--utilization 0.2")
    for note in notes:
        print(f"note: {note}")
    return prices


def _route(arguments: argparse.Namespace) -> int:
    from workbench.routing import route

    outcomes, asked = _given(arguments)
    verifiers = names(arguments.verifiers)
    if verifiers is not None:
        asked["verifiers"] = verifiers
    policy = route(outcomes, **asked, with_slices=arguments.with_slices)
    path = policy.save(arguments.to)
    print(policy.describe(rejected=True))
    print(f"written: {project.shown(path)}")
    if arguments.champion:
        _register(policy)
    return 0


def _register(policy: Policy) -> None:
    from workbench.tracking import Store, register, store_uri
    from workbench.tracking.champion import NAME, link_to
    from workbench.tracking.links import opening

    notes: list[str] = []
    version = register(policy, notes=notes)
    for note in notes:
        print(f"note: {note}")
    print(f"champion: version {version} of {NAME} in MLflow, {link_to(version)}")
    if served_by := Store(store_uri()).served_by:
        print(f"MLflow: {opening(served_by)}")
    print(f"'workbench export {CHAMPION} --to GATEWAY' reads it from there")


def _what_if(arguments: argparse.Namespace) -> int:
    from workbench.routing import what_if

    outcomes, asked = _given(arguments)
    if arguments.policies is None:
        asked["policies"] = ("per_task",)
    report = what_if(
        outcomes,
        **asked,
        prices=dict(map(_price, arguments.price)),
        without=arguments.without,
        without_providers=arguments.without_provider,
        price_date=arguments.price_date,
    )
    print(report.describe())
    return 0


def _price(text: str) -> tuple[str, tuple[float, float]]:
    name, _, both = text.partition("=")
    try:
        read, written = (float(part) for part in both.split(":"))
    except ValueError:
        raise InputError(f"'{text}' is not a price such as gpt-mini=0.15:0.60 (USD a million tokens in:out).") from None
    return name, (read, written)
