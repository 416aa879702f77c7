"""Every notebook runs under papermill with the real engine, and says on its own page what it found."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pandas as pd
import planted
import pytest
from conftest import REPOSITORY, environment
from test_notebook_site import check_standalone

import workbench as wb
import workbench.project
from workbench import notebooks
from workbench.cli import main
from workbench.errors import InputError
from workbench.notebooks import load_index
from workbench.outcomes.table import write_outcomes

pytestmark = pytest.mark.timeout(1500)  # all notebooks run before the first test that looks at them
NOTEBOOKS = sorted(path.stem for path in (REPOSITORY / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_short_has_parameters_and_is_stored_without_outputs(name: str) -> None:
    notebook = nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", 4)
    assert len(notebook.cells) <= 12
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert all(word in first.source for word in ("Purpose", "Inputs", "Outputs", "Run time"))
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
            assert "def " not in cell.source and "class " not in cell.source  # logic lives in the package


@pytest.mark.parametrize(("asked", "given"), [("bf16", True), ("bf16", False), ("", True)])
def test_token_probabilities_are_asked_for_a_given_table_too(
    project: Path, capsys: pytest.CaptureFixture[str], asked: str, given: bool
) -> None:
    """The cell on its own, with a stand-in for what would ask vLLM."""
    notebook = nbformat.read(REPOSITORY / "notebooks" / "04_quantization.ipynb", 4)
    (cell,) = [cell for cell in notebook.cells if cell.cell_type == "code" and "measure(" in cell.source]
    table = planted.outcomes({"bf16": [1.0] * 8, "w4": [1.0] * 8})
    found = pd.DataFrame(
        {"task": "planted", "variant": "default", "item_id": table["item_id"][:8], "reference": "bf16", "model": "w4"}
        | {"k": 20, "tokens": 5, "kl_nats": 0.25, "top_token_agreement": 0.5}
    )
    found.attrs["notes"] = ["as asked"]
    shown: list[pd.DataFrame] = []
    (project / "kept").mkdir()
    names = {
        "wb": wb,
        "table": table,
        "divergence": asked,
        "catalog": None,
        "evalsets": None,
        "FILE": "divergence.parquet",
    }
    names |= {"notebooks": notebooks, "measure": lambda *arguments, say: found}
    names |= {"write_outcomes": write_outcomes, "display": shown.append}
    names |= {"project": workbench.project, "outcomes": "kept/outcomes.parquet" if given else ""}
    names["run"] = None if given else SimpleNamespace(path=project / "kept")
    exec(cell.source, names)
    said = capsys.readouterr().out
    assert said == ("as asked\n" if asked else "Not asked for: the parameter divergence names no reference.\n")
    assert (project / "kept" / "divergence.parquet").exists() == bool(asked)
    assert [list(table["kl_nats"]) for table in shown] == ([[0.25]] if asked else [])


def test_the_table_for_people_says_what_the_index_says() -> None:
    rows = [line.split("|") for line in (REPOSITORY / "notebooks" / "README.md").read_text().splitlines()]
    shown = {row[1].strip(" `"): row[3].strip() for row in rows if len(row) > 3 and row[1].strip().startswith("`")}
    index = load_index(REPOSITORY / "notebooks")
    assert [entry.name for entry in index] == NOTEBOOKS
    told = {entry.name: ", ".join(f"`{key}={value}`" for key, value in entry.small.items()) for entry in index}
    assert shown == told


@pytest.mark.parametrize(
    ("small", "said"),
    [
        ("{sample: 4}", "02_evalsets.ipynb: there is no parameter 'sample'. Leave it out."),
        ("{name: 4}", "02_evalsets.ipynb: parameter 'name' is 4, which is of type int; it must be str."),
    ],
)
def test_an_index_with_a_wrong_parameter_names_its_line(project: Path, small: str, said: str) -> None:
    shutil.copytree(REPOSITORY / "notebooks", project / "notebooks")
    path = project / "notebooks" / "index.yaml"
    lines = path.read_text().splitlines()
    line = lines.index("  02_evalsets:") + 1
    lines.insert(line, f"    small: {small}")
    path.write_text("\n".join(lines))
    with pytest.raises(InputError) as failure:
        load_index()
    assert str(failure.value).startswith(
        f"notebooks/index.yaml:{line + 1}: field 'notebooks.02_evalsets.small': {said}"
    )


def test_an_index_names_notebooks_that_are_there_and_need_not_name_all(project: Path) -> None:
    shutil.copytree(REPOSITORY / "notebooks", project / "notebooks")
    shutil.copy(project / "notebooks" / "06_routing.ipynb", project / "notebooks" / "Untitled.ipynb")
    assert [entry.name for entry in load_index()] == NOTEBOOKS
    (project / "notebooks" / "06_routing.ipynb").unlink()
    with pytest.raises(InputError, match=r"field 'notebooks\.06_routing': there is no 06_routing\.ipynb"):
        load_index()


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All notebooks, run in their order in one project as CI does, so that later ones answer from the journal."""
    root = tmp_path_factory.mktemp("notebooks")
    for name in ("evalsets", "notebooks"):
        shutil.copytree(REPOSITORY / name, root / name)
    for name in ("models.yaml", "models-quantized.yaml"):
        shutil.copy(REPOSITORY / name, root / name)
    command = [sys.executable, "-m", "workbench.cli", "notebook", "--all", "--small", "--to", "executed"]
    run = subprocess.run(command, cwd=root, env=environment(root), capture_output=True, text=True, timeout=1400)
    assert run.returncode == 0, run.stdout + run.stderr[-3000:]
    done: dict[str, Any] = {name: nbformat.read(root / "executed" / f"{name}.ipynb", 4) for name in NOTEBOOKS}
    done["root"] = root
    return done


