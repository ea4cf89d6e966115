"""Resource estimates for hardware that need not be present; see `clef_jax.plan`."""
