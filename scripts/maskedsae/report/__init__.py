"""From the cells' score files to scores.csv, and from that to tables, verdicts, figures and the report."""
