"""The canvas: the probability maps of one pass on disk, as Zarr v3 uint8 [K, Y, X] with p = value / 255.

One block is one shard with one writer, and a shard that is there is a block that is done: the store is the ledger from
which a run is resumed. Blocks without tissue are never written and read as zeros.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import OutputError, RunError
from wsiparse.geometry import Grid, Region
from wsiparse.maps.metadata import VERSION, describe_image
from wsiparse.maps.shards import (
    create_array,
    find_shards,
    read_pixels,
    remove_partials,
    write_metadata,
    write_shard,
)
from wsiparse.ontology import Target, parse_target
from wsiparse.tiles.plan import Block, Tiling


@dataclass(frozen=True)
class Canvas:
    """Where the probability maps of a pass lie and how they are cut; it pickles and holds nothing open."""

    path: str
    """The pass's group; its array "0" is the canvas at full size."""
    digest: str
    """Of the plan whose blocks are written here."""
    tiling: Tiling
    targets: tuple[Target, ...]
    """One channel each, in this order."""

    @property
    def grid(self) -> Grid:
        """The canvas as a raster over the slide."""
        return self.tiling.grid

    @property
    def slide_folder(self) -> Path:
        """Where everything of the slide lies."""
        return Path(self.path).parents[1]

    def level_path(self, level: int) -> Path:
        """The Zarr array of a level."""
        return Path(self.path, str(level))


def create_canvas(path: str | Path, digest: str, tiling: Tiling, targets: Sequence[Target]) -> Canvas:
    """Make the canvas of a plan, or take up the one that the same plan began.

    Raises RunError where another plan's canvas, or anything else, lies at `path`. Call it while nobody writes to this
    canvas: leftovers of killed writers are removed.
    """
    canvas = Canvas(str(path), digest, tiling, tuple(targets))
    if Path(path, "zarr.json").exists():
        _check_same(canvas, open_canvas(path))
        remove_partials(Path(path))
    else:
        _create_files(canvas)
    return canvas


def open_canvas(path: str | Path) -> Canvas:
    """The canvas at `path`, as its attributes describe it."""
    entry = read_attributes(path).get("wsiparse")
    if not isinstance(entry, dict):
        raise OutputError(f"{path}: a Zarr group without the attribute 'wsiparse'; expected a canvas of a run")
    tiling = {**entry["tiling"], "grid": Grid(**entry["tiling"]["grid"])}
    targets = tuple(parse_target(target, str(path)) for target in entry["targets"])
    return Canvas(str(path), entry["plan_digest"], Tiling(**tiling), targets)


def create_store(path: str | Path, passes: Sequence[str]) -> None:
    """Make the group of a slide that holds one canvas a pass, each under its pass's name; what is in it stays."""
    root = Path(path)
    write_group(root, {"ome": {"version": VERSION, "bioformats2raw.layout": 3}})
    write_group(root / "OME", {"ome": {"version": VERSION, "series": list(passes)}})


def list_canvases(path: str | Path) -> tuple[Canvas, ...]:
    """The canvases of a slide's group, in the order of their names."""
    return tuple(open_canvas(group) for group in find_canvases(path))


def find_canvases(path: str | Path) -> list[Path]:
    """Where the canvases of a slide's group lie, in the order of their names; none of them is opened."""
    return sorted(file.parent for file in Path(path).glob("*/zarr.json") if file.parent.name != "OME")


def require_canvas(canvas: Canvas) -> None:
    """Raise OutputError where the canvas is gone, as with a share that was lost; it may come back."""
    path = Path(canvas.path)
    if not (path / "zarr.json").exists():
        lost = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        raise OutputError(f"{path}: the canvas is gone; bring the folder or the share back") from lost


def write_block(canvas: Canvas, block: Block, probabilities: Iterable[NDArray[np.uint8]]) -> None:
    """Write a block's probabilities, K times uint8 [h, w], h and w as its region is clipped; one put of one shard."""
    write_shard(canvas.level_path(0), block.region, probabilities)


def read_region(canvas: Canvas, region: Region, level: int = 0) -> NDArray[np.uint8]:
    """Probabilities uint8 [K, h, w] of a region in pixels of a level; 0 beyond it and where no block was written."""
    return read_pixels(canvas.level_path(level), region)


def written_blocks(canvas: Canvas) -> set[tuple[int, int]]:
    """Row and column of the blocks that are done."""
    return find_shards(canvas.level_path(0))


def write_group(path: Path, attributes: dict[str, Any]) -> None:
    """Write the metadata of a group at `path`, in one put; arrays below it and other attributes stay.

    Zarr itself takes milliseconds for each of a slide's dozen.
    """
    kept = read_attributes(path) if (path / "zarr.json").exists() else {}
    write_metadata(path, {"attributes": {**kept, **attributes}, "zarr_format": 3, "node_type": "group"})


def read_attributes(path: str | Path) -> dict[str, Any]:
    """The attributes of the group at `path`."""
    try:
        group = json.loads(Path(path, "zarr.json").read_bytes())
        if group["node_type"] != "group":
            raise ValueError(group["node_type"])
        return dict(group.get("attributes", {}))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise OutputError(f"{path}: no readable Zarr group; expected a canvas of a run, run the slide first") from error


def describe_canvas(canvas: Canvas) -> dict[str, Any]:
    """The attribute `wsiparse`: how to turn values into probabilities, and what made them."""
    return {
        "scale": 1 / 255,
        "plan_digest": canvas.digest,
        "tiling": asdict(canvas.tiling),
        "targets": [asdict(target) for target in canvas.targets],
    }


def _create_files(canvas: Canvas) -> None:
    grid = canvas.grid
    create_array(canvas.level_path(0), (len(canvas.targets), grid.height, grid.width), canvas.tiling.block, np.uint8)
    # The group comes last: where it can be read, the canvas is whole.
    ome = describe_image(Path(canvas.path).name, (grid,), canvas.targets)
    write_group(Path(canvas.path), {"ome": ome, "wsiparse": describe_canvas(canvas)})


def _check_same(canvas: Canvas, found: Canvas) -> None:
    if found.digest != canvas.digest:
        raise RunError(
            f"{canvas.path} holds plan {found.digest[:8]}, expected {canvas.digest[:8]}; choose another output folder, "
            "or delete the slide's to begin it anew"
        )
    if (found.tiling, found.targets) != (canvas.tiling, canvas.targets):
        names = [target.name for target in found.targets]
        raise RunError(
            f"{canvas.path} holds other targets or tiles ({names}); choose another output folder, or delete the "
            "slide's to begin it anew"
        )
