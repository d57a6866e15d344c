"""Training: views of images, batches, checkpoints, the log and the loop. Knows the `Method` interface, and no method by name."""

from dgsnet.training.loop import train

__all__ = ["train"]
