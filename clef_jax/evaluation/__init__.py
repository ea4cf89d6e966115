"""Evaluates encoders: probes on their features, scores with confidence intervals, and a page."""
