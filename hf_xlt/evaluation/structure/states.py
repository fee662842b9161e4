"""What a model makes of sentences and of the words in them: the states of every layer, pooled batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.open import Checkpoint, check_body
from hf_xlt.device import best_device
from hf_xlt.errors import InputError
from hf_xlt.evaluation.models import check_languages, longest, open_body, tokenizer_of
from hf_xlt.evaluation.sentence_encoder import LayerPooling
from hf_xlt.evaluation.structure.sample import Side
from hf_xlt.trelm import TreLMConfig

_BATCH_BYTES = 2**13  # of text, padding included: some 2,000 tokens


@dataclass(frozen=True, eq=False)
class States:
    """Pooled states of every layer, the embeddings first."""

    sentences: Tensor  # float32 (layers + 1, n, d)
    words: Tensor  # float32 (layers + 1, w, d): means over a word's tokens, each in its sentence
    found: Tensor  # bool (w,): the word has tokens before the model's last position


@torch.no_grad()
def encode(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, side: Side, pooling: LayerPooling | None = None
) -> States:
    """Run an encoder over sentences of like length together, keeping no more of a batch than its means."""
    if not side.sentences:
        raise InputError("There is no sentence to read; give at least one.")
    if len(side.words) and not tokenizer.is_fast:
        raise InputError(
            f"{type(tokenizer).__name__} does not tell where its tokens stand in the text, which states of words need",
            expected="a tokenizer with a tokenizer.json",
            hint="Take a checkpoint that has one, or ask for 0 words.",
        )
    model.eval()
    spans = torch.from_numpy(side.words)
    pooling = pooling or LayerPooling()
    pooled: States | None = None
    for numbers in tqdm(list(_batches(side.sentences)), desc="states", unit="batch", disable=None, leave=False):
        inputs = tokenizer(
            [side.sentences[i] for i in numbers], padding=True, truncation=True, max_length=longest(model, tokenizer),
            return_tensors="pt", return_offsets_mapping=len(spans) > 0,
        )  # fmt: skip
        ids, mask = (inputs[name].to(model.device) for name in ("input_ids", "attention_mask"))
        layers = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        if pooled is None:
            width = pooling.vectors(0, layers[0], mask).shape[-1]
            pooled = States(
                torch.empty(len(layers), len(side.sentences), width),
                torch.zeros(len(layers), len(spans), layers[0].shape[-1]),
                torch.zeros(len(spans), dtype=torch.bool),
            )
        words, rows = (spans[:, :1] == torch.tensor(numbers)).nonzero(as_tuple=True)
        tokens = _WordTokens.of(inputs["offset_mapping"], spans[words], rows) if len(words) else None
        for layer, states in enumerate(layers):
            pooled.sentences[layer, numbers] = pooling.vectors(layer, states, mask).cpu()
            if tokens is not None:
                pooled.words[layer, words] = tokens.means(states).cpu()
        if tokens is not None:
            pooled.found[words] = tokens.counts > 0
    return cast(States, pooled)


@dataclass(frozen=True, eq=False)
class _WordTokens:
    """Which tokens of a batch make up words."""

    words: Tensor  # int64 (t,), the word of each token of one, counted in this batch
    rows: Tensor  # int64 (t,), the token's sentence
    places: Tensor  # int64 (t,), its place in the sentence
    counts: Tensor  # int64 (w,), tokens of each word

    @classmethod
    def of(cls, offsets: Tensor, spans: Tensor, rows: Tensor) -> "_WordTokens":
        """Find the tokens `(b, s)` whose offsets `(b, s, 2)` share a character with spans `(w, 3)` of words."""
        starts, ends = offsets[rows].unbind(2)  # (w, s)
        overlap = (starts < spans[:, 2:]) & (ends > spans[:, 1:2])
        words, places = overlap.nonzero(as_tuple=True)
        return cls(words, rows[words], places, overlap.sum(1))

    def means(self, states: Tensor) -> Tensor:
        """Means `(w, d)` over the tokens of each word of states `(b, s, d)`; zero where there is none."""
        device = states.device
        sums = torch.zeros(len(self.counts), states.shape[2], device=device)
        sums.index_add_(0, self.words.to(device), states[self.rows.to(device), self.places.to(device)].float())
        return sums / self.counts.clamp(min=1)[:, None].to(device)


def _batches(sentences: tuple[str, ...]) -> Iterator[list[int]]:
    """Numbers of sentences of like length, so many that a batch stays small."""
    lengths = [len(sentence.encode()) for sentence in sentences]
    batch: list[int] = []
    for i in sorted(range(len(sentences)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[i] > _BATCH_BYTES:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


@dataclass(frozen=True, eq=False)
class LayerEncoder:
    """A checkpoint, not yet loaded, and how it reads one language."""

    checkpoint: Checkpoint
    tokenizer: PreTrainedTokenizerBase
    language: str | None = None  # of a TreLM; None for any other model
    pooling: LayerPooling = field(default_factory=LayerPooling)

    @classmethod
    def open(
        cls, name_or_folder: str, language: str | None = None, *, trust_remote_code: bool = False
    ) -> "LayerEncoder":
        """Open a checkpoint of any text model, a TreLM in one of its languages; of an encoder-decoder the encoder."""
        checkpoint = Checkpoint.open(name_or_folder, trust_remote_code=trust_remote_code)
        if language is None and isinstance(checkpoint.config, TreLMConfig):
            known = tuple(checkpoint.config.languages)
            raise InputError(
                f"{checkpoint.name} has the languages {', '.join(known)}",
                value=known,
                expected="to be told which one it is to read",
                hint="Name it in languages.",
            )
        check_languages(checkpoint, None if language is None else (language,))
        check_body(checkpoint)
        tokenizer = checkpoint.tokenizer() if language is None else tokenizer_of(checkpoint, language)
        if tokenizer.pad_token is None and tokenizer.eos_token is None:
            raise InputError(
                f"The tokenizer of {name_or_folder} has neither a padding nor an end-of-text token",
                value=name_or_folder,
                expected="one to fill batches with",
                hint="Set tokenizer.pad_token and save it again.",
            )
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        tokenizer.padding_side = "right"
        return cls(checkpoint, tokenizer, language, LayerPooling.of(checkpoint))

    def encode(self, side: Side) -> States:
        """Load the model, in float32, and pool its states; it is let go of again."""
        body: Any = open_body(self.checkpoint)
        if self.language is not None:
            body.set_language(self.language)
        if getattr(self.checkpoint.config, "is_encoder_decoder", False):
            body = body.get_encoder()
        return encode(body.to(best_device()), self.tokenizer, side, self.pooling)
