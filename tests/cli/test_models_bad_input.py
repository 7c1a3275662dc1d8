"""Models behind servers that are wrong, away, or not what they seem: one message, its exit code, nothing lost."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autotts.worlds.fake_server import FakeModel, FakeServer, Pace, Solver, serving
from autotts.worlds.fake_server.models import Script
from autotts.worlds.fake_server.ready import ready
from tests.cli.conftest import Cli, Ended

KEY = "sk-0123456789-very-secret"
DEAD = "http://127.0.0.1:9/v1"
PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from autotts.cli import main; main()"
)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme.upper()}_PROXY", raising=False)
    monkeypatch.setenv("TEST_KEY", KEY)


def told(ended: Ended, *words: str, code: int) -> None:
    """One message and nothing else but, of a backend that failed, how to go on; the key is not in it."""
    assert (ended.code, ended.out) == (code, ""), ended
    message, _, more = ended.err.partition("\n")
    assert message.startswith("autotts: "), ended.err
    assert not more or (code == 4 and "Go on with:\n  autotts " in more and more.count("\n") == 2), ended.err
    assert KEY not in ended.err
    for word in words:
        assert word in ended.err


def table(url: str, name: str = "small", more: str = "", model: str = "") -> str:
    return f'[models.{name}]\nendpoint = "{url}"\nmodel = "{model or name}"\n{more}\n'


@contextmanager
def listening(handler: Handler, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port at which a handler answers, in a thread of its own."""
    loop, begun = asyncio.new_event_loop(), threading.Event()
    ports: list[int] = []
    end = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
        async with server:
            ports.append(server.sockets[0].getsockname()[1])
            begun.set()
            await end.wait()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        rest = asyncio.all_tasks(loop)
        for task in rest:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()


def answering(body: bytes, status: str = "200 OK", *, head: str = "", seen: list[bytes] | None = None) -> Handler:
    """The same answer to everything, after which the connection is closed."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: *(\d+)", asked.lower())
            asked += await reader.readexactly(int(length[1]) if length else 0)
            if seen is not None:
                seen.append(asked)
            lines = f"HTTP/1.1 {status}\r\n{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(lines.encode() + body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return handle


class Study:
    """A small study of sums on servers, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.models = folder / "models.toml"
        self.questions = folder / "sums.jsonl"
        rows = [{"prompt": f"What is {a} + {a % 7 + 3} * 4?", "answer": a + (a % 7 + 3) * 4} for a in range(10, 50)]
        self.questions.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def argv(self, toml: str, *, strategies: str = '["one"]', more: str = "", **shape: int) -> list[str]:
        self.models.write_text(toml)
        sizes = {"search": 8, "confirm": 8, "block": 4, "trials": 2, "slots": 1} | shape
        lines = [f'task = "{self.questions}"', f'models = ["{self.models}"]', f"strategies = {strategies}", more]
        lines += [f"{name} = {value}" for name, value in sizes.items()]
        if "budget" not in more:
            lines.append('budget = "2ktokens"')
        path = self.folder / "mine.toml"
        path.write_text("\n".join(lines) + "\n")
        return ["optimize", "--study", str(path), "--out", str(self.out), "--yes", "--quiet"]

    def keys(self) -> set[bytes]:
        """The samples that are kept."""
        path = self.out / "autotts.db"
        if not path.exists():
            return set()
        with sqlite3.connect(path, timeout=30) as db:
            try:
                return {row[0] for row in db.execute("SELECT key FROM autotts_sample WHERE kind != 'root'")}
            except sqlite3.OperationalError:  # the tables are not there yet
                return set()


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with serving(FakeServer(ready(("small", "prm")))) as one:
        yield one


@pytest.fixture
def made(cli: Cli, study: Study, server: FakeServer) -> Path:
    """A policy of a study on a server."""
    ended = cli(*study.argv(table(server.url)))
    assert ended.code == 0, ended.err
    return study.out / "policy.json"


# ---------------------------------------------------------------- who is not there, and who is no server


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (answering(b"<html>hi</html>", head="Content-Type: text/html\r\n"), 2, ("OpenAI's form", "'hi'")),
        (answering(b""), 2, ("OpenAI's form",)),
        (answering(b'{"hello": 1}'), 2, ("OpenAI's form",)),
        (answering(b"<html>nothing</html>", "404 Not Found"), 2, ("HTTP 404", "up to the version (/v1)?")),
        (answering(b"<html>boom</html>", "500 Internal Server Error"), 4, ("HTTP 500: boom",)),
        (answering(json.dumps({"error": f"bad key {KEY}"}).encode(), "401 Unauthorized"), 2, ("its key was refused",)),
        (answering(b'{"error": "slow down"}', "429 Too Many Requests"), 4, ("HTTP 429: slow down",)),
    ],
    ids=["html", "empty", "json", "404", "500", "401", "429"],
)
def test_what_is_no_server_of_models_is_told_within_seconds(
    cli: Cli, study: Study, answer: Handler, code: int, words: tuple[str, ...]
) -> None:
    with listening(answer) as port:
        told(cli(*study.argv(table(f"http://127.0.0.1:{port}/v1", more='key_env = "TEST_KEY"'))), *words, code=code)
    assert not study.keys() and not (study.out / "policy.json").exists()


