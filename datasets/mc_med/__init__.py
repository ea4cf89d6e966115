"""MC-MED: lead II of emergency department visits, with triage and disposition."""
