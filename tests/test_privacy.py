"""The gate, the zones and the redaction: what may go where, and what is withheld."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import environment, item, write_evalset, write_models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording_server import Recorded, RecordingServer

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
    assert found["output"].tolist()[:2] == ["a", "[restricted] 1 character"]
    assert found["prompt"].tolist() == ["p", *["[restricted] 1 character"] * 2]
    assert found["error"].tolist()[2] == "[restricted] 1 character"
    assert labeled["output"].tolist()[1] == "b"  # the table that was given is as it was
    assert set(redact_outcomes(table)["prompt"]) == {"[restricted] 1 character"}


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
    with pytest.raises(InputError, match="withheld: 1 restricted item of colors does not go to far"):
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
    assert run.outcomes["variant"].tolist() == ["default"] and run.plan.closed == {("colors", "far#few_shot")}
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


# Whatever happens in a run.

LABELS = st.sampled_from(["public", "internal", "restricted", None])
SET_LABELS = st.sampled_from(["public", "internal", "restricted", None])
FAULTS = st.lists(
    st.sampled_from(["ok", "429", "500", "503", "400", "reset", "short_stream", "truncated_json", "refusal", "hangup"]),
    max_size=12,
)
ZONES = st.sampled_from(["hosted", "local", "private"])


def labeled_item(prefix: str, number: int, label: str | None, of_set: str | None) -> tuple[dict[str, Any], bool]:
    """An item whose text says whether it is restricted, judged apart from the code that is tested."""
    restricted = (label or of_set or "restricted") == "restricted"
    thing = f"{CANARY if restricted else 'open'} {prefix}{number}"
    return item(f"{prefix}{number}", thing, **({"sensitivity": label} if label else {})), restricted


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    of_set=SET_LABELS,
    labels=st.lists(LABELS, min_size=1, max_size=8),
    examples=st.lists(LABELS, min_size=1, max_size=3),
    shots=st.integers(1, 2),
    zones=st.lists(st.tuples(ZONES, ZONES), min_size=1, max_size=3),
    faults=FAULTS,
    format_retries=st.integers(0, 2),
    repeats=st.integers(1, 2),
    wrong=st.integers(0, 5),
    interrupt_at=st.none() | st.integers(1, 6),
)
def test_whatever_happens_a_hosted_model_sees_no_restricted_item_and_no_restricted_example(
    server: RecordingServer,
    of_set: str | None,
    labels: list[str | None],
    examples: list[str | None],
    shots: int,
    zones: list[tuple[str, str]],
    faults: list[str],
    format_retries: int,
    repeats: int,
    wrong: int,
    interrupt_at: int | None,
) -> None:
    root = Path(tempfile.mkdtemp())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_ROOT", str(root))
        patch.chdir(root)
        patch.setattr("workbench.runner.ask._BACKOFF_S", 0.001)
        patch.setattr("workbench.runner.ask.GRACE_S", 0.2)
        patch.setattr("workbench.flow._PAUSE_S", 0.001)
        message = [{"role": "user", "content": "{{ inputs.thing }}"}]
        folder = write_evalset(
            root,
            "colors",
            [labeled_item("i", n, label, of_set)[0] for n, label in enumerate(labels)],
            train=[labeled_item("t", n, label, of_set)[0] for n, label in enumerate(examples)],
            variants={
                "default": {"messages": message},
                "few_shot": {"messages": message, "examples": min(shots, len(examples))},
            },
            output={"labels": ["red", "green", "blue"], "format_retries": format_retries},
        )
        spec = yaml.safe_load((folder / "evalset.yaml").read_text())
        del spec["sensitivity"]
        (folder / "evalset.yaml").write_text(yaml.safe_dump(spec | ({"sensitivity": of_set} if of_set else {})))

        server.requests.clear()
        server.faults = list(faults)
        server.message = lambda body: f"you said {json.dumps(body['messages'])}"  # which a retry must not pass on
        left = [wrong]

        def answer(body: dict[str, Any]) -> str:
            left[0] -= 1
            return "red" if left[0] < 0 else str(body["messages"][-1]["content"])

        server.answer = answer
        pressed = Counter[str]()

        def press(request: Recorded) -> None:
            if interrupt_at is not None and len(server.requests) == interrupt_at - 1 and not pressed["it"]:
                pressed["it"] += 1
                os.kill(os.getpid(), signal.SIGINT)  # the run waits for this very request

        server.on_request = press
        for first, second in zones:
            mark = len(server.requests)
            write_models(
                root, a=hosted(server, zone=first, model="a"), b=hosted(server, zone=second, model="b", concurrency=1)
            )
            try:
                wb.run(wb.load_evalsets(), wb.load_models(), repeats=repeats, track=False, progress=False)
            except InputError as failure:
                assert "there is nothing to ask" in str(failure)
            far = {name for name, zone in (("a", first), ("b", second)) if zone == "hosted"}
            for request in server.requests[mark:]:
                told = request.body["model"] in far and CANARY in request.text
                assert not told, f"{request.body['model']} is hosted and saw {request.text}"
                SEEN[(request.body["model"] in far, CANARY in request.text)] += 1
        server.on_request = lambda request: None
    shutil.rmtree(root)


SEEN: Counter[tuple[bool, bool]] = Counter()


def test_and_hosted_models_were_asked_and_restricted_items_too() -> None:
    """Or the test above would have shown nothing."""
    assert SEEN[True, False] > 50 and SEEN[False, True] > 50 and SEEN[True, True] == 0


AUDITED = """
import json, sys
seen = []
def hook(event, arguments):
    if event == "socket.connect" or event.startswith("socket.send"):
        seen.append([event, repr(arguments[1])])
    elif event == "socket.getaddrinfo":
        seen.append([event, str(arguments[0])])
