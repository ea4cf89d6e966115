"""Scores of predictions, and their uncertainty from the sample of patients.

Scores take weights, which count how often each recording is in a resample, so that a thousand
resamples cost one sort.
"""
