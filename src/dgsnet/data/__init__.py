"""Labelled images on disk: layouts, data sets, duplicates, alignment."""
