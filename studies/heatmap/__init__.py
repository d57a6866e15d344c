"""The deletion test of heatmaps."""
