"""Recipes: a transfer as data, and the engine that carries it out."""
