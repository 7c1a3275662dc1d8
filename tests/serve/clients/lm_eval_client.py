"""lm-evaluation-harness: a task of its own, by chats, by texts and by the likeliness of texts."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lm_eval
import tiktoken
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI
from lm_eval.tasks import TaskManager
from running import URL, Seen, run

FOLDER = Path(tempfile.mkdtemp())
SUMS = {"12 + 30 * 2": 72, "4 + 5": 9, "7 * 8 - 6": 50}
TASK = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {folder}/sums.jsonl
test_split: test
output_type: {kind}
doc_to_text: "What is {{{{sum}}}}?\\n"
"""
GENERATES = """
doc_to_target: "{{answer}}"
generation_kwargs:
  until: ["\\n\\n\\n", "Question:"]
  max_gen_toks: 200
  temperature: 0.0
filter_list:
  - name: boxed
    filter:
      - function: regex
        regex_pattern: "boxed\\\\{(-?[0-9]+)\\\\}"
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""
CHOOSES = """
doc_to_choice: [" yes", " no"]
doc_to_target: 0
target_delimiter: ""
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""


class Words:
    """A tokenizer that cuts texts as the fake backend does, where the harness would load that of a model."""

    eot_token = 0

    def __init__(self) -> None:
        self._words = [""]

    def encode(self, text: str, **options: Any) -> list[int]:
        """The ids of a text."""
        found = re.findall(r"\s*\S+\n*|\s+", text)
        self._words += sorted(set(found) - set(self._words))
        return [self._words.index(word) for word in found]

    def encode_batch(self, texts: list[str], **options: Any) -> list[list[int]]:
        """The ids of texts."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: list[int]) -> str:
        """The text of ids."""
        return "".join(self._words[one] for one in ids)

    def decode_batch(self, rows: list[list[int]]) -> list[str]:
        """The texts of rows of ids."""
        return [self.decode(row) for row in rows]


TEXTS = LocalCompletionsAPI.parse_generations  # both are static
GENERATIONS = (lambda self, **given: TEXTS(**given), LocalChatCompletion.parse_generations)
SCORES = LocalCompletionsAPI.parse_logprobs
LIKELINESS = lambda self, **given: SCORES(**given)  # noqa: E731
tiktoken.encoding_for_model = lambda name: Words()
(FOLDER / "sums.jsonl").write_text("".join(json.dumps({"sum": s, "answer": str(a)}) + "\n" for s, a in SUMS.items()))
for kind, rest in (("generate_until", GENERATES), ("multiple_choice", CHOOSES)):
    (FOLDER / f"{kind}.yaml").write_text(TASK.format(name=f"tiny_{kind}", folder=FOLDER, kind=kind) + rest)


def taking(seen: Seen, parse: Callable[..., Any]) -> Any:
    """A way of the harness to read answers, which takes their usage too: it drops it."""

    def parsed(self: Any, outputs: Any, **more: Any) -> Any:
        for each in outputs if isinstance(outputs, list) else [outputs]:
            seen.take(each["usage"])
        return parse(self, outputs=outputs, **more)

    return parsed


def evaluated(engine: str, task: str, model: str, path: str, **options: Any) -> dict[str, Any]:
    """The figures of a task."""
    chat = engine == "local-chat-completions"
    given = {"model": model, "base_url": URL + path, "num_concurrent": 2, "max_retries": 1, **options}
    found = lm_eval.simple_evaluate(
        model=engine,
        model_args=given,
        tasks=[task],
        task_manager=TaskManager(include_path=str(FOLDER), include_defaults=False),
        apply_chat_template=chat,
        bootstrap_iters=0,
        log_samples=True,
    )
    return dict(found)


def check_chats(seen: Seen) -> None:
    LocalChatCompletion.parse_generations = taking(seen, GENERATIONS[1])
    for model in ("auto", "auto-best", "plain:large"):
        found = evaluated(
            "local-chat-completions", "tiny_generate_until", model, "/chat/completions", tokenizer_backend="none"
        )
        assert found["results"]["tiny_generate_until"]["exact_match,boxed"] >= 1 / 3, (model, found["results"])


def check_texts(seen: Seen) -> None:
    LocalCompletionsAPI.parse_generations = taking(seen, GENERATIONS[0])
    for model in ("auto", "plain:large"):
        found = evaluated("local-completions", "tiny_generate_until", model, "/completions", tokenizer_backend="none")
        assert found["results"]["tiny_generate_until"]["exact_match,boxed"] >= 1 / 3, (model, found["results"])


def check_likeliness(seen: Seen) -> None:
    LocalCompletionsAPI.parse_logprobs = taking(seen, LIKELINESS)
    told = []
    for model in ("auto", "plain:small"):
        for options in ({"batch_size": 1}, {"batch_size": 4}):
            found = evaluated(
                "local-completions",
                "tiny_multiple_choice",
                model,
                "/completions",
                tokenizer_backend="tiktoken",
                tokenized_requests=False,
                **options,
            )
            samples = found["samples"]["tiny_multiple_choice"]
            told.append(sorted((s["doc_id"], s["filtered_resps"]) for s in samples))
            assert all(value < 0 for s in samples for value, _ in s["filtered_resps"])
    assert told[0] == told[1] == told[2] == told[3], told


run([value for name, value in list(globals().items()) if name.startswith("check_")])
