"""Bad input: exit code 2 (or 3), one message that says what, where and what to do, and nothing is drawn or lost."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Ended

AMOUNTS = "such as 1e15flops, 20ktokens or 0.002usd (units"


def refused(ended: Ended, *words: str, code: int = 2) -> None:
    """One message and nothing else."""
    assert (ended.code, ended.out) == (code, ""), ended.err
    assert ended.err.startswith("autotts: ") and ended.err.count("\n") == 1, ended.err
    for word in words:
        assert word in ended.err


def samples(out: Path) -> int:
    """How many samples a study's folder holds; none where there is no database."""
    if not (out / "autotts.db").exists():
        return 0
    with sqlite3.connect(out / "autotts.db") as db:
        return int(db.execute("SELECT count(*) FROM autotts_sample WHERE kind != 'root'").fetchone()[0])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), ("expected --task NAME or FILE", "try --task math")),
        (("--task", "maths"), ("unknown task 'maths'", "one of math, a file")),
        (("--task", "math", "--models", "S,Q"), ("unknown model 'Q'", "expected some of S")),
        (("--task", "math", "--strategies", "one,vot"), ("unknown strategy 'vot'", "one, vote, weighted_vote")),
        (("--task", "math", "--budget", "1e15flop"), ("--budget", "'1e15flop'", "did you mean 1e15flops?", AMOUNTS)),
        (("--task", "math", "--budget", "-3tokens"), ("--budget", "'-3tokens'", AMOUNTS)),
        (("--task", "math", "--budget", "nan"), ("--budget", "'nan'", AMOUNTS)),
        (("--task", "math", "--budget", "nanflops"), ("--budget", "'nanflops'", AMOUNTS)),
        (("--task", "math", "--budget", ""), ("--budget", "found ''", AMOUNTS)),
        (("--task", "math", "--budget", "1e15"), ("--budget", "'1e15'", AMOUNTS)),
        (("--task", "math", "--budget", "0flops"), ("--budget", "'0flops'", AMOUNTS)),
        (("--task", "math", "--budget", "1e999flops"), ("--budget", "'1e999flops'", AMOUNTS)),
        (("--task", "math", "--budget", "3bananas"), ("--budget", "'3bananas'", "units flops, eflops, tokens")),
        (("--task", "math", "--cap", "5 flop"), ("--cap", "'5 flop'")),
        (("--task", "math", "--search-budget", "lots"), ("--search-budget", "'lots'")),
        (("--task", "math", "--budget", "3s"), ("no speed is known", "flops, eflops, tokens")),
        (("--task", "math", "--budget", "1usd"), ("no price per million tokens", "flops or tokens")),
        (("--task", "math", "--budget", "1e9flops", "--cap", "9tokens"), ("in one unit", "flops and tokens")),
        (("--task", "math", "--budget", "1e9flops", "--target", "0.9"), ("--budget or --target", "both")),
        (("--task", "math", "--target", "1.5"), ("target", "such as 0.9", "1.5")),
        (("--task", "math", "--target", "nan"), ("target", "nan")),
        (("--task", "math", "--trials", "0"), ("trials", "at least 1", "0")),
        (("--task", "math", "--timeout", "0"), ("timeout", "above 0")),
        (("--task", "math", "--proposer", "genetic"), ("proposer", "tpe, random", "genetic")),
        (("--task", "math", "--storage", "nonsense"), ("storage", "sqlite:///autotts.db", "'nonsense'")),
        (("--task", "math", "--storage", "sqlite://"), ("in memory", "give a file")),
        (("--study", "absent.toml"), ("--study absent.toml", "TOML")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) and value and value[0].startswith("--") else "",
)
def test_a_wrong_option_of_optimize_is_named(cli: Cli, tmp_path: Path, argv: tuple[str, ...], words: Any) -> None:
    out = tmp_path / "out"
    refused(cli("optimize", "--out", out, "--yes", "--quiet", *argv), *words)
    assert samples(out) == 0 and not (out / "policy.json").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("task = 'math'\nbudget = 5flops", ("TOML", "line 2")),
        ("task = 'math'\ntrails = 5", ("unknown key 'trails'", "trials")),
        ("task = 'math'\ntrials = 'many'", ("trials", "a whole number", "'many'")),
        ("task = 'math'\nmodels = 'S'", ("models", "a list of names", "'S'")),
        ("task = 'math'\ntarget = '0.9'", ("target", "a number")),
        ("task = 'math'\nbudget = 5", ("budget", "a text", "5")),
        ("task = 7", ("task", "a text", "7")),
        ("task = 'math'\nname = 'a/b'", ("name", "'a/b'")),
    ],
)
def test_a_wrong_study_file_is_named_with_its_key(cli: Cli, tmp_path: Path, text: str, words: Any) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    refused(cli("optimize", "--study", path, "--out", tmp_path / "out", "--quiet"), str(path), *words)


