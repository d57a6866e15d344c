"""The images that most studies train and test on: a manifest, and a script that rebuilds them."""
