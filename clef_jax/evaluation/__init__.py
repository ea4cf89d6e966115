"""What an encoder's embeddings are worth: computed once, asked by probes, told with intervals."""
