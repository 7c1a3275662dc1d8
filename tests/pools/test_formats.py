"""Logs of other tools are read into the common layout, with all that they say and nothing that they do not."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from autotts.errors import InputError
from autotts.pools.formats import LAYOUTS
from autotts.pools.formats.detect import detect
from autotts.pools.formats.parts import parts
from autotts.pools.formats.source import Source
from autotts.pools.lines import Row


def written(path: Path, lines: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def read(path: Path, **given: Any) -> tuple[list[Row], dict[str, int]]:
    """The samples, and what the reader told."""
    source = Source(path, **given)
    return [row for _, row, _ in LAYOUTS[detect(path)](source)], dict(source.told)


def told(said: dict[str, int], part: str) -> int:
    return sum(count for sentence, count in said.items() if part in sentence)


# ---------------------------------------------------------------- lm-evaluation-harness

RUN = "samples_gsm8k_2025-01-02T03-04-05.678901.jsonl"


def harness(number: int = 0, **more: Any) -> dict[str, Any]:
    """A line as the harness writes it: one document, one filter."""
    return {
        "doc_id": number,
        "doc": {"question": f"What is {number} + 1?", "answer": f"It is {number + 1}. #### {number + 1}"},
        "target": f"It is {number + 1}. #### {number + 1}",
        "arguments": {
            "gen_args_0": {
                "arg_0": "Question: ...",
                "arg_1": {"until": ["\n\n"], "do_sample": True, "temperature": 0.6, "top_p": 0.95},
            }
        },
        "resps": [[f"So it is {number + 1}."]],
        "filtered_resps": [str(number + 1)],
        "filter": "strict-match",
        "metrics": ["exact_match"],
        "doc_hash": "a",
        "prompt_hash": "b",
        "target_hash": "c",
        "exact_match": 1.0,
        **more,
    }


def test_a_line_of_the_harness_is_a_sample(tmp_path: Path) -> None:
    path = written(tmp_path / "Qwen__Qwen3-4B" / RUN, [harness(4)])
    (row,), said = read(path)
    assert row == {
        "dataset": "gsm8k",
        "prompt_id": "gsm8k/4",
        "prompt": "What is 4 + 1?",
        "answer": "5",
        "level": None,
        "model": "Qwen/Qwen3-4B",
        "strategy": "sample",
        "temperature": 0.6,
        "top_p": 0.95,
        "sample_index": 0,
        "output": "So it is 5.",
        "extracted": "5",
        "correct": True,
    }
    assert not said


def test_repeats_are_samples_and_a_metric_of_all_of_them_labels_none(tmp_path: Path) -> None:
    several = {"resps": [["a 1", "b 2", "c"]], "filter": "maj@3", "filtered_resps": ["1"]}
    rows, _ = read(written(tmp_path / "m__x" / RUN, [harness(**several)]))
    assert [(row["sample_index"], row["output"], row["extracted"], row["correct"]) for row in rows] == [
        (0, "a 1", None, None),
        (1, "b 2", None, None),
        (2, "c", None, None),
    ]
    each = {**several, "filter": "each", "filtered_resps": [["1", "2", "[invalid]"]], "exact_match": [1, 0, 0]}
    rows, _ = read(written(tmp_path / "m__x" / RUN, [harness(**each)]))
    assert [(row["extracted"], row["correct"]) for row in rows] == [("1", True), ("2", False), (None, False)]


def test_filters_are_the_same_samples_read_in_several_ways(tmp_path: Path) -> None:
    flexible = {"filter": "flexible-extract", "filtered_resps": ["7"], "exact_match": 0.0}
    lines = [harness(0), harness(1), harness(0, **flexible), harness(1, **flexible)]
    path = written(tmp_path / "m__x" / RUN, lines)
    rows, said = read(path)
    assert [row["extracted"] for row in rows] == ["1", "2"] and told(said, "'flexible-extract'") == 2
    rows, said = read(path, metric="exact_match,flexible-extract")
    assert [(row["extracted"], row["correct"]) for row in rows] == [("7", False)] * 2
    with pytest.raises(InputError, match=r"line 1: --metric: expected one of exact_match, found 'acc'"):
        read(path, metric="acc")


def test_an_output_that_no_filter_read_is_not_extracted(tmp_path: Path) -> None:
    unread = {"filter": "none", "filtered_resps": ["So it is 1."], "exact_match": 0.5}
    (row,), said = read(written(tmp_path / "m__x" / RUN, [harness(**unread)]))
    assert row["extracted"] is None and row["correct"] is None and told(said, "neither 0 nor 1") == 1


def test_choices_by_likelihood_are_no_samples_of_a_model(tmp_path: Path) -> None:
    choice = {
        "resps": [[["-1.5", "True"]], [["-3.0", "False"]]],
        "filtered_resps": [["-1.5", "True"], ["-3.0", "False"]],
        "filter": "none",
        "metrics": ["acc"],
        "acc": 1.0,
        "target": "0",
    }
    line = harness(**choice)
    del line["exact_match"]
    (row,), _ = read(written(tmp_path / "m__x" / RUN, [line]))
    assert row["strategy"] == "loglikelihood" and row["correct"] is True and row["extracted"] is None


def test_old_lines_have_lists_of_arguments_and_greedy_ones_temperature_0(tmp_path: Path) -> None:
    chat = json.dumps([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1?"}])
    line = harness(arguments=[[chat, {"do_sample": False}]], doc={"level": "Level 3"})
    (row,), _ = read(written(tmp_path / "m__x" / RUN, [line]))
    assert row["temperature"] == 0.0 and row["prompt"] == "What is 1?" and row["level"] == "Level 3"


def test_the_model_comes_from_an_option_the_results_or_the_folder(tmp_path: Path) -> None:
    path = written(tmp_path / "somewhere" / RUN, [harness()])
    with pytest.raises(InputError, match=r"do not say which model .*'somewhere'.* --model NAME"):
        read(path)
    assert read(path, model="M")[0][0]["model"] == "M"
    (path.parent / "results_2025-01-02T03-04-05.678901.json").write_text('{"model_name": "org/M-7B"}')
    assert read(path)[0][0]["model"] == "org/M-7B"


# ---------------------------------------------------------------- Inspect


def epoch(number: int = 1, name: Any = 7, **more: Any) -> dict[str, Any]:
    """A sample as Inspect writes it."""
    return {
        "id": name,
        "epoch": number,
        "input": [
            {"role": "system", "content": "Think."},
            {"role": "user", "content": [{"type": "text", "text": "2+2?"}]},
        ],
        "target": "4",
        "messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "ANSWER: 4"}],
        "output": {
            "model": "x",
            "choices": [{"message": {"role": "assistant", "content": "ANSWER: 4"}, "stop_reason": "stop"}],
            "completion": "ANSWER: 4",
            "usage": {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14},
            "time": 1.5,
        },
        "scores": {"match": {"value": "C", "answer": "4"}},
        "metadata": {"level": 2},
        "model_usage": {"openai/gpt-x": {"input_tokens": 90, "output_tokens": 50, "total_tokens": 140}},
        **more,
    }


HEADER = {
    "version": 2,
    "status": "success",
    "eval": {"task": "inspect_evals/sums", "model": "openai/gpt-x", "model_generate_config": {"temperature": 1.0}},
    "plan": {"config": {"temperature": 0.3, "top_p": None, "reasoning_effort": "low"}},
}


def archive(path: Path, samples: list[dict[str, Any]], header: str = "header.json") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("_journal/summaries/1.json", "[]")
        for sample in samples:
            out.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
        out.writestr(header, json.dumps(HEADER))
    return path


def whole(path: Path, samples: list[dict[str, Any]], indent: int | None = 2) -> Path:
    path.write_text(
        json.dumps({**HEADER, "results": {"scores": []}, "samples": samples, "reductions": []}, indent=indent)
    )
    return path


@pytest.mark.parametrize("kind", ["eval", "journal", "json", "line"])
def test_an_epoch_of_inspect_is_a_sample(tmp_path: Path, kind: str) -> None:
    samples = [epoch(1), epoch(2, scores={"match": {"value": "I", "answer": "ANSWER: 4"}})]
    path = {
        "eval": lambda: archive(tmp_path / "a.eval", samples),
        "journal": lambda: archive(tmp_path / "a.eval", samples, "_journal/start.json"),
        "json": lambda: whole(tmp_path / "a.json", samples),
        "line": lambda: whole(tmp_path / "a.json", samples, None),
    }[kind]()
    (first, second), said = read(path)
    assert first == {
        "dataset": "sums",
        "prompt_id": "sums/7",
        "prompt": "2+2?",
        "answer": "4",
        "level": 2,
        "model": "openai/gpt-x",
        "strategy": "sample",
        "temperature": 0.3,
        "top_p": None,
        "effort": "low",
        "sample_index": 0,
        "finish": "stop",
        "output": "ANSWER: 4",
        "extracted": "4",
        "correct": True,
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "time_s": 1.5,
    }
    # A scorer whose answer is the whole output has read nothing.
    assert (second["sample_index"], second["correct"], second["extracted"]) == (1, False, None) and not said


def test_scores_of_inspect_are_letters_or_numbers_and_others_label_nothing(tmp_path: Path) -> None:
    values = ["C", "I", "N", "P", 1, 0.0, True, 0.5, {"a": 1}]
    rows, said = read(
        archive(tmp_path / "a.eval", [epoch(k + 1, scores={"s": {"value": v}}) for k, v in enumerate(values)])
    )
    assert [row["correct"] for row in rows] == [True, False, False, None, True, False, True, None, None]
    assert told(said, "neither right nor wrong") == 3


def test_of_several_scorers_one_is_named(tmp_path: Path) -> None:
    path = whole(tmp_path / "a.json", [epoch(scores={"one": {"value": "C"}, "two": {"value": "I"}})])
    (row,), said = read(path)
    assert row["correct"] is True and told(said, "'one' is read") == 1
    assert read(path, metric="two")[0][0]["correct"] is False
    with pytest.raises(InputError, match=r"samples\[0\]: --metric: expected one of one, two, found 'three'"):
        read(path, metric="three")


def test_errors_long_talks_limits_and_attachments_of_inspect(tmp_path: Path) -> None:
    talk = [{"role": role, "content": "hm"} for role in ("user", "assistant", "user", "assistant")]
    samples = [
        epoch(1, error={"message": "broken"}, scores=None),
        epoch(2, messages=talk),
        epoch(3, output={"choices": [{"message": {"content": "attachment://ab"}, "stop_reason": "max_tokens"}]}),
    ]
    samples[2]["attachments"] = {"ab": "a long text"}
    rows, said = read(archive(tmp_path / "a.eval", samples))
    assert told(said, "ended in an error") == 1
    assert [(row["completion_tokens"], row["finish"], row["output"]) for row in rows] == [
        (50, "stop", "ANSWER: 4"),
        (None, "length", "a long text"),
    ]


def test_an_archive_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.eval", [epoch()])
    raw = bytearray(path.read_bytes())
    (tmp_path / "cut.eval").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match=r"cut\.eval: expected an Inspect log, found an archive that cannot be read"):
        read(tmp_path / "cut.eval")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as out:
        out.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match=r"expected an Inspect log with header\.json"):
        read(tmp_path / "other.zip")
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):  # another method of compression, in every header
        begin = raw.find(mark)
        while begin >= 0:
            raw[begin + at] = 99
            begin = raw.find(mark, begin + 1)
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"compressed in a way .*inspect log convert --to json"):
        read(path)


def test_a_long_json_object_is_read_part_by_part(tmp_path: Path) -> None:
    data = {"a": 1.5, "b": {"samples": [1]}, "samples": [{"t": "é]}," * 9}, 12, [], "x"], "z": None, "e": ""}
    for indent in (None, 1):
        path = tmp_path / "a.json"
        path.write_text(json.dumps(data, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")
        found = list(parts(path, "samples"))
        assert [value for _, key, value in found if key == "samples"] == data["samples"]
        assert {key: value for _, key, value in found if key != "samples"} == {
            key: value for key, value in data.items() if key != "samples"
        }
    for cut in range(1, len(path.read_bytes()) - 3, 5):
        path.write_bytes(json.dumps(data).encode()[:cut])
        with pytest.raises(InputError, match=r"a\.json: expected"):
            list(parts(path, "samples"))


# ---------------------------------------------------------------- OpenAI


def call(text: str = "4", **more: Any) -> dict[str, Any]:
    """A request and its response, on one line."""
    return {
        "request": {
            "model": "gpt-x",
            "messages": [{"role": "user", "content": "2+2?"}],
            "temperature": 0.7,
            "top_p": 0.9,
        },
        "response": {
            "model": "gpt-x-2025",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11},
        },
        **more,
    }


def test_a_choice_is_a_sample_and_equal_requests_are_counted(tmp_path: Path) -> None:
    other = call()
    other["request"]["temperature"] = 0.1
    rows, said = read(written(tmp_path / "log.jsonl", [call("4"), call("5"), other]))
    name = rows[0]["prompt_id"]
    assert rows[0] == {
        "dataset": "log",
        "prompt_id": name,
        "prompt": "2+2?",
        "answer": None,
        "model": "gpt-x",
        "strategy": "sample",
        "temperature": 0.7,
        "top_p": 0.9,
        "template": None,
        "effort": None,
        "sample_index": 0,
        "finish": "stop",
        "output": "4",
        "extracted": None,
        "correct": None,
        "prompt_tokens": 8,
        "completion_tokens": 3,
    }
    assert [(row["prompt_id"], row["sample_index"], row["output"]) for row in rows] == [
        (name, 0, "4"),
        (name, 1, "5"),
        (name, 0, "4"),
    ]
    assert not said


def test_choices_of_one_response_share_its_usage(tmp_path: Path) -> None:
    line = call()
    line["response"]["choices"] = [
        {"index": 0, "message": {"content": "a"}, "logprobs": {"content": [{}, {}]}},
        {"index": 1, "text": "b"},
    ]
    rows, said = read(written(tmp_path / "log.jsonl", [line]))
    assert [(row["output"], row["sample_index"], row["completion_tokens"]) for row in rows] == [
        ("a", 0, 2),
        ("b", 1, None),
    ]
    assert told(said, "several choices together") == 1


def test_batches_failures_and_system_messages(tmp_path: Path) -> None:
    body = call("6")["response"]
    batch = {"id": "b", "custom_id": "q-1", "response": {"status_code": 200, "body": body}, "error": None}
    failed = {"custom_id": "q-2", "response": None, "error": {"message": "too many"}}
    system = call()
    system["request"]["messages"].insert(0, {"role": "system", "content": "Be brief."})
    texts = call(response=json.dumps(body), request=json.dumps(call()["request"]))
    rows, said = read(written(tmp_path / "log.jsonl.gz", [batch, failed, system, texts]))
    assert (rows[0]["prompt_id"], rows[0]["prompt"], rows[0]["model"]) == ("q-1", None, "gpt-x-2025")
    assert rows[1]["template"].startswith("system-") and rows[1]["prompt"] == "2+2?"
    assert rows[2]["output"] == "6" and rows[2]["template"] is None
    assert rows[1]["prompt_id"] == rows[2]["prompt_id"] and told(said, "failed requests") == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"request": {}, "response": {"output": []}}, "line 1: response: expected choices, found the keys output"),
        ({"request": {"messages": []}, "response": {"choices": [{}], "model": "m"}}, "expected messages, prompt or"),
        ({"request": {"prompt": "a"}, "response": {"choices": [{}]}}, "expected model, .*--model NAME"),
    ],
)
def test_what_is_no_request_is_said(tmp_path: Path, line: Any, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        read(written(tmp_path / "log.jsonl", [line]))


# ---------------------------------------------------------------- which layout


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty: expected one of the layouts"),
        (b'[{"prompt_id": 1}]', "found a JSON array: .*jq"),
        (b"prompt,answer\n1,2\n", "found 'prompt,answer"),
        (b'{"question": 1}', "found a line with the keys question"),
        (b'{"results": {}, "configs": {}}', r"a summary: give the samples_\*\.jsonl"),
        (b'{"custom_id": "a", "body": {}}', "a batch's requests: give its output"),
    ],
)
def test_a_layout_that_is_not_known_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=expected):
        detect(path)


def test_a_layout_is_seen_from_how_a_file_begins(tmp_path: Path) -> None:
    assert detect(written(tmp_path / "m__x" / RUN, [harness()])) == "lm-eval"
    assert detect(written(tmp_path / "a.jsonl.gz", [{"prompt_id": "p", "x": "y" * 3_000_000}])) == "pool"
    assert detect(written(tmp_path / "b.jsonl", [call()])) == "openai"
    (tmp_path / "c.bin").write_bytes(b"PAR1...")
    assert detect(tmp_path / "c.bin") == "pool"