LINE = json.dumps({"prompt": "solve: 1+2", "answer": "3"}) + "\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"prompt": "solve: 1+2"}\n', ("line 1", "columns prompt and answer", "answer is missing")),
        ("a.csv", b"prompt,reply\nsolve: 1+2,3\n", ("prompt, reply", "answer is missing")),
        ("a.jsonl", b"", ("is empty", "prompt and answer")),
        ("a.csv", b"prompt,answer\n", ("is empty",)),
        ("a.jsonl", (LINE.replace("{", '{"id": "x", ') * 2).encode(), ("the id 'x' on lines 1 and 2",)),
        ("a.jsonl", LINE.encode() + b"\xff\n", ("line 2", "expected UTF-8", "0xff")),
        ("a.jsonl", LINE.encode() + b"[1]\n", ("line 2", "JSON object")),
        ("a.parquet", b"PAR1 and then nothing", ("expected a Parquet file",)),
        ("a.xlsx", b"", ("ends in .jsonl", ".xlsx")),
    ],
    ids=["column", "csv-column", "empty", "csv-empty", "ids", "utf-8", "json", "parquet", "ending"],
)
def test_a_wrong_task_file_is_named_with_its_line(
    cli: Cli, tmp_path: Path, name: str, content: bytes, words: Any
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_bytes(content)
    out = tmp_path / "out"
    refused(cli("optimize", "--task", path, "--out", out, "--quiet"), str(path), *words)
    refused(cli("evaluate", "--strategy", "one(model=S)", "--task", path), str(path), *words)
    assert samples(out) == 0


def test_the_first_prompt_that_the_models_cannot_read_is_named(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "words.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt": f"What is {n} plus {n}?", "answer": 2 * n}) + "\n" for n in range(40))
    )
    out = tmp_path / "out"
    refused(
        cli("optimize", "--task", path, "--out", out, "--quiet"),
        "cannot read the symbol",
        "'solve: What is ",
        "80+5*9-63",
    )
    refused(cli("evaluate", "--strategy", "one(model=S)", "--task", path), "cannot read the symbol", "80+5*9-63")
    assert samples(out) == 0


def test_a_folder_that_cannot_be_written_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    refused(
        cli("optimize", "--task", "math", "--out", tmp_path / "file" / "out", "--quiet"),
        f"--out {tmp_path / 'file' / 'out'}",
        "a folder that can be written to",
        "give another with --out",
    )
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_of_another_study_is_left_as_it_is(cli: Cli, tmp_path: Path, small: Path) -> None:
    out = tmp_path / "out"
    assert cli("optimize", "--study", small, "--out", out, "--quiet").code == 0
    before, kept = samples(out), (out / "policy.json").read_bytes()
    assert before > 0
    refused(
        cli("optimize", "--study", small, "--out", out, "--quiet", "--seed", 1),
        "holds another study named 'small'",
        "seed is 0 there and 1 here",
        "give another folder with --out",
    )
    assert samples(out) == before and (out / "policy.json").read_bytes() == kept


def test_a_budget_below_the_cheapest_arm_is_code_3_and_names_it(cli: Cli, tmp_path: Path, small: Path) -> None:
    out = tmp_path / "out"
    ended = cli("optimize", "--study", small, "--out", out, "--quiet", "--budget", "1kflops")
    refused(ended, "below the cheapest arm", "one(model=S, temperature=0", "Mflops a prompt", code=3)
    assert samples(out) <= 5 * 8  # it took the first round to know: a few draws a prompt


# ---------------------------------------------------------------- the database


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE invoices (id INTEGER)")


def _text(path: Path) -> None:
    path.write_text("this is no database, " * 100)


