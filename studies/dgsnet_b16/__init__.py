"""The shipped model and the baselines it is compared with."""
