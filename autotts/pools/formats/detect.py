"""Which layout a file is in, seen from how it begins."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any, Final

from autotts.errors import InputError
from autotts.pools.files import blocks, head

LONGEST_FIRST: Final = 1 << 24  # bytes of a first line
_INSPECT: Final = ("version", "status", "eval")  # the first members of an Inspect log
_HELP: Final = (
    "expected one of the layouts pool (prompt_id, model, ...), lm-eval (samples_*.jsonl of --log_samples), inspect "
    "(.eval or .json) and openai (request and response on each line)"
)


def detect(path: Path) -> str:
    """Name the layout of a file.

    Raises
    ------
    InputError
        It is in none that is known.
    """
    begin = head(path, 4)
    if begin == b"PAR1":
        return "pool"
    if begin == b"PK\x03\x04":
        return "inspect"
    text = _begin(path).decode("utf-8-sig", "replace").lstrip()
    if not text:
        raise InputError(f"{path} is empty: {_HELP}")
    if text.startswith("["):
        raise InputError(
            f"{path}: {_HELP}; found a JSON array: write its elements one a line, such as with: jq -c '.[]' {path}"
        )
    return _of_object(path, _first(text), text)


def _begin(path: Path) -> bytes:
    """The first line and perhaps more; of a long one, its first part."""
    found: list[bytes] = []
    try:
        for block in blocks(path):
            found.append(block)
            if b"\n" in block or sum(map(len, found)) > LONGEST_FIRST:
                break
    except (EOFError, zlib.error):
        pass  # reading the whole file will say so, and where
    return b"".join(found)


def _first(text: str) -> Any:
    try:
        return json.loads(text.partition("\n")[0])
    except (ValueError, RecursionError):
        return None


def _of_object(path: Path, first: Any, text: str) -> str:
    if not isinstance(first, dict):  # one object over many lines, or on one that is longer than a block
        opened = text.removeprefix("{").lstrip()
        if text.startswith("{") and any(opened.startswith(f'"{key}"') for key in _INSPECT):
            return "inspect"
        raise InputError(f"{path}: {_HELP}, found {text[:40]!r}...")
    if "prompt_id" in first:
        return "pool"
    if "doc_id" in first and "resps" in first:
        return "lm-eval"
    if "eval" in first and ("samples" in first or "version" in first):
        return "inspect"
    if "response" in first and ("request" in first or "custom_id" in first):
        return "openai"
    hint = ""
    if "results" in first and "configs" in first:
        hint = "; this is a summary: give the samples_*.jsonl beside it"
    elif "custom_id" in first:
        hint = "; these are a batch's requests: give its output"
    raise InputError(f"{path}: {_HELP}, found a line with the keys {', '.join(map(str, first)) or 'none'}{hint}")
