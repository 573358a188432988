"""How well the text encoder of a model tells paraphrases of its targets from other words.

    python -m benchmarks.free_text [MODEL]

Prints, for several thresholds, the share of paraphrases taken for the right target, taken for a wrong one, and of
unrelated words taken for any; and the AUROC of the score. Neither list holds a name, synonym or prompt of a target.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from wsiparse.models.load import DEFAULT_MODEL, ModelSpec, load_model
from wsiparse.models.model import TextModel
from wsiparse.ontology import Ontology
from wsiparse.runs.targets import Match, Similarity, rank_targets

PARAPHRASES = {
    "glandular structure": "gland lumen;glandular structures;glandular tissue;intestinal glands;colonic crypts;"
    "colonic glands;mucosal glands;crypt of Lieberkühn;glandular tubule;all glands",
    "normal gland": "normal glands;healthy glands;benign normal gland;normal glandular tissue;unremarkable gland;"
    "normal colonic mucosa;healthy mucosa",
    "polyp": "polyps;colonic polyp;hyperplastic polyp;polypoid lesion;colon polyps",
    "low-grade intraepithelial neoplasia": "low grade dysplastic gland;low grade adenoma;mild dysplasia;"
    "low-grade intraepithelial lesion",
    "high-grade intraepithelial neoplasia": "high grade dysplastic gland;high grade adenoma;severe dysplasia;"
    "high-grade intraepithelial lesion",
    "serrated adenoma": "serrated polyp;serrated adenomas;traditional serrated adenoma;sessile serrated lesion;"
    "serrated crypts",
    "colorectal adenocarcinoma": "adenocarcinomas;carcinoma of the colon;malignant glands;cancer glands;rectal cancer;"
    "colorectal carcinoma;invasive adenocarcinoma;bowel cancer",
    "nuclei": "nuclear outlines;nucleus of each cell;every nucleus;cellular nuclei;cell nuclear segmentation;"
    "nuclear bodies;hematoxylin stained nuclei",
}
UNRELATED = (
    "bone;cartilage;neuron;liver;lung alveoli;glomerulus;hair;thyroid follicle;melanoma;granuloma;dog;car;hello world;"
    "banana;weather;stroma;fibrosis;necrosis;lymphocytes;blood vessel;artery;muscle;fat;adipose tissue;nerve;mitosis;"
    "bacteria;keratin pearl;skin;kidney tubule;mucus;goblet cells;edema;ink;background;tissue fold;air bubble;breast;"
    "spleen;heart valve;left ventricle;optic disc;COVID-19 infection;lymph node;plasma cells;red blood cells;"
    "macrophage;stromal cells;connective tissue;epidermis"
)
THRESHOLDS = (0.8, 0.9, 0.95, 0.97, 0.98, 0.99)


def main(arguments: Sequence[str]) -> None:
    """Measure the model that is named, or the shipped one."""
    model = load_model(ModelSpec(arguments[0] if arguments else DEFAULT_MODEL, "cpu"))
    assert isinstance(model, TextModel)
    ontology, similarity = Ontology(model.targets), Similarity(0, model.embed_texts)
    asked = [(name, text) for name, texts in PARAPHRASES.items() for text in texts.split(";")]
    found = [(name, rank_targets(ontology, text, similarity)[0]) for name, text in asked]
    others = [rank_targets(ontology, text, similarity)[0] for text in UNRELATED.split(";")]
    assert not any(ontology.look_up(match.text) for match in [*others, *(match for _, match in found)])
    show_shares(found, others)


def show_shares(found: Sequence[tuple[str, Match]], others: Sequence[Match]) -> None:
    """Print the shares at each threshold, and the AUROC."""
    near, far = np.array([match.score for _, match in found]), np.array([match.score for match in others])
    right = np.array([match.target.name == name for name, match in found])
    wins = (near[:, None] > far).mean() + (near[:, None] == far).mean() / 2
    print(f"{len(near)} paraphrases, {right.mean():.0%} nearest to the right target; {len(far)} unrelated words")
    print(f"AUROC of the score {wins:.3f}")
    print("threshold  right  wrong  unrelated taken")
    for threshold in THRESHOLDS:
        shares = ((near >= threshold) & right).mean(), ((near >= threshold) & ~right).mean(), (far >= threshold).mean()
        print(f"{threshold:9.2f}  {shares[0]:5.0%}  {shares[1]:5.0%}  {shares[2]:15.0%}")


if __name__ == "__main__":
    main(sys.argv[1:])
