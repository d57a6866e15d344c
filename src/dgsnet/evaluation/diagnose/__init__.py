"""Forgetting: how much of the frozen CLIP survives fine-tuning, from both towers on the same views of the same images."""
