"""Forgetting: how much of the frozen CLIP survives in trained models."""
