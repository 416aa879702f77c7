"""The gate, the zones and the redaction: what may go where, and what is withheld."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import item, write_evalset, write_models
from recording_server import RecordingServer

import workbench as wb
from workbench.errors import InputError, Withheld
from workbench.privacy import (
    Destination,
    Payload,
    Released,
    check_address,
    class_of,
    gate,
    highest,
    redact,
    redact_outcomes,
    sensitivity_of,
)
from workbench.prompts import render
from workbench.runner import Run, make_plan

CANARY = "CANARY-7f3a"
UNLABELED: list[Any] = [None, "", "Public", "secret", 0, True, float("nan"), ["public"]]


def hosted(server: RecordingServer, **more: Any) -> dict[str, Any]:
    price = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}
    return {
        "engine": "openai",
        "model": "m",
        "zone": "hosted",
        "base_url": server.base_url,
        "price": price,
        "capabilities": ["stream_usage"],
        **more,
    }


def ask() -> Run:
    return wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False)


@pytest.mark.parametrize("zone", ["local", "private", "hosted", "unheard-of"])
@pytest.mark.parametrize("sensitivity", ["public", "internal", "restricted"])
def test_the_gate_withholds_restricted_text_from_everything_but_local_and_private(zone: Any, sensitivity: Any) -> None:
    payload, destination = Payload({"a": 1}, (sensitivity,)), Destination("m", zone)
    if sensitivity == "restricted" and zone not in ("local", "private"):
        with pytest.raises(Withheld, match="restricted text does not go"):
            gate(payload, destination)
    else:
        released = gate(payload, destination)
        assert (released.body, released.destination, released.sensitivity) == ({"a": 1}, destination, sensitivity)


@pytest.mark.parametrize("label", UNLABELED)
def test_what_is_not_labeled_is_restricted(label: Any) -> None:
    assert (sensitivity_of(label), class_of(label)) == ("restricted", "restricted")
    with pytest.raises(Withheld):
        gate(Payload({}, (label,)), Destination("m", "hosted"))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["public"], "public"),
        (["public", "internal"], "internal"),
        (["internal", "public"], "internal"),
        (["public", "restricted", "internal"], "restricted"),
        (["public", None], "restricted"),
        ([], "restricted"),
    ],
)
def test_a_payload_is_as_sensitive_as_the_most_sensitive_part_of_it(labels: list[Any], expected: str) -> None:
    assert highest(labels) == expected == Payload({}, tuple(labels)).sensitivity


def test_only_the_gate_makes_a_released() -> None:
    for token in (None, object(), True):
        with pytest.raises(TypeError, match="only workbench"):
            Released(Payload({}, ("public",)), Destination("m", "local"), token)
    with pytest.raises(TypeError):
        Released(Payload({}, ("public",)), Destination("m", "local"))  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("zone", "address", "inside"),
    [
        ("local", "127.0.0.1", True),
        ("local", "127.8.8.8", True),
        ("local", "::1", True),
        ("local", "::ffff:127.0.0.1", True),
        ("local", "10.0.0.1", False),
        ("local", "0.0.0.0", False),
        ("private", "10.0.0.1", True),
        ("private", "172.16.3.4", True),
        ("private", "192.168.1.1", True),
        ("private", "fd00::7", True),
        ("private", "fe80::1%eth0", False),
        ("private", "169.254.169.254", False),
        ("private", "172.32.0.1", False),
        ("private", "1.1.1.1", False),
        ("private", "::ffff:1.1.1.1", False),
        ("private", "::", False),
        ("hosted", "1.1.1.1", True),
    ],
)
def test_zones_are_checked_by_address(zone: Any, address: str, inside: bool) -> None:
    if inside:
        check_address(zone, "host", address)
    else:
        with pytest.raises(InputError, match=f"zone {zone}: host is"):
            check_address(zone, "host", address)


def test_a_listed_host_counts_as_private_but_never_as_local() -> None:
    check_address("private", "model.example", "1.1.1.1", ["model.example"])
    for zone, host in (("private", "other.example"), ("local", "model.example")):
        with pytest.raises(InputError):
            check_address(zone, host, "1.1.1.1", ["model.example"])


@pytest.mark.parametrize("label", ["restricted", None, "unknown"])
def test_restricted_text_is_replaced_by_its_length(label: Any) -> None:
    assert redact("Jane Doe", label) == "[restricted] 8 characters"
    assert redact(None, label) is None


@pytest.mark.parametrize("label", ["public", "internal"])
def test_open_text_stays(label: str) -> None:
    assert redact("Jane Doe", label) == "Jane Doe"


def test_a_table_is_redacted_row_by_row_and_without_labels_as_a_whole() -> None:
    table = pd.DataFrame({"output": ["a", "b", None], "prompt": ["p", "q", "r"], "error": [None, None, "e"]})
    labeled = table.assign(sensitivity=["internal", "restricted", None])
    found = redact_outcomes(labeled)
    assert found["output"].tolist()[:2] == ["a", "[restricted] 1 characters"]
    assert found["prompt"].tolist() == ["p", *["[restricted] 1 characters"] * 2]
    assert found["error"].tolist()[2] == "[restricted] 1 characters"
    assert labeled["output"].tolist()[1] == "b"  # the table that was given is as it was
    assert set(redact_outcomes(table)["prompt"]) == {"[restricted] 1 characters"}


def test_a_hosted_model_never_sees_a_restricted_item(project: Path, server: RecordingServer) -> None:
    items = [
        item("open"),
        item("closed", f"{CANARY} 1", sensitivity="restricted"),
        item("closed-2", f"{CANARY} 2", sensitivity="restricted"),
    ]
    write_evalset(project, "colors", items)
    write_evalset(project, "unlabeled", [item("u", CANARY)], sensitivity="restricted")
    write_models(project, far=hosted(server), near=hosted(server, zone="local", model="near"))
    run = ask()
    seen = [request.text for request in server.requests if request.body["model"] == "m"]
    assert len(seen) == 1 and not any(CANARY in text for text in seen)
    assert run.plan.withheld == {("colors", "far"): 2, ("unlabeled", "far"): 1}
    assert "withheld: 2 restricted items of colors do not go to far (hosted)" in run.plan.describe()
    by_model = run.outcomes.groupby("model")["item_id"].apply(sorted).to_dict()
    assert by_model == {"far": ["open"], "near": ["closed", "closed-2", "open", "u"]}
    assert sum(CANARY in request.text for request in server.requests) == 3


def test_an_eval_set_without_a_label_is_withheld_as_a_whole(project: Path, server: RecordingServer) -> None:
    folder = write_evalset(project, "colors", [item("1", CANARY)])
    lines = (folder / "evalset.yaml").read_text().splitlines()
    lines.remove("sensitivity: internal")
    (folder / "evalset.yaml").write_text("\n".join(lines))
    write_models(project, far=hosted(server), near=hosted(server, zone="local"))
    plan = make_plan(wb.load_evalsets(), wb.load_models())
    assert plan.withheld == {("colors", "far"): 1}
    assert {name: len(questions) for name, questions in plan.questions.items()} == {"far": 0, "near": 1}


def test_a_run_in_which_everything_is_withheld_says_so(project: Path, server: RecordingServer) -> None:
    write_evalset(project, "colors", [item("1", CANARY)], sensitivity="restricted")
    write_models(project, far=hosted(server))
    with pytest.raises(InputError, match="withheld: 1 restricted items of colors do not go to far"):
        ask()
    assert server.requests == []


def few_shot(project: Path, **train: Any) -> None:
    variants = {
        "default": {"messages": [{"role": "user", "content": "{{ inputs.thing }}"}]},
        "few_shot": {"messages": [{"role": "user", "content": "{{ inputs.thing }}"}], "examples": 1},
    }
    write_evalset(project, "colors", [item("1")], variants=variants, train=[item("t", CANARY, **train)])


def test_an_open_item_with_a_restricted_example_is_withheld(project: Path, server: RecordingServer) -> None:
    few_shot(project, sensitivity="restricted")
    write_models(project, far=hosted(server))
    task = wb.load_evalsets()["colors"]
    assert render(task, "few_shot", task.items[0]).sources == ("restricted", "internal")
    run = ask()
    assert run.outcomes["variant"].tolist() == ["default"] and run.plan.withheld == {("colors", "far"): 1}
    assert len(server.requests) == 1 and CANARY not in server.requests[0].text


def test_an_open_example_goes_with_an_open_item(project: Path, server: RecordingServer) -> None:
    few_shot(project)
    write_models(project, far=hosted(server))
    assert sorted(ask().outcomes["variant"]) == ["default", "few_shot"]
    assert sum(CANARY in request.text for request in server.requests) == 1


def test_a_restricted_example_does_not_show_in_the_row_of_an_open_item(project: Path, server: RecordingServer) -> None:
    few_shot(project, sensitivity="restricted")
    write_models(project, near=hosted(server, zone="local"))
    server.answer = lambda body: body["messages"][0]["content"]  # the model repeats the example
    table = ask().outcomes.set_index("variant")
    assert table.loc["few_shot", "sensitivity"] == "internal"
    assert CANARY not in redact_outcomes(table).to_csv()
    assert "thing 1" in table.loc["default", "prompt"]


def test_an_answer_in_the_journal_is_not_used_once_the_item_is_restricted(
    project: Path, server: RecordingServer
) -> None:
    write_evalset(project, "colors", [item("1"), item("2")])
    write_models(project, far=hosted(server))
    assert sorted(ask().outcomes["item_id"]) == ["1", "2"]
    write_evalset(project, "colors", [item("1"), item("2", sensitivity="restricted")])
    again = ask()
    assert again.outcomes["item_id"].tolist() == ["1"] and again.plan.withheld == {("colors", "far"): 1}
    assert again.asked == 0 and len(server.requests) == 2
    with sqlite3.connect(project / ".workbench" / "journal.sqlite") as journal:
        assert journal.execute("select count(*) from answers").fetchone() == (2,)


def test_a_local_model_that_becomes_hosted_loses_its_restricted_answers(project: Path, server: RecordingServer) -> None:
    write_evalset(project, "colors", [item("1"), item("2", sensitivity="restricted")])
    write_models(project, m=hosted(server, zone="local"))
    assert len(ask().outcomes) == 2
    write_models(project, m=hosted(server))
    again = ask()
    assert again.outcomes["item_id"].tolist() == ["1"] and again.asked == 0
