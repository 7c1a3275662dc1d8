"""Samples of the lm-evaluation-harness (`--log_samples`): a line for each document and filter, with its repeats."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from autotts.errors import InputError
from autotts.pools.files import rows
from autotts.pools.formats.source import Placed, Source, level_of, question, sequence, table
from autotts.pools.lines import Row

_NAME: Final = re.compile(r"samples_(?P<task>.+?)_(?P<date>\d{4}-\d\d-\d\dT.*)\.(?:jsonl|ndjson)(?:\.gz)?")
_ASKED: Final = ("question", "problem", "prompt", "query", "input", "instruction", "Question", "Problem", "text")
_METRICS: Final = ("exact_match", "acc", "pass@1", "prompt_level_strict_acc")
_INVALID: Final = "[invalid]"  # what a filter gives where it finds nothing


def read(source: Source) -> Placed:
    """A sample for each repeat.

    Notes
    -----
    A filter other than `none` says what the extracted answer is. A metric labels the sample where there is one
    repeat; a metric of several repeats together (a vote) labels none of them.
    """
    name = _NAME.fullmatch(source.path.name)
    task = name["task"] if name else re.split(r"\.(?:jsonl|ndjson)", source.path.name)[0]
    model = source.model or _model(source, name["date"] if name else None)
    metric, _, wanted = (source.metric or "").partition(",")
    for number, row in rows(source.path):
        where = f"line {number}"
        kept = str(row.get("filter", "none"))
        wanted = wanted or kept
        if kept != wanted:
            source.told[
                f"lines set aside: the same samples, filtered by {kept!r} ({wanted!r} is read; --metric METRIC,FILTER)"
            ] += 1
            continue
        if "doc_id" not in row or not isinstance(row.get("resps"), list):
            raise InputError(
                f"{source.path}, {where}: expected the keys doc_id and resps, found {', '.join(row) or 'none'}"
            )
        shared = _shared(row, task, model)
        label = _label(source, where, row, metric)
        for sample in _samples(row, kept, label):
            yield where, {**shared, **sample}, None


def _model(source: Source, date: str | None) -> str:
    """The model's name: from the results beside the samples, else from the folder as the harness names it."""
    if date is not None:
        beside = source.path.with_name(f"results_{date}.json")
        if beside.is_file() and beside.stat().st_size < 1 << 26:
            try:
                found = table(json.loads(beside.read_bytes())).get("model_name")
            except (ValueError, RecursionError, OSError):
                found = None
            if isinstance(found, str) and found:
                return found
    folder = source.path.resolve().parent.name
    if "__" in folder.strip("_"):
        return folder.replace("__", "/").strip("/")
    raise InputError(
        f"{source.path}: these samples do not say which model made them, and neither does the folder {folder!r}; "
        "expected a folder named by the harness, such as Qwen__Qwen3-4B: give --model NAME"
    )


def _shared(row: Row, task: str, model: str) -> Row:
    """What all repeats of a document have in common."""
    doc = table(row.get("doc"))
    arguments = _arguments(row.get("arguments"))
    prompt = next((doc[key] for key in _ASKED if isinstance(doc.get(key), str)), None)
    settings: Mapping[str, Any] = table(arguments[1]) if len(arguments) > 1 else {}
    greedy = settings.get("do_sample") is False and settings.get("temperature") is None
    return {
        "dataset": task,
        "prompt_id": f"{task}/{row['doc_id']}",
        "prompt": prompt if prompt is not None else _prompt(arguments[0]) if arguments else None,
        "answer": _gold(row.get("target")),
        "level": level_of(doc.get("level")),
        "model": model,
        "strategy": "sample",
        "temperature": 0.0 if greedy else settings.get("temperature"),
        "top_p": settings.get("top_p"),
    }


def _arguments(given: Any) -> list[Any]:
    """The first request's arguments; newer files name them gen_args_0 and arg_0, older ones are lists."""
    if isinstance(given, dict):
        return list(table(given.get("gen_args_0")).values())
    return sequence(sequence(given)[0]) if sequence(given) else []


def _prompt(given: Any) -> str | None:
    """The prompt's text; that of a chat may be a list of messages, perhaps as JSON."""
    if isinstance(given, str) and given.lstrip().startswith("[{"):
        try:
            given = json.loads(given)
        except ValueError:
            return str(given)
    return question(given) if isinstance(given, list) else given if isinstance(given, str) else None


def _gold(target: Any) -> str | None:
    """The gold answer: what stands behind the last `####` where the target is a solution in GSM8K's form."""
    if isinstance(target, list):
        target = target[0] if len(target) == 1 else None
    if target is None or isinstance(target, bool | dict):
        return None
    return str(target).rpartition("####")[2].strip()


def _label(source: Source, where: str, row: Row, metric: str) -> Any:
    """The value of the metric that says whether the answer is right."""
    named = [name for name in sequence(row.get("metrics")) if isinstance(name, str)]
    if metric and metric not in row:
        found = ", ".join(named) or "none"
        raise InputError(f"{source.path}, {where}: --metric: expected one of {found}, found {metric!r}")
    name = metric or next((name for name in (*_METRICS, *named) if name in row), "")
    value = row.get(name)
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, list):
        return value
    if value is not None:
        source.told[f"lines without a label: {name} is neither 0 nor 1"] += 1
    return None


def _samples(row: Row, kept: str, label: Any) -> list[Row]:
    """What differs from repeat to repeat."""
    repeats, filtered = sequence(row["resps"][0]) if row["resps"] else [], sequence(row.get("filtered_resps"))
    if not repeats or not all(isinstance(text, str) for text in repeats):
        # Log-likelihoods of given choices: one verdict, and nothing was generated.
        verdict = None if isinstance(label, list) else label
        return [{"strategy": "loglikelihood", "sample_index": 0, "extracted": None, "correct": verdict}]
    first = filtered[0] if filtered else None
    answers = first if isinstance(first, list) and len(first) == len(repeats) else [first] * (len(repeats) == 1)
    labels = label if isinstance(label, list) and len(label) == len(repeats) else [label] * (len(repeats) == 1)
    out = []
    for index, text in enumerate(repeats):
        answer = answers[index] if answers and kept != "none" else None
        verdict = labels[index] if labels else None
        out.append(
            {
                "sample_index": index,
                "output": text,
                "extracted": None if answer == _INVALID or not isinstance(answer, str) else answer,
                "correct": bool(verdict) if verdict in (0, 1) else None,
            }
        )
    return out
