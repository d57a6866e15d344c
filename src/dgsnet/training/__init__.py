"""Training: views of images, batches, checkpoints, the log and the loop. Knows a `Method` and nothing else about it."""

from dgsnet.training.loop import train

__all__ = ["train"]
