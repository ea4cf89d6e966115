"""Reads what is published: WFDB records and annotations, MATLAB 4 files, and tables of text.

Samples stay integers, leads keep their names, and what cannot be used says why in one sentence.
"""
