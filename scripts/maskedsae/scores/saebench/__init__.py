"""Five scores of an SAE by SAEBench's own code, and the data that they need."""
