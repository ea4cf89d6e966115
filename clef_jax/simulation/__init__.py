"""A simulated hospital cohort: its patients, how their hearts beat and what the files look like.

The path of one patient: `patient.draw` -> `visit.draw` -> per visit `heart.draw` ->
`rhythm.schedule` -> `wave` and `dipole` -> `recording.record` -> `defect.plant` -> `tree`.
Everything is NumPy, and everything random comes from `stream.make`.
"""
