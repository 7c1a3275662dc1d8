"""A file of prompts becomes a task; what is wrong with it is said with its place."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.errors import InputError
from autotts.tasks.files import STREAMS, load
from autotts.tasks.instructions import INSTRUCTIONS

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to(name: str, content: str | bytes | list[dict[str, Any]]) -> Path:
        path = tmp_path / name
        if isinstance(content, list):
            content = "".join(json.dumps(row) + "\n" for row in content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"prompt": f"What is {n} + 1?", "answer": n + 1, **more} for n in range(count)]


def everything(path: Path) -> dict[str, set[str]]:
    source = load(path).source
    return {stream: {p.prompt for p in source(stream, None, 10**6, 0)} for stream in STREAMS}


def test_a_file_of_json_lines_is_a_task(write: Write) -> None:
    path = write(
        "sums.jsonl",
        [*rows(20, level=1), *({**row, "prompt": "Also: " + row["prompt"], "level": 3} for row in rows(10))],
    )
    task = load(path)
    assert (task.name, task.reader, task.grader) == ("sums", "math", "math")
    assert task.mix == {1: pytest.approx(2 / 3), 3: pytest.approx(1 / 3)}
    problem = task.source("search", 1, 1, 0)[0]
    assert problem.level == 1 and task.grade(task.read(f"answer: {problem.answer}.0") or "", problem.answer)


def test_streams_are_disjoint_whole_and_do_not_depend_on_order_or_seed(write: Write) -> None:
    one = everything(write("one.jsonl", rows(40)))
    other = everything(write("other.jsonl", rows(40)[::-1]))
    assert one == other
    assert {name: len(found) for name, found in one.items()} == {"search": 20, "confirm": 10, "test": 10}
    assert len(set().union(*one.values())) == 40


@given(st.integers(1, 30), st.integers(0, 5))
@settings(deadline=None)
def test_every_level_is_split(tmp_path_factory: pytest.TempPathFactory, count: int, seed: int) -> None:
    path = tmp_path_factory.mktemp("files") / "a.jsonl"
    path.write_text("".join(json.dumps({**row, "level": n % 2}) + "\n" for n, row in enumerate(rows(count))))
    source = load(path).source
    for level in {n % 2 for n in range(count)}:
        size = len([n for n in range(count) if n % 2 == level])
        if size >= 3:
            sizes = [len(source(stream, level, 100, seed)) for stream in STREAMS]
            assert sum(sizes) == size and min(sizes) >= 1 and sizes[0] >= sizes[1] >= sizes[2]


def test_a_seed_orders_the_problems_and_a_longer_list_begins_with_the_shorter(write: Write) -> None:
    source = load(write("a.jsonl", rows(100))).source
    few, many = source("search", None, 5, 7), source("search", None, 50, 7)
    assert many[:5] == few == source("search", None, 5, 7)
    assert few != source("search", None, 5, 8)
    assert len(source("search", None, 10**6, 7)) == 50


def test_csv_with_quotes_lines_and_a_byte_order_mark(write: Write) -> None:
    text = '\ufeffid,prompt,answer,level,note\r\na,"Two\r\nlines, and ""quotes""",\u00e9,2,x\r\n\r\nb,One,1,2,\r\n'
    path = write("a.csv", text)
    found = {p.id: p for stream in ("search", "confirm") for p in load(path).source(stream, 2, 9, 0)}
    assert found["a"].prompt == 'Two\r\nlines, and "quotes"' and found["a"].answer == "\u00e9" and found["b"].level == 2


def test_json_lines_with_a_byte_order_mark_and_blank_lines(write: Write) -> None:
    path = write("a.jsonl", '\ufeff{"prompt": "p", "answer": "x"}\n\n  \n{"prompt": "q", "answer": 2.5}')
    problems = [p for s in ("search", "confirm") for p in load(path).source(s, None, 9, 0)]
    assert {(p.prompt, p.answer) for p in problems} == {("p", "x"), ("q", "2.5")}


def test_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    table = {"prompt": [f"p{n}" for n in range(9)], "answer": list(range(9)), "level": [1] * 9, "more": [None] * 9}
    pq.write_table(pa.table(table), path)
    task = load(path)
    assert task.mix == {1: 1.0} and len(task.source("search", 1, 9, 0)) == 4


