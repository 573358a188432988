"""A slide's annotations as QuPath takes millions of them: in files it can hold, and a script that imports and counts.

QuPath keeps a file's whole tree of JSON in memory while it reads, and does not tell which part of an archive failed.
So each file is small, and the script compares what arrived with what was written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.geojson import write_geojson
from wsiparse.files import write_whole_folder
from wsiparse.ontology import Target
from wsiparse.slides.slide import Slide

SCRIPT = "import_wsiparse.groovy"
FILE_OBJECTS = 200_000
"""Objects a file holds at most: some gigabytes of QuPath's memory."""

_SCRIPT = """\
// Imports what wsiparse found on {slide} into the image that is open, and counts it.
// QuPath 0.4 or newer: Automate > Script editor, open this file where it lies, Run.
def slide = {slide}
def width = {width}
def height = {height}
def files = [
{files}
]

if (!binding.hasVariable('qupath.script.file'))
    throw new IllegalStateException('Open this script from its file, beside the .geojson.gz files, and run it again')
def folder = new File(binding.getVariable('qupath.script.file')).getParentFile()

def server = getCurrentServer()
if (server.getWidth() != width || server.getHeight() != height)
    throw new IllegalStateException('The image is ' + server.getWidth() + ' x ' + server.getHeight() + ' pixels, ' +
        slide + ' has ' + width + ' x ' + height + '; open that slide, cropped to its bounds, and run again')

def countObjects = {{ -> getAnnotationObjects().size() + getDetectionObjects().size() }}
for (entry in files.entrySet()) {{
    def before = countObjects()
    importObjectsFromFile(new File(folder, entry.getKey()).getPath())
    def added = countObjects() - before
    if (added != entry.getValue())
        throw new IllegalStateException(entry.getKey() + ': ' + added + ' objects arrived, ' + entry.getValue() +
            ' were written; remove all objects, repeat wsiparse export, and run again')
    println entry.getKey() + ': ' + added + ' objects'
}}
println slide + ': all {count} objects imported'
"""


def write_qupath(
    annotations: Iterable[Annotation],
    path: str | Path,
    slide: Slide,
    targets: Sequence[Target],
    file_objects: int = FILE_OBJECTS,
) -> dict[str, int]:
    """Write a folder of GeoJSON files and the script that imports them; returns the objects in each file by its name.

    Coordinates are those QuPath shows (see `open_geojson`). The folder appears when all is written; one that this
    function wrote before is replaced. Raises OutputError where it cannot be.
    """
    counts: dict[str, int] = {}
    with write_whole_folder(Path(path), SCRIPT) as partial:
        for part in _split(annotations, file_objects):
            name = f"objects-{len(counts) + 1:04}.geojson.gz"
            counts[name] = write_geojson(part, partial / name, slide, targets)
        (partial / SCRIPT).write_text(_make_script(slide, counts), encoding="utf-8")
    return counts


def _split(annotations: Iterable[Annotation], size: int) -> Iterator[Iterable[Annotation]]:
    stream = iter(annotations)
    for first in stream:
        yield chain([first], islice(stream, size - 1))


def _make_script(slide: Slide, counts: dict[str, int]) -> str:
    shown = slide.bounds or slide.grid
    files = ",\n".join(f"    '{name}': {count}" for name, count in counts.items()) or "    :"
    size = {"width": shown.width, "height": shown.height, "count": sum(counts.values())}
    return _SCRIPT.format(slide=_quote(slide.id), files=files, **size)


def _quote(text: str) -> str:
    # Groovy reads single quotes literally, but for backslashes.
    return "'" + json.dumps(text)[1:-1].replace("'", "\\'").replace('\\"', '"') + "'"
