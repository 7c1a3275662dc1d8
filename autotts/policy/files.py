"""JSON files that people read and edit: strict reading, readable writing, and never half a file."""

from __future__ import annotations

import json
import math
import os
import secrets
from pathlib import Path
from typing import Any, Final, NoReturn

from autotts.errors import InputError

LARGEST: Final = 16 * 1024 * 1024  # bytes; a policy takes kilobytes, and a hostile one is not to take minutes
WIDTH: Final = 100  # characters up to which a list stands on one line


def read_json(path: Path, what: str = "policy") -> Any:
    """Read a JSON file; what Python's reader lets through (NaN, duplicate keys, overflow) is refused.

    Raises
    ------
    InputError
        The file is missing, not a plain file, over 16 MB, not UTF-8, not JSON, or nested too deeply.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path}: expected a {what} file, found {'a folder' if path.is_dir() else 'no such file'}")
        size = path.stat().st_size
        if size > LARGEST:
            raise InputError(f"{path}: expected a {what} of at most {LARGEST >> 20} MB, found {size >> 20} MB")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: this {what} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected text in UTF-8, found the byte {error.object[error.start]:#x}") from None
    return parse_json(text, str(path), what)


def parse_json(text: str, where: str, what: str = "policy") -> Any:
    """Parse a JSON text; `where` names it in messages."""
    try:
        data = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
        json.dumps(data, ensure_ascii=False).encode()
        return data
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where}: expected text, found half a character (\\u{ord(error.object[error.start]):x})"
        ) from None
    except json.JSONDecodeError as error:
        end = " (is the file cut off?)" if error.pos >= len(text.rstrip()) or "Unterminated" in error.msg else ""
        raise InputError(
            f"{where}: expected a {what} in JSON, found an error at line {error.lineno}, column {error.colno}: "
            f"{error.msg}{end}; write it again or restore it"
        ) from None
    except RecursionError:
        raise InputError(f"{where}: expected a {what}, found JSON that is nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} is given twice in one object; keep one of them")
    return out


def _constant(word: str) -> NoReturn:
    raise ValueError(f"expected a number, found {word}; JSON has no such number")


def _float(token: str) -> float:
    value = float(token)
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, found {token}")
    return value


def dumps(data: Any, indent: int = 0) -> str:
    """JSON for people: two spaces of indent, short lists of numbers and words on one line, keys as they come.

    Examples
    --------
    >>> print(dumps({"a": [1, 2], "b": {}}))
    {
      "a": [1, 2],
      "b": {}
    }
    """
    inner = " " * (indent + 2)
    flat = json.dumps(data, ensure_ascii=False, allow_nan=False)
    if not data or not isinstance(data, (dict, list, tuple)):
        return flat
    if not isinstance(data, dict):
        if len(flat) <= WIDTH - indent or not any(isinstance(item, (dict, list, tuple)) for item in data):
            return flat
        rows = [inner + dumps(item, indent + 2) for item in data]
        return "[\n" + ",\n".join(rows) + f"\n{' ' * indent}]"
    rows = [f"{inner}{json.dumps(key, ensure_ascii=False)}: {dumps(value, indent + 2)}" for key, value in data.items()]
    return "{\n" + ",\n".join(rows) + f"\n{' ' * indent}}}"


def write_atomic(path: Path, text: str) -> None:
    """Write a text file so that at every moment, and after a crash, the old or the new one is there.

    Raises
    ------
    InputError
        The folder cannot be written to or the disk is full; the old file is as it was.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(fresh, "x", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except (OSError, UnicodeEncodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds half a character"
        raise InputError(f"{path}: cannot be written: {reason or error}; the old file, if any, is as it was") from None


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a crash, where the system lets folders be synced."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
