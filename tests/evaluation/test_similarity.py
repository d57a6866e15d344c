"""Measures of likeness against closed forms, brute force and what they must not see: rotation and scale."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from dgsnet.evaluation.diagnose.jackknife import jackknife, mean_leaving_one_out
from dgsnet.evaluation.diagnose.similarity import (
    biased_cka,
    cosine,
    effective_rank,
    knn_overlap,
    linear_cka,
    neighbours,
    procrustes,
    singular_values,
)


def gaussian(n=60, d=8, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def rotated(x, seed=0):
    return x @ ortho_group.rvs(x.shape[1], random_state=seed)


@pytest.mark.parametrize("same", [lambda x: x, rotated, lambda x: -3.7 * x, lambda x: 0.2 * rotated(x) + 5])
def test_identity_rotation_scale_and_shift_lose_nothing(same):
    x = gaussian()
    assert linear_cka(x, same(x)).value == pytest.approx(1, abs=1e-12)
    assert biased_cka(x, same(x)) == pytest.approx(1, abs=1e-12)
    assert procrustes(x, same(x)).value == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(linear_cka(x, same(x)).leave_one_out, 1, atol=1e-10)
    np.testing.assert_allclose(procrustes(x, same(x)).leave_one_out, 0, atol=1e-10)


def test_a_stretch_along_one_axis_is_seen():
    x = gaussian()
    stretched = x * np.array([9.0] + 7 * [1.0])
    assert linear_cka(x, stretched).value < 0.7
    assert procrustes(x, stretched).value > 0.2


def test_independent_features_have_nothing_in_common_and_only_the_debiased_cka_says_so():
    pairs = [(gaussian(80, 400, seed), gaussian(80, 400, seed + 100)) for seed in range(20)]
    debiased = np.array([linear_cka(x, y).value for x, y in pairs])
    assert abs(debiased.mean()) < 3 * debiased.std() / np.sqrt(len(pairs))
    assert abs(debiased).max() < 0.1
    assert min(biased_cka(x, y) for x, y in pairs) > 0.8
    assert procrustes(gaussian(5000, 4, 1), gaussian(5000, 4, 2)).value > 0.95


def test_cka_is_the_formula_of_the_paper_summed_term_by_term():
    x, y = gaussian(7, 3, 1), gaussian(7, 5, 2) + gaussian(7, 3, 1)[:, :1]

    def hsic(a, b):
        # Song et al. 2012, eq. 4: the mean over tuples of distinct images
        k, l, n = a @ a.T, b @ b.T, len(a)  # noqa: E741
        distinct = [(i, j, q, r) for i in range(n) for j in range(n) for q in range(n) for r in range(n) if len({i, j, q, r}) == 4]
        return np.mean([k[i, j] * l[i, j] + k[i, j] * l[q, r] - 2 * k[i, j] * l[i, q] for i, j, q, r in distinct])

    assert linear_cka(x, y).value == pytest.approx(hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y)), rel=1e-10)


def test_biased_cka_is_the_formula_of_the_paper():
    x, y = gaussian(30, 4, 1), gaussian(30, 6, 2)
    a, b = x - x.mean(0), y - y.mean(0)
    expected = np.linalg.norm(b.T @ a) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    assert biased_cka(x, y) == pytest.approx(expected)


def test_figures_without_each_image_are_those_of_the_other_images():
    x = gaussian(25, 4)
    y = x + 0.7 * gaussian(25, 4, 1)
    found = linear_cka(x, y).leave_one_out
    brute = [linear_cka(np.delete(x, i, 0), np.delete(y, i, 0)).value for i in range(25)]
    np.testing.assert_allclose(found, brute, rtol=1e-9)


def test_procrustes_without_each_image_holds_the_rotation_and_still_gives_the_interval():
    x = gaussian(200, 6)
    y = rotated(x) + 0.5 * gaussian(200, 6, 1)
    whole = procrustes(x, y)
    brute = np.array([procrustes(np.delete(x, i, 0), np.delete(y, i, 0)).value for i in range(200)])
    held, exact = jackknife(whole.value, whole.leave_one_out), jackknife(whole.value, brute)
    assert held.high - held.low == pytest.approx(exact.high - exact.low, rel=0.05)


def test_procrustes_is_half_of_what_the_best_rotation_leaves():
    x, y = gaussian(40, 5, 1), gaussian(40, 5, 2)
    a, b = (one - one.mean(0) for one in (x, y))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    rotation, _ = orthogonal_procrustes(b, a)
    assert procrustes(x, y).value == pytest.approx(np.linalg.norm(a - b @ rotation) ** 2 / 2)


def test_orthogonal_subspaces_of_the_images_are_at_distance_one():
    patterns = np.linalg.qr(np.column_stack([np.ones(20), gaussian(20, 6)]))[0][:, 1:]  # centred and orthonormal over images
    x, y = patterns[:, :3], patterns[:, 3:]
    assert procrustes(x, y).value == pytest.approx(1)
    assert biased_cka(x, y) == pytest.approx(0, abs=1e-12)


def test_neighbours_are_those_of_a_loop():
    x = gaussian(30, 4)
    for image, found in enumerate(neighbours(x, 5)):
        likeness = {j: x[image] @ x[j] / np.linalg.norm(x[image]) / np.linalg.norm(x[j]) for j in range(30) if j != image}
        assert list(found) == sorted(likeness, key=likeness.__getitem__, reverse=True)[:5]


def test_knn_overlap_is_the_mean_share_and_chance_for_independent_features():
    x, y = gaussian(30, 4, 1), gaussian(30, 4, 2)
    expected = [len(set(a) & set(b)) / 5 for a, b in zip(neighbours(x, 5), neighbours(y, 5), strict=True)]
    np.testing.assert_allclose(knn_overlap(x, y, 5), expected)
    assert knn_overlap(x, 2 * rotated(x), 5).mean() == 1
    assert knn_overlap(gaussian(400, 4, 1), gaussian(400, 4, 2), 10).mean() == pytest.approx(10 / 399, abs=0.01)


@pytest.mark.parametrize("k", [0, 30])
def test_too_many_or_no_neighbours_are_refused(k):
    with pytest.raises(ValueError, match="expected k from 1 to 29"):
        neighbours(gaussian(30), k)


def test_effective_rank_counts_equal_directions_and_hardly_the_faint_ones():
    assert effective_rank(np.ones(7)) == pytest.approx(7)
    assert effective_rank(np.array([3.0, 0, 0])) == pytest.approx(1)
    assert effective_rank(np.zeros(3)) == 0
    assert effective_rank(np.array([1, 1, 1e-9])) == pytest.approx(2, abs=1e-6)
    x = gaussian(500, 3) @ gaussian(3, 40, 1)
    assert 1 < effective_rank(singular_values(x)) <= 3 + 1e-6
    assert effective_rank(singular_values(x + 100)) == pytest.approx(effective_rank(singular_values(x)), rel=1e-6)
    orthonormal = np.linalg.qr(np.column_stack([np.ones(50), gaussian(50, 6)]))[0][:, 1:]
    assert effective_rank(singular_values(orthonormal)) == pytest.approx(6)


def test_cosine_of_rows():
    np.testing.assert_allclose(cosine(np.array([[1.0, 0], [2, 2], [0, 0]]), np.array([[0.0, 1], [1, 1], [1, 1]])), [0, 1, 0])


def test_collapsed_features_have_no_figure():
    x, collapsed = gaussian(), np.ones((60, 8))
    assert np.isnan(linear_cka(x, collapsed).value)
    assert np.isnan(procrustes(x, collapsed).value)
    found = linear_cka(x, collapsed)
    assert jackknife(found.value, found.leave_one_out).value is None


def test_other_images_are_refused():
    for measure in (linear_cka, biased_cka, procrustes, knn_overlap):
        with pytest.raises(ValueError, match="the same"):
            measure(gaussian(20), gaussian(21))
    with pytest.raises(ValueError, match="5 or more"):
        linear_cka(gaussian(4), gaussian(4))


def test_jackknife_of_a_mean_is_the_usual_interval():
    values = gaussian(40, 1).ravel()
    mean, without = mean_leaving_one_out(values, np.zeros(40, np.intp))
    np.testing.assert_allclose(without, [np.delete(values, i).mean() for i in range(40)])
    found = jackknife(mean, without)
    assert found.high - found.value == pytest.approx(1.959964 * values.std(ddof=1) / np.sqrt(40), rel=1e-5)


def test_strata_count_equally():
    values, strata = np.array([1.0, 0, 1, 1, 0, 0, 0]), np.array([0, 0, 1, 1, 1, 1, 1])
    mean, without = mean_leaving_one_out(values, strata)
    assert mean == pytest.approx((1 / 2 + 2 / 5) / 2)
    brute = [np.mean([np.delete(values, i)[np.delete(strata, i) == s].mean() for s in (0, 1)]) for i in range(7)]
    np.testing.assert_allclose(without, brute)


def test_cka_interval_covers_the_figure_of_many_images():
    covered = 0
    mix = np.diag([3.0, 2, 1, 1])
    large = gaussian(1500, 4, 99)
    noise = gaussian(1500, 4, 98)
    truth = linear_cka(large @ mix, large @ mix + noise).value
    for seed in range(30):
        x = gaussian(80, 4, seed)
        found = linear_cka(x @ mix, x @ mix + gaussian(80, 4, seed + 1000))
        estimate = jackknife(found.value, found.leave_one_out)
        covered += estimate.low <= truth <= estimate.high
    assert covered >= 25


def test_intervals_end_where_the_figure_does():
    value, without = 0.99, np.linspace(0.9, 1.0, 30)
    free, held = jackknife(value, without), jackknife(value, without, least=0.9, most=1)
    assert free.low < 0.9
    assert free.high > 1
    assert (held.low, held.high) == (0.9, 1)
