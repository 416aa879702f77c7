"""models.yaml: who may answer, where it is, and at what price.

models = load_models("models.yaml")
models["smollm2-q4"].zone        # 'local'
models.zone_of("unknown")        # 'hosted': a model that is not listed gets no benefit of the doubt
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from workbench import project
from workbench.engine_keys import MANAGED, check_arguments, check_keys
from workbench.errors import InputError
from workbench.files import Document, StrictModel, read_yaml
from workbench.prices import Price
from workbench.privacy import Destination, Zone

Engine = Literal["llamacpp", "openai", "rules", "transformers", "vllm"]
Capability = Literal["json_schema", "stream_usage", "temperature", "seed", "stop", "max_completion_tokens"]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DEFAULT_ZONE: dict[str, Zone] = {
    "llamacpp": "local",
    "rules": "local",
    "openai": "hosted",
    "transformers": "local",
    "vllm": "local",
}
_RULES_ONLY = {"engine", "zone"}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"key|token(?!i[sz])|secret|passw", re.IGNORECASE)  # TOKENIZERS_PARALLELISM is none


class Model(StrictModel, strict=True):
    """One entry of models.yaml.

    Attributes:
        engine: `llamacpp`, `transformers` and `vllm` are servers that the workbench starts, the last two in
            environments of their own; `openai` is one that is running somewhere, `rules` the eval set's own table.
        model: a GGUF file (`package:…` for one in a weights package; a list is joined), a folder of weights (vllm,
            transformers), or the name that the server knows the model by.
        sha256: of the weights file, or of all in their folder; checked before the engine starts.
        batch: with `workbench run --batch`, ask it in batches: `openai` by its API's batches (files, half price),
            `vllm` by `vllm run-batch`.
        base_url: of a server that runs; a list where several serve the same model, which share its requests.
        quantization: of the weights. An engine that quantizes while it loads is told (transformers: `nf4`, `int8`;
            vllm: `fp8` and others of its own words); otherwise it says what the weights are.
        dtype: of weights that are not quantized, and of activations; None takes the weights' own.
        lora: a LoRA adapter on top of the model: a folder, or a GGUF file for llamacpp.
        trust_remote_code: run Python code that comes with the weights.
        python: the interpreter of the engine's environment, from the project's root; None takes the one that
            `workbench engine install` makes.
        engine_args: further options of the engine, such as `{enforce_eager: true}`.
        env: variables for the engine's process; no secrets.
        gpus: a replica of the model for each entry, on those GPUs: `["0", "1"]` are two, `["0,1"]` is one on both.
        chat_template: `plain` for a base model without a template of its own; None takes the file's.
        max_model_len: tokens a request may take, prompt and answer.
        concurrency: requests in flight at first; an endpoint that is not managed finds its own level from there.
        max_concurrency: up to that many; four times `concurrency` where left out. A managed engine has just
            `concurrency` places.
        requests_per_minute: an endpoint's limit; like `concurrency` it is of each, where there are several.
        tokens_per_minute: an endpoint's limit, prompts and answers together.
        threads: CPU threads of a local engine; None takes all cores.
        capabilities: what the server understands beyond the plain protocol; only what is declared is sent.
        variants: the eval sets' variants to ask; None asks all.
        timeout_s: of one attempt.
    """

    id: str = Field(default="", exclude=True)  # its key in the file
    engine: Engine
    model: str | list[str] = ""
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    zone: Zone = "hosted"
    base_url: str | list[str] | None = None
    api_key_env: str | None = None
    price: Price | None = None
    quantization: str | None = None
    chat_template: Literal["plain"] | None = None
    max_model_len: int = Field(default=2048, ge=256)
    concurrency: int = Field(default=4, ge=1, le=1024)
    max_concurrency: int | None = Field(default=None, ge=1, le=4096)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    threads: int | None = Field(default=None, ge=1)
    capabilities: list[Capability] | None = None
    variants: list[str] | None = None
    timeout_s: float = Field(default=120, gt=0)
    batch: Literal["openai", "vllm"] | None = None
    dtype: Literal["auto", "bfloat16", "float16", "float32"] | None = None
    lora: str | None = None
    trust_remote_code: bool = False
    python: str | None = None
    engine_args: dict[str, str | bool | int | float] = {}
    env: dict[str, str] = {}
    gpus: list[str] = []
    private_hosts: tuple[str, ...] = Field(default=(), exclude=True)  # those of the whole file
    where: str = Field(default="", exclude=True)  # file and line

    @model_validator(mode="before")
    @classmethod
    def _by_engine(cls, data: Any) -> Any:
        """What follows from the engine where the entry does not say."""
        if not isinstance(data, dict) or data.get("engine") not in _DEFAULT_ZONE:
            return data
        usual = {"zone": _DEFAULT_ZONE[data["engine"]]} | ({"batch": "vllm"} if data["engine"] == "vllm" else {})
        return {**usual, **data}

    @field_validator("base_url")
    @classmethod
    def _urls(cls, urls: str | list[str] | None) -> str | list[str] | None:
        for url in [urls] if isinstance(urls, str) else urls or []:
            if not re.fullmatch(r"https?://[^/?#\s@]+(/[^\s?#]*)?", url):
                raise ValueError(
                    "must be an http(s) URL without a user name, password or query, such as https://host/v1"
                )
        if isinstance(urls, list):
            urls = [url.rstrip("/") for url in urls]
            if not urls or len(set(urls)) < len(urls):
                raise ValueError("must name at least one server, and each once")
            return urls
        return urls.rstrip("/") if urls else urls

    @field_validator("api_key_env")
    @classmethod
    def _variable(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
            raise ValueError("must be the name of an environment variable, such as OPENAI_API_KEY, not the key itself")
        return name

    @field_validator("env")
    @classmethod
    def _variables(cls, env: dict[str, str]) -> dict[str, str]:
        for name in env:
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"'{name}' is no name of a variable")
            if _SECRET.search(name):
                raise ValueError(
                    f"{name} looks like a secret, which does not belong into a file: set it in the environment that "
                    "the workbench runs in, and the engine has it too"
                )
        return env

    @field_validator("gpus")
    @classmethod
    def _devices(cls, gpus: list[str]) -> list[str]:
        for entry in gpus:
            if not re.fullmatch(r"[A-Za-z0-9-]+(,[A-Za-z0-9-]+)*", entry):
                raise ValueError(f"'{entry}' must be GPUs by number or UUID, such as '0' or '0,1'")
        return gpus

    @model_validator(mode="after")
    def _fits_batch(self) -> Model:
        if self.batch == "openai" and (self.engine != "openai" or self.zone == "local"):
            raise ValueError("batch: openai is for engine openai in zone hosted or private. Leave it out")
        if self.batch == "vllm" and self.engine != "vllm":
            raise ValueError("batch: vllm is for engine vllm. Leave it out")
        return self

    @model_validator(mode="after")
    def _fits_engine(self) -> Model:
        if self.engine == "openai" and not (self.base_url and isinstance(self.model, str) and self.model):
            raise ValueError("engine openai needs base_url and model (the name that the server knows it by)")
        if self.engine in MANAGED and self.base_url is not None:
            raise ValueError(f"engine {self.engine} is started by the workbench: it takes no base_url")
        if self.max_concurrency is not None and self.max_concurrency < self.concurrency:
            raise ValueError("max_concurrency is below concurrency. Raise it, or leave it out")
        if self.engine in MANAGED and self.max_concurrency is not None:
            raise ValueError(
                f"engine {self.engine} has as many places as concurrency says: it takes no max_concurrency"
            )
        if self.engine == "llamacpp" and not self.model:
            raise ValueError("engine llamacpp needs model: a GGUF file, or package:NAME/FILE")
        if self.engine in ("transformers", "vllm") and not (isinstance(self.model, str) and self.model):
            raise ValueError(f"engine {self.engine} needs model: a folder of weights")
        check_keys(self.engine, self.model_fields_set)
        check_arguments(self.engine, self.engine_args)
        if self.engine != "openai" and self.zone != "local":
            raise ValueError(f"engine {self.engine} runs on this machine: zone must be local")
        extra = self.model_fields_set - _RULES_ONLY - {"id", "private_hosts", "where", "variants"}
        if self.engine == "rules" and extra:
            raise ValueError(f"engine rules takes no {', '.join(sorted(extra))}")
        return self

    @property
    def place(self) -> str:
        """Where its entry stands, and its id, for messages on what is wrong there."""
        return f"{self.where}: {self.id}" if self.where else self.id

    @property
    def urls(self) -> list[str]:
        """Where it is served; none for an engine that the workbench starts."""
        return [self.base_url] if isinstance(self.base_url, str) else self.base_url or []

    @property
    def managed(self) -> bool:
        """Whether the workbench starts its server."""
        return self.engine in MANAGED

    def destinations(self) -> list[Destination]:
        """What the gate needs to know of each of its endpoints; of a managed engine, or rules, the one to come."""
        urls: list[str | None] = [*self.urls] or [None]
        return [Destination(self.id, self.zone, url, self.private_hosts) for url in urls]

    def destination(self) -> Destination:
        """The first of them."""
        return self.destinations()[0]

    @property
    def ceiling(self) -> int:
        """The most requests that may be in flight."""
        if self.managed:
            return self.concurrency
        return self.max_concurrency or 4 * self.concurrency

    def api_key(self) -> str | None:
        """The key out of the environment; never stored."""
        return (os.environ.get(self.api_key_env) or "").strip() or None if self.api_key_env else None

    @property
    def key_missing(self) -> bool:
        return self.api_key_env is not None and not self.api_key()


class Machine(StrictModel, strict=True):
    """What an hour of this machine costs, in USD; None is unknown."""

    usd_per_hour: float | None = Field(default=None, ge=0)


class _ModelsFile(StrictModel):
    schema_: Literal[1] = Field(alias="schema")
    machine: Machine = Machine()
    private_hosts: list[str] = []
    models: dict[str, Model]


class Models(Mapping[str, Model]):
    """The models of a models.yaml, by id, and the machine they are priced on."""

    def __init__(
        self,
        models: Mapping[str, Model],
        machine: Machine | None = None,
        named: frozenset[str] = frozenset(),
        order: tuple[str, ...] | None = None,
        known: Mapping[str, Model] | None = None,
    ) -> None:
        self._models = dict(models)
        self.machine = machine or Machine()
        self.order = order or tuple(models)  # of the whole file, also in a selection
        self.known = dict(known or models)  # all of the file: a judge need not be a contestant
        self.named = named  # asked for by name: it is an error where one of them cannot run

    def __getitem__(self, name: str) -> Model:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def zone_of(self, name: str) -> Zone:
        """A model's zone; one that is not listed is hosted."""
        found = self._models.get(name)
        return found.zone if found else "hosted"

    def select(self, names: str | Sequence[str] | None) -> Models:
        """The named models only, in the order of the file.

        Args:
            names: a list, or text with commas; None or empty selects all that there are.

        Raises:
            InputError: a name that is not in models.yaml.
        """
        names = project.listed(names)
        if names is None:
            return self
        for name in names:
            if name not in self._models:
                raise InputError(f"there is no model '{name}' in models.yaml. It has: {', '.join(self._models)}.")
        chosen = {name: model for name, model in self._models.items() if name in names}
        return Models(chosen, self.machine, frozenset(names), self.order, self.known)


