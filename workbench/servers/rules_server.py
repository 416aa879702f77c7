"""The rules of all eval sets behind the OpenAI protocol, so that a gateway can route to them.

    workbench serve rules --port 8100          # model 'rules/support_triage' answers with that task's table

The last user message is matched. Where the rules abstain the answer is a 422, on which a gateway falls back.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from workbench.rules import Rules


def application(tables: Mapping[str, Rules], api_key: str) -> web.Application:
    """A web application that answers chat completions from rules tables.

    Args:
        tables: rules by task.
        api_key: what every request has to show.
    """

    @web.middleware
    async def keyed(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        """Every path asks for the key, also one that there is not."""
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not secrets.compare_digest(shown.encode(), api_key.encode()):
            return _error(401, "the key is missing or wrong")
        return await handler(request)

    async def completions(request: web.Request) -> web.Response:
        try:
            body = await request.json()
            text, task = _last_user_text(body["messages"]), str(body["model"]).removeprefix("rules/")
        except (ValueError, KeyError, TypeError, AttributeError):
            return _error(400, "the body must be JSON with model and messages")
        if task not in tables:
            return _error(404, f"no rules for '{task}'. There are: {', '.join(tables)}")
        try:
            answer = tables[task].answer_text(text)
        except TimeoutError as failure:
            return _error(500, str(failure))
        if answer is None:
            return _error(422, "no rule matches: the rules abstain")
        message = {"role": "assistant", "content": answer}
        return web.json_response(
            {
                "id": "rules",
                "object": "chat.completion",
                "created": 0,
                "model": f"rules/{task}",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
            }
        )

    app = web.Application(middlewares=[keyed])
    app.router.add_post("/v1/chat/completions", completions)
    return app


def _last_user_text(messages: list[dict[str, Any]]) -> str:
    return str(next(turn["content"] for turn in reversed(messages) if turn["role"] == "user"))


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "code": status}}, status=status)
