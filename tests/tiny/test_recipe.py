"""The recipe: what it trains on, that growing keeps the function, that labels are exact, and a few steps of it all."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from autotts.tasks.arithmetic import stream_of  # noqa: E402
from autotts.tiny.codec import END, decode, encode  # noqa: E402
from autotts.tiny.recipe.data import CHUNKS, chunked, examples  # noqa: E402
from autotts.tiny.recipe.export import export, training_seconds  # noqa: E402
from autotts.tiny.recipe.measure import Share, auc  # noqa: E402
from autotts.tiny.recipe.model import Llama, Shape, grown, hugging_face_tensors  # noqa: E402
from autotts.tiny.recipe.optimiser import orthogonal  # noqa: E402
from autotts.tiny.recipe.plan import PRM, RUNS  # noqa: E402
from autotts.tiny.recipe.prm import Calibrated, first_error, labelled  # noqa: E402
from autotts.tiny.recipe.train import Forward, imitate, optimise, schedule, train  # noqa: E402

SMALL = Shape(32, 1, 64)


def small_model() -> Llama:
    torch.manual_seed(0)
    model = Llama(SMALL)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def test_examples_are_of_the_train_stream_and_end_with_the_end_token() -> None:
    drawn = examples({1: 0.5, 5: 0.5}, random.Random(0), 4000)
    for e in drawn:
        prompt, solution = decode(tuple(e.tokens[: e.prompt_length])), e.tokens[e.prompt_length :]
        assert stream_of(prompt) == "train"
        assert first_error(prompt.strip(), solution) is None
        assert solution[-1] == END


def test_chunks_hold_each_example_once_and_learn_only_solutions() -> None:
    drawn = examples({3: 1.0}, random.Random(0), 1500)
    chunks = chunked(drawn)
    assert len(chunks) == CHUNKS
    assert sum(len(chunk.tokens) for chunk in chunks) == len(drawn)
    assert sum(int(c.learned.sum()) for c in chunks) == sum(len(e.tokens) - e.prompt_length for e in drawn)


def test_growing_keeps_the_function_and_the_halves_differ() -> None:
    small = small_model()
    big = grown(small, noise=0.1)
    tokens = torch.randint(1, 18, (4, 30), generator=torch.Generator().manual_seed(1))
    assert torch.allclose(big(tokens), small(tokens), atol=1e-4)
    matrix = big.layers[0].up_proj.weight
    assert not torch.allclose(matrix[:, : SMALL.width], matrix[:, SMALL.width :])


def test_padding_on_the_right_changes_nothing() -> None:
    model = small_model()
    tokens = torch.randint(1, 18, (2, 20), generator=torch.Generator().manual_seed(1))
    padded = torch.cat([tokens, torch.zeros(2, 7, dtype=torch.long)], 1)
    assert torch.allclose(model(padded)[:, :20], model(tokens), atol=1e-5)


def test_newton_schulz_brings_singular_values_near_one() -> None:
    stack = torch.randn(2, 24, 10, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonal(stack))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    rates = [schedule(step, 500) for step in range(500)]
    assert rates[0] < 0.1 < 0.99 < max(rates)
    assert rates[-1] < 1e-4
    assert rates[100:] == sorted(rates[100:], reverse=True)


def test_the_first_error_is_the_first_token_that_no_right_solution_has() -> None:
    prompt = "solve: 80+5*9-63"
    right = (*encode("80+45-63\n125-63\nanswer: 62"), END)
    assert first_error(prompt, right) is None
    assert first_error(prompt, right[:11]) is None
    assert first_error(prompt, encode("80+45-63\n125-64\n")) == 14
    assert first_error(prompt, encode("80+45-63\nanswer: 62")) == 9  # two reductions in one line
    assert first_error(prompt, (*encode("80+45-63"), END)) == 8
    example = labelled(prompt, encode("80+44-63\n"))
    assert example.tokens == bytes(encode(prompt + "\n80+44"))
    assert not example.last_valid


def test_either_order_of_reducing_is_right() -> None:
    for text in ("3+3", "1+5"):
        assert first_error("solve: 1+2+3", encode(text + "\n")) is None


def test_intervals_and_auc() -> None:
    low, high = Share(150, 300).interval
    assert 0.443 < low < 0.445
    assert 0.555 < high < 0.557
    assert Share(300, 300).interval[1] == pytest.approx(1.0)
    assert auc([1.0, 2.0, 3.0, 4.0], [False, False, True, True]) == 1.0
    assert auc([1.0, 1.0], [False, True]) == 0.5
    assert auc([1.0, 2.0, 3.0], [False, True, False]) == 0.5


def test_the_recipe_trains_m_from_s_and_l_from_m() -> None:
    assert [(run.parent, run.shape.width) for run in RUNS.values()] == [(None, 96), ("S", 192), ("M", 384)]
    assert PRM.shape == RUNS["M"].shape


def test_a_reward_model_gives_one_logit_for_each_token_after_the_first() -> None:
    reward = Calibrated(small_model(), 2.0, 1.0)
    tokens = torch.tensor([encode("solve: 1+2\n3")])
    logits = reward(tokens)
    assert logits.shape == (1, tokens.shape[1] - 1)
    logprobs = reward.model(tokens)[0, 0, 1:18].log_softmax(-1)
    assert torch.isclose(logits[0, 0], 2.0 * logprobs[tokens[0, 1] - 1] + 1.0)


@pytest.mark.slow
def test_a_few_steps_learn_and_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    run = replace(RUNS["S"], shape=SMALL, steps=60, tokens_per_step=500, checkpoint_every=20, compiled=False)
    whole = train(run, tmp_path / "whole")

    class Stopped(Exception):
        pass

    def until_30(forward: Forward, step: int) -> float:
        if step == 30:
            raise Stopped
        return imitate(forward, run, step)

    torch.manual_seed(run.seed)
    with pytest.raises(Stopped):
        optimise(run, tmp_path / "stopped", lambda: Llama(SMALL), until_30)
    again = train(run, tmp_path / "stopped")
    for name, tensor in hugging_face_tensors(whole).items():
        assert torch.equal(tensor, hugging_face_tensors(again)[name])
    losses = [float(line.split()[4]) for line in (tmp_path / "whole" / "S.log").read_text().splitlines()]
    assert losses == sorted(losses, reverse=True)
    export(whole, tmp_path / "out", seconds=12.0)
    assert training_seconds(tmp_path / "out") == 12.0
    assert json.loads((tmp_path / "out" / "config.json").read_text())["hidden_size"] == 32
