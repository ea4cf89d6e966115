"""Builds prepared data sets: shards with an index, from raw recordings and tables."""
