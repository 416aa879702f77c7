"""An engine that can fail in every way that real ones do: `python stand_in_engine.py SPEC`, SPEC being JSON.

Keys of SPEC: `log` (lines said at once), `exit` (status to end with while loading), `hang` (never listen), `silent`
(listen and never answer), `child` (a child in a session of its own), `delay_s` (before an answer), `die_at` (numbers of
requests, over all engines that share the file `count`, at which it dies), `last_words` (said then), `ignore_term`,
`file` (left in the temporary folder), `shared` (a segment of shared memory), `port` (to listen on), `gpu` (the
nvidia-smi of `stand_ins` in the folder `smi` says `gpus` and `apps` while this runs, in which PID stands for its own,
and what it said before again `freed_s` seconds after its end, or never).
"""

import http.server
import json
import os
import pathlib
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing import shared_memory
from typing import Any

SPEC: dict[str, Any] = json.loads(sys.argv[1])
LOCK = threading.Lock()


def count() -> None:
    """Count a request, over all engines that share the file, and die where it is its turn."""
    with LOCK:  # so that no other thread is just writing
        path = pathlib.Path(SPEC["count"])
        number = int(path.read_text()) + 1 if path.exists() else 1
        path.write_text(str(number))
        if number in SPEC.get("die_at", []):
            sys.stderr.write("".join(f"{line}\n" for line in SPEC.get("last_words", [])))
            sys.stderr.flush()
            os._exit(3)


FREED = """
import os, pathlib, sys, time
while os.path.exists(f"/proc/{sys.argv[1]}"):
    time.sleep(0.01)
time.sleep(float(sys.argv[2]))
for path, text in zip(sys.argv[3::2], sys.argv[4::2]):
    pathlib.Path(path + ".new").write_text(text)
    os.replace(path + ".new", path)
"""


def take_gpu(gpu: dict[str, Any]) -> None:
    """Have the stand-in of nvidia-smi say that this process is on a GPU."""
    before = []
    for name in ("apps", "gpus"):
        path = pathlib.Path(gpu["smi"], name)
        before += [str(path), path.read_text()]
        pathlib.Path(f"{path}.new").write_text(gpu[name].replace("PID", str(os.getpid())))
        os.replace(f"{path}.new", path)
    if gpu.get("freed_s") is not None:  # the driver's work, so it is none of this engine's processes
        argv = [sys.executable, "-c", FREED, str(os.getpid()), str(gpu["freed_s"]), *before]
        subprocess.Popen(argv, env={"PATH": os.environ["PATH"]}, start_new_session=True)


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {os.environ['WORKBENCH_API_KEY']}":
            self.send_response(401)
            self.end_headers()
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if SPEC.get("silent"):
            time.sleep(300)
        if "count" in SPEC and body["messages"][-1]["content"] != "Hi":
            count()
        time.sleep(SPEC.get("delay_s", 0))
        choice = {"index": 0, "message": {"role": "assistant", "content": "red"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 1}
        data = json.dumps({"model": body["model"], "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64


def main() -> None:
    for line in SPEC.get("log", []):
        print(line, flush=True)
    if SPEC.get("ignore_term"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if SPEC.get("child"):
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    if SPEC.get("file"):
        pathlib.Path(tempfile.gettempdir(), "left-behind").write_text("x")
    if SPEC.get("shared"):
        segment = shared_memory.SharedMemory(SPEC["shared"], create=True, size=4096)
        from multiprocessing import resource_tracker

        resource_tracker.unregister(segment._name, "shared_memory")  # as one that is killed hard
        globals()["SEGMENT"] = segment
    if SPEC.get("gpu"):
        take_gpu(SPEC["gpu"])
    if "exit" in SPEC:
        sys.exit(SPEC["exit"])
    if SPEC.get("hang"):
        time.sleep(600)
    port = int(SPEC.get("port", 0))
    Server.allow_reuse_address = False
    server = Server(("127.0.0.1", port), Handler)
    target = os.environ["WORKBENCH_ADDRESS_FILE"]
    pathlib.Path(f"{target}.new").write_text(f"http://127.0.0.1:{server.server_port}")
    os.replace(f"{target}.new", target)
    server.serve_forever()


main()
