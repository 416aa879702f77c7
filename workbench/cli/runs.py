"""Commands on runs: run, leaderboard, export, and the demo's report."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from workbench import project
from workbench.cli.common import command, count, money, names, policy_of

if TYPE_CHECKING:
    from workbench.cli.common import Commands
    from workbench.runner import Run


_ANSWERS = ("served_by", "which_model", "scores", "pair", "pair_of")  # of a run's links
_SHOWN_AT_ONCE = 200_000  # outcomes whose leaderboard a run shows; a larger table is read when it is asked for


def add(commands: Commands) -> None:
    """Declare the commands."""
    run = command(commands, "run", _run, "ask every candidate every item, log to MLflow, show the leaderboard")
    run.add_argument("--evalsets", default="evalsets", metavar="DIR", help="the folder with the eval sets")
    run.add_argument("--models-file", default="models.yaml", metavar="FILE")
    run.add_argument("--tasks", metavar="A,B", help="only these eval sets")
    run.add_argument("--models", metavar="A,B", help="only these models")
    run.add_argument("--variants", metavar="A,B", help="only these variants")
    run.add_argument("--sample", type=count, metavar="N", help="a stratified sample of N items of each eval set")
    run.add_argument("--repeats", type=count, default=1, metavar="K", help="ask each question K times")
    run.add_argument("--batch", action="store_true", help="ask models that have batch in models.yaml in batches")
    run.add_argument("--plan", action="store_true", help="say what would be asked, at what cost, and ask nothing")
    run.add_argument("--max-cost", type=money, metavar="USD", help="send nothing whose worst case could go over it")
    run.add_argument("--retry-errors", action="store_true", help="ask only what failed in an earlier run")
    run.add_argument("--no-track", action="store_true", help="do not log to MLflow")

    board = command(commands, "leaderboard", _leaderboard, "show the leaderboard of an outcome table")
    board.add_argument("file", nargs="?", metavar="FILE", help="an outcome table; the newest run's where left out")

    export = command(commands, "export", _export, "write a policy as a gateway's config, and verify it")
    export.add_argument("policy", metavar="POLICY", help="a routing.yaml, or champion: the one in MLflow")
    export.add_argument("--to", required=True, metavar="GATEWAY", help="litellm, vllm-sr, json, or one of yours")
    export.add_argument("--output", metavar="FILE", help="exports/GATEWAY.yaml where left out (.json for json)")
    export.add_argument("--models-file", default="models.yaml", metavar="FILE")
    export.add_argument("--verify", action="store_true", help="every failure, in the proxy too; else is a failure")
    export.add_argument("--check", action="store_true", help="write no config: verify the file that is there")

    demo = command(commands, "demo-report", _demo_report, "what 'make demo' prints at its end")
    demo.add_argument("--policy", default="exports/routing.yaml")


def _run(arguments: argparse.Namespace) -> int:
    from workbench.catalog import load_models
    from workbench.evalset import load_evalsets
    from workbench.runner import estimate, planned, run

    tasks = load_evalsets(arguments.evalsets, names(arguments.tasks))
    models = load_models(arguments.models_file).select(names(arguments.models))
    asked: dict[str, Any] = {
        "sample": arguments.sample,
        "variants": names(arguments.variants),
        "repeats": arguments.repeats,
        "max_cost_usd": arguments.max_cost,
        "batch": arguments.batch,
    }
    if arguments.plan:
        plan = planned(tasks, models, **asked)
        print(plan.describe())
        print(estimate(plan, arguments.retry_errors).describe())
        return 0
    done = run(tasks, models, **asked, retry_errors=arguments.retry_errors, track=not arguments.no_track)
    _report(done)
    return 0 if done.status == "complete" else 1


def _report(done: Run) -> None:
    from workbench.views.tables import leaderboard_text

    if done.rows > _SHOWN_AT_ONCE:
        print(f"{done.rows:,} outcomes: 'workbench leaderboard' reads the table, and shows the leaderboard")
    elif done.rows:
        print(leaderboard_text(done.leaderboard))
    print(done.describe())
    print(f"outcomes: {project.shown(done.path / 'outcomes.parquet')}")
    print_links(done.links)


def print_links(links: dict[str, str]) -> None:
    """Addresses in MLflow that answer with no clicking about, and what serves them."""
    from workbench.tracking.links import link_lines

    for line in link_lines(links):
        print(line)


def _leaderboard(arguments: argparse.Namespace) -> int:
    from workbench.classification import set_figures
    from workbench.evidence import leaderboard
    from workbench.outcomes.table import latest_outcomes, read_outcomes
    from workbench.views.tables import leaderboard_text, set_figures_text

    outcomes = read_outcomes(arguments.file or latest_outcomes())
    print(leaderboard_text(leaderboard(outcomes)))
    labels = set_figures_text(set_figures(outcomes))
    if labels:
        print(f"\n{labels}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from workbench.catalog import load_models
    from workbench.export import export_policy, shown, verify_file
    from workbench.export.proof import routes_file

    policy, models = policy_of(arguments.policy), load_models(arguments.models_file)
    ending = "json" if arguments.to == "json" else "yaml"
    target = project.target(arguments.output or f"exports/{arguments.to}.{ending}")
    full = arguments.verify or arguments.check
    if not arguments.check:
        export = export_policy(policy, arguments.to, target, models)
        print(f"written: {project.shown(export.path)}")
        for loss in export.losses:
            print(f"not expressed: {loss}")
    proof = verify_file(arguments.to, target, policy, models, full)
    print(shown(proof))
    if proof is None:
        return 1 if full else 0
    if not proof.empty:
        print(f"route table: {project.shown(routes_file(target))}")
    return 1 if proof.failures or (full and not proof.routes) else 0


def _demo_report(arguments: argparse.Namespace) -> int:
    from workbench.evidence import leaderboard
    from workbench.files import read_json
    from workbench.outcomes import RUN_FILE
    from workbench.outcomes.table import latest_outcomes, read_outcomes
    from workbench.routing import load_policy
    from workbench.views.tables import leaderboard_text

    policy = load_policy(arguments.policy)
    table = latest_outcomes()
    noted = read_json(table.with_name(RUN_FILE))
    print(leaderboard_text(leaderboard(read_outcomes(table)), policy))
    print(policy.describe())
    print()
    print(*[noted["summary"], *noted["problems"]], sep="\n")
    for what, path in {"outcomes": table, "policy": arguments.policy, "gateway": "exports/litellm.yaml"}.items():
        print(f"{what:9} {project.shown(path)}")
    print("notebook  exports/01_quickstart.ipynb, as it ran")
    print_links({name: address for name, address in noted["links"].items() if name in _ANSWERS})
    print("next      'make ui' serves MLflow, 'make lab' opens JupyterLab, 'make test' runs the tests")
    return 0
