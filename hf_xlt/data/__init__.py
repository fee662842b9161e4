"""The text a transfer is trained and measured on: corpora, packing, objectives, tokenizers."""
