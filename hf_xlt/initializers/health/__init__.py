"""Health of an initialisation: coverage, lengths, isotropy, neighbours and fertility, before any training."""

from hf_xlt.initializers.health.health import HEALTH_FILE, Health, health, health_tables

__all__ = ["HEALTH_FILE", "Health", "health", "health_tables"]
