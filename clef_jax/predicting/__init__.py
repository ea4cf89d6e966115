"""Computes answers of a model's head to recordings for `clef-jax predict`, as a table and a page."""