def load_models(path: str | Path = "models.yaml") -> Models:
    """Read models.yaml.

    Args:
        path: the file, from the working directory or the project's root.

    Raises:
        InputError: naming file, line, field and the mend.
    """
    document = read_yaml(project.resolve(path))
    _check_ids(document)
    parsed = document.parse(_ModelsFile)
    hosts = tuple(parsed.private_hosts)
    models = {
        name: model.model_copy(
            update={
                "id": name,
                "private_hosts": hosts,
                "where": f"{project.shown(document.path)}:{document.line(('models', name))}",
            }
        )
        for name, model in parsed.models.items()
    }
    if not models:
        raise document.error(("models",), "is empty. Name at least one model.")
    return Models(models, parsed.machine)


def _check_ids(document: Document) -> None:
    entries = document.data.get("models")
    if not isinstance(entries, dict):
        return
    for name, entry in entries.items():
        if not _ID.fullmatch(str(name)):
            raise document.error(("models", str(name)), "a model's id is letters, digits, '.', '_', '-' (64 at most).")
        for key in ("id", "private_hosts", "where"):
            if isinstance(entry, dict) and key in entry:
                raise document.error(("models", str(name), key), "is not a model's own. Remove it.")
        engine = entry.get("engine") if isinstance(entry, dict) else None
        if isinstance(engine, str) and engine not in _DEFAULT_ZONE:
            known = ", ".join(_DEFAULT_ZONE)
            raise document.error(
                ("models", str(name), "engine"),
                f"there is no engine '{engine}'; there are: {known}. A server that runs already (vLLM, transformers, "
                "a hosted API) is engine: openai with its base_url.",
            )