def outputs(notebook: Any, kind: str) -> list[str]:
    """All outputs of a kind: `stream` or a MIME type."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and kind == "stream" and output.name == "stdout":
                found.append(output.text)
            elif kind in output.get("data", {}):
                found.append(output.data[kind])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["01_quickstart", "03_compare"])
def test_a_page_without_a_kernel_shows_the_leaderboard_and_the_figure(executed: dict[str, Any], name: str) -> None:
    tables = "".join(outputs(executed[name], "text/html"))
    assert "a stratified sample of 4 of" in tables
    assert "smollm2-q4#few_shot" in tables and "rules" in tables
    assert len(outputs(executed[name], "image/png")) == 2  # the trade-off and the heat map
    for shown in ("routes</caption>", "fixed (", "broke (", "expected"):  # the other tabs of the dashboard
        assert shown in tables
    assert not outputs(executed[name], "application/vnd.jupyter.widget-view+json")  # it would be a hole


@pytest.mark.slow
def test_the_quickstart_exports_what_it_chose(executed: dict[str, Any]) -> None:
    from workbench.routing import load_policy

    policy = load_policy(executed["root"] / "exports" / "routing.yaml")
    assert {route.task for route in policy.routes} == {"data_extraction", "legal_reasoning", "support_triage"}
    assert policy.evidence.mlflow_run
    assert (executed["root"] / "exports" / "litellm.yaml").exists()


@pytest.mark.slow
def test_the_audits_are_shown_and_find_what_was_planted(executed: dict[str, Any]) -> None:
    curated, handed_over = outputs(executed["02_evalsets"], "text/html")
    assert "support_triage: clean" in curated and "data:image/png" in curated
    assert "with the same inputs and answers" in handed_over and "e-mail address" in handed_over
    assert "jo.frey" not in handed_over
    assert any("javascript" in text for text in outputs(executed["02_evalsets"], "stream"))


@pytest.mark.slow
def test_the_quantization_report_is_shown_and_concludes_on_every_variant(executed: dict[str, Any]) -> None:
    page = "".join(outputs(executed["04_quantization"], "text/html"))
    assert "the noise run" in page and "data:image/png" in page
    (conclusion,) = [text for text in outputs(executed["04_quantization"], "stream") if "Against smollm2-f16" in text]
    for variant in ("q8_0", "q4_1", "q4_0"):
        assert f"smollm2-{variant}#few_shot cannot be told on 4 items" in conclusion  # four items carry nothing


@pytest.mark.slow
def test_the_second_run_asks_no_model(executed: dict[str, Any]) -> None:
    sent = [text for text in outputs(executed["01_quickstart"], "stream") if "requests sent" in text]
    assert sent and " 0 requests sent" not in sent[0]
    runs = sorted((executed["root"] / ".workbench" / "runs").iterdir())
    assert len(runs) == 3
    logs = list((executed["root"] / ".workbench" / "engines").glob("*.log"))
    # One engine start for each of the two models in the first notebook, one in the second to count tokens, one to load.
    # And one for each of the five quantized variants.
    assert len(logs) == 9


@pytest.mark.slow
def test_a_load_test_ends_with_what_a_token_costs(executed: dict[str, Any]) -> None:
    said = "".join(outputs(executed["05_serving"], "stream"))
    assert "a million tokens, read and written as measured, cost $" in said and "used to 20% of saturation" in said
    assert "break-even against openai/gpt-4o-mini" in said and "problem" not in said
    assert all(f"{name:>20}" in said for name in ("p50", "p90", "p95", "p99"))
    assert len(outputs(executed["05_serving"], "image/png")) == 1
    assert len(list((executed["root"] / ".workbench" / "load").iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("01_quickstart", "Of 5 routes: 0 decided"),
        ("02_evalsets", "handed_over, mend first: 1 item not marked restricted"),
        ("02_evalsets", "support_triage has 160 items, which show a difference of 0.0"),
        ("03_compare", "support_triage: rules scores "),
        ("03_compare", ": cannot tell at a margin of 0.05"),
        ("03_compare", "/evaluations?compareToRunUuid="),
        ("06_routing", "support_triage (open): goes to "),
        ("06_routing", "champion in MLflow: version 1"),
        ("06_routing", "smollm2-q4: a load test tells what tokens cost on this machine, and is not used"),  # of 05
    ],
)
def test_a_notebook_ends_with_what_its_run_says(executed: dict[str, Any], name: str, said: str) -> None:
    last = executed[name].cells[-1]
    assert said in "".join(output.text for output in last.outputs if output.output_type == "stream")


@pytest.fixture(scope="module")
def restricted() -> list[str]:
    """Pieces of restricted items' text."""
    secrets = []
    for path in (REPOSITORY / "evalsets").glob("*/items.jsonl"):
        items = [json.loads(line) for line in path.read_text().splitlines()]
        marked = [item for item in items if item.get("sensitivity") == "restricted"]
        secrets += [str(value)[:60] for item in marked for value in item["inputs"].values() if len(str(value)) > 60]
    assert len(secrets) > 50
    return secrets


