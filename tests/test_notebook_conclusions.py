"""How a curated notebook ends is computed from what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import planted
import pytest
from conftest import COLORS, item, write_evalset

import workbench as wb
from workbench.notebooks import by_slice, chosen, paired, routed, to_mend
from workbench.routing.policy import Evidence, Link, Policy, PolicyEvidence, Route
from workbench.views.tables import leaderboard_html, leaderboard_text


def route(task: str, status: str = "decided", **evidence: Any) -> Route:
    chain = [] if status == "infeasible" else [Link(model=f"model-of-{task}")]
    values: dict[str, Any] = {"n": 40, "score": [0.8, 0.7, 0.9], "providers": ["this machine"], **evidence}
    return Route.model_validate(
        {"task": task, "class": "open", "status": status, "chain": chain, "margin": 0.05, "margin_source": "evalset"}
        | {"reason": "because", "evidence": Evidence(**values)}
    )


def policy(*routes: Route, **sample: dict[str, int]) -> Policy:
    return Policy(workbench="0", routes=list(routes), evidence=PolicyEvidence(sample=sample))


def test_a_choice_says_how_sure_it_is_and_what_is_next() -> None:
    made = policy(
        route("a", diff_to_best=[0.0, -0.1, 0.0312]),
        route("b", "provisional", items_to_decide=90),
        route("c", "provisional", items_to_decide=900, n=1),
        route("d", "infeasible"),
        b={"n": 12, "of": 160},
        c={"n": 12, "of": 108},
    )
    a, b, c, d, end = chosen(made)
    assert a == (
        "a (open): model-of-a, decided. It scores 0.80 (0.70 to 0.90) on 40 items. "
        "Another may be better by 0.03; the margin is 0.05."
    )
    assert b.endswith("About 90 items would decide, and its set has 160 in all.")
    assert "on 1 item." in c and c.endswith("About 900 items would decide, and its set has 108 in all.")
    assert d.startswith("d (open): no model, infeasible. No candidate keeps the limits")
    assert end == (
        "Of 4 routes: 1 decided, 2 provisional, 1 infeasible. Next: ask all items of b (sample=0); "
        "write more items for c; look for other candidates, or other limits, where none is feasible."
    )
    assert chosen(policy(route("a")))[-1].endswith("1 decided, 0 provisional, 0 infeasible. Nothing is left open.")


def test_the_dearest_route_is_named_and_an_unknown_cost_is_not_free() -> None:
    a = route("a", cost_per_accepted_usd=[0.002, 0.001, 0.003], latency_p95_s=1.5)
    b = route("b", cost_per_accepted_usd=[0.0, 0.0, 0.0])
    c = route("c", cost_per_accepted_usd=[None, None, None])
    lines = routed(policy(a, b, c, route("d", "infeasible")))
    assert lines[0] == (
        "a (open): goes to model-of-a on this machine; cost per accepted answer: $0.002; p95 1.50 s; decided."
    )
    assert "cost per accepted answer: free; p95 unknown" in lines[1]
    assert "cost per accepted answer: unknown" in lines[2]
    assert lines[3] == "d (open): goes nowhere, as no candidate keeps the limits."
    assert lines[4:] == ["The dearest answers are those of a (open): $0.002.", "Cost is not known for c (open)."]
    assert routed(policy(b))[-1] == "None of them costs anything."
    assert routed(policy(c))[1:] == ["Cost is not known for c (open)."]


@pytest.mark.parametrize("copies", [0, 2])
def test_what_is_worst_is_mended_first(project: Path, copies: int) -> None:
    items = [item(str(number), label=COLORS[number % 3]) for number in range(30)]
    if copies:
        items += [item("x", "write to jo@example.com"), item("y", "twice"), item("z", "twice")]
    write_evalset(project, "colors", items)
    evalset = wb.load_evalsets("evalsets")["colors"]
    report = wb.audit(evalset)
    lines = to_mend(report, evalset)
    if copies:
        first, then, *_ = lines
        assert first.startswith("colors, mend first: ") and "e-mail address" in first and "Set sensitivity" in first
        assert then.startswith("colors, then: ") and all("jo@" not in line for line in lines)
    else:
        assert lines[0] == "colors: the audit has nothing to mend."
    needed = report.power.needed[0.05]
    assert lines[-1] == (
        f"colors has {len(items)} items, which show a difference of {report.power.detectable:.3f} or more (if "
        f"candidates differ on as many items as is usual). For its margin of 0.05 that takes about {needed:,}."
    )


def test_a_set_that_detects_nothing_shows_no_difference(project: Path) -> None:
    write_evalset(project, "colors", [item(str(number), label=COLORS[number % 3]) for number in range(3)])
    evalset = wb.load_evalsets("evalsets")["colors"]
    line = to_mend(wb.audit(evalset), evalset)[-1]
    assert line.startswith("colors has 3 items, which show no difference (") and "that takes about" in line


def test_a_model_is_told_by_slice_where_it_was_asked() -> None:
    columns = {"task": "t", "sensitivity": "internal"}
    told = [("i1", 1.0, "easy"), ("i2", 0.5, "easy"), ("i3", 0.0, "hard")]
    table = pd.DataFrame(
        {**columns, "item_id": item_id, "model": model, "score": score * share, "slice": f'{{"difficulty": "{level}"}}'}
        for item_id, score, level in told
        for model, share in (("rules", 1.0), ("other", 0.1))
    )
    assert by_slice(table, "rules") == [
        "t: rules scores 0.50 on 3 items (by difficulty: 0.75 on 2 easy, 0.00 on 1 hard)."
    ]
    assert by_slice(table, "rules", "length") == ["t: rules scores 0.50 on 3 items."]
    assert by_slice(table, "gone") == []
    closed = by_slice(table.assign(sensitivity="restricted"), "rules")  # a conclusion is stored with its notebook
    assert closed == [
        "t: rules scores 0.50 on 3 items (by difficulty: 0.75 on 2 [restricted] 1, 0.00 on 1 [restricted] 2)."
    ]


def test_a_pair_says_of_either_how_much_worse_it_may_be() -> None:
    table = planted.outcomes({"a": planted.right(0.6, 40), "b": planted.right(0.5, 40, 1)}, task="colors")
    (line,), (turned,) = (paired(wb.compare(table, *names), *names) for names in (("a", "b"), ("b", "a")))
    row = wb.compare(table, "a", "b").iloc[0]
    assert row["verdict"] == "cannot tell" and row["lo"] < 0 < row["hi"]
    assert line.startswith("colors: cannot tell at a margin of 0.05 (a − b: ") and " 40 items: fixed " in line
    assert f"; a may be worse by {-row['lo']:.2f}, b by {row['hi']:.2f}; about " in line
    assert f"; b may be worse by {row['hi']:.2f}, a by {-row['lo']:.2f}; about " in turned


def test_one_item_is_one_item() -> None:
    table = planted.outcomes({"a": [1.0], "b": [0.0]}, task="colors")
    told = wb.route(table, planted.models(a="local", b="local"), {}).describe()
    assert "on 1 item," in told and "1 item is too few to decide on" in told
    assert "colors: 1 item<" in leaderboard_html(wb.leaderboard(table))
    one = planted.outcomes({"a": [1.0, 0.0], "b": [0.0, 0.0]}, task="colors").assign(cluster="same")
    assert "2 items; only 1 cluster:" in leaderboard_text(wb.leaderboard(one))
    assert by_slice(table, "a") == ["colors: a scores 1.00 on 1 item."]
    assert ", 1 item: fixed 1, broke 0)" in paired(wb.compare(table, "a", "b"), "a", "b")[0]
