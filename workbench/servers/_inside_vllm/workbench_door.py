"""A lock on every path of vLLM's server, as its own guards /v1 only: `--middleware=workbench_door.Locked`.

It runs in the environment of vLLM, where the workbench is not: this folder alone is on its path. Without it whoever is
on the machine gets answers from `/invocations`, which takes chat requests and asks for no key.
"""

import hmac
import json
import os
from typing import Any

_REFUSAL = json.dumps({"error": {"message": "the key is missing or wrong", "type": "invalid_request_error"}}).encode()


class Locked:
    """ASGI middleware; the key is the one that vLLM itself reads."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._key = f"Bearer {os.environ['VLLM_API_KEY']}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        shown = dict(scope.get("headers", ())).get(b"authorization", b"")
        if scope["type"] == "lifespan" or hmac.compare_digest(shown, self._key):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_REFUSAL)).encode())]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": _REFUSAL})
