"""Simulates a hospital cohort: patients, their heart beats, their ECGs and the files.

The path of one patient: `patient.sample` -> `visit.sample` -> per visit `heart.sample` ->
`rhythm.schedule` -> `wave` and `dipole` -> `recording.record` -> `defect.plant` -> `tree`.
All code is NumPy, and all random numbers come from `stream.make`.
"""
