"""The dashboard, as a kernel has it: what somebody moves, presses and asks for, and what is told. No browser here."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import planted
import pytest
from conftest import item, write_evalset, write_models
from IPython.display import HTML, Image

from workbench.catalog import Models, load_models
from workbench.errors import InputError, RunError
from workbench.evalset import add_correction, load_evalset
from workbench.evalset.corrections import current_key
from workbench.export.proof import Proof
from workbench.routing import load_policy, route
from workbench.routing.policy import STALE
from workbench.tracking.champion import champion
from workbench.views.dashboard import Dashboard
from workbench.views.dashboard.pager import Pager
from workbench.views.exporting import write_out
from workbench.views.items import Items
from workbench.views.notebook import changed_html, show, static
from workbench.views.shown import Shown

SCRIPT = "<script>alert(1)</script>"
CANARY = "CANARY-4711"
SCORES = {"big": planted.right(0.93, 300), "small": planted.right(0.86, 300, seed=1), "tiny": planted.right(0.5, 300)}
COSTS = {"big": 0.002, "small": 0.0002, "tiny": 0.0}
LATENCY = {"big": 0.8, "small": 0.2, "tiny": 0.001}


def table(text: str = SCRIPT, **more: Any) -> pd.DataFrame:
    found = planted.outcomes(SCORES, COSTS, LATENCY, **more)
    found["slice"] = [json.dumps({"difficulty": "hard" if name[-1] in "34" else "easy"}) for name in found["item_id"]]
    return found.assign(output=text, prompt=[f"{text} {name}" for name in found["item_id"]], error=text)


def catalog(root: Path) -> Models:
    paid = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}
    far = {"engine": "openai", "zone": "hosted", "base_url": "https://models.example/v1", "price": paid}
    write_models(root, big={**far, "model": "big"}, small={**far, "model": "small"}, tiny={"engine": "rules"})
    return load_models()


def shown(root: Path, outcomes: pd.DataFrame | None = None, **more: Any) -> Shown:
    outcomes = table() if outcomes is None else outcomes
    ids = sorted(outcomes["item_id"].unique())
    folder = write_evalset(root / "own", "planted", items=[item(name, label="red") for name in ids])
    models, tasks = catalog(root), {"planted": load_evalset(folder)}
    policy = route(outcomes, models, limits=tasks, policies=("per_task",))
    return Shown(outcomes, models, tasks, policy, **more)


@pytest.fixture
def dashboard(project: Path) -> Dashboard:
    return Dashboard(shown(project))


def heard(pager: Pager) -> list[dict[str, Any]]:
    """What is sent to the browser from here on."""
    told: list[dict[str, Any]] = []
    pager.part.send = lambda content, buffers=None: told.append(content["state"])
    return told


def ask(pager: Pager, **message: Any) -> None:
    pager._hear(pager.part, message, [])


def test_there_are_five_tabs(dashboard: Dashboard) -> None:
    assert dashboard.tabs.titles == ("Leaderboard", "Trade-off", "Side by side", "Where", "Export")


def test_the_leaderboard_has_a_row_a_candidate_with_what_is_chosen(dashboard: Dashboard) -> None:
    rows = dashboard.board.rows
    assert [(row["candidate"], row["zone"], row["chosen"]) for row in rows] == [
        ("big", "hosted", True),
        ("small", "hosted", False),
        ("tiny", "local", False),
    ]
    assert rows[0]["shown"]["score"] == "0.930" and rows[2]["shown"]["cost"] == "free"
    json.dumps(rows, allow_nan=False)


def test_the_leaderboard_says_what_the_table_below_it_says(project: Path) -> None:
    outcomes = table()
    outcomes["cluster"] = [str(int(name.split("-")[1]) % 4) for name in outcomes["item_id"]]
    outcomes = outcomes[(outcomes["model"] != "tiny") | outcomes["item_id"].str[-1].isin(list("0123"))]
    outcomes.attrs["sample"] = {"planted": {"n": 300, "of": 900}}
    own = shown(project, outcomes)
    board, page = Dashboard(own).board, unescape(next(content for kind, content in static(own) if kind == "html"))
    caution = "a stratified sample of 300 of 900 items; only 4 clusters: too few for intervals to be trusted"
    assert board.cautions == [{"task": "planted", "said": f"planted: {caution}"}] and caution in page
    told = {row["candidate"]: row["shown"] for row in board.rows}
    assert told["big"]["rank"] == "1–2, tied" and told["tiny"]["n"] == "only 120"
    assert told["small"]["behind"].startswith("< 0.") and told["tiny"]["behind"] == ""
    for cell in (told["big"]["rank"], told["tiny"]["n"], told["small"]["behind"]):
        assert f">{cell}" in page
    # Four clusters detect no difference; items of their own do.
    assert "detects" not in board.rows[1]["title"] and board.rows[1]["title"].endswith("; p50 0.20 s")
    alone = Dashboard(shown(project)).board.rows[1]["title"]
    assert "; detects 0." in alone and alone.endswith("; p50 0.20 s")


def test_the_choice_moves_with_the_margin_and_back(dashboard: Dashboard) -> None:
    sliders = dashboard.sliders
    assert "<b>big → small → tiny</b>" in sliders.choice.value and "decided" in sliders.choice.value
    sliders.margin.value = 0.2
    assert "<b>small → big → tiny</b>" in sliders.choice.value and "provisional" in sliders.choice.value
    chosen = [point["candidate"] for point in sliders.figure.state["points"] if point["chosen"]]
    assert chosen == ["small"]
    sliders.reset.click()
    assert sliders.margin.value == 0.05 and "<b>big → small → tiny</b>" in sliders.choice.value


def test_limits_and_prices_by_slider(dashboard: Dashboard) -> None:
    sliders = dashboard.sliders
    limit = next(value for _, value in sliders.p95.options if 0.3 < value < 0.7)
    sliders.p95.value = limit
    outside = {point["candidate"]: bool(point["outside"]) for point in sliders.figure.state["points"]}
    assert outside == {"big": True, "small": False, "tiny": False}
    sliders.reset.click()
    sliders.margin.value = 0.2
    sliders.priced.value = "small"
    sliders.price.value = 20.0
    assert "<b>big" in sliders.choice.value and "small at 20 × its price" in sliders.choice.value
    sliders.priced.value = "big"
    assert sliders.price.value == 1.0  # each price has its own place on the slider
    sliders.min_score.value = 0.95
    assert "infeasible" in sliders.choice.value


def test_what_the_browser_draws_is_json_with_no_number_that_is_none(dashboard: Dashboard) -> None:
    for part in (dashboard.sliders.figure.state, dashboard.where.part.state, dashboard.where.part.map):
        json.dumps(part, allow_nan=False)


def test_export_writes_what_is_on_the_screen_and_tells_the_difference(dashboard: Dashboard, project: Path) -> None:
    pane = dashboard.export
    pane.button.click()
    assert load_policy(project / "exports" / "routing.yaml").routes[0].status == "decided"
    assert "nothing was written there before" in pane.told.value
    dashboard.sliders.margin.value = 0.2
    pane.button.click()
    (found,) = load_policy(project / "exports" / "routing.yaml").routes
    assert (found.margin, found.margin_source, found.status) == (0.2, "interactive", "provisional")
    assert found.chain[0].model == "small" and (project / "exports" / "litellm.yaml").exists()
    assert "big → small → tiny ⇒ small → big → tiny" in pane.told.value
    assert "what the gateway cannot express" in pane.told.value and "prompt" in pane.told.value
    assert not pane.button.disabled and "champion" not in pane.told.value
    pane.champion.value = True
    pane.button.click()
    assert champion().routes == load_policy(project / "exports" / "routing.yaml").routes
    assert "champion in MLflow" in pane.told.value


def test_what_cannot_be_exported_is_told_and_nothing_is_written(dashboard: Dashboard, project: Path) -> None:
    dashboard.export.folder.value = "models.yaml"
    dashboard.export.button.click()
    assert "not exported:" in dashboard.export.told.value and "models.yaml" in dashboard.export.told.value
    assert not (project / "exports").exists() and not dashboard.export.button.disabled


@pytest.mark.parametrize("content", ["not: [a policy", "schema: 99\n", None])
def test_what_is_there_and_cannot_be_read_is_not_written_over(
    dashboard: Dashboard, project: Path, content: str | None
) -> None:
    there = project / "exports" / "routing.yaml"
    there.parent.mkdir()
    there.mkdir() if content is None else there.write_text(content)
    dashboard.export.button.click()
    told = dashboard.export.told.value
    assert "not exported:" in told and "exports/routing.yaml" in told and "It is not written over" in told
    assert list(there.parent.iterdir()) == [there]
    assert content is None or there.read_text() == content


def test_a_home_is_where_the_folder_says(
    dashboard: Dashboard, project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    dashboard.export.gateway.value, dashboard.export.folder.value = "json", "~/routes"
    dashboard.export.button.click()
    assert (home / "routes" / "routing.yaml").is_file() and not (project / "~").exists()


def test_the_prompts_are_those_of_the_eval_sets_that_are_shown(project: Path) -> None:
    mine = [{"role": "user", "content": "mine {{ inputs.thing }}"}]
    write_evalset(project, "planted", [item("1")], variants={"default": {"messages": mine}})  # of the same name only
    own = Dashboard(shown(project))
    own.export.button.click()
    assert "the prompt is in litellm.prompts/planted.default.json" in own.export.told.value
    written = json.loads((project / "exports" / "litellm.prompts" / "planted.default.json").read_text())
    assert written["evalset_digest"] == own.export._shown.tasks["planted"].digest
    assert "mine" not in json.dumps(written["messages"])


def test_what_fails_after_the_files_are_written_is_told_beside_them(
    dashboard: Dashboard, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pane = dashboard.export
    pane.gateway.value, pane.champion.value = "json", True
    pane.button.click()
    dashboard.sliders.margin.value = 0.2
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    pane.button.click()
    told = pane.told.value
    assert "not exported" not in told and "exports/json.json" in told and "exports/routing.yaml" in told
    assert "big → small → tiny ⇒ small → big → tiny" in told and "what the gateway cannot express" in told
    assert "not made the champion: MLflow at http://127.0.0.1:9: " in told and "and export again" in told
    assert load_policy(project / "exports" / "routing.yaml").routes[0].chain[0].model == "small"


@pytest.mark.parametrize("proof", [RunError("LiteLLM does not run the config."), Proof(failures=["it is wrong"])])
def test_a_config_whose_verification_fails_is_not_called_verified_and_makes_no_champion(
    dashboard: Dashboard, project: Path, monkeypatch: pytest.MonkeyPatch, proof: RunError | Proof
) -> None:
    def prove(*_: Any, **__: Any) -> Proof:
        if isinstance(proof, RunError):
            raise proof
        return proof

    monkeypatch.setattr("workbench.export.verify_file", prove)
    pane = dashboard.export
    pane.champion.value = True
    pane.button.click()
    told = pane.told.value
    assert "exports/litellm.yaml" in told and "nothing was written there before" in told and "not exported" not in told
    assert "NOT verified" in told and "verified" not in told.replace("NOT verified", "").replace("is verified", "")
    assert "LiteLLM does not run the config" in told or "FAILED: it is wrong" in told
    assert "not made the champion: the verification failed" in told
    assert "# Not verified yet." in (project / "exports" / "litellm.yaml").read_text()
    with pytest.raises(InputError):
        champion()


def test_paging_filters_and_columns(dashboard: Dashboard) -> None:
    told = heard(dashboard.pager)
    ask(dashboard.pager, kind="ready")
    assert (told[-1]["at"], told[-1]["total"], told[-1]["columns"]) == (0, 300, ["big", "small", "tiny"])
    ask(dashboard.pager, kind="go", at=1)
    ask(dashboard.pager, kind="go", at=10_000)
    assert [state["at"] for state in told[-2:]] == [1, 299]
    ask(dashboard.pager, kind="select", show="a right, b wrong", slice="difficulty=hard")
    state = told[-1]
    assert state["at"] == 0 and 0 < state["total"] < 60
    points = {answer["name"]: answer["verdict"] for answer in state["look"]["answers"]}
    assert points["big"].startswith("score 1.00") and points["small"].startswith("score 0.00")
    ask(dashboard.pager, kind="column", name="tiny", on=False)
    assert told[-1]["columns"] == ["big", "small"]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"kind": "go", "at": "x"},
        {"kind": "select", "task": "nothing"},
        {"kind": "select", "show": "everything", "__class__": "x"},
        {"kind": "column", "name": "nobody", "on": True},
        {"kind": "keep"},
        {"kind": "keep", "item": "internal-0", "key": "{"},
        {"kind": "keep", "item": "internal-0", "key": "[1]"},
        {"kind": "keep", "item": "internal-0"},
        {"kind": "select", "a": "nobody"},
        {"kind": "select", "slice": "x=y"},
    ],
)
def test_whatever_the_browser_sends_the_view_goes_on_and_keeps_nothing(
    dashboard: Dashboard, message: dict[str, Any]
) -> None:
    told = heard(dashboard.pager)
    ask(dashboard.pager, **message)
    ask(dashboard.pager, kind="go", at=2)
    assert told[-1]["at"] == 2 and told[-1]["a"] == "big" and told[-1]["slice"] == ""
    assert not (dashboard.pager.items.shown.tasks["planted"].path / "corrections.jsonl").exists()


def test_a_corrected_label_is_kept_and_names_are_hidden_meanwhile(dashboard: Dashboard) -> None:
    told, evalset = heard(dashboard.pager), dashboard.pager.items.shown.tasks["planted"]
    ask(dashboard.pager, kind="blind", on=True)
    assert sorted(answer["name"] for answer in told[-1]["look"]["answers"]) == ["answer 1", "answer 2", "answer 3"]
    shown_item = told[-1]["look"]["item"]
    ask(dashboard.pager, kind="keep", item=shown_item, note="odd", key='{"label": "green"}')
    assert "corrected key kept" in told[-1]["said"] and not told[-1]["blind"]
    again = load_evalset(evalset.path)
    assert next(each for each in again.items if each.id == shown_item).expectations == {"label": "green"}
    assert again.digest != evalset.digest


def fresh(root: Path, **more: Any) -> Dashboard:
    """A dashboard over outcomes of the eval set as it is on disk."""
    first = shown(root)
    outcomes = table().assign(evalset_digest=first.tasks["planted"].digest)
    models, tasks = catalog(root), {"planted": load_evalset(first.tasks["planted"].path)}
    return Dashboard(Shown(outcomes, models, tasks, route(outcomes, models, tasks, policies=("per_task",)), **more))


def correct(own: Dashboard) -> None:
    told = heard(own.pager)
    ask(own.pager, kind="blind", on=True)
    ask(own.pager, kind="keep", item=told[-1]["look"]["item"], key='{"label": "green"}')
    assert "corrected key kept" in told[-1]["said"]


def test_a_corrected_key_makes_the_evidence_older_in_the_dashboard_where_it_is_made(project: Path) -> None:
    own = fresh(project)
    assert own.banner.value == "" and own.board.rows[0]["mark"] == "open (decided)"
    own.sliders.margin.value = 0.2
    own.sliders.margin.value = 0.05
    correct(own)
    assert "planted: the eval set has changed since these outcomes" in own.banner.value
    assert own.board.rows[0]["mark"] == "open (provisional)"
    assert "[provisional" in own.sliders.choice.value and STALE in own.sliders.choice.value
    assert STALE in own.export.routes.value and "<td class=t>decided</td>" not in own.export.routes.value
    own.sliders.margin.value = 0.2  # a route that is decided anew says it too, once
    assert own.sliders.choice.value.count(STALE) == 1
    own.sliders.reset.click()
    own.export.button.click()
    (written,) = load_policy(project / "exports" / "routing.yaml").routes
    assert written.status == "provisional" and written.reason.count(STALE) == 1
    told = heard(own.pager)
    ask(own.pager, kind="go", at=0)
    assert json.loads(told[-1]["look"]["key"]) == {"label": "green"}


def test_what_a_saved_notebook_keeps_says_that_it_is_from_before_a_correction(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, seen = [], []
    place = SimpleNamespace(update=seen.append)
    monkeypatch.setattr("IPython.display.display", lambda *_, display_id=None: place if display_id else None)
    monkeypatch.setattr("workbench.views.notebook.in_notebook", lambda: True)
    monkeypatch.setattr("workbench.views.dashboard.Dashboard", lambda *given: made.append(Dashboard(*given)) or made[0])
    own = fresh(project).pager.items.shown
    show(own.outcomes, own.given, models=own.models, tasks=own.tasks, live=True)
    correct(made[0])
    (said,) = seen
    assert "from before a change" in said.data and "planted: the eval set has changed" in said.data


def test_a_key_that_is_corrected_elsewhere_is_seen_by_export(project: Path) -> None:
    own = fresh(project)
    add_correction(load_evalset(own.pager.items.shown.tasks["planted"].path), "internal-3", note="odd")
    own.export.button.click()
    assert load_policy(project / "exports" / "routing.yaml").routes[0].status == "provisional"
    assert own.board.rows[0]["mark"] == "open (provisional)" and "planted" in own.banner.value


def test_what_is_written_out_is_compared_with_the_files(project: Path) -> None:
    own = fresh(project)
    policy, tasks = own.sliders.moved.policy(), own.pager.items.shown.tasks
    add_correction(tasks["planted"], "internal-3", note="odd")
    write_out(policy, "json", "out", own.export._shown.models, tasks=tasks)
    assert policy.routes[0].status == "decided"
    assert load_policy(project / "out" / "routing.yaml").routes[0].status == "provisional"


def test_showing_the_same_outcomes_again_starts_from_the_corrected_key(project: Path) -> None:
    own = fresh(project)
    before = own.pager.items.shown
    add_correction(before.tasks["planted"], "internal-3", expectations={"label": "green"})
    again = Shown(before.outcomes, before.models, before.tasks, before.given)
    assert again.stale == ["planted"] and again.policy.routes[0].status == "provisional"
    assert json.loads(Items(again).look("planted", "internal-3", ["big"])["key"]) == {"label": "green"}
    assert Dashboard(again).banner.value == ""  # `show` says it above the dashboard


def test_a_table_without_an_eval_set_has_nothing_to_correct(project: Path) -> None:
    pager = Pager(Items(Shown(table(), catalog(project), {})))
    told = heard(pager)
    ask(pager, kind="ready")
    assert told[-1]["correctable"] is False
    ask(pager, kind="keep", item=told[-1]["look"]["item"], note="x")
    assert told[-1]["said"]


def test_a_press_in_the_map_opens_the_items(dashboard: Dashboard) -> None:
    told = heard(dashboard.pager)
    hear = dashboard.where._hear
    hear(None, {"kind": "cell", "task": "planted", "slice": "difficulty=hard", "candidate": "tiny"}, [])
    assert dashboard.tabs.selected_index == 2
    assert (told[-1]["a"], told[-1]["slice"], told[-1]["total"]) == ("tiny", "difficulty=hard", 60)
    broke = dashboard.where.part.state["broke"]
    hear(None, {"kind": "open", "item": broke[3]}, [])
    assert told[-1]["look"]["item"] == broke[3]
    hear(None, {"kind": "pair", "a": "tiny", "b": "big"}, [])
    assert dashboard.where.part.state["said"].startswith("tiny against big: fixed ")


def test_another_pair_sends_its_lists_and_not_the_map(dashboard: Dashboard) -> None:
    where, sent = dashboard.where, []
    where.part.observe(lambda change: sent.append(change["name"]), ["map", "state"])
    where._hear(None, {"kind": "pair", "a": "tiny", "b": "big"}, [])
    assert sent == ["state"] and "rows" not in where.part.state
    whole = where.part.map["rows"][0]
    assert (whole["task"], whole["slice"], whole["cells"][0][0], whole["cells"][0][3]) == ("planted", "", 0.93, 300)


def test_of_a_large_map_the_slices_of_one_task_are_sent_at_a_time(project: Path) -> None:
    scores = {f"m{n}": planted.right(n / 30, 60, n) for n in range(30)}
    outcomes = pd.concat([planted.outcomes(scores, task=f"task_{n}") for n in range(5)], ignore_index=True)
    outcomes["slice"] = [json.dumps({"customer": name.split("-")[1]}) for name in outcomes["item_id"]]
    where = Dashboard(Shown.of(outcomes)).where
    for task in ("task_0", "task_3"):
        where._hear(None, {"kind": "pair", "task": task}, [])
        rows = where.part.map["rows"]
        assert [row["task"] for row in rows if not row["slice"]] == [f"task_{n}" for n in range(5)]
        assert {row["task"] for row in rows if row["slice"]} == {task} and len(rows) == 5 + 60
        assert len(json.dumps(where.part.map)) < 60_000 and len(json.dumps(where.part.state)) < 3_000


def test_of_a_task_with_very_many_slices_the_largest_are_sent_and_that_is_said(project: Path) -> None:
    names = [*range(1000), *range(700, 1000)]  # the last 300 have two items each
    slices = [json.dumps({"customer": f"c{name:04}"}) for name in names]
    scores = {f"m{n}": planted.right(n / 20, len(names), n) for n in range(12)}
    where = Dashboard(Shown.of(planted.outcomes(scores, slice=slices))).where
    whole, *rows = where.part.map["rows"]
    labels = [row["slice"] for row in rows]
    assert not whole["slice"] and len(rows) == 500 and labels == sorted(labels)
    assert {f"customer=c{name:04}" for name in range(700, 1000)} <= set(labels)
    assert where.part.map["rest"] == (
        "; of slices, the 500 with most items of the 1,000 of the task that is picked below. "
        "Side by side has all in its filter"
    )
    assert len(json.dumps(where.part.map)) < 250_000


def test_no_widget_state_holds_the_text_of_an_item(project: Path) -> None:
    own = Dashboard(shown(project, table(CANARY), reveal=True))
    told = heard(own.pager)
    ask(own.pager, kind="ready")
    assert CANARY in json.dumps(told)  # it is on the screen
    stack, states = [own.widget], []
    while stack:
        widget = stack.pop()
        states.append(repr({name: value for name, value in widget.get_state().items() if name not in ("_esm", "_css")}))
        stack += list(getattr(widget, "children", ()))
    assert len(states) > 10 and not any(CANARY in state for state in states)


def test_the_page_without_a_kernel_says_the_same_and_is_escaped(project: Path) -> None:
    found = list(static(shown(project)))
    assert [kind for kind, _ in found] == ["html", "png", "html", "png", "html"]
    page = "".join(content for kind, content in found if kind == "html")
    assert SCRIPT not in page and "&lt;script&gt;" in page
    for said in ("open (decided)", "big → small → tiny", "fixed (", "broke ("):
        assert said in page


def test_the_page_of_a_single_model_shows_what_it_wrote_right_or_wrong(project: Path) -> None:
    own = shown(project, table().query("model == 'tiny'"))
    first = {score: own.outcomes.query("score == @score")["item_id"].iloc[0] for score in (0.0, 1.0)}
    page = changed_html(own)
    assert page.count("<table") == 2 and "&lt;script&gt;" in page
    for score, said in ((0.0, "score 0.00, not accepted"), (1.0, "score 1.00, accepted")):
        assert f"item {first[score]} (open)" in page and said in page


def test_a_page_never_reveals(project: Path) -> None:
    secret = shown(project, table(CANARY, sensitivity="restricted"), reveal=True)
    assert CANARY not in "".join(str(content) for _, content in static(secret))
    assert "[restricted]" in changed_html(Shown(secret.outcomes, secret.models, secret.tasks))


def test_show_displays_pages_and_pictures_and_a_dashboard_where_somebody_is(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda *things, **_: seen.extend(things))
    monkeypatch.setattr("workbench.views.notebook.in_notebook", lambda: True)
    own = shown(project)
    show(table(), own.given, models=own.models, tasks=own.tasks)
    assert {type(thing) for thing in seen} == {HTML, Image}  # nobody is there
    show(table(), own.given, models=own.models, tasks=own.tasks, live=True)
    assert sum(type(thing).__name__ == "VBox" for thing in seen) == 1


def test_a_changed_eval_set_is_told_first(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda *things, **_: seen.extend(things))
    monkeypatch.setattr("workbench.views.notebook.in_notebook", lambda: True)
    own = shown(project, table().assign(evalset_digest="older"))
    show(own.outcomes, own.given, models=own.models, tasks=own.tasks)
    assert "planted: the eval set has changed since these outcomes" in seen[0].data


def test_judging_ends_where_another_item_or_none_is_shown(dashboard: Dashboard) -> None:
    told = heard(dashboard.pager)
    for change in ({"show": "no answer"}, {"sort": "slowest"}, {"task": "planted"}):
        ask(dashboard.pager, kind="blind", on=True)
        ask(dashboard.pager, kind="select", **change)
        assert not told[-1]["blind"]
    ask(dashboard.pager, kind="select", show="no answer")
    assert told[-1]["total"] == 0 and told[-1]["look"] is None
    ask(dashboard.pager, kind="blind", on=True)
    ask(dashboard.pager, kind="keep", item=None, note="x")
    assert not told[-1]["blind"] and told[-1]["said"]
    ask(dashboard.pager, kind="select", show="all")
    ask(dashboard.pager, kind="blind", on=True)
    dashboard.pager.open("planted", "big", "tiny")
    assert not told[-1]["blind"]


def test_what_is_refused_leaves_the_judging_open(dashboard: Dashboard) -> None:
    told = heard(dashboard.pager)
    ask(dashboard.pager, kind="blind", on=True)
    shown_item = told[-1]["look"]["item"]
    for key in ("{broken", '{"label": NaN}', "[" * 100_000, '{"label": "red", "label": "green"}', '{"colour": 1}'):
        ask(dashboard.pager, kind="keep", item=shown_item, note="odd", key=key)
        assert told[-1]["blind"] and told[-1]["said"]
    assert not (dashboard.pager.items.shown.tasks["planted"].path / "corrections.jsonl").exists()


def test_judging_starts_from_the_key_as_it_is_now(dashboard: Dashboard) -> None:
    told, path = heard(dashboard.pager), dashboard.pager.items.shown.tasks["planted"].path
    ask(dashboard.pager, kind="blind", on=True)
    shown_item = told[-1]["look"]["item"]
    assert json.loads(told[-1]["look"]["now"]) == {"label": "red"}
    ask(dashboard.pager, kind="keep", item=shown_item, key='{"label": "green"}')
    ask(dashboard.pager, kind="blind", on=True)
    assert json.loads(told[-1]["look"]["now"]) == {"label": "green"}  # so that a note does not bring the old one back
    ask(dashboard.pager, kind="keep", item=shown_item, note="odd", key=told[-1]["look"]["now"])
    assert current_key(load_evalset(path), shown_item) == {"label": "green"}
    (path / "corrections.jsonl").write_text("{broken")
    ask(dashboard.pager, kind="blind", on=True)
    assert not told[-1]["blind"] and "corrections.jsonl:1" in told[-1]["said"]


def test_a_long_key_is_whole_where_it_is_corrected(project: Path) -> None:
    long = {"label": "red", "why": "x" * 30_000}
    entry = {"id": "internal-0", "inputs": {"thing": "x"}, "expectations": long}
    folder = write_evalset(project, "planted", items=[entry])
    pager = Pager(Items(Shown(table(), catalog(project), {"planted": load_evalset(folder)})))
    told = heard(pager)
    ask(pager, kind="blind", on=True)
    assert json.loads(told[-1]["look"]["now"]) == long and "more letters" in told[-1]["look"]["key"]


def test_a_key_that_is_hidden_is_not_changed(project: Path) -> None:
    pager = Pager(Items(shown(project, table(CANARY, sensitivity="restricted"))))
    told = heard(pager)
    ask(pager, kind="blind", on=True)
    assert told[-1]["look"]["now"] is None and told[-1]["look"]["hidden"]
    ask(pager, kind="keep", item=told[-1]["look"]["item"], note="x", key='{"label": "green"}')
    assert "reveal=True" in told[-1]["said"]
    ask(pager, kind="keep", item=told[-1]["look"]["item"], note="a note alone")
    assert "note kept" in told[-1]["said"]
    assert CANARY not in json.dumps(told)


def test_only_an_item_of_the_eval_set_can_be_corrected(project: Path) -> None:
    folder = write_evalset(project, "planted", items=[item("internal-1")])
    pager = Pager(Items(Shown(table(), catalog(project), {"planted": load_evalset(folder)})))
    told = heard(pager)
    ask(pager, kind="go", at=0)
    found = {told[-1]["look"]["item"]: told[-1]["correctable"]}
    ask(pager, kind="go", at=1)
    found[told[-1]["look"]["item"]] = told[-1]["correctable"]
    assert found == {"internal-1": True, "internal-0": False}


def test_judging_tells_the_browser_nothing_of_whose_answer_is_which(dashboard: Dashboard) -> None:
    rows = dashboard.pager.items.shown.table
    rows["output"] = rows["prompt"] = [f"from {name}" for name in rows["candidate"]]
    pager = Pager(Items(dashboard.pager.items.shown))
    told, orders = heard(pager), set()
    for at in range(12):
        ask(pager, kind="go", at=at)
        ask(pager, kind="blind", on=True)
        look = told[-1]["look"]
        assert look["prompt"] == "" and {each["verdict"] + each["figures"] for each in look["answers"]} == {""}
        orders.add(tuple("".join(text for text, _ in each["parts"]) for each in look["answers"]))
    assert len(orders) > 3  # the columns' own order would be one


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        {"kind": []},
        {"kind": "cell", "task": "planted", "candidate": "big", "slice": "x=y"},
        {"kind": "pair", "task": []},
        {"kind": "open", "item": {}},
    ],
)
def test_whatever_the_map_is_sent_both_views_go_on(dashboard: Dashboard, message: Any) -> None:
    told = heard(dashboard.pager)
    dashboard.where._hear(None, message, [])
    dashboard.pager._hear(None, message, [])
    ask(dashboard.pager, kind="go", at=2)
    assert told[-1]["at"] == 2 and told[-1]["slice"] == ""


def test_no_view_names_the_slices_of_restricted_items(project: Path) -> None:
    secret = table(CANARY, sensitivity="restricted").assign(slice=json.dumps({"customer": CANARY}))
    own = Dashboard(shown(project, secret))
    told = heard(own.pager)
    ask(own.pager, kind="select", slice="customer=[restricted] 1")
    ask(own.pager, kind="select", slice="nothing")
    assert told[0]["total"] == 300 and CANARY not in json.dumps(told) + json.dumps(
        own.where.part.get_state(["map", "state"])
    )


def test_a_given_policy_without_the_task_is_shown(project: Path) -> None:
    own = shown(project)
    other = Dashboard(Shown(table(task="other"), own.models, {}, own.given))
    assert "has no such route" in other.sliders.choice.value
    assert list(static(Shown(table(task="other"), own.models, {}, own.given)))


@pytest.mark.parametrize("folder", ["file", "file/below", "x" * 300, "a\0b", "~nobody-of-this-name/x"])
def test_a_folder_that_can_be_none_is_told(dashboard: Dashboard, project: Path, folder: str) -> None:
    (project / "file").write_text("x")
    dashboard.export.folder.value = folder
    dashboard.export._export()
    assert "not exported" in dashboard.export.told.value and not dashboard.export.button.disabled


def test_outside_a_notebook_it_is_printed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = shown(project, table(CANARY, sensitivity="restricted"))
    show(own.outcomes, own.given, models=own.models, tasks=own.tasks, reveal=True)
    printed = capsys.readouterr().out
    assert "planted (restricted): tiny" in printed and "rank" in printed
    assert "IPython" not in printed and CANARY not in printed
