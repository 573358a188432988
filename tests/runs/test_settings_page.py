"""docs/settings.md knows every setting there is, and its default."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from wsiparse.runs.config import RunConfig
from wsiparse.runs.handover import STAGING_VARIABLE
from wsiparse.runs.submit import SlurmConfig
from wsiparse.slides.remote import CACHE_VARIABLE
from wsiparse.slides.slide_cache import LIMIT_GB, LIMIT_VARIABLE

PAGE = Path(__file__).parents[2] / "docs/settings.md"
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
VARIABLES = {CACHE_VARIABLE, LIMIT_VARIABLE, STAGING_VARIABLE, "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"}


def test_every_setting_has_its_row() -> None:
    assert set(ROWS) == {*RunConfig.model_fields, *SlurmConfig.model_fields, *VARIABLES}
    assert float(ROWS[LIMIT_VARIABLE].strip("`")) == LIMIT_GB


@pytest.mark.parametrize("settings", [RunConfig, SlurmConfig])
def test_defaults_are_those_of_the_code(settings: type[BaseModel]) -> None:
    for name, field in settings.model_fields.items():
        told = ROWS[name].partition(":")[0] if ROWS[name].startswith("`[]`") else ROWS[name]
        if field.default is not None and name != "python":
            assert told.strip("`") == json.dumps(list(field.default) if field.default == () else field.default), name
