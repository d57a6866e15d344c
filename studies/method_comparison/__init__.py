"""Seven methods on the same images."""
