"""Cascades, rules first and per-request routes on planted tables with a known right answer."""

from __future__ import annotations

import json
import math
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import planted
import pytest

from workbench.errors import InputError
from workbench.evalset import Limits
from workbench.routing import Policy, Route, check_closure, frontier, load_policy, load_router, route
from workbench.routing.cell import Cell, cell_of, folds
from workbench.routing.measures import routing_curve
from workbench.routing.per_request import nested, prompts_of
from workbench.scores import prepare

LIMITS = {"planted": Limits(min_score=0.5, margin=0.05)}
COST = {"cheap": 0.001, "strong": 0.01}
MODELS = planted.models(cheap="hosted", strong="hosted")
N = 400


def flags(share: float, seed: int, n: int = N) -> np.ndarray:
    return np.array(planted.right(share, n, seed))


def with_column(table: pd.DataFrame, model: str, name: str, values: Any) -> pd.DataFrame:
    table = table.copy()
    if name not in table:
        table[name] = np.nan
    table[name] = table[name].astype(object)
    table.loc[table["model"] == model, name] = list(values)
    return table


def only(policy: Policy) -> Route:
    assert len(policy.routes) == 1
    return policy.routes[0]


def cascade_table() -> pd.DataFrame:
    """The cheap model's answers are malformed just where they are wrong; the strong one is right on 95 %."""
    cheap = flags(0.7, 1)
    table = planted.outcomes({"cheap": list(cheap), "strong": list(flags(0.95, 2))}, COST)
    return with_column(table, "cheap", "format_ok", cheap == 1)


def test_a_cascade_pays_where_its_verifier_knows(tmp_path: Path) -> None:
    policy = route(cascade_table(), MODELS, LIMITS)
    chosen = only(policy)
    assert (chosen.policy, chosen.status) == ("cascade", "decided")
    assert [link.model for link in chosen.chain] == ["cheap", "strong"]
    verifier = chosen.verifier
    assert verifier is not None and (verifier.name, verifier.repeats, verifier.model) == ("format", 1, None)
    assert verifier.true_acceptance is not None and verifier.true_acceptance[0] == 1
    assert verifier.false_acceptance is not None and verifier.false_acceptance[0] == 0
    assert verifier.false_acceptance[2] < 0.05
    assert verifier.escalated == pytest.approx(0.3)
    # Both answers are paid where it goes on: 0.001 + 0.3 × 0.01, over the share that is accepted.
    cost = chosen.evidence.cost_per_accepted_usd
    assert cost is not None and chosen.evidence.accepted is not None
    assert cost[0] == pytest.approx(0.004 / chosen.evidence.accepted, rel=1e-3)
    assert chosen.evidence.gain_over_mix is not None and chosen.evidence.gain_over_mix[1] > 0
    assert load_policy(policy.save(tmp_path / "routing.yaml")) == policy


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_a_cascade_whose_verifier_is_noise_is_refused(seed: int) -> None:
    table = planted.outcomes({"cheap": list(flags(0.7, 1)), "strong": list(flags(0.95, 2))}, COST)
    noise = np.random.default_rng(seed).random(N)
    table = with_column(table, "cheap", "metric.noise", noise).astype({"metric.noise": float})
    chosen = only(route(table, MODELS, LIMITS, verifiers=["metric.noise"]))
    assert (chosen.policy, chosen.chain[0].model) == ("per_task", "strong")
    told = " ".join(chosen.evidence.policies.values())
    assert "did not pay" in told or "no threshold" in told