sys.addaudithook(hook)
import asyncio, uvloop
uvloop.new_event_loop = asyncio.new_event_loop  # uvloop's own connections are made in C, where no hook is called
from workbench.cli import main
status = main(["run"])
print("SEEN", json.dumps([status, seen]))
"""


def test_a_run_connects_to_its_endpoints_and_to_nothing_else(project: Path, server: RecordingServer) -> None:
    items = [item(str(n), sensitivity=("public", "restricted")[n % 2]) for n in range(12)]
    write_evalset(project, "colors", items, rules={"rules": [{"pattern": "thing", "answer": "red"}]})
    server.faults = ["429", "reset", "500"]
    with RecordingServer() as other:
        entries = {"far": hosted(server), "near": hosted(other, zone="local"), "rules": {"engine": "rules"}}
        write_models(project, **entries)
        done = subprocess.run(
            [sys.executable, "-c", AUDITED],
            cwd=project,
            env=environment(project),
            capture_output=True,
            text=True,
            timeout=90,
        )
        ours = {int(url.split(":")[-1].split("/")[0]) for url in (server.base_url, other.base_url)}
    line = next(line for line in done.stdout.splitlines() if line.startswith("SEEN "))
    status, seen = json.loads(line.removeprefix("SEEN "))
    assert status == 0 and "MLflow, run" in done.stdout  # tracked
    connected = {where for event, where in seen if event == "socket.connect"}
    assert connected == {repr(("127.0.0.1", port)) for port in ours}
    assert {where for event, where in seen if event == "socket.getaddrinfo"} <= {"127.0.0.1"}
    assert [each for each in seen if each[0].startswith("socket.send")] == []


SHIM = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
static void note(const struct sockaddr *to) {
    char text[INET6_ADDRSTRLEN] = "?", line[128];
    int port = 0, file = open(getenv("SHIM_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (to && to->sa_family == AF_INET) {
        inet_ntop(AF_INET, &((struct sockaddr_in *)to)->sin_addr, text, sizeof text);
        port = ntohs(((struct sockaddr_in *)to)->sin_port);
    } else if (to && to->sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)to)->sin6_addr, text, sizeof text);
        port = ntohs(((struct sockaddr_in6 *)to)->sin6_port);
    } else if (!to || to->sa_family == AF_UNIX || to->sa_family == AF_NETLINK) { close(file); return; }
    if (write(file, line, snprintf(line, sizeof line, "%s %d\n", text, port)) < 0) abort();
    close(file);
}
int connect(int fd, const struct sockaddr *to, socklen_t size) {
    note(to);
    return ((int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect"))(fd, to, size);
}
ssize_t sendto(int fd, const void *data, size_t n, int flags, const struct sockaddr *to, socklen_t size) {
    note(to);
    return ((ssize_t (*)(int, const void *, size_t, int, const struct sockaddr *, socklen_t))
            dlsym(RTLD_NEXT, "sendto"))(fd, data, n, flags, to, size);
}
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler; the test above sees the same without uvloop")
def test_nor_does_it_beneath_python(project: Path, server: RecordingServer, tmp_path: Path) -> None:
    (tmp_path / "shim.c").write_text(SHIM)
    library, log = tmp_path / "shim.so", tmp_path / "connections"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "shim.c"), "-ldl"], check=True)
    write_evalset(project, "colors", [item(str(n)) for n in range(12)])
    write_models(project, far=hosted(server))
    done = subprocess.run(
        [sys.executable, "-m", "workbench.cli", "run"],
        cwd=project,
        env={**environment(project), "LD_PRELOAD": str(library), "SHIM_LOG": str(log)},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0 and len(server.requests) == 12, done.stderr
    port = server.base_url.split(":")[-1].split("/")[0]
    assert set(log.read_text().splitlines()) == {f"127.0.0.1 {port}"}
