"""Retention: how much a linear probe still reads off the features of what CLIP knew before it was fine-tuned.

A task is a question that is not "photograph or generated?": where a photograph comes from, which generator made an image, what its caption
says, the class of an image of the user's own. The same cross-validated ridge probe answers it from frozen and from tuned embeddings; the
retention of a task is the score on the tuned ones over that on the frozen ones.

Ridge and not logistic regression, since its penalty is chosen anew for each representation in closed form: neither is at a disadvantage
because its features are longer or more correlated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dgsnet.data.dataset import Dataset, Sample
from dgsnet.evaluation.diagnose.jackknife import Floats, jackknife, mean_leaving_one_out

FOLDS = 5
_PENALTIES = np.logspace(-1, 6, 15)  # on standardised features; the usual choice lies between 10 and 10^4
_SEED = 0

Probe = Callable[[Floats], Floats]
"""Features (n, D) -> (n,), the score of each image, 0..1, from a probe that did not see it."""


@dataclass(frozen=True)
class Task:
    """A question with a probe.

    `members` (n,) are rows of the features, `strata` (n,) the classes that count equally in the score, `chance` the score of guessing.
    """

    name: str
    measure: str
    members: NDArray[np.intp]
    strata: NDArray[np.intp]
    chance: float
    classes: int
    probe: Probe


@dataclass(frozen=True)
class Answer:
    """A task's scores, 0..1, by its probe: on frozen and on tuned features, and (n,) both without each image."""

    task: Task
    frozen: float
    tuned: float
    frozen_leave_one_out: Floats
    tuned_leave_one_out: Floats

    @property
    def ratio(self) -> float:
        """Return tuned / frozen; NaN where the frozen score is 0."""
        return self.tuned / self.frozen if self.frozen > 0 else float("nan")

    @property
    def ratio_leave_one_out(self) -> Floats:
        """Return (n,), the ratio without each image."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.frozen_leave_one_out > 0, self.tuned_leave_one_out / self.frozen_leave_one_out, np.nan)

    @property
    def answered(self) -> bool:
        """Return whether the frozen features answer the task: their score is above chance by more than its 95 % interval."""
        low = jackknife(self.frozen, self.frozen_leave_one_out).low
        return low is not None and low > self.task.chance

    @property
    def above_chance(self) -> float:
        """Return (tuned - chance) / (frozen - chance): 0 when nothing is left; NaN where the frozen features do not answer the task."""
        return (self.tuned - self.task.chance) / (self.frozen - self.task.chance) if self.answered else float("nan")


def answer(task: Task, frozen: Floats, tuned: Floats) -> Answer:
    """Probe the rows of `task.members` of two (N, D) feature matrices."""
    (old, old_leave_one_out), (new, new_leave_one_out) = (
        mean_leaving_one_out(task.probe(features[task.members]), task.strata) for features in (frozen, tuned)
    )
    return Answer(task, old, new, old_leave_one_out, new_leave_one_out)


def mean_ratio(answers: Sequence[tuple[Answer, int]], total: int) -> tuple[float, Floats]:
    """Return the mean of the ratios of several tasks, and (total,) the same without each image, which leaves all tasks it is in.

    Args:
        answers: with where the rows of each task's features begin among all images.
        total: number of images.
    """
    if not answers:
        return float("nan"), np.full(total, np.nan)
    left_out = np.zeros((len(answers), total))
    for row, (one, begin) in enumerate(answers):
        left_out[row] = one.ratio
        left_out[row, begin + one.task.members] = one.ratio_leave_one_out
    return float(np.mean([one.ratio for one, _ in answers])), left_out.mean(axis=0)


def tasks_of(samples: Sequence[Sample]) -> tuple[list[Task], dict[str, str]]:
    """Return the tasks that labelled images pose: `source` of photographs, `generator`, `caption`; and why others are left out, by name."""
    labels = np.array([sample.label for sample in samples])
    groups = np.array([sample.group for sample in samples])
    captions = [(sample.caption or "").strip() for sample in samples]
    made = {
        "source": classification("source", np.flatnonzero(labels == 0), np.array([sample.source for sample in samples]), groups),
        "generator": classification("generator", np.flatnonzero(labels == 1), np.array([sample.generator for sample in samples]), groups),
        "caption": retrieval("caption", captions, labels, groups),
    }
    return [task for task in made.values() if isinstance(task, Task)], {name: why for name, why in made.items() if isinstance(why, str)}


def folder_task(name: str, dataset: Dataset, kept: Sequence[int]) -> Task | str:
    """Return the task of telling a folder's subfolders apart, over the images at the places `kept`; or why it cannot be posed."""
    classes = np.array([class_of(dataset.samples[place]) for place in kept])
    return classification(name, np.arange(len(kept)), classes, np.array([dataset.samples[place].group for place in kept]))


