"""MIMIC-IV-ECG: diagnostic 12-lead ECGs of 160,000 patients, with risk from MIMIC-IV."""
