"""`make lab` on a machine that has other kernels of the same name, and nothing of ours on PATH."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import free_port
from conftest import REPOSITORY, environment, eventually
from test_demo import _MADE

pytestmark = pytest.mark.slow


class Lab:
    """A JupyterLab that `make lab` has started."""

    def __init__(self, address: str, runtime: Path) -> None:
        self.address, self.runtime = address, runtime

    def ask(self, path: str, body: Any = None) -> Any:
        """What the server says, as JSON."""
        return json.loads(self.page(path, None if body is None else json.dumps(body).encode()))

    def page(self, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self.address}/{path}", body, {"Authorization": "token t"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def answers(self) -> bool:
        try:
            return bool(self.ask("api"))
        except OSError:
            return False


def plant(folder: Path) -> Path:
    """A kernel named python3 that cannot start: that of another Jupyter, say, whose Python has gone."""
    kernel = folder / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    argv = ["/nowhere/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": argv, "display_name": "Another", "language": "python"}))
    return folder


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    root, home, port = tmp_path / "clone", tmp_path / "home", free_port()
    root.mkdir()
    shutil.copytree(REPOSITORY / "notebooks", root / "notebooks")
    for name in ("models.yaml", "Makefile"):
        shutil.copy(REPOSITORY / name, root / name)
    (root / ".venv").symlink_to(REPOSITORY / ".venv")
    plant(home / ".local" / "share" / "jupyter")
    variables = {name: value for name, value in environment(root).items() if not name.startswith("JUPYTER")}
    variables |= {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "JUPYTER_PATH": str(plant(tmp_path / "other")),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
    }
    variables.pop("VIRTUAL_ENV", None)
    options = f"LAB=--no-browser --ip=127.0.0.1 --port={port} --IdentityProvider.token=t"
    with (tmp_path / "lab.log").open("w") as log:
        process = subprocess.Popen(
            ["make", "lab", options, *_MADE], cwd=root, env=variables, stdout=log, stderr=log, start_new_session=True
        )
        try:
            started = Lab(f"http://127.0.0.1:{port}", tmp_path / "runtime")
            assert eventually(lambda: started.answers() or process.poll() is not None, 120)
            assert process.poll() is None, (tmp_path / "lab.log").read_text()[-2000:]
            yield started
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


def test_the_notebooks_open_with_the_kernel_of_this_environment(lab: Lab) -> None:
    from jupyter_client.blocking import BlockingKernelClient

    specs = lab.ask("api/kernelspecs")
    assert specs["default"] == "python3"
    assert specs["kernelspecs"]["python3"]["spec"]["display_name"] != "Another"
    listed = {entry["name"] for entry in lab.ask("api/contents")["content"]}
    assert {"01_quickstart.ipynb", "06_routing.ipynb"} <= listed

    stored = lab.ask("api/contents/01_quickstart.ipynb")["content"]["metadata"]["kernelspec"]["name"]
    asked = {"path": "01_quickstart.ipynb", "name": "", "type": "notebook", "kernel": {"name": stored}}
    kernel = lab.ask("api/sessions", asked)["kernel"]["id"]
    client = BlockingKernelClient(connection_file=str(lab.runtime / f"kernel-{kernel}.json"))
    client.load_connection_file()
    client.start_channels()
    said: list[str] = []
    try:
        client.wait_for_ready(timeout=60)
        code = "import sys, os, shutil, workbench; print(sys.prefix, os.getcwd(), shutil.which('workbench'), sep='\\n')"
        client.execute_interactive(code, timeout=60, output_hook=lambda message: said.append(_text(message)))
    finally:
        client.stop_channels()
    prefix, folder, command = "".join(said).split()
    assert Path(prefix).resolve() == (REPOSITORY / ".venv").resolve()
    assert Path(folder).name == "notebooks"
    assert Path(command).resolve() == (REPOSITORY / ".venv" / "bin" / "workbench").resolve()


def _text(message: Any) -> str:
    return str(message["content"].get("text", message["content"].get("traceback", "")))


def test_nothing_pops_up_or_asks_the_network(lab: Lab) -> None:
    page = lab.page("lab").decode()
    config = json.loads(page.split('id="jupyter-config-data"')[1].split(">", 1)[1].split("</script>")[0])
    assert config["news"] == {"disabled": True}
    disabled = config["disabledExtensions"]  # without it there is a question at the first start: news, yes or no
    assert "@jupyterlab/apputils-extension:announcements" in disabled
    assert lab.ask("lab/api/update")["notification"] is None
    assert lab.ask("lab/api/news") == {"news": []}
