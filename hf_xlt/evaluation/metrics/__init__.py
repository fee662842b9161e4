"""Metrics of tasks, as `evaluate` modules that load offline."""
