"""What OME-XML says of the images that a file holds."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_PIXELS = re.compile(r"<(?:\w+:)?Pixels\s[^<>]*>")
_ATTRIBUTE = re.compile(r"""(\w+)\s*=\s*["']([^"']*)""")


def read_ome_pixels(description: str, width: str | None, height: str | None) -> Iterator[dict[str, str]]:
    """Attributes of the `Pixels` of each image as large as this, in pixels; others are labels and overviews."""
    for tag in _PIXELS.findall(description):
        stated = dict(_ATTRIBUTE.findall(html.unescape(tag)))
        if (stated.get("SizeX"), stated.get("SizeY")) == (width, height):
            yield stated
