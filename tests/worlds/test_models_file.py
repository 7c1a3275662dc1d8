"""`models.toml`: what it says is what is opened; what is wrong in it is said with its place, and no secret is shown."""

from __future__ import annotations

import doctest
import math
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from autotts.core.cost import ModelCard
from autotts.core.latency import Latency
from autotts.errors import InputError
from autotts.strategies.arms import parse
from autotts.worlds.models.addresses import ENDPOINT_KEYS
from autotts.worlds.models.cards import CARDS, find_card
from autotts.worlds.models.costs import LATENCY_KEYS
from autotts.worlds.models.entry import Entry, Scoring, Server, Template, Thinking
from autotts.worlds.models.read import EXAMPLE, KEYS, read_models
from autotts.worlds.models.write import write_latency
from autotts.worlds.shelf import cards as embedded

SECRET = "sk-Very.Secret-1234567890"
PAGE = Path(__file__).parent.parent.parent / "docs" / "models.md"
HERE = 'endpoint = "http://localhost:8000/v1"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "models.toml"
    path.write_bytes(text.encode())
    return path


def models(folder: Path, text: str, environ: dict[str, str] | None = None) -> dict[str, Entry]:
    return read_models(written(folder, text), environ or {})


def one(folder: Path, body: str, environ: dict[str, str] | None = None) -> Entry:
    return models(folder, f"[models.m]\n{body}", environ)["m"]


# ---------------------------------------------------------------- what it says


def test_the_shortest_file_is_a_known_model_on_a_server(tmp_path: Path) -> None:
    entry = models(tmp_path, EXAMPLE)["small"]
    known = CARDS["Qwen/Qwen3-4B"]
    assert entry == Entry(
        name="small",
        engine="openai",
        served="Qwen/Qwen3-4B",
        card=replace(known.card, revision=""),
        servers=(Server("http://localhost:8000/v1"),),
        context=40960,
    )
    assert entry.draws and entry.card.prices("flops").generated == 2 * 4_022_468_096


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "b.key").write_text(f"{SECRET}-b\n")
    text = """
[models.big]
engine = "openai"
model = "org/own-moe"
revision = "2024-05"
parameters = 30.5e9
active_parameters = 3_300_000_000
layers = 48
heads = 32
kv_heads = 4
head_dim = 128
experts = 128
experts_per_token = 8
expert_parameters = 226_492_416
quantisation = "fp8"
kv_quantisation = "fp8"
context = 32768
max_tokens = 8192
usd_prompt = 0.5
usd_cached = 0.05
usd_generated = 2
key_env = "A_KEY"
requests_per_minute = 600
template = { form = "text", user = "Q: {prompt}", step = "\\n", probe = "", stop = ["Q:"], continues = "ids" }
thinking = { enabled = true, effort = "high", budget = 4096 }
extra = { top_k = 20, chat_template_kwargs = { deep = true } }
latency = { b = 1e-5, n = 0.01, m = 2e-9, batch = 16, r2 = 0.99, worst = 0.1 }

[[models.big.endpoints]]
url = "https://a.example/v1/"
weight = 2
most = 8

[[models.big.endpoints]]
url = "http://[::1]:9000/v1"
key_file = "b.key"
tokens_per_minute = 1e6
requests_per_minute = 60
"""
    assert models(tmp_path, text, {"A_KEY": SECRET})["big"] == Entry(
        name="big",
        engine="openai",
        served="org/own-moe",
        card=ModelCard(
            "org/own-moe",
            "2024-05",
            30_500_000_000,
            3_300_000_000,
            48,
            32,
            4,
            128,
            0.5,
            0.05,
            2.0,
            128,
            8,
            226_492_416,
            "fp8",
            "fp8",
            Latency(b=1e-5, n=0.01, m=2e-9, batch=16, r2=0.99, worst=0.1),
        ),
        servers=(
            Server("https://a.example/v1", SECRET, 2.0, 600.0, None, 8),
            Server("http://[::1]:9000/v1", f"{SECRET}-b", 1.0, 60.0, 1e6, 256),
        ),
        revision="2024-05",
        template=Template("text", "", "Q: {prompt}", "\n", "", ("Q:",), "ids"),
        thinking=Thinking(True, "high", 4096),
        max_tokens=8192,
        context=32768,
        extra={"top_k": 20, "chat_template_kwargs": {"deep": True}},
    )


