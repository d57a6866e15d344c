"""The network and what belongs to it: recipe, backbone, text branch, out-of-distribution, methods."""
