"""Files of recorded answers, read as a stream: memory does not grow with the file."""

from __future__ import annotations

import codecs
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from autotts.errors import InputError
from autotts.pools.lines import shown

_decode: Final = json.JSONDecoder().raw_decode
CHUNK: Final = 1 << 20  # bytes that are read at once
LONGEST: Final = 1 << 28  # bytes of one line

EXTRA: Final = "extra"  # the column of Parquet files that holds all other keys, as a JSON object

Numbered = Iterator[tuple[int, dict[str, Any]]]  # the line (or row) of each object, from 1, and the object
Written = Iterator[tuple[int, dict[str, Any], bytes | None]]  # and the line itself, where there are lines


def rows(path: Path) -> Numbered:
    """The objects of a file of JSON lines, plain or compressed by gzip, or the rows of a Parquet file.

    Raises
    ------
    InputError
        The file cannot be read, is cut off, or holds something else; the message names the line.
    """
    for number, row, _ in written(path):
        yield number, row


def written(path: Path) -> Written:
    """As `rows`, with the line of each as it is written."""
    begin = head(path, 4)
    if begin == b"PAR1":
        yield from _from_parquet(path)
        return
    if begin == b"PK\x03\x04":
        raise InputError(
            f"{path}: expected JSON lines or Parquet, found an archive: bring it into the layout of pools with: "
            f"autotts pool import {path} --output POOL.jsonl"
        )
    for number, line in lines(path):
        yield number, parsed(path, number, line), line


def parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """The JSON object of a line."""
    try:
        text = line.decode()
        row, end = _decode(text)
        if end < len(text):
            raise json.JSONDecodeError("Extra data", text, end)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}, line {number}: expected UTF-8, found byte 0x{line[error.start]:02x}: save it as UTF-8"
        ) from None
    except (ValueError, RecursionError) as error:
        cut = isinstance(error, json.JSONDecodeError) and (error.pos >= len(error.doc) or "Unterm" in error.msg)
        hint = " (is the file cut off?)" if cut else ""
        raise InputError(f"{path}, line {number}: expected one JSON object on the line{hint}: {error}") from None
    if type(row) is not dict:
        raise InputError(f"{path}, line {number}: expected a JSON object, found {shown(row)}")
    return row


def head(path: Path, size: int) -> bytes:
    """The first bytes of a file, as they are on disk."""
    with opened(path) as file:
        return file.read(size)


def opened(path: Path) -> BinaryIO:
    """Open a file to read, or say why not."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "something else" if path.exists() else "nothing"
        raise InputError(f"{path}: expected a file of recorded answers, found {found} there")
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: expected a file that can be read, found an error: {error.strerror}") from None


def lines(path: Path, *, chunk: int = CHUNK, longest: int = LONGEST) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, from 1, without the space around them and without those that are blank."""
    number = 0
    try:
        for whole in _split(path, chunk, longest):
            number += 1
            if line := whole.strip():
                yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except EOFError:
        raise InputError(
            f"{path}: expected a whole gzip file, found one that is cut off after line {number}: {number} lines are "
            f"good. Copy the file again, or keep the good lines with: gzip -dc {path} 2>/dev/null | head -n {number}"
        ) from None
    except zlib.error as error:
        raise InputError(
            f"{path}: expected a gzip file, found one that is damaged after line {number} ({error}): copy it again"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: expected a file that can be read, found an error: {error}") from error


def _split(path: Path, chunk: int, longest: int) -> Iterator[bytes]:
    """Lines without their ends."""
    rest: list[bytes] = []
    held = 0
    for block in blocks(path, chunk):
        first, *others = block.split(b"\n")
        rest.append(first)
        held += len(first)
        if others:
            yield b"".join(rest)
            yield from others[:-1]
            rest, held = [others[-1]], len(others[-1])
        elif held > longest:
            raise InputError(f"{path}: expected lines of at most {longest >> 20} MB, found a longer one")
    if held:
        yield b"".join(rest)


def blocks(path: Path, chunk: int = CHUNK) -> Iterator[bytes]:
    """The content in blocks, decompressed where it is gzip.

    Raises
    ------
    EOFError
        The gzip stream ends too early; what was before the end has been given.
    """
    with opened(path) as file:
        block = file.read(chunk)
        if block[:2] != b"\x1f\x8b":
            while block:
                yield block
                block = file.read(chunk)
            return
        stream = zlib.decompressobj(31)
        while True:
            data = stream.decompress(block, 4 * chunk)
            if data:
                yield data
            if stream.eof:  # a gzip file may be several, one after the other, and padded with zeros
                block = stream.unused_data.lstrip(b"\0")
                while not block:
                    if not (block := file.read(chunk)):
                        return
                    block = block.lstrip(b"\0")
                stream = zlib.decompressobj(31)
            elif not (block := stream.unconsumed_tail or file.read(chunk)):
                if data := stream.flush():
                    yield data
                if not stream.eof:
                    raise EOFError
                return


def _from_parquet(path: Path) -> Written:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(
            f"{path}: Parquet needs pyarrow, which is not installed: pip install autotts-optimizer[parquet], or save "
            "the samples as .jsonl"
        ) from None
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024, use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    yield number, _whole(row), None
    except pa.ArrowException as error:
        raise InputError(f"{path}: expected a Parquet file, found one that cannot be read: {error}") from error


def _whole(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the line that it was written from: without what is null, and with the keys of other layouts."""
    more = row.pop(EXTRA, None)
    found = {key: value for key, value in row.items() if value is not None or key in ("extracted", "correct")}
    if isinstance(more, str):
        try:
            kept = json.loads(more)
        except ValueError:
            kept = None
        return {**found, **kept} if isinstance(kept, dict) else {**found, EXTRA: more}
    return found if more is None else {**found, EXTRA: more}