def class_of(sample: Sample) -> str:
    """Return the first folder of an image's path; empty for an image that lies in none."""
    folder, found, _ = sample.path.partition("/")
    return folder if found else ""


def classification(name: str, members: NDArray[np.intp], classes: NDArray[np.str_], groups: NDArray[np.str_]) -> Task | str:
    """Return the task of naming the class of an image, by balanced accuracy; or why the task cannot be posed.

    Args:
        name: of the task.
        members: rows that take part; those of a class with fewer than `FOLDS` groups do not.
        classes: (N,) names.
        groups: (N,) names; a group never parts between training and test.
    """
    known = [one for one in np.unique(classes[members]) if one and len(set(groups[members][classes[members] == one])) >= FOLDS]
    if len(known) < 2:
        return f"expected two or more classes with {FOLDS} or more images each, but there are {len(known)}"
    members = members[np.isin(classes[members], known)]
    strata = np.searchsorted(known, classes[members]).astype(np.intp)

    def probe(features: Floats) -> Floats:
        model = make_pipeline(StandardScaler(), RidgeClassifierCV(_PENALTIES, class_weight="balanced"))
        correct = np.zeros(len(members))
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=_SEED)
        for train, test in folds.split(features, strata, groups[members]):
            correct[test] = model.fit(features[train], strata[train]).predict(features[test]) == strata[test]
        return correct

    return Task(name, "balanced accuracy", members, strata, 1 / len(known), len(known), probe)


def retrieval(name: str, captions: Sequence[str], labels: NDArray[Any], groups: NDArray[np.str_]) -> Task | str:
    """Return the task of finding the image of a caption, by the share of other images that fit it less well; or why it cannot be posed.

    A ridge regression maps features to the caption's TF-IDF vector. Of each fold's images with one label, each is ranked against those with
    another caption by the product of what is predicted and its own caption. So telling photographs from generated images earns nothing
    here, nor does knowing which captions are common, and features that say nothing score 0.5 on the dot.

    Args:
        name: of the task.
        captions: N; an image with an empty one takes no part.
        labels: (N,) 0 or 1.
        groups: (N,) names; a group never parts between training and test.
    """
    texts = np.array(captions)
    usable = [label for label in (0, 1) if len(np.unique(texts[(labels == label) & (texts != "")])) > 1]
    members = np.flatnonzero(np.isin(labels, usable) & (texts != ""))
    if len(set(groups[members])) < 2 * FOLDS:
        return f"expected captions of {2 * FOLDS} or more images, not all the same, but there are {len(members)}"
    own, label = texts[members], labels[members]
    words = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=300, stop_words="english")
    try:
        targets = words.fit_transform(own).toarray()
    except ValueError:  # scikit-learn's word for an empty vocabulary
        return "the captions share no words"

    def probe(features: Floats) -> Floats:
        model = make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))
        ranks = np.zeros(len(members))
        for train, test in GroupKFold(FOLDS).split(features, groups=groups[members]):
            predicted = model.fit(features[train], targets[train]).predict(features[test]).reshape(len(test), -1)
            for one in usable:
                mine = label[test] == one
                ranks[test[mine]] = _ranks(predicted[mine] @ targets[test[mine]].T, own[test[mine]])
        return ranks

    return Task(name, "rank of the own image", members, np.zeros(len(members), np.intp), 0.5, len(np.unique(own)), probe)


def _ranks(fit: Floats, texts: NDArray[np.str_]) -> Floats:
    """Return for fits (n, n), image by caption, the share of images with another caption below the own one, ties counting half: (n,)."""
    gap, others = np.diag(fit) - fit, texts[:, None] != texts
    beaten = np.where(np.abs(gap) <= 1e-9 * np.abs(fit).max(initial=0), 0.5, gap > 0)  # equal but for rounding is equal
    with np.errstate(invalid="ignore"):
        ranks = (beaten * others).sum(axis=0) / others.sum(axis=0)
    return np.where(others.any(axis=0), ranks, 0.5)
