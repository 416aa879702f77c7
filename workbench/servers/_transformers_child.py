"""transformers' server with a lock on its door: `python _transformers_child.py SPEC`, SPEC being JSON.

It runs in the environment of transformers, where the workbench is not. Chat requests are answered by transformers' own
handler and continuous batching; what is added is what `transformers serve` (5.19) lacks:

- a key, checked on every path; the key and the file for its address come in the environment;
- what it cannot do is refused, where it ignores response_format, logprobs, stop and seed with a line in its log;
- each request's temperature and top_p: its batch has the ones of the first request it ever saw, for all that follow,
  so a request with others waits until the batch is empty, and gets a new one;
- the length of prompt and answer is checked; usage comes as the protocol has it; errors are JSON;
- where its worker died, the process ends.
"""

import asyncio
import contextlib
import hmac
import json
import math
import os
import socket
import sys
import traceback
import uuid
from typing import Any

_TAKEN = {
    *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p"),
    *("tools", "chat_template_kwargs", "user", "metadata", "store"),
}
_DROPPED = ("stream_options", "max_completion_tokens", "user", "metadata", "store", "n")
_PAGE = 256  # tokens
_SPARE = 0.8  # of its cache; transformers takes no new request where less than 15 % is left
_CPU_BATCH = 2048  # tokens at once: the mask of a batch grows with its square


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: Any, message: Any) -> None:
        super().__init__(message)
        self.status = status


def load(spec: Any) -> tuple[Any, Any]:
    """The model, what tokenizes for it, and the type that it computes in."""
    import torch
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES

    if spec["threads"]:
        torch.set_num_threads(spec["threads"])
    own = {"trust_remote_code": spec["trust_remote_code"], "local_files_only": True}
    config = transformers.AutoConfig.from_pretrained(spec["path"], **own)
    args = spec["engine_args"]
    dtype = spec["dtype"] or "auto"
    kwargs = {"dtype": dtype, "device_map": args.get("device", "auto"), **own}
    if "attn_implementation" in args:
        kwargs["attn_implementation"] = args["attn_implementation"]
    if spec["quantization"]:
        computed = getattr(torch, dtype if dtype != "auto" else "bfloat16")
        kwargs["quantization_config"] = (
            transformers.BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=computed,
            )
            if spec["quantization"] == "nf4"
            else transformers.BitsAndBytesConfig(load_in_8bit=True)
        )
    several = config.model_type in MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES
    kind = transformers.AutoModelForMultimodalLM if several else transformers.AutoModelForCausalLM
    model = kind.from_pretrained(spec["path"], **kwargs).eval()
    if spec["lora"]:
        model.load_adapter(spec["lora"])
    reader = transformers.AutoProcessor if several else transformers.AutoTokenizer
    return model, reader.from_pretrained(spec["path"], **own)


def batching(spec: Any, model: Any) -> Any:
    """How much transformers' batches may hold: what the entry's places and lengths take, not all memory there is."""
    from transformers import ContinuousBatchingConfig

    places, length = spec["parallel"], spec["context"]
    wanted = {
        "num_blocks": math.ceil(places * math.ceil(length / _PAGE) / _SPARE) + 1,
        "max_requests_per_batch": places,
    }
    if model.device.type == "cpu":
        wanted["max_batch_tokens"] = _CPU_BATCH
    own = {name[3:]: value for name, value in spec["engine_args"].items() if name.startswith("cb_")}
    return ContinuousBatchingConfig(**{**wanted, **own})


