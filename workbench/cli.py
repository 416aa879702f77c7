"""The command: parses, calls, prints. Whatever it does, a notebook can do with the package.

    workbench run --sample 20
    workbench route && workbench export exports/routing.yaml --to litellm

Exit status: 0 done; 1 the run or a verification failed; 2 the input is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import __version__, project
from workbench.errors import InputError, WorkbenchError

if TYPE_CHECKING:
    from workbench.runner import Run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status.
    """
    arguments = _parser().parse_args(argv)
    try:
        action: Callable[[argparse.Namespace], int] = arguments.action
        return action(arguments)
    except WorkbenchError as failure:
        print(f"workbench: {failure}", file=sys.stderr)
        return failure.exit_status
    except KeyboardInterrupt:
        print("workbench: interrupted", file=sys.stderr)
        return 1
    except BrokenPipeError:  # only the report goes to standard output, and by then all is on disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read it has gone
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="workbench", description="Which model should each of our tasks use?")
    parser.add_argument("--version", action="version", version=f"workbench {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = _command(commands, "run", _run, "ask every candidate every item, log to MLflow, show the leaderboard")
    run.add_argument("--evalsets", default="evalsets", metavar="DIR", help="the folder with the eval sets")
    run.add_argument("--models-file", default="models.yaml", metavar="FILE")
    run.add_argument("--tasks", metavar="A,B", help="only these eval sets")
    run.add_argument("--models", metavar="A,B", help="only these models")
    run.add_argument("--variants", metavar="A,B", help="only these variants")
    run.add_argument("--sample", type=_count, metavar="N", help="a stratified sample of N items of each eval set")
    run.add_argument("--repeats", type=_count, default=1, metavar="K", help="ask each question K times")
    run.add_argument("--plan", action="store_true", help="say what would be asked, and ask nothing")
    run.add_argument("--no-track", action="store_true", help="do not log to MLflow")

    board = _command(commands, "leaderboard", _leaderboard, "show the leaderboard of an outcome table")
    board.add_argument("file", nargs="?", metavar="FILE", help="an outcome table; the newest run's where left out")

    route = _command(commands, "route", _route, "choose a model for each task, and write routing.yaml")
    route.add_argument("file", nargs="?", metavar="FILE", help="an outcome table; the newest run's where left out")
    route.add_argument("--evalsets", metavar="DIR", help="where the limits are; evalsets/ where it is there")
    route.add_argument("--models-file", default="models.yaml", metavar="FILE")
    route.add_argument("--to", default="exports/routing.yaml", metavar="FILE", help="where to write the policy")

    export = _command(commands, "export", _export, "write a policy as a gateway's config, and verify it")
    export.add_argument("policy", metavar="POLICY", help="a routing.yaml")
    export.add_argument("--to", required=True, metavar="GATEWAY", help="litellm")
    export.add_argument("--output", metavar="FILE", help="exports/GATEWAY.yaml where left out")
    export.add_argument("--models-file", default="models.yaml", metavar="FILE")
    export.add_argument("--verify", action="store_true", help="an export that cannot be verified is a failure")

    evalset = _command(commands, "evalset", _evalset, "check eval sets")
    evalset.add_argument("what", choices=["check"])
    evalset.add_argument("names", nargs="*", metavar="NAME", help="all where left out")
    evalset.add_argument("--evalsets", default="evalsets", metavar="DIR")

    models = _command(commands, "models", _models, "list the models and whether they can run here")
    models.add_argument("--models-file", default="models.yaml", metavar="FILE")

    serve = _command(commands, "serve", _serve, "serve a local model, or the rules, for a gateway on this machine")
    serve.add_argument("model", metavar="MODEL", help="a model of models.yaml, such as rules")
    serve.add_argument("--port", type=_port, help="the one that exports name where left out")
    serve.add_argument("--evalsets", default="evalsets", metavar="DIR")
    serve.add_argument("--models-file", default="models.yaml", metavar="FILE")

    ui = _command(commands, "ui", _ui, "open MLflow on this project's runs")
    ui.add_argument("--port", type=_port, default=5000)

    demo = _command(commands, "demo-report", _demo_report, "what 'make demo' prints at its end")
    demo.add_argument("--policy", default="exports/routing.yaml")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    action: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(action=action)
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1")
    return int(text)


def _port(text: str) -> int:
    if _count(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port")
    return int(text)


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError(f"'{text}' names nothing. Give names with commas between them, or leave the option out.")
    return names


def _run(arguments: argparse.Namespace) -> int:
    from workbench.catalog import load_models
    from workbench.evalset import load_evalsets
    from workbench.runner import make_plan, run

    tasks = load_evalsets(arguments.evalsets, _names(arguments.tasks))
    models = load_models(arguments.models_file).select(_names(arguments.models))
    if arguments.plan:
        sampled = {name: task.sample(arguments.sample) for name, task in tasks.items()}
        print(make_plan(sampled, models, _names(arguments.variants), arguments.repeats).describe())
        return 0
    done = run(
        tasks,
        models,
        sample=arguments.sample,
        variants=_names(arguments.variants),
        repeats=arguments.repeats,
        track=not arguments.no_track,
    )
    _report(done)
    return 0 if done.status == "complete" else 1


def _report(done: Run) -> None:
    from workbench.evidence import leaderboard
    from workbench.views.tables import leaderboard_text

    if len(done.outcomes):
        print(leaderboard_text(leaderboard(done.outcomes)))
    print(done.plan.describe())
    print(done.summary())
    for problem in done.problems:
        print(f"problem: {problem}")
    print(f"outcomes: {project.shown(done.path / 'outcomes.parquet')}")
    _print_links(done.links)


def _print_links(links: dict[str, str]) -> None:
    """Addresses in MLflow that answer with no clicking about; 'workbench ui' serves them."""
    for name, address in links.items():
        if address.startswith("http"):
            print(f"MLflow, {name.replace('_', ' ')}: {address}")


def _leaderboard(arguments: argparse.Namespace) -> int:
    from workbench.evidence import leaderboard
    from workbench.outcomes import latest_outcomes, read_outcomes
    from workbench.views.tables import leaderboard_text

    print(leaderboard_text(leaderboard(read_outcomes(arguments.file or latest_outcomes()))))
    return 0


def _route(arguments: argparse.Namespace) -> int:
    from workbench.catalog import load_models
    from workbench.evalset import load_evalsets
    from workbench.outcomes import latest_outcomes, read_outcomes
    from workbench.routing import route

    outcomes = read_outcomes(arguments.file or latest_outcomes())
    folder = arguments.evalsets or ("evalsets" if project.resolve("evalsets").is_dir() else None)
    limits = load_evalsets(folder) if folder else None
    for task in sorted(set(outcomes["task"]) - set(limits or {})):
        print(f"note: {task} has no eval set here, so no limits: only the default margin holds")
    policy = route(outcomes, load_models(arguments.models_file), limits=limits)
    path = policy.save(arguments.to)
    print(policy.describe())
    print(f"written: {project.shown(path)}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from workbench.catalog import load_models
    from workbench.export import export_policy
    from workbench.routing import load_policy

    policy = load_policy(arguments.policy)
    target = Path(arguments.output or f"exports/{arguments.to}.yaml")
    export = export_policy(policy, arguments.to, target, load_models(arguments.models_file))
    print(f"written: {project.shown(export.path)}")
    for loss in export.losses:
        print(f"not expressed: {loss}")
    proof = export.prove(policy)
    if proof is None:
        print("not verified here: .venv-gateways is not installed ('make gateways')")
        return 1 if arguments.verify else 0
    print(*proof.routes, proof, sep="\n")
    return 1 if proof.failures or (arguments.verify and not proof.routes) else 0


def _evalset(arguments: argparse.Namespace) -> int:
    from collections import Counter

    from workbench.evalset import load_evalsets

    for name, task in load_evalsets(arguments.evalsets, arguments.names or None).items():
        counts = Counter(item.sensitivity for item in task.items)
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=str))
        rest = f"{len(task.train)} for training, {len(task.spec.variants)} variants"
        print(f"{name}: {len(task.items)} items ({kinds}), {rest}: well formed")
    return 0


def _models(arguments: argparse.Namespace) -> int:
    from workbench.catalog import load_models
    from workbench.servers import engine_of

    for name, model in load_models(arguments.models_file).items():
        reason = engine_of(model).unavailable(model)
        print(f"{name:20} {model.engine:10} {model.quantization or '-':8} {model.zone:8} {reason or 'can run here'}")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from workbench.catalog import load_models
    from workbench.export.litellm import key_variable, port_of

    models = load_models(arguments.models_file)
    model = models.select([arguments.model])[arguments.model]
    key_name = key_variable(model.id)
    port = arguments.port or port_of(model.id, models)
    key = os.environ.get(key_name)
    if not key:
        raise InputError(f"set a key of your own in the environment variable {key_name}; clients have to show it.")
    print(f"{model.id}: http://127.0.0.1:{port}/v1", flush=True)
    if model.engine == "rules":
        from aiohttp import web

        from workbench.evalset import load_evalsets
        from workbench.servers.rules_server import application

        tables = {name: task.rules for name, task in load_evalsets(arguments.evalsets).items() if task.rules}
        web.run_app(application(tables, key), host="127.0.0.1", port=port, print=None)
        return 0
    import asyncio

    from workbench.servers import ManagedServer, engine_of

    launch = engine_of(model).launch(model)
    if launch is None:
        raise InputError(f"{model.id} is a server that runs already, at {model.base_url}.")
    server = ManagedServer(launch, model.id, port, key)
    asyncio.run(server.start(lambda line: print(line, file=sys.stderr)))
    print("ready; end with Ctrl-C", file=sys.stderr, flush=True)
    try:
        server.wait()
    finally:
        server.stop()
    raise WorkbenchError(f"{model.id}: the engine ended. {server.last_words()}")


def _ui(arguments: argparse.Namespace) -> int:
    from workbench.tracking import store_uri

    print(f"MLflow: http://127.0.0.1:{arguments.port}", flush=True)
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # two processes and 0.5 GB instead of fifteen and 2.8
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    options = ["--host", "127.0.0.1", "--port", str(arguments.port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store_uri(), *options]
    os.execve(sys.executable, command, environment)


def _demo_report(arguments: argparse.Namespace) -> int:
    from workbench.evidence import leaderboard
    from workbench.files import read_json
    from workbench.outcomes import RUN_FILE, latest_outcomes, read_outcomes
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
    _print_links({name: address for name, address in noted["links"].items() if name in ("which_model", "scores")})
    print("next      'make ui' serves MLflow, 'make lab' opens JupyterLab, 'make test' runs the tests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