def test_several_addresses_are_one_model(tmp_path: Path) -> None:
    entry = one(tmp_path, 'endpoints = ["http://a/v1", "http://b/v1?api-version=7"]\nmost = 4')
    assert [s.url for s in entry.servers] == ["http://a/v1", "http://b/v1?api-version=7"]
    assert [s.most for s in entry.servers] == [4, 4]


def test_a_model_is_served_under_its_name_unless_said_otherwise(tmp_path: Path) -> None:
    entry = models(tmp_path, f'[models."org/model-7B@1.0"]\n{HERE}')["org/model-7B@1.0"]
    assert entry.served == "org/model-7B@1.0" and entry.card == ModelCard("org/model-7B@1.0", "")
    assert one(tmp_path, HERE + "context = 512").max_tokens == 512


def test_own_keys_come_before_those_of_the_card(tmp_path: Path) -> None:
    entry = one(tmp_path, HERE + 'model = "mine"\ncard = "qwen/qwen3-8b"\nquantisation = "int4"\nlayers = 10\n')
    known = CARDS["Qwen/Qwen3-8B"].card
    assert entry.card == replace(known, name="mine", quantisation="int4", layers=10) and entry.context == 40960


def test_a_model_that_scores(tmp_path: Path) -> None:
    body = HERE + 'model = "Qwen/Qwen2.5-Math-PRM-7B"\nscoring = { kind = "process", shape = "qwen", tag = 7 }'
    entry = one(tmp_path, body)
    assert entry.scoring == Scoring("process", "qwen", "last", {"tag": 7}) and not entry.draws
    assert one(tmp_path, body + '\nrole = "scores"') == entry