@pytest.mark.parametrize(("make", "word"), [(_foreign, "is not ours"), (_text, "is not a database")])
def test_a_database_that_is_not_ours_is_left_as_it_is(
    cli: Cli, tmp_path: Path, small: Path, make: Callable[[Path], None], word: str
) -> None:
    path = tmp_path / "theirs.db"
    make(path)
    before = path.read_bytes()
    ended = cli("optimize", "--study", small, "--out", tmp_path / "out", "--quiet", "--storage", f"sqlite:///{path}")
    refused(ended, str(path), word, "--storage or --out")
    assert path.read_bytes() == before


def test_a_database_that_stays_locked_is_told(cli: Cli, tmp_path: Path, small: Path) -> None:
    path = tmp_path / "held.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE studies (id INTEGER)")  # as Optuna has one
    holder.execute("BEGIN EXCLUSIVE")
    url = f"sqlite:///{path}?timeout=0.01"
    refused(
        cli("optimize", "--study", small, "--out", tmp_path / "out", "--quiet", "--storage", url),
        f"{path} is locked by another program",
        "run the command again",
    )
    holder.close()


# ---------------------------------------------------------------- policies and arms


def edited(change: Callable[[Any], Any]) -> Callable[[str], str]:
    def apply(text: str) -> str:
        data = json.loads(text)
        change(data)
        return json.dumps(data)

    return apply


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[: len(text) // 2], ("in JSON", "line 1", "is the file cut off?")),
        (lambda text: "", ("in JSON",)),
        (edited(lambda d: d.update(format="autotts.policy/9")), ("a newer autotts", "pip install --upgrade")),
        (edited(lambda d: d.update(requires=["telepathy"])), ("'telepathy'", "pip install --upgrade")),
        (edited(lambda d: d["arms"]["mid"].update(arm="vote(n=-8, model=S)")), ("arms.mid.arm", "1 to 64", "-8")),
        (edited(lambda d: d["arms"]["mid"].update(arm="bribe(n=8)")), ("arms.mid.arm", "unknown strategy 'bribe'")),
        (edited(lambda d: d["arms"]["mid"].update(arm="one(model=Z)")), ("arms.mid.arm", "model=Z", "models (S)")),
        (edited(lambda d: d["frontier"][0]["route"].update(L1=[["ghost", 1.0]])), ("unknown arm 'ghost'",)),
        (edited(lambda d: d["frontier"][0].update(budget=float("nan"))), ("NaN", "no such number")),
        (edited(lambda d: d["frontier"][0].update(budget=-5)), ("frontier[0].budget", "-5")),
        (edited(lambda d: d["models"]["S"]["binding"].update(id="S@old")), ("'S@old'", "autotts optimize again")),
        (edited(lambda d: d["models"]["S"]["binding"].update(engine="vllm")), ("(S)", "--models FILE")),
    ],
    ids=["cut", "empty", "newer", "requires", "negative", "strategy", "model", "arm", "nan", "budget", "old", "engine"],
)
def test_a_policy_that_cannot_be_obeyed_is_named_with_its_place(
    cli: Cli, policy: Path, change: Callable[[str], str], words: Any
) -> None:
    policy.write_text(change(policy.read_text()))
    refused(cli("run", policy, "solve: 1+2"), *words)
    refused(cli("evaluate", policy, "--prompts", 1), *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("__import__('os').system('touch /tmp/x')", ("expected knob=value", "vote(n=8, model=S, temperature=0.8)")),
        ("vote(n=8); import os", ("expected the end",)),
        ("vote(n=2**8)", ("'**8)'",)),
        ("vot(n=8)", ("unknown strategy 'vot'; did you mean 'vote'?",)),
        ("vote(k=8)", ("unknown knob 'k'", "n, model, temperature, top_p")),
        ("vote(n=-1)", ("n expects a whole number from 1 to 64", "-1")),
        ("vote(n=8, temperature=nan)", ("temperature expects a number from 0 to 2", "nan")),
        ("vote(n=8, model=Q)", ("unknown model 'Q'",)),
        ("", ("expected the name of a strategy",)),
    ],
)
def test_a_strategy_text_is_read_and_never_executed(cli: Cli, text: str, words: Any) -> None:
    refused(cli("evaluate", "--strategy", text, "--prompts", 1), *words)


