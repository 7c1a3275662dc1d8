"""The committed models: complete folders with cards, small enough to be in the repository."""

import json
from pathlib import Path

import pytest

import autotts.tiny
from autotts.tiny.codec import SYMBOLS, VOCABULARY

WEIGHTS = Path(autotts.tiny.__file__).parent / "weights"
FOLDERS = sorted(path.parent for path in WEIGHTS.glob("*/config.json"))


def test_the_models_take_less_than_20_megabytes_in_all() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) < 20e6


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_is_complete(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    reward = {"prm.json"} if folder.name == "PRM" else set()
    assert names == reward | {
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_tokenizer_file_has_our_symbols_and_generation_never_writes_the_others(folder: Path) -> None:
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(VOCABULARY))
    assert tuple(sorted(vocabulary, key=lambda symbol: vocabulary[symbol])[: len(SYMBOLS)]) == SYMBOLS
    never = json.loads((folder / "generation_config.json").read_text())["suppress_tokens"]
    assert never == [0, *range(len(SYMBOLS), VOCABULARY)]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_card_states_recipe_figures_and_weaknesses(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    for part in ("python -m autotts.tiny.recipe", "seed", "parameters", "wall seconds", "## Known weaknesses"):
        assert part in card
    assert ("| greedy |" in card) or ("AUC" in card)
    assert "stream `confirm`" in card
