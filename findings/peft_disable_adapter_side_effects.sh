#!/usr/bin/env bash
# Leaving PEFT's `disable_adapter()` makes a frozen adapter trainable and takes a merged one out of the weights.
#
# Versions: peft 0.21.2, torch 2.13.0, transformers 5.23.0, Python 3.11.
#
# Behaviour: `with model.disable_adapter():` is how one gets the frozen teacher out of a LoRA model. It reads like a context that puts back
# what it found. It does not: on leaving, every LoRA weight has requires_grad=True, also in a model that was frozen as a whole for inference,
# so that an optimiser over `filter(lambda p: p.requires_grad, ...)` begins to train it and every later forward pass builds a graph. And an
# adapter that had been merged into the base weights is unmerged, and stays so: outputs agree to rounding, but are no longer those of the
# merged weights to the bit, and the speed that merging was for is gone.
#
# Output seen:
#   trainable before: 0, after: 2
#   merged before: True, after: False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 2> /dev/null
"$folder/venv/bin/pip" install --quiet peft==0.21.2 transformers==5.23.0 2> /dev/null
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from peft import LoraConfig, get_peft_model
from torch import nn


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query = nn.Linear(4, 4)

    def forward(self, x):
        return self.query(x)


def trainable(model):
    return sum(parameter.requires_grad for parameter in model.parameters())


def merged(model):
    return any(module.merged for module in model.modules() if hasattr(module, "merged"))


model = get_peft_model(Attention(), LoraConfig(r=2, target_modules=["query"], init_lora_weights=False)).eval().requires_grad_(False)
before = trainable(model)
with model.disable_adapter():
    model(torch.ones(1, 4))
after = trainable(model)
print(f"trainable before: {before}, after: {after}")
model.merge_adapter()
was = merged(model)
with model.disable_adapter():
    model(torch.ones(1, 4))
print(f"merged before: {was}, after: {merged(model)}")
assert (before, after, was, merged(model)) == (0, 2, True, False), "the behaviour has changed"
PYTHON
