"""Logs become one pool: whole or not at all, with what it lacks and what comes next."""

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autotts.cli import run_cli
from autotts.errors import InputError
from autotts.pools.formats import LAYOUTS
from autotts.pools.formats.source import Placed, Source
from autotts.pools.importing import Wanted, import_pool
from autotts.pools.load import load


def written(path: Path, lines: list[Any]) -> Path:
    raw = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def content(path: Path) -> list[dict[str, Any]]:
    raw = path.read_bytes()
    return [json.loads(line) for line in (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines()]


def call(prompt: str, text: str, model: str = "M") -> dict[str, Any]:
    return {
        "request": {"model": model, "messages": [{"role": "user", "content": prompt}], "temperature": 1.0},
        "response": {
            "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 4, "completion_tokens": 6},
        },
    }


def line(index: int = 0, **more: Any) -> dict[str, Any]:
    return {"prompt_id": "p", "model": "S", "sample_index": index, "extracted": "1", "correct": True, **more}


def test_old_responses_become_a_graded_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = written(
        tmp_path / "log.jsonl",
        [
            call("What is 1/4 + 1/4?", "It is \\boxed{\\frac{2}{4}}."),
            call("What is 1/4 + 1/4?", "Answer: 0.5"),
            call("What is 1/4 + 1/4?", "I do not know."),
            call("What is 2 + 2?", "5"),
            call("And this?", "7"),
        ],
    )
    with (tmp_path / "gold.csv").open("w") as file:
        csv.writer(file).writerows(
            [["prompt", "answer", "level"], ["What is 1/4 + 1/4?", "1/2", 3], ["What is 2 + 2?", 4, 1]]
        )
    output = tmp_path / "out" / "pool.jsonl.gz"
    argv = ["pool", "import", str(log), "--output", str(output), "--reader", "math", "--params", "M=4.02e9"]
    assert run_cli([*argv, "--answers", str(tmp_path / "gold.csv")]) == 0
    said = capsys.readouterr().out
    rows = content(output)
    assert [(row["extracted"], row["answer"], row["correct"], row["level"]) for row in rows[:4]] == [
        ("1/2", "1/2", True, 3),
        ("1/2", "1/2", True, 3),
        (None, "1/2", False, 3),
        ("5", "4", False, 1),
    ]
    assert (rows[4]["extracted"], rows[4]["answer"], rows[4]["correct"]) == ("7", None, None)
    assert {row["params_b"] for row in rows} == {4.02}
    for part in (
        "Wrote 5 lines",
        "Models: M 5",
        "their prompt is not in the file of --answers: 1",
        "correct (not in 1 of 5 lines): rules out accuracy of every kind",
        "score (in no line)",
        f"autotts pool check {output}",
        f"autotts pool stats {output}",
        f"autotts optimize --pool {output}",
    ):
        assert part in said, part
    pool = load([output])
    assert pool.drawn[0].correct[:4].tolist() == [1, 1, 0, 0] and pool.drawn[0].tokens.tolist() == [6] * 5


def test_without_a_reader_nothing_is_read_off_outputs(tmp_path: Path) -> None:
    log = written(tmp_path / "log.jsonl", [call("a", "\\boxed{1}")])
    done = import_pool([log], tmp_path / "pool.jsonl", Wanted())
    (row,) = content(tmp_path / "pool.jsonl")
    assert row["extracted"] is None and row["correct"] is None
    lacks = {lack.field: lack for lack in done.lacks}
    assert lacks["extracted"].lines == 1 and "--reader math" in lacks["extracted"].remain
    assert "accuracy" in lacks["correct"].off and "votes" in lacks["samples"].off


def test_what_is_recorded_is_not_changed_by_a_reader(tmp_path: Path) -> None:
    log = written(
        tmp_path / "log.jsonl",
        [
            line(0, extracted="C", correct=False, output="\\boxed{1}", answer="1"),
            line(1, extracted=None, output="(B)."),
        ],
    )
    import_pool([log], tmp_path / "pool.jsonl", Wanted(reader="choice"))
    rows = content(tmp_path / "pool.jsonl")
    assert [(row["extracted"], row["correct"]) for row in rows] == [("C", False), ("B", True)]


def test_lines_of_the_common_layout_are_copied_as_they_are(tmp_path: Path) -> None:
    raw = '{"prompt_id":"p", "model": "S","sample_index":0,"extracted":"\\u00e9","mine":{"a":[1, 2]},"level":null}\n'
    log = tmp_path / "log.jsonl"
    log.write_text(raw + "\n" + raw.replace('"sample_index":0', '"sample_index":1.0'))
    import_pool([log], tmp_path / "pool.jsonl", Wanted())
    first, second = (tmp_path / "pool.jsonl").read_text().splitlines()
    assert first + "\n" == raw
    assert json.loads(second) == {**json.loads(first), "sample_index": 1} and "1.0" not in second


def test_numbers_that_are_none_become_null_and_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(line(score=float("nan"), mine=[float("inf"), 1.5])) + "\n")
    done = import_pool([log], tmp_path / "pool.jsonl", Wanted())
    (row,) = content(tmp_path / "pool.jsonl")
    assert row["score"] is None and row["mine"] == [None, 1.5]
    assert any("values of score that are not finite, null now: 1" in note for note in done.notes)


def test_half_a_character_survives(tmp_path: Path) -> None:
    log = written(tmp_path / "log.jsonl", [line(0, output="\ud83d", extracted=5)])
    import_pool([log], tmp_path / "pool.jsonl", Wanted())
    assert content(tmp_path / "pool.jsonl")[0]["output"] == "\ud83d"
    assert load([tmp_path / "pool.jsonl"]).answers == (("5",),)


