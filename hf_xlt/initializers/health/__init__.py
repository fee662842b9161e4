"""Health of an initialization: coverage, lengths, isotropy, neighbors and fertility, before any training."""

from hf_xlt.initializers.health.health import HEALTH_FILE, Health, health, health_tables

__all__ = ["HEALTH_FILE", "Health", "health", "health_tables"]
