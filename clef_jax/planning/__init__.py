"""What a training run takes on a machine that is not there; see `clef_jax.plan`."""
