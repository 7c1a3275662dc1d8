"""Files become arrays: sorted, merged, labelled; what is not known is said, and contradictions are errors."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.errors import InputError
from autotts.pools.load import load
from autotts.pools.recorded import Recorded

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to(lines: list[dict[str, Any]], name: str = "pool.jsonl") -> Path:
        path = tmp_path / name
        raw = "".join(json.dumps(line) + "\n" for line in lines).encode()
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return path

    return to


def sample(name: Any = "p", index: int | None = 0, extracted: Any = "1", **more: Any) -> dict[str, Any]:
    """A line that lacks nothing."""
    return {
        "dataset": "d",
        "prompt_id": name,
        "prompt": f"What is {name}?",
        "answer": "1",
        "model": "S",
        "params_b": 0.5,
        "strategy": "sample",
        "temperature": 0.7,
        "sample_index": index,
        "extracted": extracted,
        "correct": extracted == "1",
        "prompt_tokens": 5,
        "completion_tokens": 10 + (index or 0),
        **more,
    }


def without(line: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in keys}


def said(pool: Recorded, *parts: str) -> bool:
    return any(all(part in note for part in parts) for note in pool.notes)


def texts(pool: Recorded, family: int = 0) -> list[list[str | None]]:
    """The answers of a family by problem, as text."""
    drawn = pool.drawn[family]
    return [
        [pool.answers[p][a] if a >= 0 else None for a in drawn.answer[drawn.start[p] : drawn.start[p + 1]]]
        for p in range(len(pool.problems))
    ]


def test_a_pool_that_lacks_nothing_has_no_notes(write: Write) -> None:
    pool = load([write([sample("p", 1, "2"), sample("q"), sample("p", 0), sample("q", 1)])])
    assert pool.notes == () and pool.dataset == "d"
    assert [(p.id, p.prompt, p.answer, p.level) for p in pool.problems] == [
        ("p", "What is p?", "1", None),
        ("q", "What is q?", "1", None),
    ]
    (drawn,) = pool.drawn
    assert drawn.family.role == "S" and drawn.family.parameters == 500_000_000 and drawn.family.exchangeable
    assert texts(pool) == [["1", "2"], ["1", "1"]]
    assert drawn.correct.tolist() == [1, 0, 1, 1] and drawn.tokens.tolist() == [10, 11, 10, 11]
    assert drawn.start.tolist() == [0, 2, 4] and drawn.prompt_tokens.tolist() == [5] * 4
    assert np.isnan(drawn.score).all() and not drawn.cut.any()
    assert drawn.probe_every == 0 and len(drawn.probe) == len(drawn.probe_start) == 0


@given(st.integers(0, 10**6), st.integers(1, 4), st.booleans())
@settings(max_examples=25)
def test_samples_come_by_index_whatever_their_order_and_file(
    tmp_path_factory: pytest.TempPathFactory, seed: int, parts: int, packed: bool
) -> None:
    rng = random.Random(seed)
    every = [
        sample(f"p{p}", k, str(rng.randrange(3)), model=model, probe_every=5, probes=["7"] * (p + k))
        for p in range(3)
        for model in ("S", "L")
        for k in range(rng.randrange(5))
    ] or [sample()]
    rng.shuffle(every)
    folder = tmp_path_factory.mktemp("parts")
    paths = []
    for number in range(parts):
        path = folder / f"{number}.jsonl"
        raw = "".join(json.dumps(line) + "\n" for line in every[number::parts]).encode()
        path.write_bytes(gzip.compress(raw) if packed else raw)
        paths.append(path)
    pool = load(paths)
    for drawn in pool.drawn:
        for number, problem in enumerate(pool.problems):
            wanted = sorted(
                (line for line in every if line["prompt_id"] == problem.id and line["model"] == drawn.family.model),
                key=lambda line: line["sample_index"],
            )
            own = range(drawn.start[number], drawn.start[number + 1])
            assert [pool.answers[number][drawn.answer[i]] for i in own] == [line["extracted"] for line in wanted]
            assert [drawn.correct[i] for i in own] == [line["correct"] for line in wanted]
            assert [drawn.tokens[i] for i in own] == [line["completion_tokens"] for line in wanted]
            if drawn.probe_every:
                counts = [drawn.probe_start[i + 1] - drawn.probe_start[i] for i in own]
                assert counts == [len(line["probes"]) for line in wanted]
    assert sum(len(drawn.answer) for drawn in pool.drawn) == len(every)


def test_the_digest_is_of_what_is_held_not_of_the_file(write: Write) -> None:
    lines = [sample("p", 0), sample("p", 1, "2"), sample("q", 0)]
    first = load([write(lines)]).digest
    assert load([write([{**line, "verifier": "x"} for line in lines], "other.jsonl.gz")]).digest == first
    assert load([write([sample("p", 0), sample("p", 1, "3"), sample("q", 0)], "c.jsonl")]).digest != first
    assert load([write(lines)], params={"S": 7e8}).digest != first


# ---------------------------------------------------------------- answers and labels


def test_marks_stand_for_nothing_unless_a_gold_answer_reads_so(write: Write) -> None:
    marks = ["ERR", " n/a", "NaN", "", None, "Unknown", "No", "2"]
    pool = load([write([sample("p", k, mark) for k, mark in enumerate(marks)])])
    assert texts(pool) == [[None] * 7 + ["2"]] and pool.answers == (("2",),)
    assert said(pool, "answers that can be read are missing in 7 of 8 samples")
    golds = [*(sample("p", k, mark) for k, mark in enumerate(marks)), sample("q", 0, "no", answer="no")]
    pool = load([write(golds)])
    assert texts(pool)[0] == [None] * 6 + ["No", "2"]


def test_answers_are_compared_without_the_space_around_them(write: Write) -> None:
    pool = load([write([sample("p", 0, " 1"), sample("p", 1, "1\n"), sample("p", 2, 1)])])
    assert texts(pool) == [["1", "1", "1"]] and pool.answers == (("1",),)


def test_missing_labels_follow_from_the_gold_answer_and_that_is_said(write: Write) -> None:
    lines = [sample("p", k, text) for k, text in enumerate(["1", " 1", "2", None, "ERR"])]
    pool = load([write([{**line, "correct": None} for line in lines])])
    assert pool.drawn[0].correct.tolist() == [1, 1, 0, 0, 0]
    assert said(pool, "5 samples had no label", "same text")


def test_labels_are_kept_where_there_are_any(write: Write) -> None:
    pool = load([write([sample("p", 0, "2", correct=True), sample("p", 1, "1", correct=0)])])
    assert pool.drawn[0].correct.tolist() == [1, 0] and not said(pool, "no label")


def test_nothing_is_guessed_where_no_answer_was_recorded(write: Write) -> None:
    lines = [sample("p", 0, None, model="L", correct=True), sample("p", 1, None, model="L", correct=None)]
    pool = load([write([*lines, sample("p", 0)])])
    assert np.isnan(pool.drawn[0].correct[1]) and pool.drawn[1].correct.tolist() == [1]
    assert said(pool, "labels are missing in 1 of 3 samples", "(L)")


def test_outputs_alone_are_no_pool(write: Write) -> None:
    path = write([without(sample("p", k, output="It is 1."), "extracted", "correct") for k in range(3)])
    with pytest.raises(InputError, match=r"found neither in any sample: .*--reader math"):
        load([path])


# ---------------------------------------------------------------- families, roles, parameters


def test_a_role_is_the_model_unless_it_was_recorded_in_several_ways(write: Write) -> None:
    long = "x" * 60
    lines = [
        sample(model="A", temperature=0.2),
        sample(model="A", temperature=0.9),
        sample(model="B", effort="high"),
        sample(model="B", effort=None),
        sample(model="C", effort="low", template="t"),
        sample(model="C", effort="high", template=long),
        sample(model="D", effort=1024),
    ]
    pool = load([write(lines)])
    roles = [drawn.family.role for drawn in pool.drawn]
    assert roles[:5] == ["A", "A", "B@high", "B@unstated", "C@t@low"] and roles[6] == "D"
    assert roles[5].startswith("C@") and roles[5].endswith("@high") and len(roles[5]) < 20
    assert next(iter(pool.roles)) == "A" and len(pool.roles["A"]) == 2


def test_models_are_chosen_by_name_or_role(write: Write) -> None:
    path = write(
        [sample("p", model="B", effort="high"), sample("q", model="B", effort="low"), sample("p", model="Other-7B")]
    )
    assert list(load([path], models=["B"]).roles) == ["B@high", "B@low"]
    pool = load([path], models=["B@low"])
    assert list(pool.roles) == ["B@low"] and [p.id for p in pool.problems] == ["q"] and texts(pool) == [["1"]]
    assert said(pool, "1 problem", "left out")
    with pytest.raises(InputError, match="unknown model 'other-7b'; expected one of Other-7B, B, B@high"):
        load([path], models=["other-7b"])


def test_parameters_are_those_of_any_line_of_the_model_or_as_given(write: Write) -> None:
    path = write(
        [
            sample("p", 0, params_b=None),
            sample("p", 1, params_b=46.7, active_params_b=12.9),
            sample("p", 0, model="L", params_b=None),
        ]
    )
    pool = load([path])
    small, large = (drawn.family for drawn in pool.drawn)
    assert (small.parameters, small.active_parameters) == (46_700_000_000, 12_900_000_000)
    assert large.parameters is None and said(pool, "parameters are unknown for L", "--params L=4.02e9")
    small, large = (drawn.family for drawn in load([path], params={"L": 4.02e9, "S": 1e9}).drawn)
    assert large.parameters == 4_020_000_000 and (small.parameters, small.active_parameters) == (10**9, None)
    for wrong in ({"X": 1e9}, {"L": 4.02}, {"L": float("nan")}):
        with pytest.raises(InputError, match="parameters of"):
            load([path], params=wrong)


def test_other_strategies_are_no_independent_samples(write: Write) -> None:
    pool = load([write([sample("p", 0, strategy="beam_search"), without(sample("p", 1), "strategy")])])
    assert [drawn.family.exchangeable for drawn in pool.drawn] == [False, True]
    assert said(pool, "no independent samples: 1 of 2", "beam_search") and said(
        pool, "1 sample did not say by which strategy"
    )


# ---------------------------------------------------------------- probes


def test_probes_are_flat_by_draw(write: Write) -> None:
    lines = [
        sample("p", 1, probe_every=500, probes=["3", None, "1"]),
        sample("p", 0, probe_every=500, probes=["2"]),
        sample("p", 2),
        sample("q", 0, probe_every=500, probes=["ERR", "4"]),
    ]
    pool = load([write(lines)])
    (drawn,) = pool.drawn
    own = [
        [pool.answers[p][a] if a >= 0 else None for a in drawn.probe[drawn.probe_start[i] : drawn.probe_start[i + 1]]]
        for i, p in enumerate([0, 0, 0, 1])
    ]
    assert drawn.probe_every == 500 and own == [["2"], ["3", None, "1"], [], [None, "4"]]


def test_probes_need_one_distance(write: Write) -> None:
    with pytest.raises(InputError, match=r"line 2: probe_every: .*found 500 .*line 1. and 250"):
        load([write([sample("p", 0, probe_every=500, probes=[]), sample("p", 1, probe_every=250, probes=[])])])
    with pytest.raises(InputError, match="line 1: probes: expected probe_every"):
        load([write([sample("p", 0, probes=["1"])])])


# ---------------------------------------------------------------- what is said, and what is refused


def test_what_is_missing_is_said(write: Write) -> None:
    lines = [
        sample("p", 0, completion_tokens=None, prompt_tokens=None, finish="length"),
        sample("p", 1, score=float("nan")),
        sample("q", 0, answer=None, prompt=None),
        sample("q", 0, model="L"),
    ]
    pool = load([write([without(line, "prompt") if line["prompt"] is None else line for line in lines])])
    assert said(pool, "tokens are missing in 1 of 4 samples", "(S)")
    assert said(pool, "prompt tokens are missing in 1 of 4 samples")
    assert said(pool, "cut off by a limit", "1 of 4 samples")
    assert said(pool, "score: 1 value not finite")
    assert said(pool, "not equally many: S 1 to 2, median 1.5")
    assert said(pool, "no samples of some model (L): 1 of 2 problems")
    assert pool.problems[1].answer == "1" and pool.problems[1].prompt == "What is q?"  # another line knew them


def test_golds_and_prompts_that_are_nowhere_are_said(write: Write) -> None:
    pool = load([write([without(sample(), "answer", "prompt")])])
    assert pool.problems[0].answer == "" and said(pool, "no gold answer") and said(pool, "no prompt: 1 of 1 problem")


def test_equal_indices_are_said_and_copies_of_a_line_left_out(write: Write) -> None:
    lines = [sample("p", 0, "1"), sample("p", 0, "2"), sample("p", 0, "1"), sample("p", 1), sample("p", None)]
    pool = load([write([*lines, sample("p", None)])])
    assert texts(pool) == [["1", "2", "1", "1", "1"]]
    assert said(pool, "1 sample left out", "copy") and said(pool, "1 sample kept, with the sample_index of another")


def test_files_of_one_dataset_merge_by_prompt(write: Write) -> None:
    one = write([sample("p", 0), sample("q", 0)], "one.jsonl")
    other = write([sample("q", 0, "2", model="L", prompt=" What is q?\n"), sample("r", 0, model="L")], "other.jsonl.gz")
    pool = load([one, other])
    assert [problem.id for problem in pool.problems] == ["p", "q", "r"]
    assert texts(pool, 0) == [["1"], ["1"], []] and texts(pool, 1) == [[], ["2"], ["1"]]
    assert load([one, write([sample("z", dataset="e")], "e.jsonl")]).dataset == "d+e"


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (
            {"prompt": "Another?"},
            r"other\.jsonl, line 1: prompt: expected what .*one\.jsonl, line 1 says of the prompt",
        ),
        ({"prompt": None, "answer": "5"}, r"other\.jsonl, line 1: answer: expected what .*one\.jsonl, line 1 says"),
        ({"answer": "5", "correct": None}, r"other\.jsonl, line 1: answer: expected what .*one\.jsonl, line 1 says"),
        ({"level": 2}, r"other\.jsonl, line 1: level: expected what .*one\.jsonl, line 1 says"),
        ({"params_b": 7.0}, r"other\.jsonl, line 1: params_b: .*found 0.5 .*one\.jsonl, line 1. and 7"),
    ],
)
def test_files_that_contradict_each_other_are_refused(write: Write, second: dict[str, Any], expected: str) -> None:
    one, other = write([sample(level=1)], "one.jsonl"), write([sample(**{"level": 1, **second})], "other.jsonl")
    with pytest.raises(InputError, match=expected):
        load([one, other])


def test_labelled_samples_may_have_several_gold_answers(write: Write) -> None:
    pool = load([write([sample("p", 0), sample("p", 1, "2/2", answer="2/2", correct=True)])])
    assert pool.drawn[0].correct.tolist() == [1, 1] and said(pool, "1 problem with several gold answers")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (without(sample(), "prompt_id"), "prompt_id: expected text, found nothing"),
        (without(sample(), "model"), "model: expected text, found nothing; .*autotts pool import"),
        (without(sample(), "extracted", "correct"), "expected one of the keys extracted, correct and output"),
        (sample(completion_tokens=-1), "completion_tokens: expected a whole number, 0 or more, found -1"),
        (sample(completion_tokens=1.5), "completion_tokens: expected a whole number, 0 or more, found 1.5"),
        (sample(completion_tokens="12"), "completion_tokens: expected a whole number, 0 or more, found '12'"),
        (sample(completion_tokens=True), "completion_tokens: expected a whole number, 0 or more, found True"),
        (sample(sample_index=-2), "sample_index: expected a whole number, 0 or more"),
        (sample(correct="yes"), "correct: expected true or false, found 'yes'"),
        (sample(correct=0.5), "correct: expected true or false, found 0.5"),
        (sample(score="high"), "score: expected a number, found 'high'"),
        (sample(params_b=0), "params_b: expected a positive number of billions"),
        (sample(params_b=4.02e9), "params_b: expected a positive number of billions"),
        (sample(temperature=-1), "temperature: expected a number, 0 or more"),
        (sample(prompt=["What?"]), "prompt: expected text, found"),
        (sample(extracted=["1"]), "extracted: expected text, found"),
        (sample(extracted=True), "extracted: expected text, found True"),
        (sample(probe_every=0, probes=[]), "probe_every: expected a whole number of tokens above 0"),
        (sample(probe_every=5, probes="1"), "probes: expected a list of answers"),
        (sample(step_scores=["a"]), "step_scores: expected a number, found 'a'"),
        (sample(level="hard"), "level: expected a whole number, found 'hard'"),
    ],
)
def test_a_line_that_cannot_be_right_is_refused_with_its_place(
    write: Write, line: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InputError, match=rf"pool\.jsonl, line 2: .*{expected}"):
        load([write([sample("q"), line])])


def test_numbers_may_be_written_as_others_write_them(write: Write) -> None:
    line = sample(7, 0.0, 1, correct=1.0, completion_tokens=12.0, level="Level 3", answer=1, score=float("inf"))
    pool = load([write([line, sample(7, 1, level=3, completion_tokens=float("nan"))])])
    assert (pool.problems[0].id, pool.problems[0].level, pool.problems[0].answer) == ("7", 3, "1")
    assert pool.drawn[0].correct.tolist() == [1, 1] and pool.drawn[0].tokens.tolist() == [12, -1]


def test_no_file_an_empty_one_and_one_twice_are_refused(write: Write) -> None:
    with pytest.raises(InputError, match="expected at least one file"):
        load([])
    with pytest.raises(InputError, match="found none: the file is empty"):
        load([write([])])
    path = write([sample()])
    with pytest.raises(InputError, match="found it twice"):
        load([path, path.parent / "." / path.name])
