"""Files damaged at random: read as they are or refused in one line, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.annotations.test_asap import DRAWN as ASAP
from tests.annotations.test_imagescope import DRAWN as IMAGESCOPE
from wsiparse.annotations.asap import read_asap
from wsiparse.annotations.geojson import Labels
from wsiparse.annotations.imagescope import read_imagescope
from wsiparse.annotations.labels import read_annotations
from wsiparse.errors import ReferenceFileError
from wsiparse.geometry import Grid
from wsiparse.slides.slide import Slide

SLIDE = Slide("s1", "s1.svs", (Grid(1000, 800, 0.5),), "manifest")
WHOLE = {"imagescope": IMAGESCOPE.read_bytes(), "asap": ASAP.encode()}
INSERTED = st.one_of(
    st.binary(max_size=6), st.sampled_from([b"<", b">", b'"', b"-", b"1e400", b"nan", b"<Region>", b"&"])
)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.sampled_from([0, 1, 2, 10, 300]))
        data = data[:start] + draw(INSERTED) + data[end:]
    return data


@pytest.mark.parametrize(("name", "read"), [("imagescope", read_imagescope), ("asap", read_asap)])
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_survived(
    tmp_path: Path, data: st.DataObject, name: str, read: Callable[[Path, Slide], Labels]
) -> None:
    path = tmp_path / "damaged.xml"
    path.write_bytes(data.draw(damaged(WHOLE[name])))
    for reader in (read, read_annotations):
        outcome = try_to_read(reader, path)
        if isinstance(outcome, str):
            assert "\n" not in outcome
            assert len(outcome) < 500
        else:
            outlines = [annotation.polygon for annotation in outcome.annotations]
            assert all(shapely.is_valid(outline) and outline.area > 0 for outline in outlines)


def try_to_read(read: Callable[[Path, Slide], Labels], path: Path) -> Labels | str:
    try:
        return read(path, SLIDE)
    except ReferenceFileError as error:
        return str(error)
