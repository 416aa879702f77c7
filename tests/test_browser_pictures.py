"""The README's two pictures: the program that takes them does, in a real JupyterLab, one light and one dark."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def brightness(path: Path) -> float:
    """The middle one of a picture's pixels, from 0 (black) to 255: that of its background."""
    with Image.open(path) as picture:
        shades = picture.convert("L").histogram()
    half, seen = sum(shades) / 2, 0
    return next(shade for shade, count in enumerate(shades) if (seen := seen + count) >= half)


def test_the_pictures_of_the_readme_are_taken_in_light_and_dark(tmp_path: Path) -> None:
    shown = re.findall(r"!\[[^]]+\]\((docs/[\w-]+\.png)\)", (REPOSITORY / "README.md").read_text())
    assert len(shown) == 2
    command = [sys.executable, "docs/pictures.py", "--models", "smollm2-q4", "--sample", "3", "--to"]
    done = subprocess.run(
        [*command, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert {path.name for path in tmp_path.glob("*.png")} == {Path(name).name for name in shown}
    for folder in (tmp_path, REPOSITORY / "docs"):
        light, dark = (brightness(folder / Path(name).name) for name in shown)
        assert light > 200 and dark < 60
