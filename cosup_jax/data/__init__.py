"""Datasets: the feature schema, preprocessing and the input pipeline."""
