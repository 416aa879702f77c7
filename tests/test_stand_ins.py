"""The stand-ins that exported configs are proved against: they fail as told, and see what would leave the machine."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from workbench.export.stand_ins import FAILURES, StandIns


def ask(address: str, proxy: str | None = None) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy} if proxy else {}))
    body = json.dumps({"model": "m", "messages": []}).encode()
    try:
        with opener.open(urllib.request.Request(f"{address}/chat/completions", body), timeout=10) as answer:
            return answer.status, json.loads(answer.read())["choices"][0]["message"]["content"]
    except urllib.error.HTTPError as failure:
        with failure:
            return failure.code, failure.read().decode()


def test_each_answers_with_its_name_fails_as_told_and_comes_back() -> None:
    with StandIns(["a/1:x", "a/2:y"]) as stand_ins:
        first, second = stand_ins.address("a/1:x"), stand_ins.address("a/2:y")
        assert (ask(first), ask(second)) == ((200, "a/1:x"), (200, "a/2:y"))
        for kind, (status, error) in FAILURES.items():
            stand_ins.fail({"a/1:x": kind})
            code, said = ask(first)
            assert code == status and error["message"] in said
            assert ask(second) == (200, "a/2:y")
            assert stand_ins.asked == ["a/1:x", "a/2:y"]
        stand_ins.fail({"a/1:x": "dead"})
        with pytest.raises(urllib.error.URLError, match="refused"):
            ask(first)
        assert stand_ins.asked == []
        stand_ins.fail({})
        assert ask(first) == (200, "a/1:x")


def test_what_would_leave_the_machine_is_seen_and_goes_nowhere() -> None:
    with StandIns([]) as stand_ins:
        assert ask("http://models.example/v1", proxy=stand_ins.outside_address)[0] == 403
        assert stand_ins.outside == ["http://models.example/v1/chat/completions"]
