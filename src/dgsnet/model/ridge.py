"""The linear probe in closed form: ridge regression to the label, both classes weighing the same, and a logit from left-out predictions."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

Floats = NDArray[np.float64]


@torch.no_grad()
def fit_head(head: nn.Linear, features: Floats, labels: NDArray[np.int64], penalty: float) -> None:
    """Set a head (D,) -> 1 to the `ridge_probe` of features (N, D) and labels (N,)."""
    weight, bias = ridge_probe(features, labels, penalty)
    head.weight.copy_(torch.from_numpy(weight))
    head.bias.fill_(bias)


def ridge_probe(features: Floats, labels: NDArray[np.int64], penalty: float) -> tuple[Floats, float]:
    """Find weight (D,) and bias of a logit that is linear in features (N, D).

    Minimises sum_i w_i (y_i - a - c_i.v)^2 + penalty |v|^2 with weights w_i = 1 / (2 n_label) and features c_i centred by them, so
    `penalty` is in units of the features' variance. Then the logit is s (a + c.v) + t with s and t from the logistic regression of the
    labels on the *leave-one-out* predictions, which ridge gives in closed form: (p_i - h_i y_i) / (1 - h_i), h the diagonal of the hat
    matrix (Allen's PRESS). On its own training data a probe of so many dimensions separates the classes, and any slope would do.

    Raises:
        ValueError: a class is missing, or a feature is not finite.
    """
    y = labels.astype(np.float64)
    counts = np.array([(labels == 0).sum(), (labels == 1).sum()])
    if counts.min() == 0 or not np.isfinite(features).all():
        raise ValueError(f"expected finite features of both classes, but got {counts[0]} photographs and {counts[1]} generated images")
    weights = 0.5 / counts[labels]
    mean, middle = weights @ features, weights @ y
    centred = features - mean
    gram = centred.T @ (centred * weights[:, None]) + penalty * np.eye(features.shape[1])
    slope = np.linalg.solve(gram, centred.T @ (weights * (y - middle)))
    predicted = middle + centred @ slope
    leverage = weights * (1 + np.einsum("ij,ij->i", centred, np.linalg.solve(gram, centred.T).T))
    left_out = (predicted - leverage * y) / (1 - leverage)
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000)
    fitted.fit(left_out[:, None], labels, sample_weight=weights * len(labels))
    scale, shift = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return np.asarray(scale * slope, np.float64), float(scale * (middle - mean @ slope) + shift)