@pytest.mark.slow
def test_executed_notebooks_hold_no_restricted_text(executed: dict[str, Any], restricted: list[str]) -> None:
    for name in NOTEBOOKS:
        page = nbformat.writes(executed[name])
        assert not [secret for secret in restricted if json.dumps(secret, ensure_ascii=False)[1:-1] in page]


@pytest.mark.slow
def test_the_site_is_complete_without_a_network_and_holds_no_restricted_text(
    executed: dict[str, Any], restricted: list[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_ROOT", str(executed["root"]))
    assert main(["site", "--from", str(executed["root"] / "executed"), "--to", str(project / "site")]) == 0
    pages = {path.stem: path.read_text() for path in (project / "site").glob("*.html")}
    assert set(pages) == {"index", *NOTEBOOKS}
    assert check_standalone(pages["index"]).links == [f"{name}.html" for name in NOTEBOOKS]
    for name in NOTEBOOKS:
        check_standalone(pages[name])
        shown = html.unescape(pages[name])
        assert not [secret for secret in restricted if secret in shown or html.escape(secret) in pages[name]]
        assert "data:image/png" in pages[name] and "failed" not in pages["index"]


def test_the_repository_has_no_executed_notebook(tmp_path: Path) -> None:
    tool = Path(sys.executable).with_name("nbstripout")
    keys = "metadata.papermill cell.metadata.papermill metadata.widgets"
    paths = [str(path) for path in (REPOSITORY / "notebooks").glob("*.ipynb")]
    assert subprocess.run([tool, "--verify", "--extra-keys", keys, *paths], cwd=tmp_path).returncode == 0
