"""Random models, loaded once."""

from __future__ import annotations

import pytest

from autotts.tiny.model import Model, load
from tests.tiny.random_models import write_model


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A random model of S's size."""
    return load(write_model(tmp_path_factory.mktemp("models") / "small", "S"))


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A random model of L's size."""
    return load(write_model(tmp_path_factory.mktemp("models") / "large", "L"))
