"""Extend a tokenizer: keep its tokens, ids included, and add those that another language needs."""

from hf_xlt.tokenizers.extension.extend import extend_tokenizer

__all__ = ["extend_tokenizer"]
