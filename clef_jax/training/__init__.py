"""Pre-training: the state, the step, the loop, and the processes that take part."""
