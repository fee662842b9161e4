"""Dependency parsing: a biaffine head on any encoder, and the best tree under its scores."""
