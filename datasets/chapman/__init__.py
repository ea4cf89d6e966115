"""Chapman-Shaoxing-Ningbo: 45,152 12-lead ECGs with diagnoses in SNOMED CT."""