def test_weights_in_this_process(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    entry = one(tmp_path, 'engine = "transformers"\npath = "weights"\nparameters = 4e9')
    assert entry.served == str(tmp_path / "weights") and entry.servers == () and entry.card.parameters == 4 * 10**9
    assert one(tmp_path, 'engine = "vllm"\nmodel = "Qwen/Qwen3-4B"').context == 40960


def test_an_embedded_model_has_its_own_card(tmp_path: Path) -> None:
    assert one(tmp_path, 'engine = "tiny"\nmodel = "M"').card == embedded(["M"])["M"]
    assert one(tmp_path, 'engine = "tiny"\nmodel = "prm"').scoring == Scoring("process", "embedded")
    with pytest.raises(InputError, match=r"models.m.layers: expected only engine, model, .* of an embedded model"):
        one(tmp_path, 'engine = "tiny"\nmodel = "S"\nlayers = 2')
    with pytest.raises(InputError, match=r"models.m.model: expected an embedded model, one of S, .*, found 'XL'"):
        one(tmp_path, 'engine = "tiny"\nmodel = "XL"')


# ---------------------------------------------------------------- variants


def test_a_variant_is_a_further_model_with_some_keys_changed(tmp_path: Path) -> None:
    found = models(
        tmp_path,
        f"""
[models.moe]
{HERE}
model = "Qwen/Qwen3-30B-A3B"
extra = {{ top_k = 20, num_experts_per_tok = 8 }}
usd_prompt = 1
usd_generated = 3
latency = {{ n = 0.01 }}

[models.moe.variants.k4]
experts_per_token = 4
extra.num_experts_per_tok = 4

[models.moe.variants.short]
thinking.enabled = false
max_tokens = 100

[models.moe.variants.other]
model = "Qwen/Qwen3-4B"
endpoints = ["http://b/v1"]
""",
    )
    assert list(found) == ["moe", "moe-k4", "moe-short", "moe-other"]
    base, four, short, other = found.values()
    assert four.extra == {"top_k": 20, "num_experts_per_tok": 4}
    # Half of the eight experts of 226 million parameters are left out.
    assert base.card.active_parameters - four.card.active_parameters == 4 * 226_492_416
    assert four.card.latency is None and four.card.usd_generated == 3
    assert four.card.prices("flops").generated < base.card.prices("flops").generated
    assert short == replace(base, name="moe-short", thinking=Thinking(False), max_tokens=100)
    assert other.card == replace(CARDS["Qwen/Qwen3-4B"].card, usd_prompt=1.0, usd_generated=3.0)
    assert [s.url for s in other.servers] == ["http://b/v1"]


def test_experts_of_a_model_without_a_card_need_their_size(tmp_path: Path) -> None:
    own = HERE + "parameters = 9000\nactive_parameters = 3000\n"
    sized = own + "experts = 8\nexperts_per_token = 2\nexpert_parameters = 1000\n"
    text = "[models.m.variants.k]\nexperts_per_token = 5"
    assert models(tmp_path, f"[models.m]\n{sized}{text}")["m-k"].card.active_parameters == 6000
    with pytest.raises(InputError, match=r"variants.k.active_parameters: expected a count, as its card does not say"):
        models(tmp_path, f"[models.m]\n{own}{text}")
    with pytest.raises(InputError, match=r"variants.k.experts_per_token: expected at most the 8 experts"):
        models(tmp_path, f"[models.m]\n{sized}{text}5")


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "models.m.endpoints: expected a list of addresses"),
        ("endpoint = 5", "models.m.endpoint: expected an address up to the version, such as http"),
        ('endpoint = "localhost:8000/v1"', "models.m.endpoint: expected an address"),
        ('endpoint = "ftp://a/v1"', "found ftp://a/v1"),
        ('endpoint = "http://a:99999/v1"', "found one with a wrong host or port"),
        ('endpoint = "http://a/v1/chat/completions"', "goes on to /chat/completions: leave that out"),
        ('endpoint = "http://a b/v1"', "found one with spaces in it"),
        ('endpoints = ["http://a/v1", "http://a/v1/"]', "addresses that differ, found http://a/v1 twice"),
        ('endpoints = ["http://a/v1", 3]', r"models.m.endpoints\[1\]: expected an address"),
        ('endpoint = "http://a/v1"\nendpoints = []', "expected either endpoint or endpoints, found both"),
        ('endpoints = [{ url = "http://a/v1", wieght = 1 }]', "found 'wieght'; did you mean 'weight'"),
        ('endpoints = [{ url = "http://a/v1", weight = 0 }]', "endpoints.weight: expected a number above 0, found 0"),
        (HERE + "usd_promt = 1", "models.m: expected known keys only, found 'usd_promt'; did you mean 'usd_prompt'"),
        (HERE + "usd_prompt = -1\nusd_generated = 1", "usd_prompt: expected a number of at least 0, found -1"),
        (HERE + "usd_prompt = nan\nusd_generated = 1", "usd_prompt: expected a number of at least 0, found nan"),
        (HERE + "usd_prompt = '1'", "usd_prompt: expected a number of at least 0, found '1'"),
        (HERE + "usd_prompt = true", "usd_prompt: expected a number of at least 0, found True"),
        (HERE + "usd_prompt = 1", "usd_generated: expected a price in dollars per million tokens"),
        (HERE + "usd_cached = 1", "usd_prompt: expected a price in dollars per million tokens"),
        (HERE + "parameters = 4", "parameters: expected a whole number of at least 1000, such as 4.02e9, found 4"),
        (HERE + "parameters = 5000\nactive_parameters = 6000", "active_parameters: expected at most its 5000"),
        (HERE + "layers = 2.5", "layers: expected a whole number of at least 1, found 2.5"),
        (HERE + "layers = 2", "heads: expected a count, as all of layers, heads, kv_heads, head_dim are needed"),
        (HERE + "layers = 1\nheads = 5\nkv_heads = 2\nhead_dim = 1", "kv_heads: expected a divisor of its 5 heads"),
        (HERE + "experts = 2\nexperts_per_token = 3", "experts_per_token: expected at most the 2 experts"),
        (HERE + 'quantisation = "q4"', "quantisation: expected one of fp32, .*, found 'q4'"),
        (HERE + 'card = "Qwen/Qwen3-5B"', "card: expected a model with a built-in card, such as Qwen/Qwen3-.*B"),
        (HERE + 'engine = "vlm"', "engine: expected one of openai, vllm, transformers, tiny, found 'vlm'"),
        (HERE + 'engine = "vllm"', "endpoint: expected no server, as engine 'vllm' answers in this process"),
        (HERE + 'path = "x"', "path: expected model, as engine 'openai' opens no weights"),
        ('engine = "vllm"\npath = "none"', "path: expected a folder with a model's weights, found no folder"),
        ('engine = "vllm"\npath = "none"\nmodel = "a"', "path: expected either model or path, found both"),
        (HERE + 'model = ""', "model: expected a text that is not empty, found ''"),
        (HERE + "model = 4", "model: expected a text, found 4"),
        (HERE + "max_tokens = 0", "max_tokens: expected a whole number of at least 1, found 0"),
        (HERE + "max_tokens = 600\ncontext = 500", "max_tokens: expected at most its context of 500 tokens, found 600"),
        (HERE + 'role = "draw"', "role: expected one of draws, scores, found 'draw'"),
        (HERE + 'role = "scores"', "scoring: expected a table with kind and shape, as the role is scores"),
        (HERE + 'role = "draws"\nscoring = {kind = "judge", shape = "a"}', "role: expected scores, as it has a table"),
        (HERE + 'scoring = {shape = "a"}', "scoring.kind: expected it to be given"),
        (HERE + 'scoring = {kind = "prm", shape = "a"}', "scoring.kind: expected one of process, outcome, judge"),
        (HERE + 'scoring = {kind = "judge", shape = "a", x = 1979-05-27}', "scoring.x: expected what JSON can hold"),
        (HERE + 'template = "chat"', "template: expected a table, found 'chat'"),
        (HERE + 'template.user = "hello"', "template.user: expected a text with {prompt} in it"),
        (HERE + 'template.step = ""', "template.step: expected a text that ends a step"),
        (HERE + 'template.stop = "a"', "template.stop: expected a list of texts"),
        (HERE + 'template.continues = "id"', "template.continues: expected one of auto, ids, text, message, none"),
        (HERE + 'thinking.effort = "much"', "thinking.effort: expected one of none, minimal, low"),
        (HERE + "thinking.budget = -1", "thinking.budget: expected a whole number of at least 0, found -1"),
        (HERE + "thinking.enabled = 1", "thinking.enabled: expected true or false, found 1"),
        (HERE + "extra.temperature = 1", "extra.temperature: expected a further field of requests"),
        (HERE + "extra.x = inf", "extra.x: expected what JSON can hold"),
        (HERE + "latency = {n = 1, o = 2}", "latency: expected known keys only, found 'o'"),
        (HERE + "latency = {a = 1}", "latency.n: expected seconds of a generated token"),
        (
            HERE + 'scoring = {kind = "judge", shape = "score"}\nlatency = {a = 1}',
            "latency.n: expected seconds of a generated token",
        ),
        (
            HERE + 'scoring = {kind = "outcome", shape = "classify"}\nlatency = {n = 1}',
            "latency.c: expected seconds of a prompt",
        ),
        (HERE + "latency = {n = -1}", "latency.n: expected a number of at least 0, found -1"),
        (HERE + "variants = 3", "models.m.variants: expected a table, found 3"),
        (
            HERE + "[models.m.variants.x]\nvariants = {}",
            "models.m.variants.x: expected known keys only, found 'variants'",
        ),
        (HERE + '[models.m.variants."a b"]', "variants.a b: expected a name that arms can write"),
        (HERE + f"[models.m.variants.x]\n[models.m-x]\n{HERE}", "names that differ, found 'm-x' twice"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, body: str, words: str) -> None:
    with pytest.raises(InputError, match=rf"models\.toml: .*{words}"):
        one(tmp_path, body)


