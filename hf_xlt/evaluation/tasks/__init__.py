"""Tasks: what an encoder can do in a language, learned in that language or in another."""
