"""What a run shows: its tables, its figures, a summary and the report. Nothing is decided here."""
