"""Evidence about words: which words of two languages translate each other, as counts."""
