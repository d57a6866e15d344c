"""The attack stays within its bounds, finds what a gradient can find, and its gradient is the true one."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dgsnet.evaluation import attack
from dgsnet.evaluation.attack import auto_pgd
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference.detector import Detector
from tests.conftest import textured


@pytest.fixture(scope="module")
def pixels():
    return textured(np.random.default_rng(3), fake=True)


def with_view(detector, view):
    config = detector.config.model_copy(update={"preprocessing": Preprocessing(view=view)})
    return Detector(detector.method, config, detector.name, detector.fingerprint)


@pytest.mark.parametrize("view", ["patches", "crop", "resize"])
@pytest.mark.parametrize("label", [0, 1])
def test_the_logit_moves_away_from_the_label_and_further_than_by_chance(detector, pixels, view, label):
    attacked = with_view(detector, view)
    clean = attacked.detect(pixels).logit
    found = auto_pgd(attacked, pixels, label, epsilon=2, steps=5)
    assert found.pixels.dtype == np.uint8
    assert np.abs(found.pixels.astype(int) - pixels).max() <= 2
    assert found.logits[0] == pytest.approx(clean, abs=1e-4)
    away = 1 if label == 0 else -1
    assert (np.diff(away * found.logits) >= 0).all()
    noise = np.random.default_rng(0).choice([-2, 2], size=pixels.shape)
    chance = attacked.detect(np.clip(pixels + noise, 0, 255).astype(np.uint8)).logit
    pushed = attacked.detect(found.pixels).logit
    assert away * (pushed - clean) > 0
    assert away * (pushed - clean) > 3 * abs(chance - clean)


def test_it_is_deterministic_and_leaves_the_picture_alone(detector, pixels):
    before = pixels.copy()
    first, second = (auto_pgd(detector, pixels, 1, 2, 3).pixels for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(pixels, before)
    assert np.array_equal(auto_pgd(detector, pixels, 1, 0, 2).pixels, pixels)


@pytest.mark.parametrize("view", ["crop", "patches"])
def test_the_gradient_is_that_of_finite_differences(detector, pixels, view):
    """Nothing is resampled, and steps below half a grey level leave the choice of patches as it is, so straight through is exact."""
    attacked, point = with_view(detector, view), pixels.astype(np.float64)
    _, gradient = attack._gain(attacked, point, 1.0)
    assert gradient.any()
    if view == "crop":
        assert (gradient[:16] == 0).all()  # rows the centre crop does not show
    direction = np.sign(gradient) * np.random.default_rng(0).integers(0, 2, pixels.shape)
    step = 0.25
    up, down = (attack._gain(attacked, point + sign * step * direction, 1.0)[0] for sign in (1, -1))
    assert (up - down) / (2 * step) == pytest.approx((gradient * direction).sum(), rel=0.05)


def test_the_gradient_of_a_large_picture_is_that_of_the_mean_over_its_views(detector):
    config = detector.config.model_copy(update={"preprocessing": Preprocessing(view="crop", multi_crop=True)})
    attacked = Detector(detector.method, config, detector.name, detector.fingerprint)
    large = textured(np.random.default_rng(5), True, 520)
    point = large.astype(np.float64)
    logit, gradient = attack._gain(attacked, point, 1.0)
    assert logit == pytest.approx(attacked.detect(large).logit, abs=1e-4)
    assert gradient[30, 30].any()  # the centre does not show it
    assert gradient[260, 260].any()  # nor any quadrant this
    direction = np.sign(gradient) * np.random.default_rng(0).integers(0, 2, point.shape)
    up, down = (attack._gain(attacked, point + step * direction, 1.0)[0] for step in (0.25, -0.25))
    assert (up - down) / 0.5 == pytest.approx((gradient * direction).sum(), rel=0.05)


class _Hill(torch.nn.Module):
    """A detector whose logit is highest at one picture: minus the squared distance to it, in grey levels."""

    def __init__(self, summit, look):
        super().__init__()
        self.backbone = SimpleNamespace(device=torch.device("cpu"))
        self.summit = torch.from_numpy(look(summit))
        self.to_grey = 255 * torch.tensor(look.std)[:, None, None]

    def predict(self, pixels):
        return -(((pixels - self.summit) * self.to_grey) ** 2).mean(dim=(1, 2, 3))


def test_steps_grow_smaller_where_the_logit_no_longer_moves():
    """Steps of one size go past a summit inside the ball and back for ever."""
    look, rng = Preprocessing(view="crop"), np.random.default_rng(0)
    pixels = rng.integers(60, 200, (224, 224, 3)).astype(np.uint8)
    summit = (pixels + rng.integers(-3, 4, pixels.shape)).astype(np.uint8)
    hill = SimpleNamespace(method=_Hill(summit, look), config=SimpleNamespace(preprocessing=look))
    found = auto_pgd(hill, pixels, 0, epsilon=8, steps=60)
    assert found.logits[0] == pytest.approx(-4, abs=0.1)  # the mean square of -3..3
    assert found.logits[-1] > -0.1


def test_wrong_arguments_are_named(detector, pixels):
    for label, epsilon, steps in ((2, 1, 1), (0, -1, 1), (0, 1, 0)):
        with pytest.raises(ValueError, match="expected label"):
            auto_pgd(detector, pixels, label, epsilon, steps)
