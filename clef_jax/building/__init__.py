"""Makes prepared data sets: from raw recordings and tables to shards with an index."""
