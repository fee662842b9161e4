"""TreLM models: BERT-like encoders of several languages, with a TRILayer between their halves."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .base_trelm import TreLMPreTrainedModel
from .configuration_trelm import TreLMConfig
from .conversion_trelm import convert, fill
from .embeddings_trelm import TreLMEmbeddings
from .export_trelm import stock_model
from .heads_trelm import ClassificationHead, MaskedLMHead, first_token, task_dropout
from .language_layers_trelm import LanguageLayer, in_language_order, layer_at
from .layers_trelm import TRILayer
from .separate_trelm import SeparateDecoder, SeparateEmbedding, check_ids, own_name
from .vocabulary_trelm import Rows

IGNORED = -100


class TreLMModel(TreLMPreTrainedModel):
    """The encoder, which returns the states of its last layer.

    `output_hidden_states` gives one more than an encoder without a TRILayer: from the TRILayer's own onwards, states
    are in the target's order.
    """

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__(config)
        self.embeddings = TreLMEmbeddings(config)
        self.layers = nn.ModuleList(layer_at(index, config) for index in range(config.num_hidden_layers))
        self.tri_layer = TRILayer(config) if config.tri_layer_index is not None else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The word embeddings; the default language's where each has its own."""
        words = self.embeddings.word_embeddings
        return words.default if isinstance(words, SeparateEmbedding) else words  # type: ignore[return-value]

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Put other word embeddings in their place."""
        words = self.embeddings.word_embeddings
        if isinstance(words, SeparateEmbedding):
            words[str(self.config.default_language)] = value
        else:
            self.embeddings.word_embeddings = value  # type: ignore[assignment]

    def stacks(self) -> dict[str, nn.Module]:
        """The modules by the part they make up, in the order data flows through them."""
        if self.tri_layer is None:
            return {"embeddings": self.embeddings, "layers": self.layers}
        index = self.config.tri_layer_index
        lower, upper = self.layers[:index], self.layers[index:]
        return {"embeddings": self.embeddings, "lower": lower, "tri_layer": self.tri_layer, "upper": upper}

    @in_language_order
    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        lang_ids: Tensor | None = None,
        alignment: Tensor | None = None,
        target_lang_ids: Tensor | None = None,
        target_attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutput:
        """Encode texts, and with an alignment turn their states into those of their translations.

        Below the TRILayer, states are the source's and `attention_mask` rules. The TRILayer reorders them, adds the
        target's language and positions, and from it upwards the target's mask rules.

        Args:
            input_ids: int64 `(b, s)`; or give `inputs_embeds`. With separate embeddings, ids of each text's own
                language.
            attention_mask: `(b, s)`, 0 at padding; None for no padding.
            token_type_ids: int64 `(b, s)`; None for all 0.
            position_ids: int64 `(b, s)`; None to count as the source model does.
            inputs_embeds: Word embeddings `(b, s, embedding_size)` in place of `input_ids`.
            lang_ids: int64 `(b,)` or `(b, s)`, language of each text or token; None for the default language. With
                layers of each language's own, every text is of one language.
            alignment: int64 `(b, t)`, for each target position its source position or -1 for none. None: the target
                is the source, nothing moves, and what is not given of the target is as in the source.
            target_lang_ids: int64 `(b,)` or `(b, t)`; needed with `alignment`.
            target_attention_mask: `(b, t)`, 0 at padding. None with `alignment`: no padding.
            kwargs: Options of the outputs, and for the attention implementation.

        Returns:
            `last_hidden_state` `(b, t, hidden_size)`, and `hidden_states` and `attentions` if asked for.

        Raises:
            ValueError: If inputs contradict each other, are too long, or name a language, a position or, with
                separate embeddings, an id that is not there; if a text is of several languages where layers are not.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError(
                "Both or none of input_ids and inputs_embeds are given; expected one. Leave out the other."
            )
        self._check_target(alignment, target_lang_ids, target_attention_mask)
        words = self.embeddings.words(input_ids, lang_ids) if inputs_embeds is None else inputs_embeds  # type: ignore[arg-type]
        if position_ids is None:
            position_ids = self.embeddings.position_ids(self._is_token(input_ids, words, lang_ids))
        states = self.embeddings(words, position_ids, token_type_ids, lang_ids)
        mask = create_bidirectional_mask(self.config, states, attention_mask)
        target_lang_ids = lang_ids if target_lang_ids is None else target_lang_ids
        spoken = {"spoken": kwargs.pop("spoken", None)}  # of `in_language_order`
        for index, layer in enumerate(self.layers):
            if index == self.config.tri_layer_index:
                target = (position_ids, target_lang_ids, alignment, target_attention_mask)
                states, mask = self._to_target(states, mask, *target, **kwargs)
            states = layer(states, mask, **kwargs | (spoken if isinstance(layer, LanguageLayer) else {}))
        return BaseModelOutput(last_hidden_state=states)

    def _to_target(
        self,
        states: Tensor,
        mask: Any,
        position_ids: Tensor,
        lang_ids: Tensor | None,
        alignment: Tensor | None,
        attention_mask: Tensor | None,
        **kwargs: Any,
    ) -> tuple[Tensor, Any]:
        """States `(b, t, hidden_size)` as the TRILayer leaves them, and the mask that rules from it upwards."""
        if alignment is not None:
            attention_mask = torch.ones_like(alignment) if attention_mask is None else attention_mask
            position_ids = self.embeddings.position_ids(attention_mask.bool())
        if attention_mask is not None:
            like = states.new_empty(*attention_mask.shape, 1)
            mask = create_bidirectional_mask(self.config, like, attention_mask)
        embedded = self.embeddings.target(position_ids, lang_ids)
        return self.tri_layer(states, mask, embedded, alignment, **kwargs), mask  # type: ignore[misc]

    def _is_token(self, input_ids: Tensor | None, words: Tensor, lang_ids: Tensor | None) -> Tensor:
        """Bool `(b, s)`, false at padding; bare embeddings do not tell, so all of them count."""
        if input_ids is None:
            return torch.ones(words.shape[:2], dtype=torch.bool, device=words.device)
        return self.embeddings.is_token(input_ids, lang_ids)

    def _check_target(self, alignment: Tensor | None, lang_ids: Tensor | None, attention_mask: Tensor | None) -> None:
        given = {"alignment": alignment, "target_lang_ids": lang_ids, "target_attention_mask": attention_mask}
        names = [name for name, value in given.items() if value is not None]
        if names and self.tri_layer is None:
            raise ValueError(
                f"{' and '.join(names)} given to a model without a TRILayer; expected none. "
                "Make the model with a tri_layer_index, or leave them out."
            )
        if alignment is not None and lang_ids is None:
            raise ValueError(
                "alignment is given without target_lang_ids; expected the language of each target. "
                "Give target_lang_ids, for instance [model.config.language_id('de')] * batch."
            )
        if alignment is not None and attention_mask is not None and alignment.shape != attention_mask.shape:
            raise ValueError(
                f"target_attention_mask is {tuple(attention_mask.shape)} where alignment is {tuple(alignment.shape)}; "
                "expected the same shape. Pad both to the longest target."
            )


