"""Batches: augmented crops, what is true of them, and one wording of each prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from wsiparse.errors import TargetError
from wsiparse.models.prompts import find_alike
from wsiparse.ontology import SITE, Ontology, Target
from wsiparse.training.augment import blank_corners, jitter_light, jitter_stain, swap_stains, warp_picture
from wsiparse.training.dataset import Picture, Sample, Supervision, weigh_pictures
from wsiparse.training.disguise import clear_objects, fade_objects
from wsiparse.training.fibres import lay_fibres
from wsiparse.training.settings import TrainingSettings

ABSENT_COLUMNS = 2
"""Prompts a step for things that are not there: one named in the config, one of invented words."""
Tokenize = Callable[[Sequence[str]], Tensor]
"""Prompts as the network that learns reads them, one a row."""


@dataclass(frozen=True)
class Batch:
    """One step's crops; the columns are the targets, then the absent prompts."""

    images: Tensor  # [N, 3, H, W] in 0..1
    truth: Tensor  # [N, K, H, W]
    known: Tensor  # [N, K]
    hidden: Tensor  # [N, 1, H, W], pixels about which nothing is known
    tokens: Tensor  # [K, ...], as the network reads them
    mpp: Tensor  # [N], µm per pixel at which the targets are asked for that a crop says something about
    mirrored: bool = False
    """Whether the crops go on beyond their edges as mirror images, not as empty glass."""


class BatchSource:
    """Draws the batch of any step from the step's number alone: a continued run sees what it would have seen.

    Raises TargetError for a boost of what is not learned, and for prompts that the network cannot read or tell apart.
    """

    def __init__(
        self, pictures: Sequence[Sample], ontology: Ontology, settings: TrainingSettings, tokenize: Tokenize
    ) -> None:
        self._pictures, self._targets, self._settings = pictures, ontology.targets, settings
        self._tokenize = tokenize
        self._supervision = Supervision.of(ontology)
        boost = {ontology.find(name).name: times for name, times in settings.boost.items()}
        self._chances = weigh_pictures(pictures, boost, settings.bare_boost)
        refuse_alike(list_prompts(ontology, settings), tokenize)

    def draw(self, step: int) -> Batch:
        """The batch of a step."""
        settings = self._settings
        random = np.random.default_rng([settings.seed, step])
        chosen = random.choice(len(self._pictures), settings.batch, p=self._chances)
        pictures = [self._pictures[index].read() for index in chosen]
        plain = self._choose_plain(random)
        scales = [(1.0, 1.0) if own else settings.scales for own in plain]
        warped = [warp_picture(one, settings.crop, size, random) for one, size in zip(pictures, scales, strict=True)]
        crops = torch.stack([_spread_masks(*pair, self._supervision) for pair in zip(warped, pictures, strict=True)])
        crops = lay_fibres(crops, self._find_allowed(pictures) & ~plain, random, settings.fibre_share)
        images = torch.where(torch.from_numpy(plain)[:, None, None, None], crops[:, :3], self._recolor(crops, random))
        crops = torch.cat([images, crops[:, 3:]], 1)
        crops = blank_corners(crops, random, settings.glass_share, settings.strand_share)
        tokens = self._tokenize(self._word_prompts(random))
        batch = _label_crops(crops, pictures, self._supervision, tokens)
        return replace(batch, mirrored=bool(random.random() < settings.mirror_share))

    def _choose_plain(self, random: np.random.Generator) -> NDArray[np.bool_]:
        share, count = self._settings.plain_share, self._settings.batch
        return random.random(count) < share if share else np.zeros(count, bool)

    def _find_allowed(self, pictures: Sequence[Picture]) -> NDArray[np.bool_]:
        """Which pictures [N] say nothing about objects that are told apart."""
        instances = [target.instances for target in self._targets]
        return np.array([not (self._supervision.mark_known(picture) & instances).any() for picture in pictures])

    def _recolor(self, crops: Tensor, random: np.random.Generator) -> Tensor:
        """Images [N, 3, H, W] of the crops as other tissue, stain and light would show them."""
        settings, instances = self._settings, self._find_instances(crops)
        images = fade_objects(crops[:, :3], instances, random, settings.fade_share)
        images = clear_objects(images, instances, random, settings.clear_share)
        images = swap_stains(images, random, settings.swap_share)
        return jitter_light(jitter_stain(images, random, settings.stain_strength), random, 1.0)

    def _find_instances(self, crops: Tensor) -> Tensor:
        """Where [N, 1, H, W] a target is outlined whose objects are told apart."""
        columns = [3 + column for column, target in enumerate(self._targets) if target.instances]
        outlined: Tensor = crops[:, columns].sum(1, keepdim=True).clamp(max=1)
        return outlined

    def _word_prompts(self, random: np.random.Generator) -> list[str]:
        settings = self._settings
        prompts = [word_prompt(target, settings.templates, random) for target in self._targets]
        absent = str(random.choice(settings.absent_prompts)) if settings.absent_prompts else invent_word(random)
        template = str(random.choice(settings.templates))
        return [*prompts, template.format(absent), template.format(invent_word(random))]