@pytest.mark.parametrize("name", ["4", "1e9", "a b", "", "-a", "ä", "S, n=3", "a,b", "'x'"])
def test_a_name_that_arms_cannot_write_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="expected a name that arms can write"):
        models(tmp_path, f'[models."{name}"]\n{HERE}')


def test_a_name_that_is_read_is_what_an_arm_names(tmp_path: Path) -> None:
    for name in ("S", "true-7B", "org/model@1.0", "4x7B", "a.b:c+d"):
        (entry,) = models(tmp_path, f'[models."{name}"]\n{HERE}').values()
        assert parse(f"vote(n=2, model={entry.name})").model == name  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected at least one model, found none; a file begins like this"),
        ("[models]", "expected at least one model"),
        ("models = 3", "expected tables such as .models.small. only, found 'models'"),
        ("[model.m]\n", "found 'model'"),
        ("models.m = 3", "models.m: expected a table, found 3"),
        ("[models.m", "expected TOML, found something else: .*at end of document"),
        (f"[models.m]\n{HERE}[models.m]\n", "expected TOML, found something else"),
        ("[models.m]\nmodel = '\udcff'", "expected text in UTF-8"),
    ],
)
def test_what_is_no_file_of_models_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "models.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=words):
        read_models(path, {})


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "no.toml", tmp_path):
        with pytest.raises(InputError, match="expected a file of models, found none: "):
            read_models(path, {})


