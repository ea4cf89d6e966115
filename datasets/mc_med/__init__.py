"""MC-MED: lead II of monitored emergency department visits, with triage and disposition."""
