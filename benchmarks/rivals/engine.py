"""The engine once its model is loaded: a slide end to end, or the model alone on the same tiles in memory.

python -m benchmarks.rivals.engine whole|alone SLIDE OUT SETTINGS      SETTINGS: those of a run, as JSON
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.rivals.marks import Marks
from wsiparse.models.load import ModelSpec, load_model
from wsiparse.runs.cluster import ClusterEngine
from wsiparse.runs.config import RunConfig
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.order import Order
from wsiparse.runs.parse import Engine, open_engine, take_order
from wsiparse.runs.pipeline import BlockRecord, SerialEngine, load_block
from wsiparse.runs.planning import prepare_slide

SLIDE = "slide"


def parse_whole(config: RunConfig, row: ManifestRow, output: Path) -> Marks:
    """From the slide's start to its end, by the engine that the settings name."""
    with open_engine(config) as engine:
        order, _ = take_order(engine, config, output)
        warm_up(engine, order)
        marks = Marks()
        engine.parse_cohort(order, [row], stop_on_failure)
        marks.set("ended")
    return marks


def warm_up(engine: Engine, order: Order) -> None:
    """Load the model wherever it will be asked."""
    if isinstance(engine, ClusterEngine):
        engine.client.run(hold_model, order.model)
    else:
        hold_model(order.model)


def hold_model(spec: ModelSpec) -> None:
    """Load a model into this process, and give nothing back."""
    load_model(spec)


def stop_on_failure(event: str, slide: str, record: BlockRecord | None) -> None:
    """Listens to a run."""
    if event == "failed":
        raise SystemExit(f"{slide} failed")


def predict_alone(config: RunConfig, row: ManifestRow, output: Path) -> Marks:
    """The model's answers about all tiles of the slide, block by block as the engine asks, and nothing else."""
    order, _ = take_order(SerialEngine(), config, output)
    blocks = list(prepare_slide(order, row).blocks_left())
    tiles = [load_block(block).batch.pixels for block in blocks]
    model = load_model(order.model)
    model.predict(tiles[0][:1], blocks[0].canvas.targets)  # the first call is slower
    marks = Marks()
    for block, pixels in zip(blocks, tiles, strict=True):
        model.predict(pixels, block.canvas.targets)
    marks.set("ended")
    return marks


def main(part: str, slide: str, output: str, settings: str) -> None:
    """Do the part and print when it began and ended."""
    config, row = RunConfig(**json.loads(settings)), ManifestRow(id=SLIDE, slide=slide)
    Path(output).mkdir(parents=True, exist_ok=True)
    Path(output, "run.json").touch()  # without it the engine takes the folder for a share that was lost
    do = parse_whole if part == "whole" else predict_alone
    do(config, row, Path(output)).print()


if __name__ == "__main__":
    main(*sys.argv[1:5])
