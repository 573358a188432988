from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from wsiparse.annotations.numbering import number_objects

labels = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9), elements=st.integers(0, 2))


@given(labels)
def test_parts_of_each_code_are_a_librarys_in_the_order_of_their_first_pixels(codes: np.ndarray) -> None:
    objects, found = number_objects(codes)
    assert objects.dtype == np.int32
    ids, firsts = np.unique(objects[objects > 0], return_index=True)
    assert ids.tolist() == list(range(1, len(found) + 1))
    assert (np.diff(firsts) > 0).all()
    for code in (1, 2):
        parts, count = ndimage.label(codes == code)
        assert count == (found == code).sum()
        pairs = {(int(one), int(other)) for one, other in zip(parts[parts > 0], objects[parts > 0], strict=True)}
        assert len(pairs) == count
        assert all(found[other - 1] == code for _, other in pairs)
    assert ((objects > 0) == (codes > 0)).all()


def test_a_view_is_numbered_as_a_copy_is() -> None:
    codes = np.random.default_rng(0).integers(0, 3, (30, 40), np.uint8)
    for view in (codes[3:20, 5:31], codes.T, codes[::2, ::-1]):
        for found, expected in zip(number_objects(view), number_objects(view.copy()), strict=True):
            np.testing.assert_array_equal(found, expected)
