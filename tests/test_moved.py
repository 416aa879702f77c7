"""Limits and prices moved by hand: the choice follows, and what follows is provisional and says so."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import planted
import pytest

from workbench.catalog import Machine, Models
from workbench.errors import InputError
from workbench.evalset import Limits
from workbench.routing import Policy, route
from workbench.routing.changes import changes
from workbench.routing.moved import THIS_MACHINE, Moved

SCORES = {"big": planted.right(0.93, 300), "small": planted.right(0.86, 300, seed=1), "tiny": planted.right(0.5, 300)}
COSTS = {"big": 0.002, "small": 0.0002, "tiny": 0.0}
LATENCY = {"big": 0.8, "small": 0.2, "tiny": 0.001}


def table(**more: Any) -> pd.DataFrame:
    return planted.outcomes(SCORES, COSTS, LATENCY, **more)


def made(limits: Limits | None = None, outcomes: pd.DataFrame | None = None, **zones: str) -> tuple[Moved, Policy]:
    outcomes = table() if outcomes is None else outcomes
    catalog = planted.models(**(zones or {"big": "hosted", "small": "hosted", "tiny": "local"}))
    own = {"planted": limits or Limits(margin=0.05)}
    policy = route(outcomes, catalog, own, policies=("per_task",))
    return Moved(outcomes, catalog, own, policy), policy


def first(moved: Moved) -> str:
    return moved.route("planted", "open").chain[0].candidate


def test_nothing_moved_is_the_policy_itself() -> None:
    moved, policy = made()
    assert moved.route("planted", "open") is policy.route("planted", "open")
    assert moved.policy() == policy and changes(policy, moved.policy()) == []


def test_a_wider_margin_lets_the_cheaper_one_in_provisionally_and_says_so() -> None:
    moved, policy = made()
    assert first(moved) == "big"
    moved.move("planted", margin=0.2)
    found = moved.route("planted", "open")
    assert found.chain[0].candidate == "small"
    assert (found.status, found.margin, found.margin_source) == ("provisional", 0.2, "interactive")
    assert "margin 0.2 (the eval set's is 0.05)" in found.reason
    (line,) = changes(policy, moved.policy())
    assert line.startswith(
        "planted (open): big → small → tiny ⇒ small → big → tiny; decided ⇒ provisional; margin 0.05"
    )


def test_what_is_chosen_is_what_the_policy_would_choose_at_those_limits() -> None:
    for margin in (0.01, 0.05, 0.08, 0.1, 0.12, 0.15, 0.3):
        moved, _ = made()
        moved.move("planted", margin=margin)
        _, policy = made(Limits(margin=margin))
        assert first(moved) == policy.route("planted", "open").chain[0].candidate


def test_a_minimum_and_a_time_limit_leave_candidates_out() -> None:
    moved, _ = made()
    moved.move("planted", p95_latency_s=0.5)
    assert first(moved) == "small"
    assert moved.route("planted", "open").margin_source == "evalset"  # the margin is still the eval set's
    assert moved.route("planted", "open").status == "provisional"
    moved.move("planted", min_score=0.9)
    assert moved.route("planted", "open").status == "infeasible"
    assert moved.standing("planted", "open").set_index("candidate").loc["small", "outside"].startswith("score 0.86")


def test_a_price_turns_the_choice_and_scales_what_is_shown() -> None:
    moved, _ = made(Limits(margin=0.2))
    assert first(moved) == "small"
    before = moved.standing("planted", "open").set_index("candidate").loc["small", "cost"]
    moved.reprice("small", 20)
    assert first(moved) == "big"
    assert moved.standing("planted", "open").set_index("candidate").loc["small", "cost"] == pytest.approx(20 * before)
    assert "small at 20 × its price" in moved.route("planted", "open").reason


def test_engines_of_this_machine_have_one_price() -> None:
    entries: Any = {"small": {"engine": "llamacpp", "model": "x.gguf"}, "tiny": {"engine": "rules"}}
    from workbench.catalog import Model

    catalog = Models(
        {name: Model.model_validate({"id": name, **entry}) for name, entry in entries.items()},
        Machine(usd_per_hour=0.4),
    )
    outcomes = table()
    outcomes = outcomes[outcomes["model"] != "big"]
    moved = Moved(outcomes, catalog, {}, route(outcomes, catalog, policies=("per_task",)))
    assert moved.priced == {THIS_MACHINE: "$0.4 an hour"}
    moved.reprice(THIS_MACHINE, 3)
    assert moved.by_hand("planted", "open") == ["this machine at 3 × its price"]


def test_back_to_where_it_was_is_nothing_moved() -> None:
    moved, policy = made()
    moved.move("planted", margin=0.2, min_score=0.3)
    moved.move("planted", margin=0.05, min_score=0.0)
    moved.reprice("small", 2)
    moved.reprice("small", 1)
    assert moved.policy() == policy
    moved.move("planted", margin=0.2)
    moved.reset()
    assert moved.policy() == policy


def test_the_frontier_holds_whom_nobody_beats_for_less() -> None:
    moved, _ = made()
    shown = moved.standing("planted", "open").set_index("candidate")
    assert shown["frontier"].to_dict() == {"big": True, "small": True, "tiny": True}
    moved.reprice("small", 20)
    assert moved.standing("planted", "open").set_index("candidate")["frontier"].to_dict() == {
        "big": True,
        "small": False,
        "tiny": True,
    }


def test_what_has_no_price_cannot_be_moved() -> None:
    moved, _ = made()
    for name, factor in (("tiny", 2), ("nobody", 2), ("big", 0), ("big", math.inf)):
        with pytest.raises(InputError, match="by a factor above 0"):
            moved.reprice(name, factor)
    with pytest.raises(InputError, match="no limits"):
        moved.move("planted", margin=2)


def test_a_restricted_route_stays_away_from_hosted_models_whatever_is_moved() -> None:
    moved, _ = made(outcomes=table(sensitivity="restricted"))
    moved.move("planted", margin=0.3, min_score=0.1)
    moved.reprice("big", 0.05)
    assert {link.model for link in moved.route("planted", "restricted").chain} == {"tiny"}


def test_changes_tell_new_and_gone_routes() -> None:
    _, one = made()
    other_table = table(task="other")
    other = route(other_table, planted.models(big="hosted", small="hosted", tiny="local"), policies=("per_task",))
    assert [line.split("[")[0] for line in changes(one, other)] == [
        "planted (open): gone: was big → small → tiny ",
        "other (open): new: big → small → tiny ",
    ]


def both() -> pd.DataFrame:
    return pd.concat([table(), table(task="other")])


def test_a_task_that_the_given_policy_lacks_is_decided_here_and_exported_once_it_was_moved() -> None:
    _, policy = made()
    moved = Moved(both(), planted.models(big="hosted", small="hosted", tiny="local"), {}, policy)
    found = moved.route("other", "open")
    assert found.status == "provisional" and found.reason.endswith("The policy that was given has no such route.")
    assert [each.task for each in moved.policy().routes] == ["planted"]
    moved.move("other", margin=0.2)
    assert [each.task for each in moved.policy().routes] == ["planted", "other"]


def test_a_route_of_a_task_that_has_no_outcomes_stays_whatever_is_moved() -> None:
    catalog = planted.models(big="hosted", small="hosted", tiny="local")
    policy = route(both(), catalog, policies=("per_task",))
    moved = Moved(table(), catalog, {}, policy)
    moved.reprice("big", 5)
    assert moved.policy().route("other", "open") == policy.route("other", "open")
    with pytest.raises(InputError, match="no route third"):
        moved.route("third", "open")


def test_a_price_moves_only_tasks_whose_candidates_it_is_of() -> None:
    outcomes = pd.concat([table(), table(task="other").query("model != 'small'")])
    catalog = planted.models(big="hosted", small="hosted", tiny="local")
    policy = route(outcomes, catalog, policies=("per_task",))
    moved = Moved(outcomes, catalog, {}, policy)
    moved.reprice("small", 2)
    assert moved.by_hand("planted", "open") and not moved.by_hand("other", "open")
    assert moved.route("other", "open") == policy.route("other", "open")


def test_a_moved_route_says_on_whom_it_hangs() -> None:
    outcomes = table().query("model != 'tiny'")
    moved, policy = made(outcomes=outcomes, big="hosted", small="hosted")
    moved.move("planted", margin=0.2)
    found = moved.policy().route("planted", "open")
    assert found.evidence.providers == policy.route("planted", "open").evidence.providers == ["models.example"]
    assert "Its whole chain hangs on one provider: models.example." in found.reason


def test_the_price_of_a_model_that_a_class_never_asked_moves_nothing_there() -> None:
    outcomes = pd.concat([table(), table(sensitivity="restricted").query("model != 'big'")])
    moved, policy = made(Limits(margin=0.05, min_score=0.2), outcomes, big="hosted", small="local", tiny="local")
    moved.reprice("big", 0.05)
    assert moved.route("planted", "restricted") == policy.route("planted", "restricted")
    assert moved.by_hand("planted", "open") == ["big at 0.05 × its price"]


def test_moved_prices_are_named_as_the_source_of_the_prices_and_in_the_differences() -> None:
    moved, policy = made()
    moved.reprice("big", 0.05)
    prices = moved.policy().evidence.prices
    assert prices["source"] == f"moved by hand: big × 0.05; else {policy.evidence.prices['source']}"
    assert prices["as_of"] == policy.evidence.prices["as_of"]
    lines = changes(policy, moved.policy())
    assert "per accepted answer $0.0022 ⇒ $0.00011" in lines[0]
    assert lines[1].startswith("prices, source: genai-prices") and "⇒ moved by hand: big × 0.05" in lines[1]
    moved.reset()
    assert changes(policy, moved.policy()) == []


def test_a_moved_route_keeps_what_was_seen_of_other_kinds_and_says_when() -> None:
    outcomes, catalog = table(), planted.models(big="hosted", small="hosted", tiny="local")
    own = {"planted": Limits(margin=0.05)}
    policy = route(outcomes, catalog, own)
    before = policy.route("planted", "open").evidence.policies
    assert before
    moved = Moved(outcomes, catalog, own, policy)
    moved.move("planted", margin=0.2)
    after = moved.route("planted", "open").evidence.policies
    assert after == {name: f"{why} (before anything was moved by hand)" for name, why in before.items()}
