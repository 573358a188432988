"""A whole run: from the settings and slides a person names to a folder of results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from wsiparse.errors import InputError, TargetError
from wsiparse.models.execution import ModelOptions
from wsiparse.models.load import ModelSpec
from wsiparse.models.model import TextVectors
from wsiparse.ontology import Ontology, load_ontology
from wsiparse.runs.cluster import open_cluster
from wsiparse.runs.config import RunConfig
from wsiparse.runs.lock import hold_lock
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.order import Order
from wsiparse.runs.passes import Pass, group_passes
from wsiparse.runs.pipeline import BlockRecord, Listener, ModelFacts, SerialEngine
from wsiparse.runs.provenance import record_run
from wsiparse.runs.rules import make_rules
from wsiparse.runs.run import CONTINUE, Run, Start, refuse_lost, start_run
from wsiparse.runs.summary import write_summary
from wsiparse.runs.targets import Similarity, choose_targets, match_text, refuse_alike, refuse_site


class Engine(Protocol):
    """Whoever does the work: this process, or a cluster."""

    def describe(self, spec: ModelSpec) -> ModelFacts:
        """The model's facts."""

    def embed_texts(self, spec: ModelSpec, texts: Sequence[str]) -> TextVectors:
        """What the model makes of texts."""

    def parse_cohort(self, order: Order, rows: Sequence[ManifestRow], listen: Listener) -> None:
        """Parse the slides; what fails is recorded in its folder."""


@contextmanager
def open_engine(config: RunConfig) -> Iterator[Engine]:
    """The engine that a config asks for."""
    if config.cluster == "serial":
        yield SerialEngine()
        return
    with open_cluster(config) as engine:
        yield engine


def parse_run(
    rows: Sequence[ManifestRow], output: Path, config: RunConfig, listen: Listener, start: Start = CONTINUE
) -> Run:
    """Parse all slides that `start` leaves to do into `output`, and return the run.

    Raises InputError where the command cannot be carried out, RunError where another run is writing to the folder,
    ConnectionError where that folder is lost; a slide that fails is recorded and raises nothing.
    """
    with open_engine(config) as engine:
        order, facts = take_order(engine, config, output)
        rows = [resolve_targets(row, order) for row in rows]
        for match in order.guesses:
            listen("matched", str(match), None)
        if facts.drawback:
            listen("warned", facts.drawback, None)
        with hold_lock(output, start.shard):
            run, rows = start_run(output, record_run(order, facts, rows), rows, start)
            left = start.choose(run, rows)
            for row in left:
                run.forget_failure(row.id)
            order = replace(order, anew=start.retry_failed)
            engine.parse_cohort(order, left, _listen_while_there(run, listen))
            write_summary(run)
    return run


def _listen_while_there(run: Run, listen: Listener) -> Listener:
    """Begin no slide where the run's folder is gone."""

    def pass_on(event: str, slide: str, record: BlockRecord | None) -> None:
        if event == "started":
            refuse_lost(run.path)
        listen(event, slide, record)

    return pass_on


def take_order(engine: Engine, config: RunConfig, output: Path) -> tuple[Order, ModelFacts]:
    """Resolve the model and the targets of a config."""
    options = ModelOptions(**config.model_options)
    spec = ModelSpec(config.model, config.device, config.batch, weights=config.weights or "", options=options)
    facts = engine.describe(spec)
    ontology = load_ontology(config.ontology) if config.ontology else Ontology(facts.targets)
    similarity = _judge_texts(engine, spec, config, facts)
    matches = tuple(match_text(ontology, text, similarity) for text in (*config.targets, *config.prompts))
    targets = choose_targets(ontology, matches)
    refuse_site(targets, matches, config.site)
    if config.ontology and similarity:
        refuse_alike(targets, similarity)
    pinned = replace(spec, digest=facts.digest)
    rules = make_rules(config, facts.name, targets)
    _refuse_overlap(config, group_passes(targets, facts.tiles))
    # Workers elsewhere have another working directory.
    return Order(config, pinned, facts.tiles, targets, matches, str(output.absolute()), rules), facts


def _refuse_overlap(config: RunConfig, passes: Sequence[Pass]) -> None:
    smallest = min(part.tile for part in passes)
    if (config.overlap or 0) >= smallest:
        raise InputError(
            f"overlap {config.overlap} of tiles of {smallest} pixels: expected less than the tile; change overlap"
        )


def _judge_texts(engine: Engine, spec: ModelSpec, config: RunConfig, facts: ModelFacts) -> Similarity | None:
    if facts.least_similarity is None:
        return None
    least = facts.least_similarity if config.least_similarity is None else config.least_similarity
    return Similarity(least, lambda texts: engine.embed_texts(spec, texts))


def resolve_targets(row: ManifestRow, order: Order) -> ManifestRow:
    """A row whose own targets go by their names, whatever the manifest called them.

    Raises TargetError for a target or a site that is not known, or at which none of its targets is looked for.
    """
    known = Ontology(order.targets)
    try:
        names = tuple(dict.fromkeys(known.find(text).name for text in row.targets))
        row = row.model_copy(update={"targets": names})
        targets = order.targets_of(row)
    except TargetError as error:
        raise TargetError(f"slide {row.id}: {error}") from error
    if not targets:
        raise TargetError(f"slide {row.id}: none of its targets is looked for at site {row.site!r}; name others")
    return row
