"""What keys of a training config take: each a type, and beside it what a file must say, in words and as a test."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from wsiparse.kinds import Kind, is_number, is_text, list_of, table_of
from wsiparse.models.open_network import Sizes
from wsiparse.slides.mpp import PLAUSIBLE_MPP


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value > 0


def _is_factor(value: Any) -> bool:
    return is_number(value) and value > 0


def _is_mpp(value: Any) -> bool:
    return is_number(value) and PLAUSIBLE_MPP[0] <= value <= PLAUSIBLE_MPP[1]


def _is_share(value: Any) -> bool:
    return is_number(value) and value <= 1


def _is_file_name(value: Any) -> bool:
    return is_text(value) and not re.search(r"^\.|[/\\\0\n]", value)


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and value.count("{}") == 1 and not set("{}") & set(value.replace("{}", ""))


def _is_pattern(value: Any) -> bool:
    with suppress(re.error, TypeError):
        return value == "" or re.compile(value).groups > 0
    return False


def _are_bounds(value: Any) -> bool:
    return list_of(_is_factor, 2)(value) and len(value) == 2 and value[0] <= value[1]


def _are_sizes(value: Any) -> bool:
    with suppress(TypeError):
        sizes = Sizes(**value)
        width, heads = sizes.text_width, sizes.text_heads
        counts = (*sizes.channels, *sizes.blocks, sizes.embedding, width, heads, sizes.buckets)
        whole = all(map(_is_count, counts)) and sizes.buckets > 1  # the first bucket is padding
        scaled = all(map(_is_mpp, sizes.scales)) and len(set(sizes.scales)) == len(sizes.scales)
        return whole and scaled and 0 < len(sizes.channels) == len(sizes.blocks) and width % heads == 0
    return False


Whole = Annotated[int, Kind("a whole number from 0", _is_whole)]
Count = Annotated[int, Kind("a whole number above 0", _is_count)]
Number = Annotated[float, Kind("a number from 0", is_number)]
Factor = Annotated[float, Kind("a number above 0", _is_factor)]
Share = Annotated[float, Kind("a share from 0 to 1", _is_share)]
Bounds = Annotated[tuple[float, float], Kind("two numbers above 0, the smaller first", _are_bounds)]
Text = Annotated[str, Kind("text", lambda value: isinstance(value, str))]
FileName = Annotated[str, Kind("a file's name, without folders", _is_file_name)]
Pattern = Annotated[str, Kind("a regular expression with a group, or empty text", _is_pattern)]
Texts = Annotated[tuple[str, ...], Kind("a list of texts", list_of(is_text))]
Names = Annotated[tuple[str, ...], Kind("a list of one name or more", list_of(is_text, 1))]
Templates = Annotated[tuple[str, ...], Kind("a list of texts with one {} in each", list_of(_is_template, 1))]
Words = Annotated[dict[str, str], Kind("a table of texts", table_of(is_text))]
Factors = Annotated[dict[str, float], Kind("a table of numbers above 0", table_of(_is_factor))]
Scales = Annotated[
    dict[str, float],
    Kind(f"a table of µm per pixel from {PLAUSIBLE_MPP[0]} to {PLAUSIBLE_MPP[1]:g}", table_of(_is_mpp)),
]
Place = Annotated[Path, Kind("a path", is_text)]
AnyPlace = Annotated[Path | None, Kind("a path", is_text)]
AnySizes = Annotated[
    Sizes | None,
    Kind(
        "a table of counts with as many blocks as channels, text_width a multiple of text_heads, scales that differ",
        _are_sizes,
    ),
]
