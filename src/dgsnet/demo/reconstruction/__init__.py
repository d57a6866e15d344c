"""Content-aligned pairs: a photograph and its reconstruction by a small decoder, so that only the decoder's trace tells them apart."""
