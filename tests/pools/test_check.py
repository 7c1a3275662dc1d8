"""A check finds what was planted in a sound pool, and nothing in the sound pool itself."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from autotts.cli import run_cli
from autotts.errors import InputError
from autotts.pools import seen
from autotts.pools.check import Checked, check
from autotts.pools.findings import Finding

Row = dict[str, Any]
PROBLEMS, DRAWS = 40, 8


def gold(problem: int) -> str:
    return str(103 + 37 * problem)


def word(*key: object) -> str:
    """A word of its own for each key."""
    rng = random.Random(repr(key))
    return "".join(rng.choice("bdfglmnprstv") + rng.choice("aeiou") for _ in range(4))


def sound(model: str = "S", right: float = 0.6, **given: Any) -> list[Row]:
    """A pool that lacks nothing: every draw has its own text, and speaks of its prompt."""
    rng = random.Random(model)
    out = []
    for problem in range(PROBLEMS):
        names = [word(problem, i) for i in range(4)]
        for index in range(DRAWS):
            good = rng.random() < right if index > 1 else bool(index)
            answer = gold(problem) if good else str(rng.randrange(100_000, 900_000))
            said = " ".join(word(model, problem, index, i) for i in range(rng.randrange(12, 40)))
            out.append(
                {
                    "dataset": "made", "prompt_id": f"p{problem}", "prompt": f"How often do {' '.join(names)} meet?",
                    "answer": gold(problem), "model": model, "params_b": 1.5, "strategy": "sample", "temperature": 0.7,
                    "sample_index": index,
                    "output": f"The {names[0]}, the {names[1]} and the {names[2]} {said}, {said}: {answer}",
                    "extracted": answer, "correct": good, "score": rng.random(), "prompt_tokens": 20,
                    "completion_tokens": rng.randrange(100, 5000), **given,
                }
            )  # fmt: skip
    return out


def checked(folder: Path, rows: Sequence[Row]) -> Checked:
    path = folder / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return check([path])


def found(folder: Path, rows: Sequence[Row]) -> dict[str, Finding]:
    return {finding.kind: finding for finding in checked(folder, rows).findings}


def attached(rows: Sequence[Row], to: Callable[[int], int]) -> list[Row]:
    """Samples at the prompts of other problems."""
    known = {row["prompt_id"]: {key: row[key] for key in ("prompt_id", "prompt", "answer")} for row in rows}
    return [row | known[f"p{to(int(row['prompt_id'][1:]))}"] for row in rows]


def silent(rows: Sequence[Row]) -> list[Row]:
    return [row | {"output": None} for row in rows]


def test_nothing_is_found_in_a_sound_pool(tmp_path: Path) -> None:
    got = checked(tmp_path, [*sound("S", 0.6), *sound("L", 0.9), *sound("weak", 0.1)])
    assert got.findings == ()
    assert (got.lines, got.problems, got.models) == (3 * PROBLEMS * DRAWS, PROBLEMS, 3)


# ---------------------------------------------------------------- samples at the wrong prompts


@pytest.mark.parametrize("change", [list, silent])
@pytest.mark.parametrize("right", [0.45, 0.9])
def test_samples_of_other_prompts_are_found_in_their_model_only(
    change: Callable[[Sequence[Row]], list[Row]], right: float, tmp_path: Path
) -> None:
    order = random.Random(5).sample(range(PROBLEMS), PROBLEMS)
    rows = change([*sound("S", 0.6), *attached(sound("L", right), lambda p: order[p])])
    findings = [finding for finding in checked(tmp_path, rows).findings if finding.kind == "misaligned"]
    assert len(findings) == 1
    one = findings[0]
    assert one.grave
    assert one.lines == PROBLEMS * DRAWS
    assert "samples of L seem to belong to other prompts" in one.says
    assert {place.model for place in one.places} == {"L"}
    assert "accuracy" in one.spoils


def test_a_shift_of_the_prompts_is_named(tmp_path: Path) -> None:
    rows = silent(attached(sound("S", 0.8), lambda p: (p + 7) % PROBLEMS))
    says = found(tmp_path, rows)["misaligned"].says
    assert f"that of the problem {PROBLEMS - 7} further on" in says


def test_outputs_tell_where_answers_are_missing(tmp_path: Path) -> None:
    rows = [row | {"extracted": None} for row in attached(sound("S"), lambda p: (p + 1) % PROBLEMS)]
    assert "of 40 outputs speak of another prompt" in found(tmp_path, rows)["misaligned"].says


def test_a_part_that_is_misplaced_is_called_a_part(tmp_path: Path) -> None:
    rows = attached(sound("S", 0.8), lambda p: (p + 1) % 16 if p < 16 else p)
    assert "a part of the samples of S" in found(tmp_path, rows)["misaligned"].says


def test_a_weak_model_is_not_taken_for_a_misplaced_one(tmp_path: Path) -> None:
    rng = random.Random(3)
    rows = []
    for row in silent(sound("S", 0.0)):
        guess = gold(rng.randrange(PROBLEMS))  # golds of others, but of no other in particular
        rows.append(row | {"extracted": guess, "correct": guess == row["answer"]})
    assert "misaligned" not in found(tmp_path, rows)


def test_prompts_are_heard_in_outputs_chosen_over_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "LISTENED", 10)
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in sound()))
    kept = seen.watch([path]).said[0, 0]
    assert len(kept) == 10
    assert max(kept) > PROBLEMS / 2


# ---------------------------------------------------------------- what is there twice


def test_copies_of_lines_and_of_sample_indices_are_told_apart(tmp_path: Path) -> None:
    rows = sound()
    other = rows[5] | {"output": "something else " * 20, "completion_tokens": 77}
    got = found(tmp_path, [*rows, rows[3], other])
    assert got["copies"].lines == 1
    assert got["copies"].places[0].line == len(rows) + 1
    assert got["index-twice"].lines == 1
    assert got["index-twice"].places[0].line == len(rows) + 2


def copies(rows: Sequence[Row], share: float) -> list[Row]:
    rng = random.Random(7)
    again = [row | {"sample_index": 100 + row["sample_index"]} for row in rows if rng.random() < share]
    return [*rows, *again]


def test_copied_texts_and_copied_draws_without_texts_are_found(tmp_path: Path) -> None:
    rows = copies(sound(), 0.1)
    extra = len(rows) - PROBLEMS * DRAWS
    assert found(tmp_path, rows)["same-text"].lines == extra
    assert found(tmp_path, silent(rows))["same-draw"].lines == extra


def test_short_texts_and_equal_lengths_that_chance_repeats_are_no_finding(tmp_path: Path) -> None:
    rng = random.Random(1)
    rows = []
    for row in sound():  # the shorter a text, the more often it is the same
        long = rng.random() < 0.5
        text = row["output"] * 3 if long else f"{row['prompt']} It is {row['extracted'][:1]}. ".ljust(110, ".")
        rows.append(row | {"output": text, "completion_tokens": rng.randrange(60, 90)})
    got = found(tmp_path, rows)
    assert "same-text" not in got
    assert "same-draw" not in found(tmp_path, silent(rows))


def test_draws_at_temperature_zero_are_no_independent_ones(tmp_path: Path) -> None:
    got = found(tmp_path, sound(temperature=0.0))
    assert got["greedy-twice"].lines == PROBLEMS * (DRAWS - 1)
    assert "same-text" not in got


def test_one_text_at_two_prompts_and_one_prompt_with_two_ids_are_found(tmp_path: Path) -> None:
    rows = sound()
    for i in range(0, 80, 16):
        rows[i + 8] |= {"output": rows[i]["output"]}
    one = found(tmp_path, rows)["text-of-two-prompts"]
    assert one.says == "long outputs that stand at two or three prompts: 5"
    assert one.lines == 10
    stock = [
        row | {"output": "I am sorry, but I cannot say. " * 10} if row["sample_index"] < 3 else row for row in rows
    ]
    assert "same-text" not in found(tmp_path, stock)
    twins = [row | {"prompt_id": "again"} for row in sound() if row["prompt_id"] == "p3"]
    assert found(tmp_path, [*sound(), *twins])["prompt-of-two-ids"].lines == DRAWS


# ---------------------------------------------------------------- doubts


def test_labels_that_contradict_answers_are_counted_by_kind(tmp_path: Path) -> None:
    rows = sound(right=0.5)
    equal = [row for row in rows if row["extracted"] == row["answer"]]
    unlike = [row for row in rows if row["extracted"] != row["answer"]]
    equal[0]["correct"] = equal[9]["correct"] = False
    unlike[0]["correct"] = True
    says = found(tmp_path, rows)["labels"].says
    assert "2 samples with the gold answer labelled wrong" in says
    assert "1 sample with another number than the gold answer labelled right" in says
    assert "2 samples labelled otherwise than most" in says


@pytest.mark.parametrize(
    ("answer", "extracted"),
    [("1,200", "1200"), ("0.857", "0.8560"), ("1/2", "0.5"), ("5", "$5"), ("x+1", "1+x"), ("2", "\\frac{4}{2}")],
)
def test_equal_numbers_and_what_is_no_number_are_no_contradiction(answer: str, extracted: str, tmp_path: Path) -> None:
    rows = [row | {"answer": answer, "extracted": extracted, "correct": True} for row in sound()]
    assert "labels" not in found(tmp_path, rows)


def test_answers_that_were_cut_off_are_found_by_mark_and_by_length(tmp_path: Path) -> None:
    rows = sound()
    for row in rows[:6]:
        row |= {"finish": "length", "extracted": None, "correct": False}
    for row in rows[50:54]:
        row |= {"completion_tokens": 8192, "extracted": "N/A", "correct": False}
    one = found(tmp_path, rows)["cut"]
    assert one.lines == 10
    assert "ended by a limit (finish length): 6 samples" in one.says
    assert "exactly the longest length of their model: 4 samples (S 8,192 tokens)" in one.says
    assert "without an answer that can be read: 10" in one.says


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"temperature": 0.9}, "settings", "S: temperature 0.7, 0.9"),
        ({"effort": "high"}, "settings", "S: effort high, not recorded"),
        ({"params_b": 3.0}, "parameters", "S has several parameter counts: 1.5, 3 billion"),
        ({"score": float("nan")}, "not-finite", "NaN or infinite: 1 number (score 1)"),
        ({"completion_tokens": 0}, "tokens", "1 token count cannot be"),
        ({"probes": ["1"] * 9, "probe_every": 1000, "completion_tokens": 5000}, "tokens", "1 token count cannot be"),
        ({"prompt": "Another?"}, "id-of-two-prompts", "another prompt than on an earlier line"),
        ({"answer": "9"}, "two-golds", "another gold answer than on an earlier line"),
        ({"completion_tokens": -3}, "refused", "completion_tokens: expected a whole number"),
        ({"model": None}, "refused", "model: expected text"),
        ({"strategy": "beam(n=4)"}, "not-samples", "strategy beam(n=4)"),
        ({"correct": None}, "missing-graded", "1 of 320 lines are without correct"),
        ({"correct": None, "extracted": None}, "missing-label", "1 of 320 lines are without correct"),
        ({"extracted": "unknown", "correct": False}, "missing-answer", "1 of 320 lines are without an answer"),
        ({"completion_tokens": None}, "missing-tokens", "1 of 320 lines are without completion_tokens"),
        ({"params_b": None}, "missing-parameters", "1 of 320 lines are without params_b"),
        ({"score": None}, "missing-score", "1 of 320 lines are without a score"),
        ({"prompt_tokens": None}, "missing-prompt-tokens", "1 of 320 lines are without prompt_tokens"),
    ],
)  # fmt: skip
def test_one_odd_line_is_found_and_placed(changes: Row, kind: str, words: str, tmp_path: Path) -> None:
    rows = sound()
    rows[10] |= changes
    one = found(tmp_path, rows)[kind]
    assert words in one.says
    assert 11 in {place.line for place in one.places}
    assert one.advice


def test_a_gold_answer_that_reads_like_nothing_is_an_answer(tmp_path: Path) -> None:
    rows = [row | {"answer": "No", "extracted": "no" if row["correct"] else "yes"} for row in sound()]
    assert "missing-answer" not in found(tmp_path, rows)


# ---------------------------------------------------------------- gaps


def test_counts_that_limit_what_can_be_had_are_found(tmp_path: Path) -> None:
    one = [row for row in sound("one") if row["sample_index"] == 1]
    uneven = [row for row in sound("uneven") if row["sample_index"] < 3 or row["prompt_id"] < "p2"]
    absent = [row for row in sound("absent") if row["prompt_id"] != "p39"]
    got = found(tmp_path, [*one, *uneven, *absent])
    assert got["one-sample"].says == "one: one sample a problem"
    assert got["one-sample"].lines == PROBLEMS
    assert "uneven (3 to 8, median 3)" in got["unequal-counts"].says
    assert got["absent"].says.startswith("problems without samples of some model: 1 of 40 (lacking: absent 1)")


def test_models_and_problems_without_any_variation_are_found(tmp_path: Path) -> None:
    rows = [*sound("S"), *(row | {"extracted": "0", "correct": False} for row in sound("W"))]
    assert found(tmp_path, rows)["all-alike"].says == "W wrong everywhere"
    easy = [row | {"extracted": row["answer"], "correct": True} if row["prompt_id"] < "p3" else row for row in sound()]
    decided = found(tmp_path, easy)["decided"]
    assert decided.problems == 23
    assert "23 are right in every sample and 0 in none" in decided.says


# ---------------------------------------------------------------- as a whole


def test_grave_findings_come_first_and_are_plain_values(tmp_path: Path) -> None:
    rows = sound()
    rows[0] |= {"score": None}
    rows[1] |= {"completion_tokens": 0}
    got = checked(tmp_path, rows)
    assert [(one.kind, one.grave) for one in got.findings] == [("tokens", True), ("missing-score", False)]
    assert json.loads(json.dumps(got.json()))["findings"][0]["places"][0] == {
        "file": str(tmp_path / "pool.jsonl"), "line": 2, "prompt_id": "p0", "model": "S", "sample_index": 1,
    }  # fmt: skip


def test_several_files_are_one_pool(tmp_path: Path) -> None:
    for name, rows in (("a", sound("S")), ("b", attached(sound("S", 0.9), lambda p: PROBLEMS - 1 - p))):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    got = check([tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"])
    one = next(finding for finding in got.findings if finding.kind == "misaligned")
    assert one.lines == PROBLEMS * DRAWS
    assert {Path(place.file).name for place in one.places} == {"b.jsonl.gz"}


def test_the_command_ends_well_with_findings_and_with_2_where_nothing_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sound()
    rows[0] |= {"completion_tokens": 0}
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_cli(["pool", "check", str(path)]) == 0
    assert "! 1 token count cannot be" in capsys.readouterr().out
    assert run_cli(["pool", "check", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"][0]["kind"] == "tokens"
    whole = gzip.compress(path.read_bytes())
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    for name in ("cut.jsonl.gz", "absent.jsonl"):
        assert run_cli(["pool", "check", str(tmp_path / name)]) == 2
        assert name in capsys.readouterr().err


def test_an_empty_file_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").write_text("\n")
    with pytest.raises(InputError, match="found none"):
        check([tmp_path / "pool.jsonl"])