def test_a_server_that_is_down_is_told_by_every_command(cli: Cli, study: Study, made: Path) -> None:
    study.models.write_text(table(DEAD))
    words = ("model 'small'", f"no connection to {DEAD}", "run the same command again")
    told(cli("evaluate", made, "--task", study.questions, "--prompts", 2, "--models", study.models), *words, code=4)
    told(cli("run", made, "What is 3 + 4?", "--models", study.models), *words, code=4)
    told(cli("run", made, "What is 3 + 4?", "--upstream", DEAD), *words, code=4)
    shutil.rmtree(study.out)
    told(cli(*study.argv(table(DEAD))), *words, code=4)
    assert not study.keys()


def test_an_upstream_that_is_a_web_page_is_told(cli: Cli, made: Path) -> None:
    with listening(answering(b"<html>hi</html>", head="Content-Type: text/html\r\n")) as port:
        ended = cli("run", made, "What is 3 + 4?", "--upstream", f"http://127.0.0.1:{port}/v1")
    told(ended, "expected a JSON object, found 'hi'", "up to the version (/v1)?", code=2)


def test_a_key_is_nowhere_in_what_is_written(cli: Cli, study: Study) -> None:
    with serving(FakeServer(ready(("small",)), key=KEY)) as server:
        ended = cli(*study.argv(table(server.url, more='key_env = "TEST_KEY"')))
        assert ended.code == 0, ended.err
        wrong = study.folder / "key.txt"
        wrong.write_text(KEY[::-1])
        again = Study(study.folder / "again") if (study.folder / "again").mkdir() is None else study
        refused = cli(*again.argv(table(server.url, more=f'key_file = "{wrong}"')))
    told(refused, "its key was refused", "check the key", code=2)
    assert KEY[::-1] not in refused.err
    files = [path for path in study.folder.rglob("*") if path.is_file() and path != wrong]
    assert {"autotts.db", "result.json", "policy.json", "report.html"} <= {path.name for path in files}
    for path in files:
        assert KEY.encode() not in path.read_bytes() and KEY[::-1].encode() not in path.read_bytes(), path


def test_a_model_that_is_not_served_is_told_with_those_that_are(cli: Cli, study: Study, server: FakeServer) -> None:
    toml = table(server.url) + table(server.url, name="big", model="nobody")
    told(cli(*study.argv(toml)), "model 'big'", "`nobody`", "the server lists prm, small", code=2)


# ---------------------------------------------------------------- what models cannot do, and what is not known of them


@pytest.mark.parametrize("strategy", ["cut", "staged", "beam", "dvts"])
def test_a_strategy_that_a_server_cannot_run_is_told_before_anything_is_drawn(
    cli: Cli, study: Study, strategy: str
) -> None:
    scorer = 'scoring = { kind = "process", shape = "qwen-prm" }'
    with serving(FakeServer(ready(("small", "prm")), openai=True, strict=True)) as plain:
        toml = table(plain.url) + table(plain.url, name="prm", more=scorer)
        ended = cli(*study.argv(toml, strategies=f'["one", "{strategy}"]'))
    told(ended, f"--strategies: {strategy} cannot be run here", "autotts models check", code=2)
    assert not study.keys()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("usd_prompt = -1\nusd_generated = 1", ("models.small.usd_prompt", "at least 0", "-1")),
        ("usd_prompt = nan\nusd_generated = 1", ("models.small.usd_prompt", "nan")),
        ("usd_prompt = 0.1", ("models.small.usd_generated", "beside the other prices", "nothing")),
        ("usd_generated = 0.1", ("models.small.usd_prompt", "nothing")),
        ("usd_prompt = 1\nusd_generated = 1\nusd_cached = -1", ("models.small.usd_cached", "-1")),
        ("parameters = 8", ("models.small.parameters", "such as 4.02e9", "8")),
        ("usd_promt = 3", ("'usd_promt'", "did you mean 'usd_prompt'?")),
    ],
)
def test_a_price_that_is_none_is_named_with_its_place(
    cli: Cli, study: Study, more: str, words: tuple[str, ...]
) -> None:
    told(cli(*study.argv(table(DEAD, more=more))), str(study.models), *words, code=2)
    assert not study.out.exists() or not study.keys()


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("1usd", ("no price per million tokens", "usd_prompt")),
        ("1e12flops", ("no parameter count or shape", "parameters")),
        ("1e12eflops", ("no parameter count or shape",)),
        ("2s", ("no speed is known", "autotts models measure")),
    ],
)
def test_a_unit_that_is_not_known_of_a_model_is_told(
    cli: Cli, study: Study, amount: str, words: tuple[str, ...]
) -> None:
    told(cli(*study.argv(table(DEAD), more=f'budget = "{amount}"')), "'small'", *words, code=2)
    argv = ("evaluate", "--strategy", "one(model=small)", "--models", study.models, "--cap", amount)
    told(cli(*argv, "--task", study.questions, "--prompts", 1), "'small'", *words, code=2)


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_an_engine_that_is_not_installed_says_what_to_install(
    cli: Cli, study: Study, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, engine, None)
    toml = f'[models.inside]\nengine = "{engine}"\nmodel = "nobody/nothing"\nparameters = 1e9\n'
    told(cli(*study.argv(toml)), "'inside'", f"pip install 'autotts-optimizer[{engine}]'", code=2)


