"""The grouped convolution: its exact implementations, default rules, and tuning results."""
