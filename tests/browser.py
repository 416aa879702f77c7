"""Servers and pages in Debian's Chromium, for the tests of what people look at."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import environment
from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def server(command: list[str], root: Path, address: str, **variables: str) -> Iterator[int]:
    """A server in a process group of its own, ended afterwards; its group's id."""
    with (root / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=root, env={**environment(root), **variables}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            for _ in range(240):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(address, timeout=2)
                    break
                time.sleep(0.5)
            else:
                pytest.fail((root / "server.log").read_text()[-2000:])
            yield process.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


@contextlib.contextmanager
def page(width: int = 1600, height: int = 1200) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        opened = browser.new_page(viewport={"width": width, "height": height})
        opened.set_default_timeout(90_000)
        yield opened
        browser.close()