def handler_of(spec: Any, model: Any, processor: Any) -> Any:
    """transformers' handler for chat requests, for this one model."""
    from transformers.cli.serving.chat_completion import ChatCompletionHandler
    from transformers.cli.serving.model_manager import ModelManager
    from transformers.cli.serving.utils import GenerationState

    class Handler(ChatCompletionHandler):  # type: ignore[misc]
        def _resolve_model(self, body: Any) -> Any:
            return spec["served_name"], model, processor

        def _build_generation_config(self, body: Any, model_generation_config: Any, use_cb: bool = False) -> Any:
            config = super()._build_generation_config(body, model_generation_config, use_cb=use_cb)
            if body.get("temperature"):
                config.do_sample = True  # or a temperature says nothing to a model that is greedy by default
            return config

        def _streaming(
            self,
            request_id: Any,
            model: Any,
            processor: Any,
            model_id: Any,
            inputs: Any,
            gen_config: Any,
            gen_manager: Any,
        ) -> Any:
            self._fit(inputs, gen_config)
            return super()._streaming(request_id, model, processor, model_id, inputs, gen_config, gen_manager)

        async def _non_streaming(
            self,
            request_id: Any,
            model: Any,
            processor: Any,
            model_id: Any,
            inputs: Any,
            gen_config: Any,
            gen_manager: Any,
        ) -> Any:
            self._fit(inputs, gen_config)
            return await super()._non_streaming(request_id, model, processor, model_id, inputs, gen_config, gen_manager)

        def _fit(self, inputs: Any, gen_config: Any) -> None:
            ids = inputs["input_ids"]
            prompt = len(ids) if isinstance(ids, list) else ids.shape[-1]
            if gen_config.max_new_tokens is None:
                gen_config.max_new_tokens = max(1, spec["context"] - prompt)
            if prompt + gen_config.max_new_tokens > spec["context"]:
                raise Refused(
                    400,
                    f"This model's maximum context length is {spec['context']} tokens, and the request wants "
                    f"{prompt + gen_config.max_new_tokens}: {prompt} in the messages, {gen_config.max_new_tokens} in "
                    "the answer",
                )

    args = spec["engine_args"]
    template = json.loads(args.get("chat_template_kwargs", "{}"))
    if args.get("reasoning") in ("on", "off"):
        template["enable_thinking"] = args["reasoning"] == "on"
    state = GenerationState(
        continuous_batching=True, compile=args.get("compile", False), cb_config=batching(spec, model)
    )
    manager = ModelManager(trust_remote_code=False, model_timeout=-1)  # loads nothing; it is asked for the modality
    return Handler(manager, state, chat_template_kwargs=template), state


class Batch:
    """Lets in those requests together that are sampled alike; first come, first served."""

    def __init__(self, state: Any) -> None:
        self._state = state
        self._turn = asyncio.Lock()
        self._empty = asyncio.Event()
        self._empty.set()
        self._settings = None
        self._inside = 0

    @contextlib.asynccontextmanager
    async def place(self, settings: Any) -> Any:
        async with self._turn:
            if settings != self._settings:
                await self._empty.wait()
                await asyncio.to_thread(self._state.shutdown)
                self._settings = settings
            self._inside += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()


class Server:
    """The ASGI application."""

    def __init__(self, spec: Any, model: Any, processor: Any, key: Any) -> None:
        self._spec = spec
        self._model = model
        self._processor = processor
        self._key = f"Bearer {key}".encode()
        self._handler, self._state = handler_of(spec, model, processor)
        self._batch = Batch(self._state)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] == "lifespan":
            return await self._lifespan(receive, send)
        if scope["type"] != "http":
            return None
        try:
            shown = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(shown, self._key):
                raise Refused(401, "the key is missing or wrong")
            await self._route(scope, receive, send)
        except Refused as failure:
            await _answer(send, failure.status, _error(failure.status, str(failure)))
        except Exception as failure:  # noqa: BLE001  (whatever it is, the one who asked is told)
            status = getattr(failure, "status_code", 500)  # of FastAPI's HTTPException
            said = str(getattr(failure, "detail", "") or f"{type(failure).__name__}: {failure}")
            await _answer(send, status, _error(status, said))
            if status >= 500:
                print(f"error: {type(failure).__name__} while answering", file=sys.stderr, flush=True)
        return None

    async def _lifespan(self, receive: Any, send: Any) -> None:
        watch: Any = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                watch = asyncio.create_task(self._watch())
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                watch.cancel()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _watch(self) -> None:
        """A worker that died answers nothing any more, and its process says it is well."""
        while True:
            await asyncio.sleep(0.5)
            if not self._state.is_cb_alive():
                error = self._state._cb_manager._cb.background_thread_status.fatal_error
                print(f"error: transformers' worker died: {_line(error)}", file=sys.stderr, flush=True)
                await asyncio.sleep(0.5)  # its last answers are sent
                os._exit(1)

    async def _route(self, scope: Any, receive: Any, send: Any) -> Any:
        route = scope["method"], scope["path"]
        if route == ("GET", "/health"):
            return await _answer(send, 200, {"status": "ok"})
        if route == ("GET", "/v1/models"):
            listed = {"id": self._spec["served_name"], "object": "model", "max_model_len": self._spec["context"]}
            return await _answer(send, 200, {"object": "list", "data": [listed]})
        if route == ("POST", "/tokenize"):
            return await self._tokenize(await _body(receive), send)
        if route == ("POST", "/v1/chat/completions"):
            return await self._chat(await _body(receive), scope, receive, send)
        raise Refused(404, f"there is no {scope['method']} {scope['path']}")

    async def _tokenize(self, body: Any, send: Any) -> Any:
        messages = self._messages(body)
        read = await asyncio.to_thread(
            self._processor.apply_chat_template, messages, add_generation_prompt=True, tokenize=True, return_dict=True
        )
        await _answer(send, 200, {"count": len(read["input_ids"]), "max_model_len": self._spec["context"]})

    def _messages(self, body: Any) -> Any:
        messages = body.get("messages")
        if not isinstance(messages, list) or not all(isinstance(m, dict) and "role" in m for m in messages):
            raise Refused(400, "messages must be a list of objects with a role")
        return messages

    def _taken(self, body: Any) -> Any:
        """The request as transformers takes it; what it would ignore is refused."""
        if body.get("model") != self._spec["served_name"]:
            raise Refused(404, f"the model is {self._spec['served_name']}")
        self._messages(body)
        given = {name for name, value in body.items() if value is not None}
        refused = sorted(given - _TAKEN - ({"n"} if body.get("n") == 1 else set()))
        if refused:
            raise Refused(400, f"transformers' server does not support {', '.join(refused)}")
        taken = {name: value for name, value in body.items() if name in given and name not in _DROPPED}
        if "max_completion_tokens" in given:
            taken["max_tokens"] = body["max_completion_tokens"]
        for name, kind in (("max_tokens", int), ("temperature", (int, float)), ("top_p", (int, float))):
            value = taken.get(name, 1)
            if (
                not isinstance(value, kind)
                or isinstance(value, bool)
                or value < 0
                or (name != "temperature" and not value)
            ):
                raise Refused(400, f"{name} must be a positive number")
        return taken

    async def _chat(self, body: Any, scope: Any, receive: Any, send: Any) -> Any:
        taken = self._taken(body)
        config = self._handler._build_generation_config(taken, self._model.generation_config, use_cb=True)
        settings = (config.temperature, config.top_p, config.top_k) if config.do_sample else None
        async with self._batch.place(("sampled", settings)):
            response = await self._handler.handle_request(taken, str(uuid.uuid4()))
            if taken.get("stream"):
                usage = bool((body.get("stream_options") or {}).get("include_usage"))
                response.body_iterator = _events(response.body_iterator, usage)
            await response(scope, receive, send)


