"""Embedding spaces: which tokens of two vocabularies are near each other, and how to lay one space on another."""
