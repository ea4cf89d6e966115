"""What `clef-jax predict` does: answers of a model's head to recordings, as a table and a page."""