# ---------------------------------------------------------------- whole or not at all


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            b'{"prompt_id": "p", "model": "S", "correct": true, "completion_tokens": -4}\n',
            "log, line 2: completion_tokens",
        ),
        (b'{"prompt_id": "p", "mod', "log, line 2: .*cut off"),
    ],
)
def test_nothing_is_written_if_a_line_is_wrong(tmp_path: Path, raw: bytes, expected: str) -> None:
    log, output = tmp_path / "log", tmp_path / "pool.jsonl"
    log.write_bytes(json.dumps(line()).encode() + b"\n" + raw)
    output.write_text("the pool of yesterday")
    with pytest.raises(InputError, match=expected):
        import_pool([log], output, Wanted())
    assert output.read_text() == "the pool of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "pool.jsonl"]


def test_a_truncated_gzip_file_is_an_error_that_says_how_to_keep_the_good_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = gzip.compress(
        b"".join(json.dumps(line(n, output=os.urandom(20).hex())).encode() + b"\n" for n in range(400))
    )
    log = tmp_path / "log.jsonl.gz"
    log.write_bytes(whole[: len(whole) // 2])
    assert run_cli(["pool", "import", str(log), "--output", str(tmp_path / "pool.jsonl")]) == 2
    said = capsys.readouterr().err
    assert "cut off after line" in said and "are good" in said and "| head -n" in said
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl.gz"]
    command = said[said.index("gzip -dc") :].strip()
    kept = subprocess.run(command, shell=True, capture_output=True, check=False).stdout
    (tmp_path / "kept.jsonl").write_bytes(kept)
    assert len(load([tmp_path / "kept.jsonl"]).drawn[0].answer) == kept.count(b"\n") > 100


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--layout", "csv"], "--layout: expected one of pool, lm-eval, inspect, openai, study, found 'csv'"),
        (["--reader", "poem"], "--reader: expected one of"),
        (["--params", "S"], "--params: expected MODEL=COUNT"),
        (["--params", "S=large"], "--params S: expected a number"),
        (["--params", "S=4"], "expected a plain count, such as 4.02e9"),
        (["--params", "T=4e9"], "--params: expected one of the models S, found 'T'"),
        (["--answers", "nowhere.csv"], "nowhere.csv: expected a file with prompts"),
        (["--output", "pool.txt"], "expected an output that ends in .jsonl"),
        (["--output", "log.jsonl"], "expected another file than those that are read"),
        (["--output", "log.jsonl/pool.jsonl"], "this file cannot be written"),
    ],
)
def test_wrong_options_are_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "log.jsonl", [line()])
    assert run_cli(["pool", "import", "log.jsonl", "--output", "pool.jsonl", *options]) == 2
    assert expected in capsys.readouterr().err and not (tmp_path / "pool.jsonl").exists()


def test_an_empty_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is empty"):
        import_pool([written(tmp_path / "a.jsonl", [])], tmp_path / "pool.jsonl", Wanted())
    failed = written(tmp_path / "b.jsonl", [{"custom_id": "1", "response": None, "error": "no"}])
    with pytest.raises(InputError, match="found none in these files"):
        import_pool([failed], tmp_path / "pool.jsonl", Wanted())
    with pytest.raises(InputError, match="found a folder: name its files"):
        import_pool([tmp_path], tmp_path / "pool.jsonl", Wanted())


def test_a_folder_of_a_study_is_read_by_a_reader_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "autotts.db").write_bytes(b"")

    def read(source: Source) -> Placed:
        yield "sample 1", line(model=source.path.name), None

    readers = {**LAYOUTS, "study": read}
    done = import_pool([tmp_path / "study"], tmp_path / "pool.jsonl", Wanted(), readers=readers)
    assert done.models == {"study": 1} and list(done.layouts.values()) == ["study"]


# ---------------------------------------------------------------- many files, much memory


def test_files_of_several_layouts_are_one_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = [
        written(tmp_path / "a.jsonl.gz", [line(0, params_b=0.5), line(1, params_b=0.5)]),
        written(tmp_path / "b.jsonl", [call("p", "1")]),
    ]
    output = tmp_path / "my pool.jsonl"
    assert run_cli(["pool", "import", *map(str, logs), "--output", str(output), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["lines"] == 3 and data["models"] == {"S": 2, "M": 1} and len(content(output)) == 3
    assert list(data["layouts"].values()) == ["pool", "openai"]
    assert (
        data["next"][0] == f"autotts pool check '{output}'" and data["next"][2] == f"autotts optimize --pool '{output}'"
    )


def test_how_far_it_is_is_told_now_and_then(tmp_path: Path) -> None:
    log = written(tmp_path / "log.jsonl", [line(n) for n in range(2500)])
    seen: list[int] = []
    import_pool([log], tmp_path / "pool.jsonl", Wanted(), watch=seen.append)
    assert seen == [1000, 2000]


MEASURE = """
import sys
from pathlib import Path
from autotts.pools.importing import Wanted, import_pool
import_pool([Path(sys.argv[1])], Path(sys.argv[2]), Wanted())
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for count in (20_000, 80_000):
        log = written(tmp_path / f"{count}.jsonl.gz", [line(n, output="x" * 500, mine=n) for n in range(count)])
        argv = [sys.executable, "-c", MEASURE, str(log), str(tmp_path / "pool.jsonl.gz")]
        peaks.append(int(subprocess.run(argv, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] < peaks[0] + 5_000  # KB; the larger file has 36 MB of text more
