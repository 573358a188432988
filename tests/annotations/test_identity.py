"""Ids of many objects in batches of any size, beside the plain way of Python's uuid module and a counter."""

from __future__ import annotations

import uuid
from collections import Counter
from hashlib import sha1

import shapely
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.batches import Batch
from wsiparse.annotations.identity import Identities, identify

NAMESPACE = uuid.UUID("6f0e3a52-7d1c-5b8e-9c47-2a6f4d0b81e3")


def name_plainly(annotations: list[Annotation]) -> list[str]:
    copies: Counter[bytes] = Counter()
    ids = []
    for annotation in annotations:
        name = f"s\n{annotation.target}\n".encode() + shapely.to_wkb(shapely.normalize(annotation.polygon))
        n, copies[name] = copies[name], copies[name] + 1
        digest = sha1(NAMESPACE.bytes + name + (b"\n%d" % n if n else b"")).digest()
        ids.append(str(uuid.UUID(bytes=digest[:16], version=5)))
    return ids


@given(st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 12)), min_size=1, max_size=9), max_size=12))
def test_ids_are_those_of_the_plain_way_whatever_the_batches(drawn: list[list[tuple[str, int]]]) -> None:
    parts = [[Annotation(name, shapely.box(x, 0, x + 1, 1), 1.0) for name, x in part] for part in drawn]
    everything = [annotation for part in parts for annotation in part]
    named = list(identify((Batch.of(part) for part in parts), "s"))
    ids = [id for batch in named for id in batch.ids or ()]
    assert ids == name_plainly(everything)
    assert len(set(ids)) == len(ids)
    if everything:
        assert Identities("s").assign(Batch.of(everything)) == ids
