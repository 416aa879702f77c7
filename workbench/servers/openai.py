"""A server that runs already and speaks the OpenAI protocol: a hosted API, or vLLM and others of your own.

gpt-mini: {engine: openai, model: gpt-…, base_url: "https://…/v1", api_key_env: OPENAI_API_KEY, zone: hosted}
"""

from __future__ import annotations

from typing import Any

from workbench.catalog import Model

CAPABILITIES = frozenset({"stream_usage", "temperature", "stop"})


def unavailable(model: Model, batch: bool = False) -> str | None:
    if model.key_missing:
        return f"{model.id}: its key is not set. Set the environment variable {model.api_key_env}."
    return None


def identity(model: Model) -> dict[str, Any]:
    return {"base_url": model.base_url, "model": model.model}


def engine_id(model: Model) -> str:
    return f"openai {model.base_url} {model.model}"


def served_name(model: Model) -> str:
    return str(model.model)


def launch(model: Model) -> None:
    return None
