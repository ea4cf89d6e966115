"""From recordings in files to batches of numbers: quality, records, index, pipeline."""
