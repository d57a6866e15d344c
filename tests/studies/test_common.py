"""What the studies share: families of generators, and asking about what was left out."""

from pathlib import Path

import numpy as np
import pytest

from dgsnet.data.dataset import Dataset, Sample
from studies.common import left_out
from studies.common.model_families import family_of
from studies.common.ranking import leave_pairs_out, mean_auroc
from studies.common.training_images import TrainingImages


@pytest.mark.parametrize(
    ("generator", "family"),
    [
        ("Midjourney v6 (June 2024)", "Midjourney"),
        ("SDXL base 1.0 (Cloudflare)", "SDXL"),
        ("Stable Diffusion 3.5 Large", "Stable Diffusion 3"),
        ("Stable Diffusion 1.4/1.5", "Stable Diffusion"),
        ("Nano Banana Pro", "Google"),
        ("Nobody's (Midjourney)", "Nobody's (Midjourney)"),
    ],
)
def test_a_generator_is_of_the_first_family_that_its_name_tells(generator, family):
    assert family_of(generator) == family


def test_a_pair_is_ranked_by_a_probe_that_saw_neither():
    labels, origins = np.array([0, 0, 1, 1]), np.array(["cat", "dog", "gan", "ldm"])
    asked = []

    def score(out):
        asked.append(set(origins[out]))
        return labels[out].astype(float) * (1 if "gan" in origins[out] else -1)

    found = leave_pairs_out(labels, origins, score)
    assert asked == [{"gan", "cat"}, {"gan", "dog"}, {"ldm", "cat"}, {"ldm", "dog"}]
    assert (found["mean"], found["by_generator"]) == (0.5, {"gan": 1.0, "ldm": 0.0})
    assert found["by_source"] == {"cat": 0.5, "dog": 0.5}


def test_mean_auroc_counts_generators_and_not_images():
    labels, generators = np.array([0, 0, 1, 1, 1, 1]), np.array(["", "", "a", "b", "b", "b"])
    assert mean_auroc(labels, np.array([0.4, 0.6, 0.9, 0.1, 0.1, 0.1]), generators) == 0.5


def test_folds_part_no_family_and_never_ask_what_serves_for_training():
    names = [f"Midjourney {version}" for version in range(1, 7)] + [f"model {number}" for number in range(6)] + ["", "", "", ""]
    labels = np.array([1] * 12 + [0] * 4)
    sources = np.array([f"source {number}" for number in range(16)])
    samples = tuple(
        Sample(path=f"{at}.png", label=int(label), generator=names[at], source=sources[at], caption="", split="train", group=str(at))
        for at, label in enumerate(labels)
    )
    dataset, serves = Dataset(Path(), samples, "manifest"), np.arange(16) == 6
    images = TrainingImages(dataset, np.zeros((16, 2)), labels, sources, np.zeros(16, bool), serves)
    fold = left_out.folds(images)
    assert len(set(fold[:6])) == 1
    assert fold[6] == -1
    assert set(fold[7:]) <= set(range(left_out.FOLDS))