def test_agreement_of_repeats_is_paid_for_with_every_repeat() -> None:
    """Right answers agree three times of three; wrong ones differ. Three cheap calls and the strong one are paid."""
    cheap = flags(0.8, 1)
    once = planted.outcomes({"cheap": list(cheap)}, COST)
    repeats = [
        once.assign(repeat=k, output=["right" if ok else f"wrong {k}" for ok in cheap], accepted=cheap == 1)
        for k in range(3)
    ]
    table = pd.concat([*repeats, planted.outcomes({"strong": list(flags(0.95, 2))}, COST)], ignore_index=True)
    chosen = only(route(table, MODELS, LIMITS))
    assert chosen.policy == "cascade" and chosen.verifier is not None
    assert (chosen.verifier.name, chosen.verifier.repeats) == ("agreement", 3)
    cost, accepted = chosen.evidence.cost_per_accepted_usd, chosen.evidence.accepted
    assert cost is not None and accepted is not None
    assert cost[0] == pytest.approx((0.003 + 0.2 * 0.01) / accepted, rel=1e-3)


def test_nothing_is_taken_for_better_where_nothing_separates() -> None:
    same = list(flags(0.9, 1))
    table = planted.outcomes({"cheap": same, "strong": same}, COST)
    chosen = only(route(table, MODELS, LIMITS))
    assert (chosen.policy, chosen.chain[0].model) == ("per_task", "cheap")


def test_what_no_policy_reaches_stays_infeasible() -> None:
    table = with_column(cascade_table(), "strong", "score", [0.0] * N)
    chosen = only(route(table, MODELS, {"planted": Limits(min_score=0.99)}))
    assert (chosen.status, chosen.chain) == ("infeasible", [])


def rules_table(right: float, answered: float = 0.5) -> pd.DataFrame:
    """Rules that answer some items and abstain on the rest, and a model that is right on 90 %."""
    answers = flags(answered, 3) == 1
    scores = np.where(answers, flags(right, 4), np.nan)
    table = planted.outcomes({"rules": list(scores), "model": list(flags(0.9, 5))}, {"rules": 0.0, "model": 0.01})
    table = with_column(table, "rules", "error_class", [None if each else "no_match" for each in answers])
    return with_column(table, "rules", "format_ok", answers)


def test_rules_go_first_where_their_answers_are_right() -> None:
    models = planted.models(rules="local", model="hosted")
    chosen = only(route(rules_table(0.99), models, LIMITS))
    assert (chosen.policy, chosen.status) == ("rules_first", "decided")
    assert [link.model for link in chosen.chain] == ["rules", "model"]
    assert chosen.evidence.providers == ["this machine", "models.example"]


def test_rules_do_not_go_first_where_they_are_often_wrong() -> None:
    models = planted.models(rules="local", model="hosted")
    chosen = only(route(rules_table(0.8), models, LIMITS))
    assert chosen.policy == "per_task"
    assert "90% are wanted" in chosen.evidence.policies["rules first"]


WORDS = ["order", "invoice", "parcel", "refund", "account", "login", "price", "date", "color", "size"]


def test_rules_that_always_abstain_were_asked_all_the_same() -> None:
    models = planted.models(rules="local", model="hosted")
    (assessed,) = frontier(rules_table(0.99, answered=0.0), models, LIMITS).assessed
    reasons = {option.name: option.reason for option in assessed.options}
    assert reasons["rules first"] == "rules: gave no answer at all."


