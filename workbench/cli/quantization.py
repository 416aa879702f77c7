"""The command on quantization: what a model's variants cost against its unquantized form."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from workbench import project
from workbench.cli.common import command, count, names

if TYPE_CHECKING:
    from workbench.cli.common import Commands
    from workbench.quantization import QuantizationReport


def add(commands: Commands) -> None:
    """Declare the command."""
    parser = command(commands, "quantization", _quantization, "what quantized variants cost against their reference")
    parser.add_argument("file", nargs="?", metavar="FILE", help="an outcome table; the newest run's where left out")
    parser.add_argument("--reference", required=True, metavar="MODEL", help="the unquantized form")
    parser.add_argument("--noise", metavar="MODEL", help="the reference asked again at another batch size")
    parser.add_argument("--candidates", metavar="A,B", help="only these models; all others where left out")
    parser.add_argument("--evalsets", metavar="DIR", help="where the margins are; evalsets/ where it is there")
    parser.add_argument("--models-file", default="models.yaml", metavar="FILE")
    parser.add_argument("--divergence", action="store_true", help="ask vLLM for log-probabilities first, and keep them")
    parser.add_argument("--figure", metavar="FILE", help="where to write the picture, a PNG")
    parser.add_argument("--html", metavar="FILE", help="where to write the whole report as a page")
    parser.add_argument("--items", type=count, default=50, metavar="N", help="of each task, with --divergence")


def _quantization(arguments: argparse.Namespace) -> int:
    from workbench import divergence
    from workbench.catalog import load_models
    from workbench.evalset import load_evalsets
    from workbench.outcomes.table import latest_outcomes, read_outcomes, write_outcomes
    from workbench.quantization import quantization_report

    path = project.resolve(arguments.file) if arguments.file else latest_outcomes()
    outcomes = read_outcomes(path)
    folder = arguments.evalsets or ("evalsets" if project.resolve("evalsets").is_dir() else None)
    tasks = load_evalsets(folder) if folder else None
    there = project.resolve(arguments.models_file).is_file()
    models = load_models(arguments.models_file) if there or arguments.divergence else None
    asked = {"noise": arguments.noise, "candidates": names(arguments.candidates), "models": models, "limits": tasks}
    report = quantization_report(outcomes, arguments.reference, **asked)
    kept = path.with_name(divergence.FILE)
    if arguments.divergence:
        assert models is not None
        others = sorted(set(report.table["model"]) - {arguments.reference})
        found = divergence.measure(
            outcomes, tasks or {}, models, arguments.reference, candidates=others, items=arguments.items, say=print
        )
        print(*(f"note: {line}" for line in found.attrs["notes"]), sep="\n")
        print(f"written: {project.shown(write_outcomes(found, kept))}")
    if kept.is_file():
        report = quantization_report(outcomes, arguments.reference, **asked, divergence=kept)
    print(report.describe())
    _write(report, arguments.figure, arguments.html)
    return 0


def _write(report: QuantizationReport, figure: str | None, page: str | None) -> None:
    from workbench.files import write_atomic
    from workbench.views.figures import png
    from workbench.views.quantization import quantization_html
    from workbench.views.tables import document

    if figure:
        write_atomic(project.target(figure), png(report.figure()))
        print(f"written: {project.shown(project.target(figure))}")
    if page:
        title = f"Quantization, against {report.reference}"
        write_atomic(project.target(page), document(title, quantization_html(report)))
        print(f"written: {project.shown(project.target(page))}")
