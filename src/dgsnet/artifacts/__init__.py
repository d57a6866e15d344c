"""A model on disk: model folders, exported folders and shipped models, all opened by `open_model.open_model`.

This file imports nothing, so that the command line can name the shipped model without numpy.
"""
