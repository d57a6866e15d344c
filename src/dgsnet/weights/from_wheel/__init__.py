"""Backbones out of wheels of the package index. Apart, so that it can be deleted when it is not needed any more."""
