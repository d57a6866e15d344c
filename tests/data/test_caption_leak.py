"""The measure of what captions alone give away."""

import subprocess
import sys

import numpy as np

from dgsnet.data import caption_leak
from dgsnet.data.caption_leak import LEAK, caption_only_auc


def corpus_of(number=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 2
    return rng, labels, [f"group {index}" for index in range(number)]


def test_captions_that_carry_the_label_are_found_out():
    rng, labels, groups = corpus_of()
    neutral = [" ".join(rng.choice(["cat", "dog", "tree", "car", "sea", "hill"], 3)) for _ in labels]
    leaking = [f"{text} {'render' if label else 'photo'}" for text, label in zip(neutral, labels, strict=True)]
    assert caption_only_auc(leaking, labels, groups) > 0.95 > LEAK
    assert 0.25 < caption_only_auc(neutral, labels, groups) < LEAK
    assert caption_only_auc(["same words"] * 60, labels, groups) == 0.5


def test_the_figure_is_reproducible_and_does_not_depend_on_global_randomness():
    rng, labels, groups = corpus_of()
    texts = [" ".join(rng.choice(["cat", "dog", "tree", "car"], 2)) for _ in labels]
    np.random.seed(0)  # noqa: NPY002
    first = caption_only_auc(texts, labels, groups, seed=1)
    np.random.seed(1)  # noqa: NPY002
    assert caption_only_auc(texts, labels, groups, seed=1) == first


def test_a_caption_shared_within_a_group_is_not_learnt_by_heart():
    """Six images a group with a word of its own: learning the word helps only when the group is torn apart."""
    labels = np.repeat(np.arange(20) % 2, 6)
    texts = [f"word{index // 6}" for index in range(120)]
    apart = caption_only_auc(texts, labels, [f"image {index}" for index in range(120)])
    together = caption_only_auc(texts, labels, [f"group {index // 6}" for index in range(120)])
    assert apart > 0.95
    assert together < 0.6


def test_a_leak_shows_though_photographs_and_fakes_share_captions():
    """Pairs of one caption, the fakes' with a word more in a third of them: learnt pair by pair the captions point the wrong way."""
    rng, pairs = np.random.default_rng(0), 60
    labels, groups = np.tile([0, 1], pairs), [f"image {index}" for index in range(2 * pairs)]
    content = [" ".join(f"word{number}" for number in rng.choice(200, 6, replace=False)) for _ in range(pairs)]
    matched = [text for text in content for _ in range(2)]
    apart = caption_leak._cross_validated_auc(matched, labels, groups, 0)
    assert apart < 0.1
    assert 0.4 < caption_only_auc(matched, labels, groups) < 0.6
    rest = [f"{text} {'render' if label else 'photo'}" for text, label in zip(matched[40:], labels[40:], strict=True)]
    leaking = matched[:40] + rest
    assert caption_only_auc(leaking, labels, groups) > max(LEAK, caption_leak._cross_validated_auc(leaking, labels, groups, 0) + 0.05)


def test_a_caption_of_one_label_still_tells_when_the_other_has_it_once():
    """All in one fold it could not be learnt, so it must not be the only way to look."""
    texts = [f"tree{index}" if index % 2 else "a photo" for index in range(120)]
    texts[1] = "a photo"
    assert caption_only_auc(texts, np.arange(120) % 2, [f"image {index}" for index in range(120)]) > 0.9


def test_a_missing_caption_gives_away_as_much_as_a_word():
    _, labels, groups = corpus_of()
    texts = ["a cat" if label else (None, " ")[index % 4 // 2] for index, label in enumerate(labels)]
    assert caption_only_auc(texts, labels, groups) == 1.0


def test_too_little_to_judge():
    _, labels, groups = corpus_of(60)
    assert caption_only_auc([None] * 60, labels, groups) is None
    assert caption_only_auc(["", " "] * 30, labels, groups) is None
    assert caption_only_auc(["a cat"] * 60, labels, [f"group {index % 2} {index // 16}" for index in range(60)]) is None
    assert caption_only_auc(["a cat"] * 8, labels[:8], groups[:8]) is None


def test_groups_that_share_a_caption_of_both_labels_are_one_named_as_the_first_with_it():
    words = ["cat", "dog", "cat", "dog", "sea", "sea", "hill", "nocaption", "nocaption"]
    labels = np.array([0, 0, 1, 1, 0, 0, 1, 0, 1])
    groups = ["a", "b", "b", "c", "d", "e", "e", "f", "g"]
    assert caption_leak._joined_by_shared_captions(words, labels, groups) == ["a", "a", "a", "a", "d", "e", "e", "f", "g"]
    # The caption that stands first names the set, not the group that does.
    joined = caption_leak._joined_by_shared_captions(["cat", "dog", "dog", "cat"], np.array([0, 0, 1, 1]), ["b", "a", "b", "c"])
    assert joined == ["a", "a", "a", "a"]


def test_the_audit_needs_no_torch():
    script = "import sys, dgsnet.evaluation.audit; print(*{'torch', 'transformers', 'peft'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "\n"
