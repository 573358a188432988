"""Which targets a run asks for: what people write, taken for targets of the ontology."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wsiparse.errors import InputError, TargetError
from wsiparse.models.model import TextVectors
from wsiparse.models.prompts import find_alike
from wsiparse.ontology import SITE, Ontology, Target, take_site
from wsiparse.runs.manifest import ManifestRow

NEAREST = 3
"""How many targets a refusal names."""
_JOINTS = re.compile(r"[,;&+/]|\b(?:and|or)\b", re.IGNORECASE)
"""What people put between things of which they ask for several."""
_DENIALS = re.compile(r"\b(?:no|not|without|except|but)\b", re.IGNORECASE)
"""What people put before things that they do not want."""


@dataclass(frozen=True)
class Similarity:
    """How a model tells how near two wordings are."""

    least: float
    """Cosine from which a text is taken for the nearest target."""
    embed: Callable[[Sequence[str]], TextVectors]


@dataclass(frozen=True)
class Match:
    """The target that a text was taken for."""

    text: str
    target: Target
    score: float
    """1 for a name, synonym or prompt, else the cosine of the text with the target's nearest wording."""

    @property
    def is_exact(self) -> bool:
        """Whether nothing was guessed."""
        return self.score >= 1

    def __str__(self) -> str:
        return f"{self.text!r} → {self.target.name} ({self.score:.2f})"


def match_text(ontology: Ontology, text: str, similarity: Similarity | None) -> Match:
    """The target of a text: by name, synonym or prompt, else by the nearest wording where the model can tell.

    Raises TargetError with the nearest targets and their scores where none is near enough, and for several at once.
    """
    found = ontology.look_up(text)
    if not found:
        _refuse_several(ontology, text)
    if found or similarity is None:
        return Match(text, found or ontology.find(text), 1.0)
    ranked = rank_targets(ontology, text, similarity)
    if ranked[0].score < similarity.least:
        near = ", ".join(f"{match.target.name} ({match.score:.2f})" for match in ranked[:NEAREST])
        raise TargetError(
            f"unknown target {text!r}; nearest: {near}; expected a name or a synonym, or a text with a score of "
            f"{similarity.least:.2f}; see `wsiparse targets`"
        )
    return ranked[0]


def _refuse_several(ontology: Ontology, text: str) -> None:
    """Raise TargetError for a known wording joined to others: as one text it is near to one of them, and takes that."""
    parts = [part.strip() for part in _JOINTS.split(text) if part.strip()]
    named = _list_named(ontology, text)
    if len(parts) > 1 and any(map(ontology.look_up, parts)):
        named = parts
    if len(named) > 1:
        raise TargetError(
            f"{text!r} asks for several things: {', '.join(map(repr, named))}; expected one a text; give each its own "
            "--prompt, or all to --targets, parted by commas"
        )
    if named and _DENIALS.search(text):
        raise TargetError(
            f"{text!r} says what is not wanted: to the model it is near to {named[0]!r}; expected what to find alone"
        )


def _list_named(ontology: Ontology, text: str) -> list[str]:
    """Targets a name, synonym or prompt of which stands in a text, word for word; of wordings in one, the longest."""
    owners = {_split(wording): target.name for target in ontology.targets for wording in target.wordings()}
    words, longest = _split(text), max(map(len, owners), default=0)
    named: list[str] = []
    at = 0
    while at < len(words):
        ends = range(min(at + longest, len(words)), at, -1)
        end = next((end for end in ends if words[at:end] in owners), None)
        if end:
            named.append(owners[words[at:end]])
        at = end or at + 1
    return list(dict.fromkeys(named))


def _split(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^\W_]+", text.casefold()))


def rank_targets(ontology: Ontology, text: str, similarity: Similarity) -> list[Match]:
    """All targets, the one with the nearest wording first, with scores in -1..1."""
    owners = [(target, wording) for target in ontology.targets for wording in target.wordings()]
    vectors = similarity.embed([text, *(wording for _, wording in owners)])
    scores = dict[str, float]()
    for (target, _), score in zip(owners, (vectors[1:] @ vectors[0]).tolist(), strict=True):
        scores[target.name] = max(score, scores.get(target.name, -1.0))
    ranked = sorted(ontology.targets, key=lambda target: -scores[target.name])
    return [Match(text, target, min(scores[target.name], 0.999)) for target in ranked]


def choose_targets(ontology: Ontology, matches: Sequence[Match]) -> tuple[Target, ...]:
    """The targets that were asked for, once each and in the ontology's order; all where nothing is asked.

    Raises InputError where one is asked for at two sites, as there is one map of it.
    """
    if not ontology.targets:
        raise InputError("the ontology has no target; expected at least one [[target]] table")
    wanted = {match.target.name: match.target for match in matches}
    for match in matches:
        if match.target != wanted[match.target.name]:
            prompts = f"{match.target.prompt!r} and {wanted[match.target.name].prompt!r}"
            raise InputError(f"target {match.target.name!r}: asked for as {prompts}; expected one of them in a run")
    return tuple(wanted.get(target.name, target) for target in ontology.targets if not wanted or target.name in wanted)


def refuse_alike(targets: Sequence[Target], similarity: Similarity) -> None:
    """Raise TargetError for a prompt that the model cannot read, and for two that it reads as one.

    Of signs such as + it may know nothing: `Ki67+` and `Ki67-` would come out as the same map.
    """
    prompts = [target.at_site(None).prompt for target in targets]
    vectors = [vector.tobytes() for vector in similarity.embed(prompts)]
    if twins := find_alike(zip(prompts, vectors, strict=True)):
        first, second = (prompts[place] for place in twins)
        raise TargetError(
            f"prompts {first!r} and {second!r} are the same to the model; expected words that it tells apart; "
            "reword one of them in the ontology"
        )


def narrow_targets(targets: Sequence[Target], row: ManifestRow, site: str | None) -> tuple[Target, ...]:
    """The run's targets, or those that a slide's row names, as they are asked for at its site or the run's."""
    occurring = take_site(targets, row.site or site)
    return tuple(target for target in occurring if not row.targets or target.name in row.targets)


def refuse_site(targets: Sequence[Target], matches: Sequence[Match], site: str | None) -> None:
    """Raise TargetError for a site that changes no prompt, or at which a target that was asked for does not occur."""
    if site is None:
        return
    if not any(target.sites or SITE in target.prompt for target in targets):
        raise TargetError(f"site {site!r}: no target here knows sites; leave it out, or say --ontology pathology")
    taken = {target.name for target in take_site(targets, site)}
    for match in matches:
        if match.target.name not in taken:
            sites = ", ".join(match.target.sites)
            raise TargetError(f"target {match.target.name!r} is not looked for at {site!r}; expected {sites}")
