"""From encoded bytes to what a backbone reads: decode, limits, flags of content, augment, perturb, preprocess."""
