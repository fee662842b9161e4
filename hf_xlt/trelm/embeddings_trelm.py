"""Embeddings of TreLM: words, positions, token types and languages; the TRILayer's too."""

import torch
from torch import Tensor, nn

from .configuration_trelm import TreLMConfig
from .separate_trelm import SeparateEmbedding, check_languages


class LanguageEmbedding(nn.Embedding):
    """One row a language. A class of its own, so that the models can start it at zero."""


class TreLMEmbeddings(nn.Module):
    """What goes into the first layer, and what is added to the states before the TRILayer.

    Both use the same language and position tables, as in the paper. Language rows start at zero: an untrained model
    with several languages computes what one without them does. Positions added before the TRILayer start as those of
    the input; beside normalised states they are small.
    """

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__()
        width = config.embedding_size or config.hidden_size
        self.config = config
        padding = config.position_offset - 1 if config.position_offset else None
        self.word_embeddings: nn.Embedding | SeparateEmbedding
        if config.separate_embeddings:
            self.word_embeddings = SeparateEmbedding(config)
        else:
            self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width, padding_idx=padding)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.language_embeddings = LanguageEmbedding(len(config.languages), width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.projection = nn.Linear(width, config.hidden_size) if width != config.hidden_size else None

    def forward(
        self,
        words: Tensor,
        position_ids: Tensor,
        token_type_ids: Tensor | None = None,
        lang_ids: Tensor | None = None,
    ) -> Tensor:
        """The input of the first layer.

        Args:
            words: Word embeddings `(b, s, embedding_size)`.
            position_ids: int64 `(b, s)` or `(1, s)`.
            token_type_ids: int64 `(b, s)`; None for all 0.
            lang_ids: int64 `(b,)` or `(b, s)`; None for the default language.

        Returns:
            `(b, s, hidden_size)`.

        Raises:
            ValueError: If the model does not have a language.
        """
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(position_ids)
        types, positions = self.token_type_embeddings(token_type_ids), self.position_embeddings(position_ids)
        embedded = words + types + positions + self._languages(lang_ids, position_ids)
        embedded = self.dropout(self.norm(embedded))
        return embedded if self.projection is None else self.projection(embedded)

    def words(self, input_ids: Tensor, lang_ids: Tensor | None) -> Tensor:
        """Word embeddings `(b, s, embedding_size)` of ids `(b, s)`, each language's from its own table if it has one.

        Raises:
            ValueError: If the model does not have a language, or a language with its own table not an id.
        """
        if lang_ids is None or not isinstance(self.word_embeddings, SeparateEmbedding):
            return self.word_embeddings(input_ids)
        check_languages(lang_ids, self.config)
        return self.word_embeddings(input_ids, lang_ids[:, None] if lang_ids.ndim == 1 else lang_ids)

    def is_token(self, input_ids: Tensor, lang_ids: Tensor | None) -> Tensor:
        """Bool `(b, s)`, false where an id of `(b, s)` is the padding of its language's vocabulary."""
        if lang_ids is None or not isinstance(self.word_embeddings, SeparateEmbedding):
            pad = self.config.pad_token_id
            return torch.ones_like(input_ids, dtype=torch.bool) if pad is None else input_ids != pad
        return self.word_embeddings.is_token(input_ids, lang_ids[:, None] if lang_ids.ndim == 1 else lang_ids)

    def target(self, position_ids: Tensor, lang_ids: Tensor | None) -> Tensor:
        """What is added before the TRILayer: position and language, broadcast to `(b, t, hidden_size)`.

        Where embeddings are projected, so are these, but without the bias: the states have it already.
        """
        embedded = self.position_embeddings(position_ids) + self._languages(lang_ids, position_ids)
        return embedded if self.projection is None else nn.functional.linear(embedded, self.projection.weight)

    def position_ids(self, is_token: Tensor) -> Tensor:
        """Positions as the source model counts them, see `position_offset` of the configuration.

        Args:
            is_token: Bool `(b, s)`, false at padding.

        Returns:
            int64 `(b, s)` or `(1, s)`.

        Raises:
            ValueError: If there are more positions than the table has.
        """
        offset, length = self.config.position_offset, is_token.shape[1]
        longest = self.config.max_position_embeddings - offset
        if length > longest:
            raise ValueError(
                f"The input is {length} tokens long; expected at most {longest}. Truncate it when tokenizing."
            )
        if not offset:
            return torch.arange(length, device=is_token.device)[None]
        return is_token.cumsum(1) * is_token + offset - 1

    def _languages(self, lang_ids: Tensor | None, position_ids: Tensor) -> Tensor:
        """`(b, s, embedding_size)`, or with 1 for b or s where languages do not differ along it."""
        if lang_ids is None:
            lang_ids = position_ids.new_full((1,), self.config.language_id(str(self.config.default_language)))
        check_languages(lang_ids, self.config)
        return self.language_embeddings(lang_ids[:, None] if lang_ids.ndim == 1 else lang_ids)


__all__ = ["LanguageEmbedding", "TreLMEmbeddings"]
