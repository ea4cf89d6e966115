"""Fits a head to the user's own labels: what `clef-jax fit` and `.fit` of a loaded model do."""