def prompts(n: int, seed: int = 0) -> list[str]:
    """Each of its own, of some common words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 6)) + f" n{index}x{index * 7919 % 1009}" for index in range(n)]


def request_table(signal: bool) -> pd.DataFrame:
    """With a signal the cheap model is wrong just where the prompt has the word 'proof'."""
    hard = flags(0.4, 7) == 1
    texts = [f"{text} {'proof' if each else 'story'}" for text, each in zip(prompts(N), hard, strict=True)]
    cheap = np.where(hard, 0.0, 1.0) if signal else flags(0.6, 8)
    table = planted.outcomes({"cheap": list(cheap), "strong": list(flags(0.97, 9))}, COST)
    return table.assign(prompt=texts * 2)


def test_a_router_is_offered_where_the_prompt_tells(tmp_path: Path) -> None:
    policy = route(request_table(True), MODELS, LIMITS)
    chosen = only(policy)
    assert (chosen.policy, chosen.status) == ("per_request", "decided")
    assert chosen.router is not None
    assert [link.model for link in chosen.router.candidates] == ["cheap", "strong"]
    path = policy.save(tmp_path / "routing.yaml")
    again = load_policy(path)
    assert again == policy
    router = again.router("planted", "open")
    assert router.choose("a refund for order 17, with proof") == "strong"
    assert router.choose("a refund for order 17, with story") == "cheap"
    chances = router.chances(["order parcel proof", "order parcel story"])
    assert chances[0, 0] < 0.3 and chances[1, 0] > 0.7 and (chances[:, 1] > 0.8).all()
    text = (tmp_path / chosen.router.file).read_text()
    assert "proof" not in text and "parcel" not in text  # hashed: restricted text does not leave by a vocabulary
    path.with_name(chosen.router.file).write_text(text.replace("per_request/1", "per_request/1 "))
    with pytest.raises(InputError, match=r"not the file that routing\.yaml names"):
        again.router("planted", "open")


def test_embeddings_are_an_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stand-in for sentence-transformers whose vector is all that tells: words that no two prompts share."""
    table = request_table(True)
    table["prompt"] = [f"{text.split()[-1]}{index % N}" for index, text in enumerate(table["prompt"])]
    with pytest.raises(InputError, match="Install it"):
        route(table, MODELS, LIMITS, embeddings="planted")

    class Encoder:
        def __init__(self, model: str, **options: Any) -> None:
            assert (model, options["trust_remote_code"], options["local_files_only"]) == ("planted", False, True)

        def encode(self, texts: list[str], normalize_embeddings: bool) -> np.ndarray:
            assert normalize_embeddings
            return np.array([[1.0, 0.0] if text.startswith("proof") else [0.0, 1.0] for text in texts])

    package = types.ModuleType("sentence_transformers")
    package.SentenceTransformer = Encoder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    policy = route(table, MODELS, LIMITS, embeddings="planted")
    assert only(policy).policy == "per_request"
    router = load_policy(policy.save(tmp_path / "routing.yaml")).router("planted", "open")
    assert [router.choose("proof of mine"), router.choose("story of mine")] == ["strong", "cheap"]


def test_no_router_is_offered_where_the_prompt_tells_nothing() -> None:
    chosen = only(route(request_table(False), MODELS, LIMITS))
    assert chosen.policy == "per_task"
    told = next(why for name, why in chosen.evidence.policies.items() if name.startswith("per request"))
    assert "did not pay" in told or "no way to weigh" in told


def cell(table: pd.DataFrame) -> Cell:
    return cell_of(prepare(table), "planted", "open", MODELS)


