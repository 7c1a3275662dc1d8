"""Files are read as a stream of objects, and what is wrong with one is said with its line."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.errors import InputError
from autotts.pools.files import blocks, lines, rows


def of(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in rows(path)]


def test_lines_are_numbered_and_blank_ones_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  {"a": "\xc3\xa9"}\n\n{"a": 3}')
    assert list(rows(path)) == [(1, {"a": 1}), (3, {"a": "é"}), (5, {"a": 3})]


@given(
    st.lists(st.text("abc é\x00\u2028", max_size=40), max_size=30),
    st.sampled_from([2, 7, 64]),
    st.booleans(),
)
@settings(max_examples=40)
def test_lines_do_not_depend_on_where_blocks_end(
    tmp_path_factory: pytest.TempPathFactory, texts: Sequence[str], size: int, packed: bool
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    raw = "".join(json.dumps({"t": text}, ensure_ascii=False) + "\n" for text in texts).encode()
    path.write_bytes(gzip.compress(raw) if packed else raw)
    assert [json.loads(line)["t"] for _, line in lines(path, chunk=size)] == list(texts)


def test_a_gzip_file_may_be_several_with_zeros_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n') + gzip.compress(b'{"a": 2}\n') + b"\0" * 600)
    assert of(path) == [{"a": 1}, {"a": 2}]


def test_a_gzip_file_that_is_cut_off_says_how_many_lines_are_good(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b'{"a": %d}\n' % n for n in range(5000)))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    seen = []
    with pytest.raises(InputError, match=r"a\.jsonl\.gz: .*cut off after line (\d+)") as error:
        for number, row in rows(path):
            assert row == {"a": number - 1}
            seen.append(number)
    assert seen == list(range(1, len(seen) + 1)) and 1000 < len(seen) < 5000
    assert f"{len(seen)} lines are good" in str(error.value) and f"head -n {len(seen)}" in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": 1}\n{"a": ', "line 2: expected one JSON object on the line .is the file cut off"),
        (b'{"a": 1}\n{"a": 1} x\n', "line 2: expected one JSON object on the line: Extra data"),
        (b'{"a": 1}\n[1]\n', "line 2: expected a JSON object, found"),
        (b'{"a": 1}\n{"a": "\xff"}\n', "line 2: expected UTF-8, found byte 0xff"),
        (b'{"a": ' + b"[" * 100_000 + b"\n", "line 1: expected one JSON object"),
        (b"PK\x03\x04 ...", "found an archive: .*autotts pool import"),
        (b"PAR1 but no Parquet", "expected a Parquet file, found one that cannot be read"),
        (b"\x1f\x8b\x08\x00 no gzip at all, but it begins so", "line 0|damaged after line 0"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        of(path)


def test_a_folder_or_nothing_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found a folder there"):
        of(tmp_path)
    with pytest.raises(InputError, match="found nothing there"):
        of(tmp_path / "none.jsonl")


def test_a_line_has_a_greatest_length(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 5000)
    with pytest.raises(InputError, match="found a longer one"):
        list(lines(path, chunk=100, longest=1000))


def test_no_block_is_much_larger_than_a_chunk(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"\0" * 1_000_000))  # a thousand times smaller than what it holds
    sizes = [len(block) for block in blocks(path, 1000)]
    assert sum(sizes) == 1_000_000 and max(sizes) <= 4000