def test_a_task_whose_package_is_missing_says_what_to_install(
    cli: Cli, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    words = "pip install 'autotts-optimizer[gym]'"
    told(cli("optimize", "--task", "reasoning_gym:chain_sum", "--out", study.out, "--quiet"), words, code=2)
    study.models.write_text(table(DEAD))
    told(cli("optimize", "--task", "math", "--models", study.models, "--out", study.out, "--quiet"), words, code=2)


def test_prompts_beyond_a_declared_context_are_named(cli: Cli, study: Study, server: FakeServer) -> None:
    study.questions.write_text(
        "".join(json.dumps({"prompt": f"What is {a} + 3?{' really' * 99}", "answer": a + 3}) + "\n" for a in range(40))
    )
    ended = cli(*study.argv(table(server.url, more="context = 80")))
    told(ended, "really", "words or more", "reads up to 80 tokens", "shorten it", code=2)


# ---------------------------------------------------------------- ways to a server


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A certificate that nobody has signed but itself."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*argv, "-days", "2", *files, *name], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def test_a_certificate_that_is_not_trusted_is_told(cli: Cli, study: Study, certified: ssl.SSLContext) -> None:
    with listening(answering(b"{}"), certified) as port:
        told(cli(*study.argv(table(f"https://127.0.0.1:{port}/v1"))), "not trusted", "SSL_CERT_FILE", code=2)


def test_proxies_of_the_environment_are_used(
    cli: Cli, study: Study, made: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    before = server.counts.requests
    argv = ("run", made, "What is 3 + 4?", "--json")
    for where in (("--upstream", server.url), ("--models", study.models)):
        told(cli(*argv, *where), f"no connection to {server.url}", "through a proxy", code=4)
    assert server.counts.requests == before
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert json.loads(cli(*argv, "--upstream", server.url).out)["answer"] == "7"
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("http_proxy", "socks9://user:hunter22@nowhere")
    told(cli(*argv, "--upstream", server.url), "the proxy", "cannot be used", code=2)


def test_an_address_of_ipv6_is_reached(cli: Cli, study: Study) -> None:
    with serving(FakeServer(ready(("small",)), host="::1")) as server:
        assert "[::1]" in server.url
        assert cli(*study.argv(table(server.url))).code == 0


def test_a_key_does_not_follow_a_redirect(cli: Cli, study: Study) -> None:
    seen: list[bytes] = []
    with listening(answering(b"{}", seen=seen)) as other:
        head = f"Location: http://127.0.0.1:{other}/v1/chat/completions\r\n"
        with listening(answering(b"", "307 Temporary Redirect", head=head)) as port:
            ended = cli(*study.argv(table(f"http://127.0.0.1:{port}/v1", more='key_env = "TEST_KEY"')))
    told(ended, f"it sends us on to 'http://127.0.0.1:{other}/v1", "redirects are not followed", code=2)
    assert not seen


# ---------------------------------------------------------------- other models than before


def test_models_that_changed_between_two_runs_are_told(cli: Cli, study: Study, made: Path, server: FakeServer) -> None:
    kept = study.keys(), made.read_bytes()
    other = table(server.url, more='template = { user = "Q: {prompt}" }')
    told(cli(*study.argv(other)), "holds another study", "models.small is", "another folder with --out", code=2)
    told(cli("run", made, "What is 3 + 4?", "--models", study.models), "'small' is", "optimize again", code=2)
    assert (study.keys(), made.read_bytes()) == kept
    study.models.write_text(table(server.url, name="big", model="small"))
    told(cli("run", made, "What is 3 + 4?", "--models", study.models), "unknown model 'small'", "some of big", code=2)
    told(cli("run", made, "What is 3 + 4?"), "--models FILE", "--upstream URL", code=2)


# ---------------------------------------------------------------- odd prompts, odd answers


@pytest.mark.parametrize(
    ("prompt", "words"),
    [("", "found nothing"), (" \n", "found nothing"), ("What is 3 + \udce9?", "half a character (a lone surrogate)")],
    ids=["empty", "space", "surrogate"],
)
def test_a_prompt_that_cannot_be_asked_is_told(
    cli: Cli, study: Study, made: Path, server: FakeServer, prompt: str, words: str
) -> None:
    told(cli("run", made, prompt, "--upstream", server.url), words, code=2)
    path = study.folder / "in.jsonl"
    path.write_text(json.dumps({"prompt": "What is 3 + 4?"}) + "\n" + json.dumps({"prompt": prompt}) + "\n")
    target = study.folder / "answers.jsonl"
    ended = cli("run", made, "--input", path, "--output", target, "--upstream", server.url)
    told(ended, "line 2", code=2)
    assert not target.exists()


def test_control_characters_and_long_prompts_are_only_text(
    cli: Cli, study: Study, made: Path, server: FakeServer
) -> None:
    path, target = study.folder / "in.jsonl", study.folder / "answers.jsonl"
    prompts = ["What is\0 3 + 4?\x1b[31m", "What is 3 + 4?" + " x" * 500_000]
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    ended = cli("run", made, "--input", path, "--output", target, "--upstream", server.url, "--json")
    assert ended.code == 0, ended.err
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["prompt"] for row in rows] == prompts
    assert [row["answer"] for row in rows] == ["7", None]  # the second does not fit into the model's context
    assert "\x1b" not in target.read_text()


def odd(text: str) -> Script:
    return lambda prompt, partial, seed, temperature, top_p: text


@pytest.mark.parametrize("text", ["half \ud800 of it \\boxed{7}", "nul \0 and \x1b[2J \\boxed{7}", "x" * 1_000_000])
def test_odd_answers_are_only_text(cli: Cli, study: Study, text: str) -> None:
    with serving(FakeServer([FakeModel("small", odd(text))], pace=Pace(chunk=64))) as server:
        ended = cli(*study.argv(table(server.url)))
        assert ended.code == 0, ended.err
        study.questions.write_text(json.dumps({"prompt": "What is 3 + 4?"}) + "\n")
        target = study.folder / "answers.jsonl"
        argv = ("run", study.out / "policy.json", "--upstream", server.url)
        ended = cli(*argv, "--input", study.questions, "--output", target)
        assert ended.code == 0, ended.err
        shown = cli(*argv, "What is 3 + 4?")
    assert shown.code == 0 and "\x1b" not in shown.out
    (row,) = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert row["answer"] == ("7" if "boxed" in text else None)


# ---------------------------------------------------------------- servers that die


def start(argv: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(study: Study, count: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while len(study.keys()) < count and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()


@pytest.mark.slow
def test_an_interrupted_study_is_gone_on_with_and_makes_no_draw_again(study: Study) -> None:
    with serving(FakeServer([FakeModel("small", Solver(0.8))], pace=Pace(rate=200.0))) as server:
        argv = study.argv(table(server.url), strategies='["one", "vote"]', trials=6)
        process = start(argv)
        wait_for(study, 12, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130 and "Traceback" not in err, err
        assert "Go on with:\n  autotts optimize --study" in err
        kept = study.keys()
        again = start(argv)
        _, err = again.communicate(timeout=120)
        assert again.returncode == 0, err
    assert kept < study.keys()
    made = json.loads((study.out / "result.json").read_text())["spend"]["draws"]
    assert made == len(study.keys() - kept)


@pytest.mark.slow
def test_a_study_goes_on_over_a_restart_of_its_server(study: Study) -> None:
    with serving(FakeServer([FakeModel("small", Solver(0.8))], pace=Pace(rate=200.0))) as server:
        process = start(study.argv(table(server.url), strategies='["one", "vote"]', trials=6))
        wait_for(study, 12, process)
        server.call_restart(0.5)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err


@pytest.mark.slow
def test_two_studies_share_a_server(study: Study) -> None:
    (study.folder / "other").mkdir()
    other = Study(study.folder / "other")
    with serving(FakeServer(ready(("small",)), pace=Pace(rate=500.0, running=4, queue=4))) as server:
        both = [start(one.argv(table(server.url))) for one in (study, other)]
        for process in both:
            _, err = process.communicate(timeout=180)
            assert process.returncode == 0, err
    assert study.keys() == other.keys()
