"""Open checkpoints and give them another vocabulary, without loading their bodies."""
