"""The import is quick, and `__all__` is what a user gets."""

from __future__ import annotations

import subprocess
import sys

import pytest

import workbench

HEAVY = ["mlflow", "pandas", "numpy", "torch", "litellm", "papermill", "matplotlib", "openai", "scipy", "aiohttp"]


def test_import_loads_no_heavy_package() -> None:
    code = f"import sys, workbench; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_is_exactly_what_resolves() -> None:
    assert sorted(workbench.__all__) == sorted(workbench._HOMES)
    assert set(workbench.__all__) <= set(dir(workbench))


@pytest.mark.parametrize("name", workbench.__all__)
def test_every_public_name_resolves_and_has_a_docstring(name: str) -> None:
    thing = getattr(workbench, name)
    assert callable(thing)
    assert thing.__doc__ and thing.__doc__.strip()


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = workbench.nothing
