"""Scored runs on public data: the time limit, the panel of tasks, and the table of records."""
