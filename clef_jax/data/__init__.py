"""Reads prepared data sets: records, index, signal quality, and batches for training."""
