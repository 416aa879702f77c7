"""models.yaml: zones by engine, strict entries, keys that are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import REPOSITORY

from workbench.catalog import Models, load_models
from workbench.errors import InputError
from workbench.prices import ListedPrice, TokenPrice


def models(*entries: str, head: str = "") -> Models:
    lines = "".join(f"  {entry}\n" for entry in entries)
    Path("models.yaml").write_text(f"schema: 1\n{head}models:\n{lines}")
    return load_models()


def hosted(rest: str = "") -> str:
    return f"m: {{engine: openai, model: x, base_url: https://host/v1{', ' if rest else ''}{rest}}}"


def test_the_projects_own_file_loads() -> None:
    found = load_models(REPOSITORY / "models.yaml")
    assert {name: model.zone for name, model in found.items()} == {
        "smollm2-q4": "local",
        "gemma3-q4": "local",
        "rules": "local",
    }
    assert found.machine.usd_per_hour == 0.40


def test_the_zone_follows_the_engine_and_an_unknown_model_is_hosted() -> None:
    found = models(hosted(), "r: {engine: rules}", "l: {engine: llamacpp, model: a.gguf}")
    assert [found.zone_of(name) for name in ("m", "r", "l", "unknown")] == ["hosted", "local", "local", "hosted"]


def test_private_hosts_and_the_id_reach_the_destination() -> None:
    found = models(hosted("zone: private"), head="private_hosts: [host]\n")
    destination = found["m"].destination()
    assert (destination.model, destination.zone, destination.private_hosts) == ("m", "private", ("host",))


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("{genai_prices: openai}", ListedPrice(genai_prices="openai")),
        (
            "{input_usd_per_mtok: 0.15, output_usd_per_mtok: 1}",
            TokenPrice(input_usd_per_mtok=0.15, output_usd_per_mtok=1),
        ),
    ],
)
def test_a_price_is_a_table_or_two_rates(text: str, price: object) -> None:
    assert models(hosted(f"price: {text}"))["m"].price == price


def test_a_secret_is_no_variable_of_an_entry() -> None:
    entry = "engine: vllm, model: w, env: {%s: 'false'}"
    assert models("m: {" + entry % "TOKENIZERS_PARALLELISM" + "}")["m"].env == {"TOKENIZERS_PARALLELISM": "false"}
    for name in ("HF_TOKEN", "ApiKey", "MY_TOKENS", "DB_PASSWORD"):
        with pytest.raises(InputError, match=f"field 'models.m.env': {name} looks like a secret"):
            models("m: {" + entry % name + "}")


def test_the_key_comes_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    model = models(hosted("api_key_env: TEST_KEY"))["m"]
    monkeypatch.delenv("TEST_KEY", raising=False)
    assert model.key_missing
    monkeypatch.setenv("TEST_KEY", "CANARY")
    assert not model.key_missing
    assert model.api_key() == "CANARY"
    assert "CANARY" not in repr(model)


def test_select_keeps_the_files_order_and_remembers_the_names() -> None:
    found = models("a: {engine: rules}", "b: {engine: rules}", "c: {engine: rules}")
    assert found.select(None) is found
    chosen = found.select(["c", "a"])
    assert (list(chosen), chosen.named) == (["a", "c"], frozenset({"a", "c"}))
    with pytest.raises(InputError, match=r"there is no model 'd' in models\.yaml. It has: a, b, c"):
        found.select(["d"])


@pytest.mark.parametrize("url", ["https://host", "http://127.0.0.1:8000/v1/", "http://[::1]:8000/v1"])
def test_a_plain_url_is_taken(url: str) -> None:
    assert models(f'm: {{engine: openai, model: x, base_url: "{url}"}}')["m"].base_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    ["https://user:CANARY@host/v1", "https://CANARY@host", "ftp://CANARY", "CANARY", "https://", "https://h /CANARY"],
)
def test_a_url_with_credentials_or_none_at_all_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(
        InputError, match=r"field 'models\.m\.base_url': must be an http\(s\) URL without a user"
    ) as caught:
        models(f'm: {{engine: openai, model: x, base_url: "{url}"}}')
    assert "CANARY" not in str(caught.value)


def test_a_key_where_its_variable_should_stand_is_not_repeated() -> None:
    with pytest.raises(InputError, match="must be the name of an environment variable") as caught:
        models(hosted("api_key_env: sk-CANARY"))
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "m: {engine: onnx, model: x}",
            "field 'models.m.engine': there is no engine 'onnx'",
        ),
        ("m: {engine: vllm}", "field 'models.m': engine vllm needs model: a folder of weights"),
        ("m: {engine: vllm, model: x, zone: private}", "engine vllm runs on this machine: zone must be local"),
        (
            "m: {engine: vllm, model: x, engine_args: {enable_metrics: true}}",
            "enable_metrics is not to be set in engine_args",
        ),
        ("m: {engine: vllm, model: x, engine_args: {ho: 1.2.3.4}}", "ho is not to be set in engine_args"),
        ("m: {engine: vllm, model: x, engine_args: {-x: 1}}", "'-x' is no option"),
        ("m: {engine: vllm, model: x, batch: openai}", "batch: openai is for engine openai in zone hosted or private"),
        ("m: {engine: llamacpp, model: x, batch: vllm}", "batch: vllm is for engine vllm"),
        ("m: {engine: llamacpp, model: x, python: x}", "python: only transformers and vllm take that"),
        ("m: {engine: openai, model: x, base_url: http://h, zone: local, batch: openai}", "batch: openai is for"),
        ("m: {model: x}", "field 'models.m.engine': is missing. Add it."),
        ("m: {engine: openai, model: x}", "field 'models.m': engine openai needs base_url and model"),
        ("m: {engine: openai, base_url: http://h}", "field 'models.m': engine openai needs base_url and model"),
        ("m: {engine: llamacpp}", "field 'models.m': engine llamacpp needs model"),
        ("m: {engine: llamacpp, model: x, zone: hosted}", "engine llamacpp runs on this machine: zone must be local"),
        ("m: {engine: rules, concurrency: 2}", "engine rules takes no concurrency"),
        (
            "m: {engine: rules, colour: red}",
            "field 'models.m.colour': unknown key. Remove it, or see which keys there are",
        ),
        ("m: {engine: rules, id: other}", "field 'models.m.id': is not a model's own. Remove it."),
        ("m: {engine: rules, private_hosts: [a]}", "field 'models.m.private_hosts': is not a model's own. Remove it."),
        ("m: {engine: llamacpp, model: x, sha256: abc}", "field 'models.m.sha256'"),
        ("m: {engine: llamacpp, model: x, concurrency: 0}", "field 'models.m.concurrency'"),
        ("m: {engine: llamacpp, model: x, concurrency: yes}", "field 'models.m.concurrency'"),
        ('m: {engine: llamacpp, model: x, max_model_len: "2048"}', "field 'models.m.max_model_len'"),
        ("m: {engine: llamacpp, model: x, timeout_s: .inf}", "field 'models.m.timeout_s'"),
        (hosted("capabilities: [mind_reading]"), "field 'models.m.capabilities.0'"),
        (hosted("price: 5"), "field 'models.m.price': "),
        (hosted("price: {input_usd_per_mtok: 1}"), "field 'models.m.price.output_usd_per_mtok': is missing"),
        (hosted("price: {genai_price: x}"), "keys there are: input_usd_per_mtok, output_usd_per_mtok, genai_prices."),
        (
            hosted("price: {input_usd_per_mtok: -1, output_usd_per_mtok: 1}"),
            "field 'models.m.price.input_usd_per_mtok'",
        ),
        ("m: null", "field 'models.m'"),
        ('"a b": {engine: rules}', "field 'models.a b': a model's id is letters, digits"),
        ('"a#b": {engine: rules}', "field 'models.a#b': a model's id is letters, digits"),
        ("../x: {engine: rules}", "field 'models.../x': a model's id is letters, digits"),
    ],
)
def test_a_broken_entry_is_named_with_its_line(entry: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        models("ok: {engine: rules}", entry)
    assert str(caught.value).startswith("models.yaml:4: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema: 2\nmodels: {a: {engine: rules}}\n", "models.yaml:1: field 'schema'"),
        ("schema: 1\n", "models.yaml:1: field 'models': is missing"),
        ("schema: 1\nmodels: {}\n", "models.yaml:2: field 'models': is empty"),
        ("schema: 1\nmodels: [a]\n", "models.yaml:2: field 'models'"),
        ("schema: 1\nmachine: {usd_per_hour: -1}\nmodels: {}\n", "models.yaml:2: field 'machine.usd_per_hour'"),
        ("schema: 1\nmachine: {usd_per_hour: .nan}\nmodels: {}\n", "models.yaml:2: field 'machine.usd_per_hour'"),
    ],
)
def test_a_broken_file_is_named_with_its_line(text: str, message: str) -> None:
    Path("models.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_models()
    assert str(caught.value).startswith(message)
