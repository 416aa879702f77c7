"""The llama.cpp engine as a process of its own: `python _llamacpp_child.py SPEC`, SPEC being JSON.

The key and the address file come in the environment. xllamacpp's server has no way to stop, so the process is ended.

Below a prefix llama.cpp's server asks everybody for the key; on plain paths it answers some (`/v1/health`, in other
builds `/v1/models`) to all. So it always has one. Who serves on a port of their own gets the plain paths at a door
before it, which passes requests on and keeps its connections open, where llama.cpp closes them without a word.
"""

import asyncio
import json
import os
import socket
import sys
import threading
from typing import Any

import xllamacpp as xlc

_PREFIX = "/engine"
# Of one connection, not of what is said over it.
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "expect"})


def valued(params: Any, name: str, value: Any) -> Any:
    """A value of `engine_args` as the attribute of that name wants it.

    Raises:
        AttributeError: there is no such attribute that a plain value could set.
        ValueError: the value is of another kind; with what it should be.
    """
    now = getattr(params, name)
    if isinstance(now, bool):
        if isinstance(value, bool):
            return value
        raise ValueError("is true or false")
    if hasattr(type(now), "__members__"):  # an enumeration: the end of a member's name
        members = type(now).__members__
        wanted = [each for each in members if each.upper().endswith("_" + str(value).upper())]
        if len(wanted) == 1:
            return members[wanted[0]]
        start = os.path.commonprefix(list(members))  # noqa: RUF071  (names, not paths)
        raise ValueError(f"is one of {', '.join(sorted(each.removeprefix(start).lower() for each in members))}")
    if isinstance(now, (int, float)) and isinstance(value, (int, float)) and not isinstance(value, bool):
        if isinstance(now, int) and not isinstance(value, int):
            raise ValueError("is a whole number")
        return type(now)(value)
    if isinstance(now, str) and isinstance(value, str):
        return value
    if isinstance(now, (int, float, str)):
        raise ValueError("is a number" if isinstance(now, (int, float)) else "is text")
    raise AttributeError(name)


class Door:
    """Plain paths before llama.cpp's prefixed ones; the key is passed on, and llama.cpp checks it.

    Args:
        behind: the address of llama.cpp's server, with the prefix.
    """

    def __init__(self, behind: str) -> None:
        self._behind = behind
        self._session: Any = None

    async def serve(self, listening: socket.socket) -> None:
        """Pass on what comes in at a socket, for as long as the process runs."""
        from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

        async with ClientSession(
            connector=TCPConnector(force_close=True, limit=0),
            timeout=ClientTimeout(total=None),  # how long to wait is for the one who asks to say
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            auto_decompress=False,
        ) as self._session:
            server = web.Server(self._pass, access_log=None, auto_decompress=False)
            await asyncio.get_running_loop().create_server(server, sock=listening, backlog=1024)
            await asyncio.Event().wait()

    async def _pass(self, request: Any) -> Any:
        from aiohttp import ClientError, web
        from yarl import URL

        url = URL(self._behind + request.raw_path, encoded=True)
        given = {"headers": _end_to_end(request), "data": request.content if request.can_read_body else None}
        try:
            answer = await self._session.request(request.method, url, **given, allow_redirects=False)
        except ClientError as failure:
            said = f"llama.cpp's server did not answer: {type(failure).__name__}"
            return web.json_response({"error": {"message": said, "code": 502}}, status=502)
        async with answer:
            response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer))
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


def _end_to_end(message: Any) -> Any:
    from multidict import CIMultiDict

    return CIMultiDict((name, value) for name, value in message.headers.items() if name.lower() not in _HOP)


def _listening(port: int) -> socket.socket:
    """A socket at a port; taken before a model is loaded, so that one that is taken is told at once."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", port))
    return found


def main() -> None:
    spec = json.loads(sys.argv[1])
    port = int(os.environ.get("WORKBENCH_PORT", "0"))
    listening = _listening(port) if port else None
    params = xlc.CommonParams()
    params.model.path = spec["path"]
    params.model_alias = {spec["alias"]} if isinstance(params.model_alias, set) else spec["alias"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_prefix = _PREFIX
    params.api_keys = [os.environ.pop("WORKBENCH_API_KEY")]
    params.n_parallel = spec["parallel"]
    params.n_ctx = spec["context"] * spec["parallel"]
    params.cache_ram_mib = 0  # prompts are cached in the slots; a second cache would only cost memory
    params.swa_full = spec.get("swa_full", True)
    params.endpoint_metrics = True
    params.ui = False
    if spec["chat_template"]:
        params.chat_template = spec["chat_template"]
    if spec.get("lora"):
        adapter = xlc.CommonAdapterLoraInfo()
        adapter.path, adapter.scale = spec["lora"], 1.0
        params.lora_adapters = [adapter]
    params.cpuparams.n_threads = spec["threads"]
    params.cpuparams_batch.n_threads = spec["threads"]
    for name, value in spec.get("engine_args", {}).items():
        setattr(params, name, valued(params, name, value))
    server = xlc.Server(params)
    behind = server.listening_address + _PREFIX
    target = os.environ["WORKBENCH_ADDRESS_FILE"]
    with open(f"{target}.new", "w") as file:
        file.write(f"http://127.0.0.1:{port}" if port else behind)
    os.replace(f"{target}.new", target)
    if listening is None:
        threading.Event().wait()
    else:
        asyncio.run(Door(behind).serve(listening))


if __name__ == "__main__":
    main()