def test_evaluate_and_run_take_one_thing_at_a_time(cli: Cli, policy: Path, tmp_path: Path) -> None:
    refused(cli("evaluate"), "a policy file or --strategy")
    refused(cli("evaluate", policy, "--strategy", "one"), "a policy file or --strategy")
    refused(cli("evaluate", "--strategy", "one", "--budget", "1e9flops"), "--budget is for a policy")
    refused(cli("evaluate", "--strategy", "one(model=S)", "--models", "Q"), "unknown model 'Q'")
    refused(cli("run", policy), "a prompt or --input")
    refused(cli("run", policy, "solve: 1+2", "--input", policy), "a prompt or --input")
    refused(cli("run", policy, "--input", policy), "--input FILE and --output FILE")
    refused(cli("run", tmp_path / "absent.json", "solve: 1+2"), "absent.json", "no such file")
    refused(cli("run", tmp_path, "solve: 1+2"), "found a folder")


def test_amounts_of_a_policy_are_in_its_unit_and_enough(cli: Cli, policy: Path) -> None:
    refused(
        cli("run", policy, "solve: 1+2", "--budget", "50tokens"), "--budget: expected an amount in flops", "50tokens"
    )
    refused(cli("run", policy, "solve: 1+2", "--cap", "1e15flop"), "--cap", "did you mean 1e15flops?")
    refused(
        cli("run", policy, "solve: 1+2", "--budget", "5flops"), "cheapest arm", "one(model=S, temperature=0)", code=3
    )
    refused(cli("evaluate", policy, "--prompts", 1, "--budget", "5flops"), "cheapest arm", code=3)


def test_a_prompt_that_cannot_be_read_is_told(cli: Cli, policy: Path) -> None:
    refused(cli("run", policy, "what is love?"), "cannot read the symbol 'w'", "80+5*9-63")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("in.txt", b"", ("at least one prompt", "empty")),
        ("in.txt", b"solve: 1+2\n\xff\n", ("expected UTF-8",)),
        ("in.jsonl", b'{"prompt": "solve: 1+2"}\n{"question": "solve: 1+2"}\n', ("line 2", "a text `prompt`")),
        ("in.txt", b"solve: 1+2\nsolve: one\n", ("prompt 2", "cannot read the symbol")),
    ],
)
def test_a_wrong_file_of_prompts_is_named(
    cli: Cli, policy: Path, tmp_path: Path, name: str, content: bytes, words: Any
) -> None:
    source, target = tmp_path / name, tmp_path / "out.jsonl"
    source.write_bytes(content)
    refused(cli("run", policy, "--input", source, "--output", target), f"--input {source}", *words)
    assert not target.exists()


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (b"notes of mine\nmore of them\n", ("line 1", "a line that is no answer")),
        (b"\xff\xfe", ("line 1", "a line that is no answer")),
        (b'{"prompt": "solve: 9+9", "answer": "18", "cost": 5}\n', ("line 1", "another prompt")),
        (b'{"prompt": "solve: 1+2", "answer": "3", "cost": 5, "policy": "0"}\n', ("answer of another policy",)),
    ],
)
def test_an_output_that_holds_something_else_is_left_as_it_is(
    cli: Cli, policy: Path, tmp_path: Path, there: bytes, words: Any
) -> None:
    source, target = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("solve: 1+2\n")
    target.write_bytes(there)
    refused(cli("run", policy, "--input", source, "--output", target), f"--output {target}", *words)
    assert target.read_bytes() == there


def test_an_output_that_cannot_be_written_is_named(cli: Cli, policy: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_text("solve: 1+2\n")
    refused(cli("run", policy, "--input", source, "--output", tmp_path / "in.txt" / "x"), "cannot be written")


def test_a_folder_without_a_study_is_told(cli: Cli, tmp_path: Path) -> None:
    refused(cli("report", tmp_path), "result.json", "no such file")
    refused(cli("dashboard", tmp_path), "autotts.db", "run autotts optimize first")
    (tmp_path / "result.json").write_text("{}")
    refused(cli("report", tmp_path), "expected the result of a study")


def test_wrong_usage_shows_how_to_ask_for_help(cli: Cli) -> None:
    for argv, word in (
        (("optimise",), "Did you mean 'optimize'?"),
        (("optimize", "--trials", "many"), "--trials"),
        (("optimize", "--bugdet", "1e9flops"), "--budget"),
        (("run",), "POLICY"),
    ):
        ended = cli(*argv)
        assert (ended.code, ended.out) == (2, "")
        assert word in ended.err and "--help" in ended.err and "Traceback" not in ended.err
