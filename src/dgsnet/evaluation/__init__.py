"""How good a model is: predictions, metrics and intervals, calibration, comparison."""
