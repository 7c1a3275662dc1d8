"""eFLOPs, unit budgets, experts and seconds: against the published numbers, and against sums over single tokens."""

from __future__ import annotations

from dataclasses import asdict, replace
from random import Random

import pytest

from autotts.core.cost import PARTS, ModelCard, Prices
from autotts.core.kinetics import HARDWARE, Work, blocks, dense, sparse
from autotts.core.latency import Latency
from autotts.core.units import Stage, unit_budget, unit_samples
from autotts.errors import InputError

QWEN8 = ModelCard("Qwen3-8B", "", 8_190_000_000, layers=36, heads=32, kv_heads=8, head_dim=128)
MOE = ModelCard(
    "moe",
    "",
    1000,
    400,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=8,
    experts=8,
    experts_per_token=2,
    expert_parameters=100,
)
ORIN = Latency(a=6.6e-7, b=2.9e-4, c=0.104, n=0.1004, k0=0.002, m=6.9e-7, batch=8)


# ---------------------------------------------------------------- AgentTTS


@pytest.mark.parametrize(
    ("parameters", "prompt", "generated", "units"),
    [
        (72, 2048, 128, 814),  # retrieval
        (70, 256, 64, 115),  # answering
        (70, 1024, 64, 395),  # TaskBench: decompose, choose tools, fill in parameters
        (70, 1024, 256, 465),
        (70, 1024, 2048, 1118),
        (70, 1024, 1024, 745),  # ChatDev: code, static test, dynamic test
        (70, 1024, 512, 558),
        (70, 1024, 256, 465),
    ],
)
def test_unit_budgets_are_those_of_agent_tts(parameters: int, prompt: int, generated: int, units: int) -> None:
    assert round(unit_budget(Stage(parameters, 3, prompt, generated), 1)) == units


def test_the_samples_that_a_budget_pays_for_cost_that_budget() -> None:
    rng = Random(0)
    for _ in range(200):
        stage = Stage(rng.uniform(1, 500), rng.uniform(1, 10), rng.randint(1, 9000), rng.randint(1, 9000))
        samples = rng.uniform(0.1, 1000)
        assert unit_samples(stage, unit_budget(stage, samples)) == pytest.approx(samples)
        # As the paper writes it: B = b2 ((a b3 / b1) (b1 + S) - 1).
        a, b1, b2, b3 = stage.parameters / stage.smallest, stage.prompt / stage.generated, 2, stage.prompt / 128
        assert unit_budget(stage, samples) == pytest.approx(b2 * ((a * b3 / b1) * (b1 + samples) - 1))


def test_a_unit_is_a_sample_of_the_smallest_model() -> None:
    smallest = Stage(3e9, 3e9, 128, 64)
    assert unit_budget(smallest, 7) == 7


# ---------------------------------------------------------------- Kinetics


def test_8b_at_8k_is_151_tf_of_computing_and_2787_etf_of_memory() -> None:
    # Found again from L = 200, D = 8000, N = 1 on a B200 (562.5): the two published figures are the two parts.
    work = dense(QWEN8, prompt=200, generated=8000)
    assert round(work.compute / 1e12, 1) == 150.9
    assert round(work.memory / 1e12, 1) == 2786.9
    assert work.eflops == work.compute + work.memory


def test_dense_work_is_its_closed_form() -> None:
    alone = dense(QWEN8, prompt=0, generated=1000)
    assert alone.compute == 2 * 8_190_000_000 * 1000 + 2 * 1000**2 * 32 * 128 * 36
    assert alone.memory == 2 * 1000**2 * 8 * 128 * 36 * 562.5
    assert dense(QWEN8, prompt=0, generated=1000, intensity=HARDWARE["H100"].intensity).memory == pytest.approx(
        alone.memory * (989 / 3.35) / 562.5
    )


def test_trials_share_the_reading_of_the_prompt() -> None:
    each = [dense(QWEN8, prompt=4000, generated=500, trials=n) for n in (1, 2, 8, 64)]
    memory = [work.memory / n for work, n in zip(each, (1, 2, 8, 64))]
    assert memory == sorted(memory, reverse=True) and len(set(memory)) == 4
    assert each[3].compute == 64 * each[0].compute
    # At most the prompt is shared: what is left for each of many is its own answer's cache.
    assert memory[3] > dense(QWEN8, prompt=0, generated=500).memory


def test_grouped_queries_save_memory_and_no_computing() -> None:
    half = replace(QWEN8, kv_heads=4)
    whole, less = (dense(card, prompt=100, generated=900) for card in (QWEN8, half))
    assert less.compute == whole.compute and less.memory == whole.memory / 2
    byte = dense(replace(QWEN8, kv_quantisation="fp8"), prompt=100, generated=900)
    assert byte == Work(whole.compute, whole.memory / 2)


