"""Evaluation of encoders: probes on their features, scores with intervals, a page."""
