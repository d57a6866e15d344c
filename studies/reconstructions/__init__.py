"""Content-aligned pairs: photographs and their reconstructions as training images."""
