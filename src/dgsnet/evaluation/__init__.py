"""Evaluation of a model: predictions, metrics and intervals, calibration, comparison."""
