"""Detectors under 45 perturbations, side by side."""