def test_copies_of_a_prompt_do_not_inflate_a_router() -> None:
    """Outcomes are noise, but the same for each copy: with copies in other folds a router looks clever."""
    base = prompts(60)
    texts = [text for text in base for _ in range(6)]
    gain = np.repeat(np.random.default_rng(3).integers(0, 2, 60), 6).astype(float)
    table = planted.outcomes({"cheap": list(1 - gain), "strong": [1.0] * 360}, COST).assign(prompt=texts * 2)
    found = cell(table)
    order = [int(item.rpartition("-")[2]) for item in found.items]
    assert len(np.unique(found.groups)) <= 60
    assert len({(order[i] // 6, found.groups[i]) for i in range(360)}) == 60
    assert found.texts is not None
    features, targets = prompts_of(found.texts), found.mean.accepted

    def apgr(groups: np.ndarray) -> float:
        chances, _, _ = nested(features, targets, groups)
        return routing_curve(chances[:, 1] - chances[:, 0], targets[:, 0], targets[:, 1]).apgr

    assert apgr(np.arange(360)) > 0.7  # the leak that there would be
    assert apgr(found.groups) < 0.6


def test_folds_keep_groups_whole_and_nearly_the_same_prompts_are_one() -> None:
    long = "Please tell me when the parcel with order number 4711 will arrive at the address in Berlin"
    table = planted.outcomes({"cheap": [1.0] * 4, "strong": [1.0] * 4}, COST)
    table["prompt"] = [long, f"{long}!", "Something else entirely", "And a fourth thing to ask"] * 2
    table["cluster"] = [None, "a", "a", None] * 2
    groups = cell(table).groups
    assert len({groups[0], groups[1], groups[2]}) == 1 and groups[3] != groups[0]
    many = np.repeat(np.arange(50), 3)
    dealt = folds(many, 5, 0)
    assert all(len(set(dealt[many == each])) == 1 for each in range(50)) and len(set(dealt)) == 5


def test_rows_twice_and_failed_answers_change_nothing() -> None:
    table = cascade_table()
    failed = table["model"].eq("cheap") & ~table["format_ok"].astype(bool)
    table.loc[failed, "score"] = math.nan  # no answer at all scores 0 and is escalated, as a malformed one is
    twice = pd.concat([table, table.iloc[:100]], ignore_index=True)
    assert only(route(twice, MODELS, LIMITS)).reason == only(route(cascade_table(), MODELS, LIMITS)).reason


def test_items_that_the_first_was_never_asked_are_left_out() -> None:
    table = cascade_table()
    table = table[~(table["model"].eq("cheap") & (table.index % 20 == 0))]
    chosen = only(route(table, MODELS, LIMITS))
    assert (chosen.policy, chosen.evidence.n) == ("cascade", 380)
    # Also where no single candidate is inside the limits, and there is only the mix to hold it against.
    strict = only(route(table, MODELS, {"planted": Limits(min_score=0.96, margin=0.05)}))
    assert (strict.policy, strict.status) == ("cascade", "decided")
    assert strict.evidence.diff_to_best is None


def test_an_unknown_cost_is_no_reason_for_a_cascade() -> None:
    table = with_column(cascade_table(), "cheap", "cost_usd", [None] * N).astype({"cost_usd": float})
    chosen = only(route(table, MODELS, LIMITS))
    assert chosen.policy == "per_task"
    assert "known cost" in chosen.evidence.policies["cascade"]


def restricted(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(sensitivity="restricted")


@pytest.mark.parametrize("table", [cascade_table(), request_table(True)], ids=["cascade", "per_request"])
def test_no_policy_takes_a_restricted_request_to_a_hosted_model(table: pd.DataFrame) -> None:
    chosen = only(route(restricted(table), planted.models(cheap="private", strong="hosted"), LIMITS))
    assert chosen.reaches == ["cheap"]
    inside = only(route(restricted(table), planted.models(cheap="private", strong="private"), LIMITS))
    assert inside.policy in ("cascade", "per_request")
    assert set(inside.reaches) == {"cheap", "strong"}


@pytest.mark.parametrize(
    "given",
    [["metric.judge"], {"metric.judge": "far"}, {"metric.judge": "gone"}],
    ids=["unnamed", "hosted", "unlisted"],
)
def test_a_judge_that_is_not_known_to_be_inside_verifies_no_restricted_answer(given: Any) -> None:
    cheap = flags(0.7, 1)
    table = restricted(planted.outcomes({"cheap": list(cheap), "strong": list(flags(0.95, 2))}, COST))
    table = with_column(table, "cheap", "metric.judge", cheap).astype({"metric.judge": float})
    models = planted.models(cheap="private", strong="private", near="private", far="hosted")
    assert only(route(table, models, LIMITS, verifiers=given)).policy == "per_task"
    chosen = only(route(table, models, LIMITS, verifiers={"metric.judge": "near"}))
    assert (chosen.policy, chosen.reaches) == ("cascade", ["cheap", "strong", "near"])


BASE = {"task": "t", "class": "restricted", "status": "decided", "margin": 0.05, "margin_source": "evalset"}
BASE |= {"reason": "planted", "chain": [{"model": "near"}]}
VERIFIER = {"threshold": 1, "escalated": 0.1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chain": [{"model": "near"}, {"model": "far"}], "policy": "rules_first"}, "'far' is hosted"),
        ({"policy": "cascade", "verifier": {"name": "metric.judge", "model": "far", **VERIFIER}}, "'far' is hosted"),
        ({"policy": "cascade", "verifier": {"name": "metric.judge", **VERIFIER}}, "may be a judge"),
        (
            {"policy": "per_request", "router": {"file": "r.json", "sha256": "0", "candidates": [{"model": "far"}]}},
            "'far' is hosted",
        ),
    ],
    ids=["rules_first", "judge", "unnamed judge", "router"],
)
def test_the_closure_covers_every_way_that_a_request_may_go(changes: dict[str, Any], message: str) -> None:
    made = Route.model_validate(BASE | changes)
    with pytest.raises(InputError, match=message):
        check_closure(Policy(workbench="0", routes=[made]), planted.models(near="private", far="hosted"))


def test_a_router_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    for text in ("", "[]", json.dumps({"format": "workbench.per_request/1"}), json.dumps({"format": "pickle"})):
        path.write_text(text)
        with pytest.raises(InputError, match="is not a router's file"):
            load_router(path)
    with pytest.raises(InputError, match="there is no such file"):
        load_router(tmp_path / "gone.json")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"policies": ["oracle"]}, "there is no policy 'oracle'"),
        ({"verifiers": ["vibes"]}, "there is no verifier 'vibes'"),
        ({"verifiers": ["metric.gone"]}, "no column 'metric.gone'"),
        ({"objective": "fame"}, "there is no objective 'fame'"),
        ({"objective": {"beauty": 1}}, "'beauty' is not a weight"),
        ({"objective": {"cost": 1}}, "needs what an answer is worth"),
    ],
)
def test_what_is_not_there_is_one_clear_error(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        route(cascade_table(), MODELS, LIMITS, **asked)


def test_the_report_shows_all_that_was_compared() -> None:
    report = frontier(cascade_table(), MODELS, LIMITS)
    table = report.table.set_index("name")
    assert report.policy.routes[0].policy == "cascade"
    assert list(table.index[table["chosen"]]) == ["cheap → strong by format"]
    assert table.loc["strong", "offered"] and not table.loc["strong", "chosen"]
    assert table.loc["cheap → strong by format", "on_hull"] and table.loc["cheap", "on_hull"]
    hull = table[table["on_hull"]].sort_values("cost_usd")
    assert hull["score"].is_monotonic_increasing
    measures = report.measures.iloc[0]
    # The choice for the task is 'strong' in every fold.
    assert measures["choice_elsewhere"] == pytest.approx(0.95)
    assert measures["choice_elsewhere_usd"] == pytest.approx(0.01 / 0.95)
    assert measures["oracle"] >= measures["best_single"] and measures["aiq"] > measures["aiq_singles"]
    told = report.describe()
    assert (
        "not strong: of single models it is the choice, score 0.95, at $0.011 per accepted answer; cascade" in told
        and "not per request: the outcome table has no prompt" in told
    )
    html = report._repr_html_()
    assert "data:image/png" in html and "cheap → strong by format" in html


def test_nothing_that_is_shown_or_saved_holds_a_restricted_prompt(tmp_path: Path) -> None:
    table = restricted(request_table(True))
    table["prompt"] = [f"CANARY{index % N} {text}" for index, text in enumerate(table["prompt"])]
    table["slice"] = '{"who": "CANARY"}'
    report = frontier(table, planted.models(cheap="private", strong="private"), LIMITS, with_slices=True)
    assert report.policy.routes[0].policy == "per_request"
    folder = tmp_path / "exports"
    report.policy.save(folder / "routing.yaml")
    shown = [repr(report), repr(report.assessed), report._repr_html_(), report.table.to_csv(), report.describe()]
    assert not any("CANARY" in text for text in [*shown, *(path.read_text() for path in folder.iterdir())])
    assert len(list(folder.iterdir())) == 2


def test_names_in_the_report_are_escaped() -> None:
    table = planted.outcomes({"<b>x": [1.0] * 60})
    assert "<b>x" not in frontier(table, planted.models(a="local"), LIMITS)._repr_html_()
