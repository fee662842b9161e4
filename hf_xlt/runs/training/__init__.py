"""How a stage is trained."""
