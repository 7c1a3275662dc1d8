"""Pools written as JSON lines or Parquet, as a stream, and never half a file."""

from __future__ import annotations

import gzip
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from autotts.errors import InputError
from autotts.pools.files import EXTRA
from autotts.pools.lines import KEYS, Row

# Writes a clean row; where its line is known and unchanged, that is written as it is, if the form allows.
Write = Callable[[Row, bytes | None], None]

HELD: Final = 1 << 20  # bytes of JSON lines that are held before they are written
GROUP: Final = 8192  # rows of Parquet that are written at once


@contextmanager
def writing(path: Path) -> Iterator[Write]:
    """A function that writes one clean row to a file, which is there only when all went well.

    The ending says the form: .jsonl, .ndjson (perhaps .gz) or .parquet.
    """
    form = _form(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with form(part) as write:
            yield write
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"{path}: this file cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            part.unlink()


def _form(path: Path) -> Callable[[Path], AbstractContextManager[Write]]:
    name = path.name.lower()
    for ending, form in _FORMS.items():
        if name.endswith(ending):
            if form is _parquet:
                _check_pyarrow(path)
            return form
    raise InputError(f"{path}: expected an output that ends in {', '.join(_FORMS)}, found {path.suffix or 'no ending'}")


@contextmanager
def _plain(path: Path) -> Iterator[Write]:
    with path.open("wb") as file, _lines(file.write) as write:
        yield write


@contextmanager
def _gzip(path: Path) -> Iterator[Write]:
    # Without a name and a time in it, equal pools are equal files.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, 0) as file, _lines(file.write) as write:
        yield write


@contextmanager
def _lines(to: Callable[[bytes], Any]) -> Iterator[Write]:
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(", ", ": ")).encode
    held: list[bytes] = []
    size = 0

    def write(row: Row, line: bytes | None) -> None:
        nonlocal size
        if line is None or b"NaN" in line or b"Infinity" in line:
            line = _encoded(encode, row)
        held.append(line)
        size += len(line)
        if size > HELD:
            flush()

    def flush() -> None:
        nonlocal size
        if held:
            to(b"\n".join((*held, b"")))
        held.clear()
        size = 0

    yield write
    flush()


def _encoded(encode: Callable[[Any], str], row: Row) -> bytes:
    try:
        return encode(row).encode()
    except UnicodeEncodeError:  # half a character is no UTF-8, but JSON can write it
        return json.dumps(_finite(row)).encode()
    except ValueError:  # NaN under a key that is not of the layout
        return _encoded(encode, _finite(row))


def _finite(value: Any) -> Any:
    """A value with null for every number that JSON does not have."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, list):
        return [_finite(x) for x in value]
    return {key: _finite(x) for key, x in value.items()} if isinstance(value, dict) else value


# ---------------------------------------------------------------- Parquet

_WHOLE: Final = ("level", "sample_index", "prompt_tokens", "completion_tokens", "probe_every")
_REAL: Final = ("params_b", "active_params_b", "temperature", "top_p", "score", "time_s")


def _check_pyarrow(path: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise InputError(
            f"{path}: Parquet needs pyarrow, which is not installed: pip install autotts-optimizer[parquet], or write "
            ".jsonl.gz"
        ) from None


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def kind(key: str) -> Any:
        if key in _WHOLE:
            return pa.int64()
        if key in _REAL:
            return pa.float64()
        return {"correct": pa.bool_(), "step_scores": pa.list_(pa.float64()), "probes": pa.list_(pa.string())}.get(
            key, pa.string()
        )

    schema = pa.schema([(key, kind(key)) for key in (*KEYS, EXTRA)])
    held: list[Row] = []

    def flush() -> None:
        columns = [pa.array([row.get(field.name) for row in held], field.type) for field in schema]
        file.write_batch(pa.record_batch(columns, schema=schema))
        held.clear()

    def write(row: Row, line: bytes | None) -> None:
        held.append({**row, EXTRA: _others(row)})
        if len(held) >= GROUP:
            flush()

    try:
        with pq.ParquetWriter(path, schema, compression="zstd") as file:
            yield write
            if held:
                flush()
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise InputError(f"{path}: these samples cannot be kept as Parquet ({error}): write .jsonl.gz") from None


def _others(row: Row) -> str | None:
    """The keys that are not of the layout, as a JSON object."""
    more = {key: value for key, value in row.items() if key not in _KNOWN}
    return json.dumps(_finite(more)) if more else None


_KNOWN: Final = frozenset(KEYS)
_FORMS: Final[Mapping[str, Callable[[Path], AbstractContextManager[Write]]]] = {
    ".jsonl": _plain,
    ".ndjson": _plain,
    ".jsonl.gz": _gzip,
    ".ndjson.gz": _gzip,
    ".parquet": _parquet,
}
