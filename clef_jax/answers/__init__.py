"""Meaning of the outputs of a head: calibrated probabilities, decisions, and values with intervals.

The functions take and return NumPy arrays, and know neither encoders nor files.
"""
