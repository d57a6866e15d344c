"""Marks that programs hide in the pixels of a picture, as findings. Offline, and of open marks alone; no score, as anybody can write them."""

from dgsnet.watermarks.reader import Reader

__all__ = ["Reader"]