def test_weights_are_read_once_a_batch() -> None:
    without, alone, eight = (dense(QWEN8, prompt=10, generated=100, batch=n) for n in (0, 1, 8))
    assert alone.memory - without.memory == pytest.approx(2 * 8.19e9 * 100 * 562.5)
    assert alone.memory - without.memory == pytest.approx(8 * (eight.memory - without.memory))
    four = dense(replace(QWEN8, quantisation="int4"), prompt=10, generated=100, batch=1)
    assert four.memory - without.memory == pytest.approx((alone.memory - without.memory) / 4)


@pytest.mark.parametrize(
    ("prompt", "generated", "keys"), [(100, 5000, 64), (100, 5000, 1024), (10, 300, 300), (50, 60, 4000)]
)
def test_sparse_work_is_the_sum_over_tokens(prompt: int, generated: int, keys: int) -> None:
    steps = 20  # of the integral, a token
    kept = sum(min(keys, prompt + (i + 0.5) / steps) for i in range(generated * steps)) / steps
    work = sparse(QWEN8, prompt=prompt, generated=generated, keys=keys)
    assert work.memory == pytest.approx(4 * kept * 8 * 128 * 36 * 562.5, rel=1e-6)
    assert work.compute == pytest.approx(2 * 8.19e9 * generated + 4 * kept * 32 * 128 * 36, rel=1e-6)


def test_a_ramp_reads_less_than_a_full_budget_and_not_more() -> None:
    full = sparse(QWEN8, prompt=1000, generated=4000, keys=1000)
    ramp = sparse(QWEN8, prompt=0, generated=4000, keys=1000)
    assert ramp.memory < full.memory == pytest.approx(4 * 1000 * 4000 * 8 * 128 * 36 * 562.5)
    assert full.memory - ramp.memory == pytest.approx(4 * 0.5 * 1000**2 * 8 * 128 * 36 * 562.5)


def test_a_budget_of_all_positions_is_dense() -> None:
    all_of_it = sparse(QWEN8, prompt=300, generated=700, keys=1000)
    whole = dense(QWEN8, prompt=300, generated=700)
    assert (all_of_it.compute, all_of_it.memory) == pytest.approx((whole.compute, whole.memory))