def draw_ahead(source: BatchSource, steps: range) -> Iterator[tuple[int, Batch]]:
    """Each step with its batch; the next is drawn by another thread while one is learned from."""
    with ThreadPoolExecutor(1) as worker:
        waiting = [worker.submit(source.draw, step) for step in steps[:1]]
        for step in steps:
            batch = waiting.pop().result()
            waiting = [worker.submit(source.draw, later) for later in steps[steps.index(step) + 1 :][:1]]
            yield step, batch


def load_check(samples: Sequence[Sample], ontology: Ontology, settings: TrainingSettings, tokenize: Tokenize) -> Batch:
    """Pictures as they are, cut to one size, with the targets' own prompts: the batch a run is checked on."""
    pictures, supervision = [sample.read() for sample in samples], Supervision.of(ontology)
    crops = torch.stack([_spread_masks(_cut_picture(p, settings.crop), p, supervision) for p in pictures])
    absent = [settings.absent_prompts[0] if settings.absent_prompts else "nothing", "zxqv"]
    tokens = tokenize([*(target.at_site(None).prompt for target in ontology.targets), *absent])
    return _label_crops(crops, pictures, supervision, tokens)


def take_images(batch: Batch, part: slice) -> Batch:
    """Some images of a batch, with all prompts."""
    kept = {name: getattr(batch, name)[part] for name in ("images", "truth", "known", "hidden", "mpp")}
    return replace(batch, **kept)


def list_prompts(ontology: Ontology, settings: TrainingSettings) -> list[tuple[str, str]]:
    """All that may be asked for by name, each after what it asks for: prompts, and names and synonyms in templates."""
    own = [(target.name, told) for target in ontology.targets for told in list_told(target)]
    words = [(target.name, word) for target in ontology.targets for word in (target.name, *target.synonyms)]
    absent = [("absent_prompts", prompt) for prompt in settings.absent_prompts]
    framed = [(name, text.format(word)) for text in settings.templates for name, word in (*words, *absent)]
    return [*own, *absent, *framed]


def refuse_alike(prompts: Sequence[tuple[str, str]], tokenize: Tokenize) -> None:
    """Raise TargetError where two prompts, each after what it asks for, are read alike but ask for different things."""
    tokens = [row.tobytes() for row in tokenize([prompt for _, prompt in prompts]).numpy()]
    if twins := find_alike((owner, row) for (owner, _), row in zip(prompts, tokens, strict=True)):
        (first, earlier), (owner, prompt) = (prompts[place] for place in twins)
        raise TargetError(
            f"the network reads {earlier!r} of {first} and {prompt!r} of {owner} alike; expected words that differ "
            "in letters or digits, not in signs such as + and - or late in a long text; reword one of them"
        )


def list_told(target: Target) -> list[str]:
    """A target's prompt as runs tell it: for each site that it may name, or else as one that names none."""
    sites = target.sites if SITE in target.prompt else ()
    return [target.at_site(site).prompt for site in sites or (None,)]


def word_prompt(target: Target, templates: Sequence[str], random: np.random.Generator) -> str:
    """One way to ask for a target: a prompt of its own, or its name or a synonym within a template."""
    told, words = list_told(target), (target.name, *target.synonyms)
    chosen = int(random.integers(1 + len(words)))
    if chosen:
        return str(random.choice(templates)).format(words[chosen - 1])
    return told[0] if len(told) == 1 else str(random.choice(told))


def invent_word(random: np.random.Generator) -> str:
    """Random letters: a word that means nothing in any slide."""
    return "".join(random.choice(list("abcdefghijklmnopqrstuvwxyz"), int(random.integers(4, 10))))


def _cut_picture(picture: Picture, side: int) -> Tensor:
    top, left = ((size - side) // 2 for size in picture.pixels.shape[:2])
    window = (slice(max(top, 0), max(top, 0) + side), slice(max(left, 0), max(left, 0) + side))
    stack = picture.stack()[:, *window]
    missing = [(0, 0), (0, side - stack.shape[1]), (0, side - stack.shape[2])]
    return torch.from_numpy(np.pad(stack, missing, mode="reflect")).float() / 255


def _spread_masks(crop: Tensor, picture: Picture, supervision: Supervision) -> Tensor:
    """The crop with one mask a target in place of one a layer: [3 + K + 1, H, W]."""
    outlined = torch.from_numpy(supervision.mark_layers(picture.layers)).float()  # [L, K]
    shown = (crop[3:-1] > 0.5) & (crop[-1:] <= 0.5)  # [L, H, W]
    truth = torch.einsum("lhw,lk->khw", shown.float(), outlined).clamp(max=1)
    return torch.cat([crop[:3], truth, crop[-1:]])


def _label_crops(crops: Tensor, pictures: Sequence[Picture], supervision: Supervision, tokens: Tensor) -> Batch:
    known = torch.from_numpy(np.stack([supervision.mark_known(picture) for picture in pictures])).float()
    # Nothing is absent everywhere but the absent prompts: their columns are known and empty in every crop.
    extra = len(tokens) - known.shape[1]
    known = functional.pad(known, (0, extra), value=1.0)
    truth = functional.pad(crops[:, 3:-1], (0, 0, 0, 0, 0, extra))
    mpp = torch.tensor([supervision.find_mpp(picture) for picture in pictures])
    return Batch(crops[:, :3], truth, known, crops[:, -1:] > 0.5, tokens, mpp)
