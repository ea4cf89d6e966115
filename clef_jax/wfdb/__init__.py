"""Reads WFDB headers, signals and annotations, for data set builders and for users' files alike."""