def test_blocks_cost_their_search_besides() -> None:
    found = blocks(QWEN8, prompt=100, generated=5000, local=64, block=16, top=60, trials=3)
    free = sparse(QWEN8, prompt=100, generated=5000, keys=64 + 16 * 60, trials=3)
    assert found.compute - free.compute == pytest.approx(5200 // 16 * 5000 * 32 * 128 * 36 * 3, rel=1e-6)
    assert found.memory - free.memory == pytest.approx(15200 // 16 * 5000 * 8 * 128 * 36 * 562.5, rel=1e-6)


def test_prices_agree_with_kinetics_but_for_half_a_position_and_the_prompt() -> None:
    # A whole sum of positions is D / 2 below the integral, and the prompt's prefill is charged by prices alone.
    prompt, generated = 200, 8000
    drawn = QWEN8.prices("eflops").of_generated(prompt, generated)
    per_position = 4 * 32 * 128 * 36 + 4 * 8 * 128 * 36 * 562.5
    assert drawn + generated / 2 * per_position == pytest.approx(
        dense(QWEN8, prompt=prompt, generated=generated).eflops
    )
    assert QWEN8.prices("flops").of_generated(prompt, generated) + generated / 2 * 4 * 32 * 128 * 36 == pytest.approx(
        dense(QWEN8, prompt=prompt, generated=generated).compute
    )
    # N draws each read the prompt's cache; N trials of Kinetics read it once.
    apart = 4 * drawn - 4 * QWEN8.prices("eflops").of_generated(0, generated)
    shared = dense(QWEN8, prompt=prompt, generated=generated, trials=4).memory
    none = dense(QWEN8, prompt=0, generated=generated, trials=4).memory
    assert apart == 4 * prompt * generated * per_position
    assert shared - none == pytest.approx(prompt * generated * 4 * 8 * 128 * 36 * 562.5)


def test_a_cache_of_bytes_is_half_as_dear() -> None:
    byte = replace(QWEN8, kv_quantisation="fp8").prices("eflops").generated_context
    attention = QWEN8.prices("flops").generated_context
    assert 2 * (byte - attention) == QWEN8.prices("eflops").generated_context - attention
    with pytest.raises(InputError, match=r"quantisation: expected one of .*bf16.*, found 'q4_k'"):
        replace(QWEN8, kv_quantisation="q4_k").prices("eflops")


@pytest.mark.parametrize("missing", ["parameters", "layers", "heads", "kv_heads", "head_dim"])
def test_work_without_a_shape_is_an_error(missing: str) -> None:
    with pytest.raises(InputError, match="eflops need parameters, layers"):
        dense(replace(QWEN8, **{missing: None}), prompt=1, generated=1)


@pytest.mark.parametrize(
    ("name", "intensity"), [("H100", 295), ("H200", 206), ("A100", 153), ("B200", 281), ("B200-fp8", 562.5)]
)
def test_intensities_of_hardware(name: str, intensity: float) -> None:
    assert HARDWARE[name].intensity == pytest.approx(intensity, abs=0.5)


# ---------------------------------------------------------------- mixtures of experts


def test_experts_change_what_is_active() -> None:
    assert MOE.with_experts(2) == MOE
    assert MOE.with_experts(4).active_parameters == 600 and MOE.with_experts(1).active_parameters == 300
    assert MOE.with_experts(4).prices("flops").generated == 2 * 600
    assert MOE.with_experts(4).with_experts(2) == MOE
    for count in (0, 9):
        with pytest.raises(InputError, match=f"expected experts_per_token from 1 to 8, found {count}"):
            MOE.with_experts(count)
    with pytest.raises(InputError, match="with 4 experts a token are unknown"):
        QWEN8.with_experts(4)


# ---------------------------------------------------------------- seconds


def test_prompts_are_padded_in_steps_of_128() -> None:
    assert ORIN.prefill(1) == ORIN.prefill(128) < ORIN.prefill(129) == ORIN.prefill(256)
    assert ORIN.prefill(256) == pytest.approx(6.6e-7 * 256**2 + 2.9e-4 * 256 + 0.104)


@pytest.mark.parametrize("batch", [1, 5])
def test_decoding_is_the_sum_over_its_tokens(batch: int) -> None:
    one_by_one = sum(ORIN.n + batch * (ORIN.k0 + ORIN.m * (300 + i)) for i in range(70))
    assert ORIN.decode(300, 70, batch) == pytest.approx(one_by_one)
    assert ORIN.seconds(300, 70, batch) == pytest.approx(ORIN.prefill(300) + one_by_one)
    assert ORIN.decode(300, 30, batch) + ORIN.decode(330, 40, batch) == pytest.approx(ORIN.decode(300, 70, batch))


def test_prices_in_seconds_are_a_sequences_share_of_its_batch() -> None:
    prices = replace(QWEN8, latency=ORIN).prices("s")
    eight = 8 * prices.of_generated(512, 200) / PARTS["s"]
    assert eight == pytest.approx(ORIN.decode(512, 200, 8), rel=1e-9)
    assert prices.of_prompt(512, 512) / PARTS["s"] == pytest.approx(ORIN.prefill(512), rel=1e-9)
    # What was shown before costs nothing again but the call, and what comes after it attends to it.
    later = prices.of_prompt(512, 256) - prices.call
    assert later / PARTS["s"] == pytest.approx(ORIN.prefill(512) - ORIN.prefill(256), rel=1e-9)


def test_rounding_of_seconds_does_no_harm_on_a_fast_machine() -> None:
    fast = Latency(a=4.6e-10, b=2.5e-6, c=0.004, n=4e-3, k0=1e-5, m=4.4e-8, batch=64)
    prices = replace(QWEN8, latency=fast).prices("s")
    assert 64 * prices.of_generated(4000, 8000) / PARTS["s"] == pytest.approx(fast.decode(4000, 8000, 64), rel=1e-5)
    assert prices.of_prompt(8192, 8192) / PARTS["s"] == pytest.approx(fast.prefill(8192), rel=1e-4)


def test_a_model_that_nobody_measured_says_what_to_run() -> None:
    with pytest.raises(InputError, match="run `autotts models measure`"):
        QWEN8.prices("s")
    with pytest.raises(InputError, match=r"expected a unit of flops, .*, found 'joules'"):
        QWEN8.prices("joules")


# ---------------------------------------------------------------- files


def test_a_card_is_read_back_from_what_a_policy_keeps() -> None:
    card = replace(MOE, latency=ORIN, quantisation="fp8")
    assert ModelCard.of(asdict(card)) == card
    assert ModelCard.of({"name": "old", "revision": "1", "of_later": 3}) == ModelCard("old", "1")
    assert ModelCard.of(asdict(card)).prices("s") == card.prices("s") != Prices()
