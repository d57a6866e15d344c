"""Fine-tuning of the last blocks against a head on the frozen CLIP."""
