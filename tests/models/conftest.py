"""Fixtures: the official network at reduced size, loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.models.official import load_reduced, write_official_weights
from wsiparse.models.network import Network


@pytest.fixture(scope="session")
def reduced_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_official_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def network_f32(reduced_weights: Path) -> Network:
    return load_reduced(reduced_weights, torch.float32)


@pytest.fixture(scope="session")
def network_f64(reduced_weights: Path) -> Network:
    return load_reduced(reduced_weights, torch.float64)
