"""Measures: held-out quality of language models, learning curves, steps saved."""
