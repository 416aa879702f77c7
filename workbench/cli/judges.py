"""Commands on judges: judge calibrate."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import project
from workbench.cli.common import command
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.cli.common import Commands
    from workbench.evalset import EvalSet
    from workbench.scorers.judge import JudgeScorer


def add(commands: Commands) -> None:
    """Declare the commands."""
    parser = command(commands, "judge", _calibrate, "measure what a judge's verdicts are worth")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    calibrate = command(actions, "calibrate", _calibrate, "measure a judge's agreement with given labels")
    calibrate.add_argument("evalset", metavar="NAME", help="the eval set that names the judge")
    calibrate.add_argument(
        "--labels", required=True, metavar="FILE", help="CSV or JSONL: item_id, output, label (pass or fail), candidate"
    )
    calibrate.add_argument("--judge", metavar="FIGURE", help="which judge, where the eval set has several")
    calibrate.add_argument("--to", metavar="FILE", help="in the eval set's folder, judge_FIGURE.json, where left out")
    calibrate.add_argument("--evalsets", default="evalsets", metavar="DIR")
    calibrate.add_argument("--models-file", default="models.yaml", metavar="FILE")


def _calibrate(arguments: argparse.Namespace) -> int:
    from workbench.catalog import load_models
    from workbench.evalset import load_evalset
    from workbench.judge.calibration import gate_problem
    from workbench.judge.labels import calibrate_judge

    evalset = load_evalset(Path(arguments.evalsets) / arguments.evalset)
    judge = _judge(evalset, arguments.judge)
    found = calibrate_judge(evalset, judge, load_models(arguments.models_file), project.resolve(arguments.labels))
    path = found.save(arguments.to or evalset.path / f"judge_{judge.figure}.json")
    print(found)
    problem = gate_problem(found, found.rubric_sha256, judge.min_kappa)
    print(f"as a gate: {'accepted' if problem is None else 'refused: ' + problem}")
    print(f"written: {project.shown(path)}; name it in evalset.yaml as the judge's 'calibration'")
    return 1 if problem is not None and judge.weight else 0  # the eval set would have it as a gate


def _judge(evalset: EvalSet, name: str | None) -> JudgeScorer:
    from workbench.scorers.judge import JudgeScorer

    judges = [scorer for scorer in evalset.scorers if isinstance(scorer, JudgeScorer)]
    named = [judge for judge in judges if name in (None, judge.figure)]
    if len(named) != 1:
        known = ", ".join(judge.figure for judge in judges) or "none"
        raise InputError(f"{evalset.name}: name one judge with --judge; it has: {known}.")
    return named[0]
