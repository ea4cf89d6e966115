"""Icentia11k: single-lead ECGs of 11,000 patients, up to two weeks each, with beats and rhythms."""
