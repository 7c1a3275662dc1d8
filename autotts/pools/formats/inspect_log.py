"""Logs of Inspect: `.eval` archives, and `.json` logs; an epoch is a sample."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from typing import Final

from autotts.errors import InputError
from autotts.pools.files import head
from autotts.pools.formats.parts import parts
from autotts.pools.formats.source import Placed, Source, level_of, question, sequence, table, text_of
from autotts.pools.lines import Row

_HEADERS: Final = ("header.json", "_journal/start.json", "start.json")  # the later ones: of a run that did not end
_GRADES: Final = {"C": True, "I": False, "N": False, "CORRECT": True, "INCORRECT": False}
_CUT: Final = ("max_tokens", "model_length", "length")


def read(source: Source) -> Placed:
    """A sample for each epoch of each of the log's samples; those that ended in an error are counted and left out."""
    archived = head(source.path, 4) == b"PK\x03\x04"
    for where, header, sample in _archived(source) if archived else _plain(source):
        spec, config = table(header.get("eval")), _config(header)
        if table(sample.get("error")) and not table(sample.get("scores")):
            source.told["samples left out: they ended in an error"] += 1
            continue
        yield where, _row(source, where, sample, spec, config), None


def _archived(source: Source) -> Iterator[tuple[str, Row, Row]]:
    try:
        with zipfile.ZipFile(source.path) as archive:
            names = dict.fromkeys(archive.namelist())
            first = next((name for name in _HEADERS if name in names), None)
            if first is None:
                raise InputError(
                    f"{source.path}: expected an Inspect log with {_HEADERS[0]}, found none in the archive"
                )
            header = table(json.loads(archive.read(first)))
            for name in names:
                if name.startswith("samples/") and name.endswith(".json"):
                    yield name, header, table(json.loads(archive.read(name)))
    except NotImplementedError:
        raise InputError(
            f"{source.path}: this archive is compressed in a way that this Python cannot read (zstd needs Python "
            "3.14): convert it with: inspect log convert --to json --output-dir DIR FILE"
        ) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError) as error:
        raise InputError(
            f"{source.path}: expected an Inspect log, found an archive that cannot be read ({error}): copy it again"
        ) from None


def _plain(source: Source) -> Iterator[tuple[str, Row, Row]]:
    """The header's members stand before the samples, as Inspect writes them."""
    header: Row = {}
    for place, key, value in parts(source.path, "samples"):
        if key != "samples":
            header[key] = value if key in ("eval", "plan") else None
            continue
        if "eval" not in header:
            raise InputError(f"{source.path}: expected the key eval before samples, found it nowhere before them")
        yield place, header, table(value)


def _config(header: Row) -> Row:
    """How the model was asked: the plan's settings, over those of the model."""
    own = table(table(header.get("eval")).get("model_generate_config"))
    plan = table(table(header.get("plan")).get("config"))
    return {**own, **{key: value for key, value in plan.items() if value is not None}}


def _row(source: Source, where: str, sample: Row, spec: Row, config: Row) -> Row:
    model = source.model or spec.get("model")
    if "id" not in sample or not isinstance(model, str):
        raise InputError(
            f"{source.path}, {where}: expected a sample's id and the log's eval.model, found neither or one"
        )
    task = str(spec.get("task") or "inspect").rpartition("/")[2]
    output, metadata = table(sample.get("output")), table(sample.get("metadata"))
    given, target = sample.get("input"), sample.get("target")
    completion = _completion(sample, output)
    extracted, correct = _verdict(source, where, table(sample.get("scores")), completion)
    usage = _usage(sample, output, str(spec.get("model")))
    epoch = sample.get("epoch", 1)
    return {
        "dataset": task,
        "prompt_id": f"{task}/{sample['id']}",
        "prompt": given if isinstance(given, str) else question(sequence(given)),
        "answer": (target[0] if target else None) if isinstance(target, list) else target,
        "level": level_of(metadata.get("level")),
        "model": model,
        "strategy": "sample",
        "temperature": config.get("temperature"),
        "top_p": config.get("top_p"),
        "effort": config.get("reasoning_effort") or config.get("reasoning_tokens"),
        "sample_index": epoch - 1 if isinstance(epoch, int) else None,
        "finish": _finish(output),
        "output": completion,
        "extracted": extracted,
        "correct": correct,
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": usage.get("output_tokens"),
        "time_s": output.get("time"),
    }


def _completion(sample: Row, output: Row) -> str | None:
    """The model's last words; long texts may be kept apart, among the sample's attachments."""
    text = output.get("completion")
    if not isinstance(text, str) or not text:
        choices = sequence(output.get("choices"))
        text = text_of(table(table(choices[0]).get("message")).get("content")) if choices else None
    if text is not None and text.startswith("attachment://"):
        found = table(sample.get("attachments")).get(text.removeprefix("attachment://"))
        text = found if isinstance(found, str) else text
    return text


def _finish(output: Row) -> str | None:
    choices = sequence(output.get("choices"))
    reason = table(choices[0]).get("stop_reason") if choices else None
    return "length" if reason in _CUT else reason if isinstance(reason, str) else None


def _usage(sample: Row, output: Row, model: str) -> Row:
    """Tokens of the answer; of the model's whole conversation where it spoke more than once."""
    turns = sum(table(message).get("role") == "assistant" for message in sequence(sample.get("messages")))
    whole = table(table(sample.get("model_usage")).get(model))
    return whole if turns > 1 and whole else table(output.get("usage"))


def _verdict(source: Source, where: str, scores: Row, completion: str | None) -> tuple[str | None, bool | None]:
    """What a scorer read, and whether it found it right; a scorer's answer that is the whole output was not read."""
    if source.metric is not None and scores and source.metric not in scores:
        raise InputError(
            f"{source.path}, {where}: --metric: expected one of {', '.join(scores)}, found {source.metric!r}"
        )
    if len(scores) > 1 and source.metric is None:
        first = next(iter(scores))
        source.told[f"samples with several scores, {', '.join(scores)} ({first!r} is read; --metric NAME)"] += 1
    score = table(scores.get(source.metric or next(iter(scores), "")))
    value, answer = score.get("value"), score.get("answer")
    extracted = answer if isinstance(answer, str) and answer.strip() != (completion or "").strip() else None
    if isinstance(value, str) and value.upper() in _GRADES:
        return extracted, _GRADES[value.upper()]
    if isinstance(value, int | float) and value in (0, 1):
        return extracted, bool(value)
    if value is not None:
        source.told["samples without a label: their score is neither right nor wrong"] += 1
    return extracted, None
