"""A white-box attack on the shipped model."""
