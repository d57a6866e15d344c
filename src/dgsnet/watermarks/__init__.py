"""Marks that programs hide in the pixels of a picture, as findings. Offline, open marks alone; no score: anybody can write them."""

from dgsnet.watermarks.reader import Reader

__all__ = ["Reader"]