def test_letters_are_a_choice_and_a_reader_may_be_named(write: Write) -> None:
    letters = [{"prompt": f"p{n}", "answer": "ABCDE"[n % 5]} for n in range(10)]
    assert load(write("a.jsonl", letters)).reader == "choice"
    assert load(write("b.jsonl", letters), reader="exact").grader == "exact"
    assert load(write("c.jsonl", [*letters, {"prompt": "q", "answer": "AB"}])).reader == "math"
    with pytest.raises(
        InputError, match=r"d.jsonl: reader: expected one of arithmetic, boxed, .*, tagged, found 'maths'"
    ):
        load(write("d.jsonl", letters), reader="maths")


def test_rows_may_state_their_reader_and_have_to_agree(write: Write) -> None:
    stated = [row | {"reader": "json"} for row in rows(8)]
    task = load(write("a.jsonl", stated))
    assert (task.reader, task.grader, task.instruction) == ("json", "json", INSTRUCTIONS["json"])
    assert load(write("a.csv", "prompt,answer,reader\np,1,exact\nq,2, exact \n")).reader == "exact"
    assert load(write("b.csv", "prompt,answer,reader\np,1,\nq,2,\n")).reader == "math"
    assert load(write("b.jsonl", stated), reader="exact").reader == "exact"
    with pytest.raises(InputError, match=r"one reader in all rows, found json on line 1 and boxed on line 9"):
        load(write("c.jsonl", [*stated, {"prompt": "q", "answer": "1", "reader": "boxed"}]))
    with pytest.raises(InputError, match=r"found none on line 1 and json on line 9"):
        load(write("d.jsonl", [*rows(8), {"prompt": "q", "answer": "1", "reader": "json"}]))
    for reader in ("reasoning_gym", "maths"):
        with pytest.raises(InputError, match=rf"reader: expected one of .*, found '{reader}'"):
            load(write("e.jsonl", [{"prompt": "q", "answer": "1", "reader": reader}]))
    with pytest.raises(InputError, match=r"line 1: reader: expected text, found \[\]"):
        load(write("f.jsonl", [{"prompt": "q", "answer": "1", "reader": []}]))


def test_the_same_row_twice_is_one_problem(write: Write) -> None:
    assert load(write("a.jsonl", rows(8) + rows(8))).about.startswith("8 prompts")
    assert load(write("b.csv", "id,prompt,answer\n,p,1\n,p,1\n,q,2\n")).about.startswith("2 prompts")


def test_without_an_id_a_problem_keeps_its_name_when_the_file_grows(write: Write) -> None:
    def ids(path: Path) -> dict[str, str]:
        return {p.prompt: p.id for s in STREAMS for p in load(path).source(s, None, 99, 0)}

    short, long = ids(write("a.jsonl", rows(9))), ids(write("b.jsonl", rows(12)[::-1]))
    assert all(long[prompt] == name for prompt, name in short.items()) and len(set(long.values())) == 12


