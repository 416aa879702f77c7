"""Commands on models and servers: models, models doctor, serve, ui."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from typing import TYPE_CHECKING

from workbench.cli.common import command, port
from workbench.errors import InputError, WorkbenchError

if TYPE_CHECKING:
    from workbench.catalog import Models
    from workbench.cli.common import Commands


def add(commands: Commands) -> None:
    """Declare the commands."""
    models = command(commands, "models", _models, "list the models and whether they can run here; why not, with doctor")
    models.add_argument("doctor", nargs="?", choices=["doctor"], help="say why one cannot run, and what mends it")
    models.add_argument("names", nargs="*", metavar="MODEL", help="only these, with doctor")
    models.add_argument("--models-file", default="models.yaml", metavar="FILE")

    serve = command(commands, "serve", _serve, "serve a local model, or the rules, for a gateway on this machine")
    serve.add_argument("model", metavar="MODEL", help="a model of models.yaml, such as rules")
    serve.add_argument("--port", type=port, help="the one that exports name where left out")
    serve.add_argument("--evalsets", default="evalsets", metavar="DIR")
    serve.add_argument("--models-file", default="models.yaml", metavar="FILE")

    ui = command(commands, "ui", _ui, "open MLflow on this project's runs")
    ui.add_argument("--port", type=port, default=5000)
    ui.add_argument("--local", action="store_true", help="this project's own store, whatever MLFLOW_TRACKING_URI says")


def _models(arguments: argparse.Namespace) -> int:
    from workbench.catalog import load_models
    from workbench.export.endpoints import port_of
    from workbench.servers.doctor import examine, unavailable

    models = load_models(arguments.models_file)
    if arguments.doctor:
        models = models.select(arguments.names)
        found = examine(models, {name: port_of(name, models) for name in models})
        print(*found, sep="\n")
        return 1 if any(each.reason for each in found if each.model.id in models.named) else 0
    for name, model in models.items():
        label = model.quantization or model.dtype or "-"
        print(f"{name:20} {model.engine:12} {label:10} {model.zone:8} {unavailable(model) or 'can run here'}")
    _measured_prices(models)
    return 0


def _measured_prices(models: Models) -> None:
    """What tokens cost on this machine, of models that `workbench load` has measured."""
    from workbench.load.result import read_loads

    loads = read_loads()
    if not loads:
        return
    from workbench.breakeven import local_price
    from workbench.servers import engine_of

    for model in models.values():
        price = None if engine_of(model).unavailable(model) else local_price(model, loads, machine=models.machine)
        if price is not None and price.usd_per_mtok.value is not None:
            print(
                f"{model.id}: ${price.usd_per_mtok.value:.3g} a million tokens at saturation on this machine "
                f"({price.workload}, measured {price.measured[:10]})"
            )


def _serve(arguments: argparse.Namespace) -> int:
    from workbench.catalog import load_models
    from workbench.export.endpoints import key_variable, port_of

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
    from workbench.servers.serving import launches_of

    if not model.managed:
        raise InputError(f"{model.id} is a server that runs already, at {model.base_url}.")
    if reason := engine_of(model).unavailable(model):
        raise InputError(reason)
    launches = launches_of(model)
    if len(launches) > 1:
        print(f"one port is one replica: on GPU {model.gpus[0]}, the first of gpus", file=sys.stderr)
    server = ManagedServer(launches[0], model.id, port, key, model.engine)
    asyncio.run(server.start(lambda line: print(line, file=sys.stderr)))
    print("ready; end with Ctrl-C", file=sys.stderr, flush=True)
    try:
        server.wait()
    finally:
        server.stop()
        for note in server.notes:
            print(note, file=sys.stderr)
    raise WorkbenchError(f"{model.id}: the engine ended. {server.last_words()}")


def _refuse_taken(port: int) -> None:
    """MLflow itself would say so and end with 0."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as failure:
            raise InputError(
                f"port {port} cannot be had ({failure.strerror}). MLflow may be there already: look, or take --port."
            ) from None


def _ui(arguments: argparse.Namespace) -> int:
    from workbench.tracking import Store, local_uri, store_uri

    store = Store(local_uri() if arguments.local else store_uri())
    if store.is_server:
        print(f"MLflow: {store.ui} (MLFLOW_TRACKING_URI; --local serves what was logged to this project instead)")
        return 0
    _refuse_taken(arguments.port)
    print(f"MLflow: http://127.0.0.1:{arguments.port}", flush=True)
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # two processes and 0.5 GB instead of fifteen and 2.8
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_BACKEND_STORE_URI": store.uri,  # it may have a password, and everybody sees a command line
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    options = ["--host", "127.0.0.1", "--port", str(arguments.port), "--workers", "1"]
    os.execve(sys.executable, [sys.executable, "-m", "mlflow", "server", *options], environment)
