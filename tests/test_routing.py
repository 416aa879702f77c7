"""The choice on planted tables, the policy file, and privacy as a graph."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import planted
import pytest
import yaml
from conftest import item, write_evalset

from workbench.errors import InputError
from workbench.evalset import Limits, load_evalset
from workbench.formats import export_evalset
from workbench.notebooks import conclusions
from workbench.routing import Policy, Route, check_closure, load_policy, route

LIMITS = {"planted": Limits(min_score=0.5, margin=0.1)}


def only(policy: Policy, sensitivity_class: str = "open") -> Route:
    found = [route for route in policy.routes if route.class_ == sensitivity_class]
    assert len(found) == 1
    return found[0]


def test_the_cheapest_of_the_equally_good_is_decided() -> None:
    same = planted.right(0.9, 400)
    table = planted.outcomes(
        {"dear": same, "cheap": same, "bad": planted.right(0.55, 400)}, {"dear": 0.01, "cheap": 0.001, "bad": 0.0001}
    )
    chosen = only(route(table, planted.models(dear="local", cheap="local", bad="local"), LIMITS))
    assert chosen.status == "decided"
    assert [link.model for link in chosen.chain] == ["cheap", "dear", "bad"]
    assert "costs more" in chosen.evidence.rejected["dear"]
    assert "may be worse" in chosen.evidence.rejected["bad"]


def test_limits_under_a_misspelt_name_are_refused(project: Path) -> None:
    table = planted.outcomes({"a": planted.right(0.9, 50)})
    models = planted.models(a="local")
    said = r"no task 'plantde', and there is no such eval set\. Is 'planted' meant\? Without limits are: planted\."
    with pytest.raises(InputError, match=said):
        route(table, models, {"plantde": LIMITS["planted"]})
    colors = load_evalset(write_evalset(project, "colors", [item("1")]))
    with pytest.raises(InputError, match="'zz' is given the eval set colors"):
        route(table, models, {"zz": colors})
    assert only(route(table, models, {**LIMITS, "of_another_run": Limits(min_score=0.9)})).status == "decided"
    assert only(route(table, models, {"of_another_part": Limits(min_score=0.9)})).margin_source == "default"
    write_evalset(project, "planted_de", [item("1")])  # a task of its own that was not asked
    assert only(route(table, models, {"planted_de": LIMITS["planted"]})).margin_source == "default"
    with pytest.raises(InputError, match="Is 'planted' meant"):
        route(table, models, {"planted_fr": LIMITS["planted"]})
    assert only(route(table, models, {"colors": colors})).margin_source == "default"  # a set that was not asked


def test_a_policy_goes_where_the_path_is_meant(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = route(planted.outcomes({"a": planted.right(0.9, 50)}), planted.models(a="local"), LIMITS)
    (project / "notebooks").mkdir()
    (project / "models.yaml").write_text("schema: 1\nmodels: {}\n")
    monkeypatch.chdir(project / "notebooks")
    assert policy.save("exports/routing.yaml") == project / "exports" / "routing.yaml"
    assert policy.save("routing2.yaml") == project / "notebooks" / "routing2.yaml"
    assert policy.save("deploy/routing.yaml") == project / "deploy" / "routing.yaml"
    export = policy.export("json", "exports/routing.json", planted.models(a="local"))
    assert export.path == project / "exports" / "routing.json"
    assert policy.save("routing.yaml") == project / "notebooks" / "routing.yaml"
    (project / "notebooks" / "out").mkdir()
    assert policy.save("out/routing.yaml") == project / "notebooks" / "out" / "routing.yaml"
    evalset = load_evalset(write_evalset(project, "colors", [item("1")]))
    assert export_evalset(evalset, "table", "out/colors.csv").path == project / "notebooks" / "out" / "colors.csv"


def test_a_dear_candidate_is_chosen_where_it_is_really_better() -> None:
    table = planted.outcomes(
        {"dear": planted.right(0.95, 300), "cheap": planted.right(0.6, 300)}, {"dear": 0.01, "cheap": 0.001}
    )
    chosen = only(route(table, planted.models(dear="local", cheap="local"), LIMITS))
    assert (chosen.status, chosen.chain[0].model) == ("decided", "dear")


def test_what_the_evidence_does_not_separate_is_provisional_with_the_items_it_takes() -> None:
    table = planted.outcomes({"a": planted.right(0.75, 24), "b": planted.right(0.7, 24, 1)}, {"a": 0.01, "b": 0.001})
    chosen = only(route(table, planted.models(a="local", b="local"), LIMITS))
    assert (chosen.status, chosen.chain[0].model) == ("provisional", "a")
    assert chosen.evidence.items_to_decide is not None and chosen.evidence.items_to_decide > 24
    assert str(chosen.evidence.items_to_decide) in chosen.reason


def test_nothing_inside_the_limits_is_infeasible_and_says_why() -> None:
    table = planted.outcomes({"a": planted.right(0.2, 50)})
    chosen = only(route(table, planted.models(a="local"), LIMITS))
    assert (chosen.status, chosen.chain) == ("infeasible", [])
    assert "score 0.20 is under the minimum of 0.5" in chosen.reason


def test_a_score_that_may_be_under_the_minimum_does_not_decide() -> None:
    table = planted.outcomes({"a": planted.right(0.54, 50)})
    chosen = only(route(table, planted.models(a="local"), LIMITS))
    assert chosen.status == "provisional"
    assert "may be under the minimum" in chosen.reason


@pytest.mark.parametrize(("n", "status"), [(58, "provisional"), (80, "decided")])
def test_a_latency_limit_is_met_when_its_bound_is(n: int, status: str) -> None:
    table = planted.outcomes({"a": planted.right(0.9, n)}, latency_s=0.3)
    limits = {"planted": Limits(min_score=0.5, p95_latency_s=0.5)}
    assert only(route(table, planted.models(a="local"), limits)).status == status


def test_a_slow_candidate_is_outside_the_limits() -> None:
    table = planted.outcomes(
        {"slow": planted.right(0.9, 80), "fast": planted.right(0.8, 80, 1)}, latency_s={"slow": 2.0, "fast": 0.2}
    )
    limits = {"planted": Limits(min_score=0.5, p95_latency_s=1)}
    chosen = only(route(table, planted.models(slow="local", fast="local"), limits))
    assert chosen.chain[0].model == "fast"
    assert "over the limit" in chosen.evidence.rejected["slow"]


def test_each_class_is_decided_on_its_own_items() -> None:
    labels = ["internal"] * 200 + ["restricted"] * 200
    table = planted.outcomes({"a": [1.0] * 200 + [0.0] * 200, "b": [0.0] * 200 + [1.0] * 200}, sensitivity=labels)
    policy = route(table, planted.models(a="local", b="local"), LIMITS)
    assert only(policy, "open").chain[0].model == "a"
    assert only(policy, "restricted").chain[0].model == "b"
    assert policy.route("planted").class_ == "restricted"  # a request that states no class


@pytest.mark.parametrize("hidden", [{}, {"sensitivity": None}])
def test_a_hosted_or_unlisted_model_never_gets_a_restricted_route(hidden: dict[str, None]) -> None:
    table = planted.outcomes({"hosted": [1.0] * 100, "unlisted": [1.0] * 100, "here": planted.right(0.7, 100)})
    table["sensitivity"] = "restricted"
    if hidden:
        table = table.drop(columns="sensitivity")  # no label is restricted, not open
    chosen = only(route(table, planted.models(hosted="hosted", here="local"), LIMITS), "restricted")
    assert [link.model for link in chosen.chain] == ["here"]
    assert chosen.evidence.rejected["hosted"].startswith("hosted")
    assert chosen.evidence.rejected["unlisted"].startswith("not in models.yaml")


def test_a_candidate_that_was_not_asked_enough_is_not_eligible() -> None:
    table = planted.outcomes({"a": planted.right(0.7, 100), "b": [1.0] * 100})
    table = table[~((table["model"] == "b") & (table.index % 100 >= 85))]
    chosen = only(route(table, planted.models(a="local", b="local"), LIMITS))
    assert chosen.chain[0].model == "a"
    assert "asked only 85%" in chosen.evidence.rejected["b"]


def test_an_unknown_cost_is_not_the_cheapest_and_keeps_a_choice_from_being_decided() -> None:
    same = planted.right(0.9, 400)
    table = planted.outcomes({"known": same, "unknown": same}, {"known": 0.01, "unknown": None})
    chosen = only(route(table, planted.models(known="local", unknown="local"), LIMITS))
    assert chosen.status == "provisional"
    assert "costs are unknown" in chosen.reason


def test_another_variant_of_the_same_model_is_no_fallback() -> None:
    same = planted.right(0.9, 100)
    table = planted.outcomes({"a": same, "a#few_shot": same, "b": same})
    chosen = only(route(table, planted.models(a="local", b="local"), LIMITS))
    assert sorted(link.model for link in chosen.chain) == ["a", "b"]


def test_a_margin_that_the_eval_set_does_not_set_is_the_default_and_said_to_be() -> None:
    table = planted.outcomes({"a": planted.right(0.9, 100)})
    chosen = only(route(table, planted.models(a="local")))
    assert (chosen.margin, chosen.margin_source) == (0.05, "default")
    assert only(route(table, planted.models(a="local"), LIMITS)).margin_source == "evalset"


def test_errors_count_against_a_candidate() -> None:
    table = planted.outcomes({"a": [1.0] * 40 + [math.nan] * 60, "b": planted.right(0.8, 100)})
    chosen = only(route(table, planted.models(a="local", b="local"), LIMITS))
    assert chosen.chain[0].model == "b"


def test_the_wrong_candidate_is_decided_at_most_as_often_as_said() -> None:
    """400 planted tables in which a candidate is worse than the best by just the margin: at most 5 % call it good."""
    import numpy as np

    rng = np.random.default_rng(6)
    wrong = 0
    for _ in range(400):
        best = (rng.random(120) < 0.8).astype(float)
        worse = (rng.random(120) < 0.7).astype(float)
        table = planted.outcomes({"best": list(best), "worse": list(worse)}, {"best": 0.01, "worse": 0.001})
        chosen = only(route(table, planted.models(best="local", worse="local"), LIMITS, policies=("per_task",)))
        wrong += chosen.status == "decided" and chosen.chain[0].model == "worse"
    assert wrong / 400 <= 0.08  # 5 % and three standard errors


def test_a_policy_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    table = planted.outcomes({"a#few_shot": planted.right(0.9, 100), "b": planted.right(0.2, 100)})
    policy = route(table, planted.models(a="local", b="local"), LIMITS)
    path = policy.save(tmp_path / "routing.yaml")
    assert load_policy(path) == policy
    data = yaml.safe_load(path.read_text())
    assert data["routes"][0]["on"] == ["error", "format"]
    assert data["routes"][0]["chain"][0] == {"model": "a", "variant": "few_shot"}
    assert data["evidence"]["outcomes_sha256"]


def test_a_policy_with_an_unknown_key_is_refused_by_file_and_line(tmp_path: Path) -> None:
    policy = route(planted.outcomes({"a": [1.0]}), planted.models(a="local"))
    path = policy.save(tmp_path / "routing.yaml")
    path.write_text(path.read_text().replace("objective: cost", "objectiv: cost"))
    with pytest.raises(InputError, match=r"routing\.yaml:\d+: field 'objectiv': unknown key"):
        load_policy(path)


@pytest.mark.parametrize(
    ("chain", "message"), [(["far"], "never reach a hosted model"), (["gone"], "never reach a hosted model")]
)
def test_a_restricted_route_to_a_hosted_model_is_refused(chain: list[str], message: str) -> None:
    made = Route.model_validate(
        {
            "task": "t",
            "class": "restricted",
            "status": "decided",
            "chain": [{"model": name} for name in chain],
            "margin": 0.05,
            "margin_source": "evalset",
            "reason": "planted",
        }
    )
    with pytest.raises(InputError, match=message):
        check_closure(Policy(workbench="0", routes=[made]), planted.models(far="hosted"))


def test_a_hosted_model_may_win_an_open_route_but_no_restricted_one() -> None:
    labels = ["public"] * 100 + ["internal"] * 100 + ["restricted"] * 200
    good, poor = planted.right(0.9, 400), planted.right(0.6, 400)
    table = planted.outcomes({"far": good, "near": poor}, {"far": 0.01, "near": 0.001}, sensitivity=labels)
    policy = route(table, planted.models(far="hosted", near="local"), LIMITS)
    assert only(policy, "open").chain[0].model == "far"
    assert [link.model for link in only(policy, "restricted").chain] == ["near"]


@pytest.mark.parametrize("scores", [[math.nan], [math.nan] * 20, [0.3] * 40])
def test_a_candidate_without_an_accepted_answer_is_never_chosen(scores: list[float]) -> None:
    chosen = only(route(planted.outcomes({"a": scores}), planted.models(a="local")))
    assert chosen.status == "infeasible"


def test_few_items_without_disagreement_decide_nothing() -> None:
    """32 equal answers do not show that a candidate is within 0.05: it may be worse on 8 % of items."""
    same = planted.right(0.9, 32)
    table = planted.outcomes({"dear": same, "cheap": same}, {"dear": 0.01, "cheap": 0.001})
    limits = {"planted": Limits(min_score=0.1, margin=0.05)}
    assert only(route(table, planted.models(dear="local", cheap="local"), limits)).status == "provisional"


@pytest.mark.parametrize("scores", [[0.9, 0.95], [1.0] * 5, [1.0, 1.0, 1.0, 1 - 1e-16]])
def test_a_handful_of_high_scores_is_not_surely_over_the_minimum(scores: list[float]) -> None:
    table = planted.outcomes({"a": scores})
    chosen = only(route(table, planted.models(a="local"), {"planted": Limits(min_score=0.7)}))
    assert chosen.status == "provisional"


def test_a_lone_candidate_without_a_minimum_is_held_against_nothing() -> None:
    table = planted.outcomes({"a": planted.right(0.9, 100)})
    models = planted.models(a="local")
    policy = route(table, models)
    made = only(policy)
    assert (made.status, made.alone, made.evidence.items_to_decide) == ("provisional", True, None)
    assert "the only candidate that was asked" in made.reason and "limits.min_score" in made.reason
    assert "Next: ask another candidate for planted, or set its min_score." in conclusions.chosen(policy)[-1]
    held = only(route(table, models, {"planted": Limits(min_score=0.5)}))
    assert (held.status, held.alone) == ("decided", False)


def test_a_latency_that_is_not_known_is_not_fast() -> None:
    table = planted.outcomes({"a": planted.right(0.9, 200)}, latency_s=0.1)
    table.loc[59:, "latency_s"] = math.nan
    chosen = only(route(table, planted.models(a="local"), {"planted": Limits(p95_latency_s=1)}))
    assert chosen.status == "infeasible"
    assert "latency is unknown" in chosen.reason


def test_repeats_are_no_further_items() -> None:
    once = planted.outcomes({"a": planted.right(0.9, 20)}, latency_s=0.1)
    thrice = pd.concat([once.assign(repeat=repeat) for repeat in range(3)], ignore_index=True)
    limits = {"planted": Limits(min_score=0.5, p95_latency_s=1)}
    chosen = only(route(thrice, planted.models(a="local"), limits))
    assert (chosen.status, chosen.evidence.n) == ("provisional", 20)


def test_an_item_is_as_sensitive_as_any_of_its_rows_says() -> None:
    a = planted.outcomes({"a": planted.right(0.9, 60)}, sensitivity="internal")
    b = planted.outcomes({"b": planted.right(0.9, 60)}, sensitivity="internal").drop(columns="sensitivity")
    policy = route(pd.concat([a, b], ignore_index=True), planted.models(a="local", b="local"), LIMITS)
    assert [route.class_ for route in policy.routes] == ["restricted"]
    assert len(policy.routes[0].chain) == 2


def test_a_model_cannot_take_another_ones_identity_by_its_name() -> None:
    table = planted.outcomes({"rules": [1.0] * 50})
    table["model"] = "rules#hosted"
    with pytest.raises(InputError, match="has a '#'"):
        route(table, planted.models(rules="local"))


def test_a_table_without_test_rows_gives_no_policy() -> None:
    table = planted.outcomes({"a": [1.0]}).assign(split="train")
    with pytest.raises(InputError, match="no test rows"):
        route(table, planted.models(a="local"))


@pytest.mark.parametrize(("n", "status"), [(2, "provisional"), (19, "provisional"), (40, "decided")])
def test_one_candidate_alone_inside_the_limits_is_decided_by_enough_items_only(n: int, status: str) -> None:
    scores = {"good": [1.0] * n, "bad": [0.0] * n}  # the bad one is outside: none of its answers was accepted
    found = only(route(planted.outcomes(scores), planted.models(good="local", bad="local"), limits=None))
    assert found.status == status and [link.model for link in found.chain] == ["good"]
    if status == "provisional":
        assert "too few to decide" in found.reason and (found.evidence.items_to_decide or 0) >= 20