class TreLMForMaskedLM(TreLMPreTrainedModel):
    """The encoder with a masked language modelling head, for CdLM as for MLM."""

    _tied_weights_keys = {"decoder.weight": "trelm.embeddings.word_embeddings.weight"}

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__(config)
        self.trelm = TreLMModel(config)
        self.head = MaskedLMHead(config)
        self.decoder: nn.Linear | SeparateDecoder
        if config.separate_embeddings:
            self.decoder = SeparateDecoder(config)
            self._tied_weights_keys = {
                f"decoder.{name}.weight": f"trelm.embeddings.word_embeddings.{name}.weight"
                for name in map(own_name, config.languages)
            }
        else:
            self.decoder = nn.Linear(config.embedding_size or config.hidden_size, config.vocab_size)
        self.post_init()

    @classmethod
    def from_encoder(
        cls,
        checkpoint: str | PreTrainedModel,
        *,
        languages: list[str],
        tokenizer: PreTrainedTokenizerBase | None = None,
        tokenizers: Sequence[PreTrainedTokenizerBase] | None = None,
        tri_layer_index: int | Literal["middle"] | None = "middle",
        default_language: str | None = None,
        language_specific_layers: int | Sequence[int] = (),
        rows: Rows | None = None,
        source_tokenizer: PreTrainedTokenizerBase | None = None,
        seed: int = 42,
        **kwargs: Any,
    ) -> "TreLMForMaskedLM":
        """Make a TreLM model of a BERT, RoBERTa, XLM-R, CamemBERT or ELECTRA checkpoint.

        Without a TRILayer its logits are the source's. With one, the TRILayer is a copy of the layer that follows.
        With `tokenizers` it has separate embeddings (RAMEN's bilingual model, Tran 2020, arXiv:2002.07306, §3.3): the
        first language keeps the source's rows and biases as they are, the others get rows and biases of their own.
        A source without a masked LM head (a sentence encoder, an ELECTRA discriminator) gets a random one; the log
        says so.

        Args:
            checkpoint: Hub id, folder, or a model that is open.
            languages: Codes of the languages the model is to know.
            tokenizer: The new model's, whose special ids the configuration takes over. Where its vocabulary is not
                the source's, tokens of the same spelling and special tokens of the same role keep their row, and
                all others are drawn from N(mean, std) of the source's columns. Better rows come from an initializer
                through `rows`, or from aligned static vectors, written by a callback when training begins.
                None: the source's, all rows are kept.
            tokenizers: In place of `tokenizer`, one for each of `languages`: the source's own first. Rows of the
                others are made as above.
            tri_layer_index: Layers below the TRILayer; "middle" for half of them, None for no TRILayer.
            default_language: Of inputs without `lang_ids`; None for the last of `languages`.
            language_specific_layers: How many lowest layers, or which, each language has for itself; each begins with
                the source's.
            rows: Makes the rows for `tokenizer`, or the second of two `tokenizers`, in place of the above: takes the
                source's table `(n, d)` or bias `(n,)` and returns the new one, for instance `transport.apply`.
            source_tokenizer: The source's; None to read it from `checkpoint`.
            seed: Of the draws.
            kwargs: For `from_pretrained` of the source, such as `revision`, `dtype` or `trust_remote_code`.

        Raises:
            ValueError: If the source is no such encoder or is incomplete, if "middle" is asked of an odd number of
                layers, if the tokenizer of an open model is needed and not given, or if `tokenizers` are not one a
                language or have ids that there are no rows for.
            StrictDataclassError: If a language is named twice, `default_language` is not among `languages`, or
                `tri_layer_index` or one of `language_specific_layers` is out of range.
        """
        config, weights = convert(
            checkpoint,
            languages,
            tri_layer_index,
            tokenizer=tokenizer,
            tokenizers=tokenizers,
            rows=rows,
            source_tokenizer=source_tokenizer,
            seed=seed,
            given=kwargs,
            default_language=default_language,
            language_specific_layers=language_specific_layers,
        )
        model = cls(config).to(dtype=next(iter(weights.values())).dtype)  # type: ignore[call-arg]
        fill(model, weights)
        return model.eval()

    def export(self, language: str) -> PreTrainedModel:
        """A stock model of one language, of the family that the encoder was of: no code of its own, nothing shared.

        It has the language's word embeddings, layers, output bias and special ids, and its logits are this model's for
        texts of that language. The language's embedding is part of every position, so it goes into the token types.
        Where a source that counts tokens (RoBERTa and its kin) had another padding id, positions move to where the
        stock model looks for them.

        Args:
            language: Code of one of the model's languages. What it shares with others is kept whole.

        Returns:
            `BertForMaskedLM`, `RobertaForMaskedLM` or the like, on the same device and of the same dtype.

        Raises:
            ValueError: If the model does not have the language, or no stock model can compute the same: it has a
                TRILayer, whose positions are added to the states half-way, for which a stock model has no place
                however deep it is; it was not made of an encoder; or its shape is not that of its encoder's family.
        """
        return stock_model(self.config, self.state_dict(), language).to(device=self.device, dtype=self.dtype).eval()  # type: ignore[call-arg]

    def get_output_embeddings(self) -> nn.Linear:
        """The output weights and bias; the default language's where each has its own."""
        decoder = self.decoder
        return decoder.default if isinstance(decoder, SeparateDecoder) else decoder  # type: ignore[return-value]

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Put other output weights in their place."""
        if isinstance(self.decoder, SeparateDecoder):
            self.decoder[str(self.config.default_language)] = new_embeddings
        else:
            self.decoder = new_embeddings

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        lang_ids: Tensor | None = None,
        alignment: Tensor | None = None,
        target_lang_ids: Tensor | None = None,
        target_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_logits: bool | None = None,
        **kwargs: Any,
    ) -> MaskedLMOutput:
        """Predict tokens; inputs as in `TreLMModel.forward`.

        `labels` are the target's tokens, int64 `(b, t)`, -100 where none is asked for. `return_logits` says whether
        to return logits too when labels are given; None for what the configuration says.

        With separate embeddings, predictions are over the vocabulary of the target's language, that of
        `target_lang_ids` or else `lang_ids`, and a batch may hold texts of several. With language ids given, logits
        are as wide as the largest vocabulary of any language, see `SeparateDecoder.forward`.

        Returns:
            `loss` where labels are given, and `logits` `(b, t, vocab_size)` where they are not or are asked for.

        Raises:
            ValueError: As there, or if labels have another shape than the states or, with separate embeddings, are
                not of their language's vocabulary.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, lang_ids)
        outputs = self.trelm(*inputs, alignment, target_lang_ids, target_attention_mask, **kwargs)
        states, loss = outputs.last_hidden_state, None
        spoken = self._languages(states, lang_ids if target_lang_ids is None else target_lang_ids)
        if labels is not None:
            self._check_labels(labels, states, spoken)
        if return_logits is None:
            return_logits = self.config.return_logits
        if labels is not None and not return_logits:
            labelled = labels != IGNORED
            states, labels = states[labelled], labels[labelled]  # (n, hidden_size), (n,)
            spoken = None if spoken is None else spoken[labelled]
        states = self.head(states)
        logits = self.decoder(states) if spoken is None else self.decoder(states, spoken)
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=logits.shape[-1], **kwargs)
        return MaskedLMOutput(
            loss=loss,
            logits=logits if loss is None or return_logits else None,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def _languages(self, states: Tensor, lang_ids: Tensor | None) -> Tensor | None:
        """The language of each of the states `(b, t)`, where it matters to the head."""
        if lang_ids is None or not self.config.separate_embeddings:
            return None
        return (lang_ids[:, None] if lang_ids.ndim == 1 else lang_ids).expand(states.shape[:2])

    def _check_labels(self, labels: Tensor, states: Tensor, spoken: Tensor | None) -> None:
        if labels.shape != states.shape[:2]:
            raise ValueError(
                f"labels are {tuple(labels.shape)} where the target is {tuple(states.shape[:2])}; "
                "expected one label a target position. Pad labels with -100 to the longest target."
            )
        if self.config.separate_embeddings:
            check_ids(labels, spoken, self.config)


class TreLMForSequenceClassification(TreLMPreTrainedModel):
    """The encoder with a label, several labels or a number for a text, from its first token's state."""

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__(config)
        self.trelm = TreLMModel(config)
        self.pooler = ClassificationHead(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)  # type: ignore[arg-type]
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        lang_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Classify texts; inputs as in `TreLMModel.forward`.

        `labels` are `(b,)`, or `(b, num_labels)` for several labels or numbers; see `config.problem_type`.

        Returns:
            `loss` where labels are given, and `logits` `(b, num_labels)`.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, lang_ids)
        outputs = self.trelm(*inputs, **kwargs)
        logits = self.classifier(self.pooler(first_token(outputs.last_hidden_state, attention_mask)))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels, logits, self.config, **kwargs)
            items = kwargs.get("num_items_in_batch")
            if items is not None and self.config.problem_type != "single_label_classification":
                loss = loss * labels.numel() / items  # these losses are means whatever they are told
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class TreLMForTokenClassification(TreLMPreTrainedModel):
    """The encoder with a label for each token."""

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__(config)
        self.trelm = TreLMModel(config)
        self.dropout = task_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)  # type: ignore[arg-type]
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        lang_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> TokenClassifierOutput:
        """Label tokens; inputs as in `TreLMModel.forward`.

        `labels` are int64 `(b, s)`, -100 where none is asked for.

        Returns:
            `loss` where labels are given, and `logits` `(b, s, num_labels)`.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, lang_ids)
        outputs = self.trelm(*inputs, **kwargs)
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.config, **kwargs)
        return TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class TreLMForQuestionAnswering(TreLMPreTrainedModel):
    """The encoder with the start and the end of an answer within the text."""

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__(config)
        self.trelm = TreLMModel(config)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        lang_ids: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **kwargs: Any,
    ) -> QuestionAnsweringModelOutput:
        """Find answers; inputs as in `TreLMModel.forward`.

        `start_positions` and `end_positions` are int64 `(b,)`, the first and last token of each answer.

        Returns:
            `loss` where both positions are given, `start_logits` and `end_logits` `(b, s)`.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, lang_ids)
        outputs = self.trelm(*inputs, **kwargs)
        start_logits, end_logits = self.qa_outputs(outputs.last_hidden_state).unbind(-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = self.loss_function(start_logits, end_logits, start_positions, end_positions, **kwargs)
        return QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=start_logits,
            end_logits=end_logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


__all__ = [
    "TreLMForMaskedLM",
    "TreLMForQuestionAnswering",
    "TreLMForSequenceClassification",
    "TreLMForTokenClassification",
    "TreLMModel",
    "TreLMPreTrainedModel",
]
