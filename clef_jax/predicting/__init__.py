"""Computes the answers of `clef-jax predict` to recordings, as a table and a page."""
