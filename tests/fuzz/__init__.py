"""Fuzzing by hand: scripts that pytest does not collect, and their last results."""