# ---------------------------------------------------------------- secrets


def test_keys_come_from_files_and_the_environment_and_are_never_shown(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text(f"  {SECRET}\r\n")
    for body, environ in (('key_file = "key.txt"', {}), ('key_env = "OPENAI_API_KEY"', {"OPENAI_API_KEY": SECRET})):
        entry = one(tmp_path, HERE + body, environ)
        assert entry.servers[0].key == SECRET
        assert SECRET not in f"{entry!r} {entry} {entry.servers}"


@pytest.mark.parametrize(
    "body",
    [
        f'key = "{SECRET}"',
        f'api_key = "{SECRET}"',
        f'key_env = "{SECRET}"',
        f'key_file = "{SECRET}"',
        f'endpoints = [{{ url = "http://a/v1", key = "{SECRET}" }}]',
        f'endpoint = "http://me:{SECRET}@a/v1"',
        f'endpoint = "http://{SECRET}@a:b/v1"',
        f'endpoint = "https://a/v1?api_key={SECRET}"',
        f'endpoint = "{SECRET}"',
        f'endpoint = "http://a/v1#{SECRET} "',
        f'extra = {{ api_key = "{SECRET}" }}',
        f'extra = {{ Authorization = "{SECRET}" }}',
        f'key_env = "A"\nkey_file = "{SECRET}"',
        'key_env = "SPACED"',
        'key_file = "two.txt"',
        'key_file = "empty.txt"',
        f'key_file = ["{SECRET}"]',
        f'model = "x\n{SECRET}',
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_shown(tmp_path: Path, body: str) -> None:
    (tmp_path / "two.txt").write_text(f"{SECRET}\nsecond line {SECRET}")
    (tmp_path / "empty.txt").write_text("\n")
    head = "" if "endpoint" in body else HERE
    with pytest.raises(InputError) as error:
        one(tmp_path, head + body, {"SPACED": f"a {SECRET}", "A": "x"})
    assert SECRET not in str(error.value) and SECRET[-10:] not in str(error.value)
    assert error.value.__cause__ is None and (error.value.__context__ is None or error.value.__suppress_context__)


def test_a_key_that_is_not_there_names_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"models.m.key_env: expected the environment variable MY_KEY to be set"):
        one(tmp_path, HERE + 'key_env = "MY_KEY"')
    with pytest.raises(InputError, match=r"models.m.key_file: expected a file that can be read.*No such file"):
        one(tmp_path, HERE + 'key_file = "key.txt"')


# ---------------------------------------------------------------- built-in cards

# Hidden size, intermediate size, vocabulary, output matrix of its own, biases of q, k, v; norms of queries and keys.
BUILT = {
    "Qwen/Qwen3-0.6B": (1024, 3072, 151936, True, False, True),
    "Qwen/Qwen3-1.7B": (2048, 6144, 151936, True, False, True),
    "Qwen/Qwen3-4B": (2560, 9728, 151936, False, False, True),
    "Qwen/Qwen3-8B": (4096, 12288, 151936, True, False, True),
    "Qwen/Qwen3-14B": (5120, 17408, 151936, True, False, True),
    "Qwen/Qwen3-32B": (5120, 25600, 151936, True, False, True),
    "Qwen/Qwen2.5-0.5B": (896, 4864, 151936, False, True, False),
    "Qwen/Qwen2.5-1.5B": (1536, 8960, 151936, False, True, False),
    "Qwen/Qwen2.5-3B": (2048, 11008, 151936, False, True, False),
    "Qwen/Qwen2.5-7B": (3584, 18944, 152064, True, True, False),
    "Qwen/Qwen2.5-14B": (5120, 13824, 152064, True, True, False),
    "Qwen/Qwen2.5-32B": (5120, 27648, 152064, True, True, False),
    "Qwen/Qwen2.5-72B": (8192, 29568, 152064, True, True, False),
    "meta-llama/Llama-3.1-8B": (4096, 14336, 128256, True, False, False),
    "meta-llama/Llama-3.1-70B": (8192, 28672, 128256, True, False, False),
    "meta-llama/Llama-3.1-405B": (16384, 53248, 128256, True, False, False),
    "meta-llama/Llama-3.2-1B": (2048, 8192, 128256, False, False, False),
    "meta-llama/Llama-3.2-3B": (3072, 8192, 128256, False, False, False),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": (1536, 8960, 151936, True, True, False),
    "mistralai/Mistral-7B-Instruct-v0.2": (4096, 14336, 32000, True, False, False),
    "mistralai/Mistral-7B-Instruct-v0.3": (4096, 14336, 32768, True, False, False),
    "mistralai/Mistral-Small-24B-Instruct-2501": (5120, 32768, 131072, True, False, False),
    "microsoft/phi-4": (5120, 17920, 100352, True, False, False),
}


@pytest.mark.parametrize("name", BUILT)
def test_parameters_of_a_card_are_those_of_its_shape(name: str) -> None:
    hidden, inner, words, own_output, biased, normed = BUILT[name]
    card = CARDS[name].card
    queries, keys = card.heads * card.head_dim, card.kv_heads * card.head_dim
    attention = 2 * hidden * (queries + keys) + biased * (queries + 2 * keys) + normed * 2 * card.head_dim
    layer = attention + 3 * hidden * inner + 2 * hidden
    assert card.parameters == card.layers * layer + hidden + (1 + own_output) * words * hidden


@pytest.mark.parametrize(
    ("name", "billions"),
    [("0.6B", 0.752), ("1.7B", 2.03), ("4B", 4.02), ("8B", 8.19), ("14B", 14.77), ("32B", 32.76)],
)
def test_qwen3_is_counted_as_kinetics_counts(name: str, billions: float) -> None:
    assert CARDS[f"Qwen/Qwen3-{name}"].card.parameters == pytest.approx(billions * 1e9, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "whole", "active", "each"),
    [
        ("Qwen/Qwen3-30B-A3B", 30.5, 3.3, 3 * 2048 * 768 * 48),
        ("Qwen/Qwen3-235B-A22B", 235, 22, 3 * 4096 * 1536 * 94),
        ("openai/gpt-oss-20b", 20.9, 3.6, (3 * 2880**2 + 3 * 2880) * 24),
        ("openai/gpt-oss-120b", 116.8, 5.1, (3 * 2880**2 + 3 * 2880) * 36),
        ("deepseek-ai/DeepSeek-R1", 671, 37, 3 * 7168 * 2048 * 58),
    ],
)
def test_mixtures_of_experts_are_as_published(name: str, whole: float, active: float, each: int) -> None:
    card = CARDS[name].card
    assert card.parameters == pytest.approx(whole * 1e9, rel=5e-3)
    assert card.active_parameters == pytest.approx(active * 1e9, rel=2e-2)
    assert card.expert_parameters == each
    # With all experts, nearly all of the model is active: gpt-oss leaves its input embedding out.
    assert card.with_experts(card.experts).active_parameters == pytest.approx(card.parameters, rel=0.03)


def test_every_card_has_a_source_and_prices() -> None:
    for name, known in CARDS.items():
        assert known.card.name == name and known.source.startswith("https://huggingface.co/") and known.context >= 4096
        assert known.card.prices("flops").generated > 0
        if known.card.layers is not None:
            assert known.card.heads % known.card.kv_heads == 0 and known.card.prices("eflops").generated_context > 0


def test_a_card_is_found_in_any_case_and_in_fewer_bits() -> None:
    assert find_card("qwen/qwen3-8b") is CARDS["Qwen/Qwen3-8B"]
    assert find_card("Qwen/Qwen3-8B-FP8").card == replace(
        CARDS["Qwen/Qwen3-8B"].card, name="Qwen/Qwen3-8B-FP8", quantisation="fp8"
    )
    assert find_card("Qwen/Qwen3-9B") is None and find_card("me/Qwen3-8B-FP8") is None


# ---------------------------------------------------------------- writing a measured speed

FILE = """# My models.
[models.small]  # on the old machine
endpoint = "http://localhost:8000/v1"   # the first
model = "Qwen/Qwen3-4B"

# The large one.
[models."org/large"]
endpoint = "http://localhost:8001/v1"
template.user = '''
{prompt}
[not a header]
'''

[models."org/large".variants.k4]
max_tokens = 7
"""
SPEED = Latency(a=1.5e-9, b=2e-6, c=0.01, n=0.0071234567, k0=1e-5, m=3e-8, batch=32, r2=0.998, worst=0.07)


@pytest.mark.parametrize("name", ["small", "org/large", "org/large-k4"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_speed_is_written_and_all_else_is_left(tmp_path: Path, name: str, end: str) -> None:
    path = written(tmp_path, FILE.replace("\n", end))
    path.chmod(0o640)
    before = read_models(path, {})
    write_latency(path, name, SPEED)
    after = read_models(path, {})
    found = after[name].card.latency
    assert found is not None and math.isclose(found.n, SPEED.n, rel_tol=1e-5)
    assert replace(found, n=SPEED.n) == SPEED
    assert replace(after[name], card=replace(after[name].card, latency=None)) == before[name]
    text = path.read_bytes().decode()
    new = [line for line in text.split(end) if line not in FILE.split("\n")]
    assert len(new) == 11 and new[0].endswith("latency]") and "\r" not in text.replace("\r\n", "")
    assert [line for line in text.split(end) if line not in new and line] == [x for x in FILE.split("\n") if x]
    assert path.stat().st_mode & 0o777 == 0o640 and [p.name for p in tmp_path.iterdir()] == ["models.toml"]


def test_a_new_speed_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = written(tmp_path, FILE)
    write_latency(path, "small", SPEED)
    text = path.read_text()
    path.write_text(text.replace("[models.small.latency]", "[models.small.latency] # measured\n# on an H200"))
    write_latency(path, "small", replace(SPEED, n=0.5, r2=None))
    again = path.read_text()
    assert "# measured\n# on an H200\n" in again and "r2" not in again
    assert read_models(path, {})["small"].card.latency.n == 0.5
    write_latency(path, "small", SPEED)
    assert path.read_text().replace(" # measured\n# on an H200", "") == text


def test_a_speed_in_one_line_is_replaced(tmp_path: Path) -> None:
    path = written(tmp_path, f"[models.m]\n{HERE}latency = {{ n = 1 }}\nmax_tokens = 5")
    write_latency(path, "m", SPEED)
    entry = read_models(path, {})["m"]
    assert entry.max_tokens == 5 and entry.card.latency.batch == 32


def test_a_reward_model_has_a_speed_without_generated_tokens(tmp_path: Path) -> None:
    entry = one(tmp_path, HERE + 'scoring = {kind = "outcome", shape = "classify"}\nlatency = {b = 1e-5}')
    assert entry.card.prices("s").prompt > 0 and entry.card.prices("s").generated == 0


def test_a_link_goes_on_pointing_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path = written(tmp_path / "real", FILE)
    link = tmp_path / "models.toml"
    link.symlink_to(path)
    write_latency(link, "small", SPEED)
    assert link.is_symlink() and read_models(path, {})["small"].card.latency is not None


@pytest.mark.parametrize(
    "text",
    [
        '[models]\nm = { endpoint = "http://a/v1" }\n',
        'models.m.endpoint = "http://a/v1"\n',
        '[models.m]\nendpoint = "http://a/v1"\nlatency.n = 1\nlatency.m = 0\n',
    ],
)
def test_a_text_that_cannot_be_changed_is_left_and_the_table_shown(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=r"write this in yourself:\n\[models.m.latency\]\na = 1.5e-09\n") as error:
        write_latency(path, "m", SPEED)
    assert path.read_text() == text
    assert tomllib.loads(str(error.value).partition("yourself:\n")[2])["models"]["m"]["latency"]["batch"] == 32


def test_a_speed_of_an_unknown_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a model of small, org/large, org/large-k4, found 'k4'"):
        write_latency(written(tmp_path, FILE), "k4", SPEED)


# ---------------------------------------------------------------- the page


def test_every_file_that_the_page_shows_can_be_read(tmp_path: Path) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    found = [models(tmp_path, block, {"EXAMPLE_API_KEY": SECRET}) for block in blocks]
    assert [list(some) for some in found] == [["small"], ["small", "hosted", "moe", "moe-k4", "prm"], ["small"]]
    assert found[2]["small"].card.prices("s").generated == round((0.0068 / 32 + 2.1e-5) * 10**12)


def test_the_page_names_every_key() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [
        key for key in (*KEYS, *ENDPOINT_KEYS, *LATENCY_KEYS) if f"`{key}`" not in text and f"\n{key} =" not in text
    ] == []


def test_what_the_page_computes_is_what_it_shows() -> None:
    done = doctest.testfile(str(PAGE), module_relative=False)
    assert done.attempted > 8 and done.failed == 0


ODD = ["1", "-1", "0", "1.5", "1e400", "nan", "true", '""', '"x"', '" "', "[]", "[1]", '["a", ""]', "{}", "{ a = 1 }"]
ODD += ["1979-05-27", "[[]]", '"\\u0000"', '"http://[::1"', "[{}]", '[{ url = "http://a" }]', "{ b = { c = [nan] } }"]


@pytest.mark.parametrize("key", [*KEYS, "variants", "variants.v.experts_per_token", "extra.x", "template.user"])
def test_whatever_a_key_holds_is_read_or_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "x").mkdir()
    for base in (HERE, HERE + 'model = "Qwen/Qwen3-30B-A3B"\n', 'engine = "vllm"\n', 'engine = "tiny"\nmodel = "S"\n'):
        kept = [line for line in base.splitlines() if not line.startswith(f"{key} ")]
        refused = 0
        for value in ODD:
            try:
                one(tmp_path, "\n".join([*kept, f"{key} = {value}"]), {"x": "y"})
            except InputError as error:
                refused += 1
                assert "models.toml: models.m" in str(error) and len(str(error)) < 1500
        assert refused > 0