GOOD = '{"prompt": "p", "answer": "1"}\n'


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", '{"id": 1, "prompt": "p"}', r"line 1: expected the columns.*found id, prompt: answer is missing"),
        ("a.jsonl", GOOD + "{}", r"line 2: .*found none: prompt and answer are missing"),
        ("a.csv", "question,solution\n1,2\n", r"a\.csv: expected the columns.*found question, solution: prompt and"),
        ("a.csv", "prompt;answer\n1;2\n", r"found prompt;answer: prompt and answer are missing"),
        ("a.jsonl", "", "is empty: expected rows"),
        ("a.jsonl", "\n \n", "is empty"),
        ("a.csv", "", "is empty"),
        ("a.csv", "prompt,answer\n", "is empty"),
        ("a.jsonl", '{"id": 7, "prompt": "p", "answer": 1}\n{"id": "7", "prompt": "q", "answer": 1}',
         r"found the id '7' on lines 1 and 2: give each its own"),
        ("a.jsonl", GOOD + "\n" + '{"prompt": "p", "answer": "2"}',
         r"on lines 1 and 3 the same prompt with answer '1' and with answer '2'"),
        ("a.jsonl", '{"prompt": "p", "answer": 1, "level": 1}\n{"prompt": "p", "answer": 1, "level": 2}',
         r"answer '1' and level 1 and with answer '1' and level 2"),
        ("a.jsonl", GOOD.encode() + b'{"prompt": "caf\xe9"}', r"line 2: expected UTF-8, found byte 0xe9 at byte 46 of"),
        ("a.csv", b"\xff\xfep\x00r\x00", r"line 1: expected UTF-8, found byte 0xff at byte 0 of the file"),
        ("a.jsonl", GOOD + '{"prompt": "p", ', r"line 2: expected one JSON object on the line: "),
        ("a.jsonl", "[" * 100_000, r"line 1: expected one JSON object on the line"),
        ("a.jsonl", "[1, 2]", r"line 1: expected a JSON object, found \[1, 2\]"),
        ("a.csv", 'prompt,answer\n"open,1\n', r"line 2: expected comma-separated values"),
        ("a.csv", "prompt,answer\n1,2,3\n", r"line 2: expected 2 values \(prompt, answer\), found 3: a value with a"),
        ("a.csv", "prompt,answer\n1\n", r"line 2: expected 2 values"),
        ("a.jsonl", '{"prompt": "p", "answer": 1, "level": 1.5}', r"1: level: expected a whole number, found 1\.5$"),
        ("a.jsonl", '{"prompt": "p", "answer": 1, "level": true}', r"level: expected a whole number, found True"),
        ("a.jsonl", '{"prompt": "p", "answer": 1, "level": null}', r"level: expected a whole number, found nothing"),
        ("a.csv", "prompt,answer,level\np,1,hard\n", r"line 2: level: expected a whole number, found 'hard'"),
        ("a.csv", "prompt,answer,level\np,1,\n", r"line 2: level: expected a whole number, found ''"),
        ("a.jsonl", '{"prompt": " ", "answer": 1}', r"line 1: prompt: expected text, found nothing"),
        ("a.csv", "prompt,answer\np,\n", r"line 2: answer: expected text, found nothing"),
        ("a.jsonl", '{"prompt": 5, "answer": 1}', r"prompt: expected text, found 5"),
        ("a.jsonl", '{"prompt": "p", "answer": null}', r"answer: expected text, found nothing"),
        ("a.jsonl", '{"prompt": "p", "answer": [1]}', r"answer: expected text, found \[1\]"),
        ("a.jsonl", '{"prompt": "p", "answer": true}', r"answer: expected text, found True"),
        ("a.jsonl", '{"prompt": "\\ud800", "answer": 1}', r"prompt: expected text, found half a character"),
        ("a.parquet", b"PAR1 and nothing more PAR1", r"expected a Parquet file, found one that cannot be read"),
        ("a.parquet", b"", r"expected a Parquet file, found one that cannot be read"),
        ("a.txt", GOOD, r"expected a file that ends in \.jsonl, \.ndjson, \.csv, \.parquet, found \.txt"),
        ("a", GOOD, r"found no ending"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(write: Write, name: str, content: str | bytes, words: str) -> None:
    path = write(name, content)
    with pytest.raises(InputError, match=words) as caught:
        load(path)
    assert str(path) in str(caught.value) and caught.value.exit_code == 2


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match=r"folder\.jsonl: expected a file with prompts, found a folder there"):
        load(tmp_path / "folder.jsonl")
    with pytest.raises(InputError, match=r"missing\.csv: expected a file with prompts, found nothing there"):
        load(str(tmp_path / "missing.csv"))


def test_a_parquet_file_with_other_columns_is_said(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"question": ["p"], "answer": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="found question, answer: prompt is missing"):
        load(tmp_path / "a.parquet")


def test_parquet_without_pyarrow_names_the_extra(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as on a machine without it
    with pytest.raises(InputError, match=r"pip install autotts-optimizer\[parquet\]"):
        load(write("a.parquet", b"PAR1"))


def test_an_unknown_stream_or_an_empty_one_is_said(write: Write) -> None:
    source = load(write("a.jsonl", rows(2, level=4))).source
    with pytest.raises(InputError, match="stream: expected one of search, confirm, test, found 'train'"):
        source("train", None, 1, 0)
    with pytest.raises(InputError, match="no prompts of level 4 are left for the stream 'test'; expected at least 3"):
        source("test", 4, 1, 0)
    with pytest.raises(InputError, match="no prompts of level 5"):
        source("search", 5, 1, 0)
