"""Gradient surgery in anybody's training loop: only torch and `dgsnet.surgery`.

The problem. Every picture carries two cues of its label: strong *semantics* (what it shows) and a weaker *trace* (how it was made). In
training both agree with the label, so fine-tuning amplifies what is stronger; at test the semantics say the opposite. Captions know only
semantics, so the gradient of a caption classifier points along the shortcut, and surgery takes that direction out of the image gradient.

What it shows. With linear heads the positive part of the text gradient covers one of the two classes at each feature, so surgery about
halves how fast the shortcut grows, and leaves the trace alone: enough here to turn the verdict. The pull of a frozen teacher that knows the
trace does the rest. The data is made to exercise the mechanism; it is no evidence about photographs. Surgery edits what flows into the
tower, never what a head learns: the image head is therefore held fixed here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from dgsnet.surgery import linear_head_gradient, operate

DIM = 32  # width of the space that images and captions share, as in CLIP: a gradient of one is a direction for the other


def concepts() -> tuple[Tensor, Tensor]:
    """Two directions of the feature space, (DIM,) each: semantics in its first half, traces in its second."""
    signs = torch.randn(DIM, generator=torch.Generator().manual_seed(7)).sign() / 4
    first_half = torch.arange(DIM) < DIM // 2
    return signs * first_half, signs * ~first_half


def sample(n: int, seed: int, flipped: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Image features of a frozen tower (n, DIM), caption features (n, DIM), labels (n,)."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (n,), generator=random).float()
    sign = 2 * labels - 1
    semantics = (-sign if flipped else sign) + 0.3 * torch.randn(n, generator=random)
    trace = 0.8 * sign + 0.3 * torch.randn(n, generator=random)
    shown, made = concepts()
    return torch.outer(semantics, shown) + torch.outer(trace, made), torch.outer(semantics, shown), labels


def train(surgery: bool, alignment: float = 0.0, steps: int = 200) -> float:
    """Fine-tune with or without surgery; return the accuracy at test."""
    shown, made = concepts()
    amplify = nn.Parameter(torch.full((DIM,), 0.1))  # the tower's trainable part: it decides which of its features grow
    image_head = shown + made  # reads both cues
    teacher_head = made  # a frozen prior that has found the trace
    text_head = nn.Linear(DIM, 1)
    nn.init.zeros_(text_head.weight)
    optimizer = torch.optim.SGD([amplify, *text_head.parameters()], lr=0.5)

    for step in range(steps):
        frozen, captions, labels = sample(64, seed=1000 + step)
        features = frozen * amplify
        text_logits = text_head(captions).squeeze(1)
        if surgery:
            features = operate(
                features,  # values stay; only the gradient on its way back is edited:
                text_gradient=linear_head_gradient(text_logits, labels, text_head.weight[0]),  # not along what captions can tell,
                image_gradient=linear_head_gradient(frozen @ teacher_head, labels, teacher_head),  # but where the teacher improves
                alignment=alignment,
            )
        loss = bce(features @ image_head, labels) + bce(text_logits, labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    frozen, _, labels = sample(4000, seed=1, flipped=True)
    return float((((frozen * amplify) @ image_head > 0) == labels.bool()).float().mean())


def main() -> None:
    """Print the accuracy on the test set, where semantics contradict the label."""
    torch.set_num_threads(1)  # tensors this small gain nothing from a second thread
    print(f"without surgery         {train(surgery=False):.3f}")
    print(f"surgery                 {train(surgery=True):.3f}")
    print(f"surgery and alignment   {train(surgery=True, alignment=1.0):.3f}")


if __name__ == "__main__":
    main()
