"""The locks: hashed throughout, and no heavy package in the core environment."""

from __future__ import annotations

import re

import pytest
from conftest import REPOSITORY

LOCKS = sorted((REPOSITORY / "locks").glob("*.txt"))


def requirements(name: str) -> dict[str, str]:
    """The pinned packages of a lock, with the lines of each."""
    text = (REPOSITORY / "locks" / name).read_text()
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text)
    return {re.split(r"[=\s]", block, maxsplit=1)[0]: block for block in blocks if re.match(r"[A-Za-z0-9]", block)}


@pytest.mark.parametrize("name", [lock.name for lock in LOCKS])
def test_every_requirement_is_pinned_with_a_hash_and_names_no_machine(name: str) -> None:
    found = requirements(name)
    assert found
    for package, block in found.items():
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==", block), package
        assert "--hash=sha256:" in block, package
    assert not re.search(r"https?://|file:|--(index|find-links|extra)", (REPOSITORY / "locks" / name).read_text())


def test_the_core_environment_has_nothing_heavy() -> None:
    heavy = {"torch", "vllm", "litellm", "transformers", "ray", "triton"}
    assert not heavy & set(requirements("core.txt"))
    assert not heavy & set(requirements("dev.txt"))
