"""Honest numbers about predictions: scores, and how far they may be off by the luck of the sample.

Scores take weights, which count how often each recording is in a resample, so that a thousand
resamples cost one sort.
"""