async def _events(pieces: Any, usage_wanted: Any) -> Any:
    """The stream as the protocol has it: usage in a chunk of its own where it was asked for, then [DONE]."""
    try:
        async for piece in pieces:
            if '"usage"' not in piece and not piece.startswith('data: {"error"'):
                yield piece
                continue
            for line in filter(None, piece.split("\n\n")):
                for event in _event(line.removeprefix("data: "), usage_wanted):
                    yield f"data: {json.dumps(event)}\n\n"
        yield "data: [DONE]\n\n"
    finally:
        await pieces.aclose()


def _event(text: Any, usage_wanted: Any) -> Any:
    try:
        event = json.loads(text)
    except ValueError:  # an error whose words hold a quotation mark
        return [_error(500, text.removeprefix('{"error": "').removesuffix('"}'))]
    if "error" in event:
        return [_error(500, str(event["error"]))]
    usage = event.pop("usage", None)
    if usage is None or not usage_wanted:
        return [event]
    return [event, {**event, "choices": [], "usage": usage}]


async def _body(receive: Any) -> Any:
    pieces, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the request ended before its body did")
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    try:
        body = json.loads(b"".join(pieces))
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Refused(400, "the body is no JSON object")
    return body


async def _answer(send: Any, status: Any, body: Any) -> None:
    raw = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})


def _error(status: Any, message: Any) -> Any:
    return {"error": {"message": message, "type": "invalid_request_error" if status < 500 else "server_error"}}


def _line(error: Any) -> Any:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}" if error else "no reason given"


def main() -> None:
    spec = json.loads(sys.argv[1])
    key = os.environ.pop("WORKBENCH_API_KEY")
    try:
        import uvicorn

        server = Server(spec, *load(spec), key)
    except Exception as failure:  # noqa: BLE001  (its last line says what it was)
        traceback.print_exc()
        sys.exit(f"error: {_line(failure)}")
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", int(os.environ.get("WORKBENCH_PORT", "0"))))
    listening.listen(1024)
    config = uvicorn.Config(server, access_log=False, log_level="warning", timeout_graceful_shutdown=1)
    target = os.environ["WORKBENCH_ADDRESS_FILE"]
    with open(f"{target}.new", "w") as file:
        file.write(f"http://127.0.0.1:{listening.getsockname()[1]}")
    os.replace(f"{target}.new", target)
    uvicorn.Server(config).run(sockets=[listening])
    os._exit(0)  # its worker is a thread that would be waited for


main()
