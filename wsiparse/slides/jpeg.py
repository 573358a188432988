"""Streams of JPEG data, as tiles store them."""

from __future__ import annotations

import re

_START_OF_SCAN = b"\xff\xda"
_END_OF_IMAGE = b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # anything but a coded 255 or a restart
_HOLE = bytes(64)  # a hole in a copied file; entropy-coded data hardly ever has it


def looks_sound(data: bytes) -> bool:
    """Whether a JPEG stream ends as it should and has no marker or hole where only coded pixels may be.

    The decoder passes over such damage in silence and paints it grey; it costs some microseconds to find first.
    """
    scan = data.find(_START_OF_SCAN) + len(_START_OF_SCAN)
    if not data.endswith(_END_OF_IMAGE) or data.find(_HOLE, scan) >= 0:
        return False
    marker = _MARKER.search(data, scan)
    return marker is not None and marker.end() == len(data)
