"""The text of a model of many languages, and what is measured of it: each language's quality, and retrieval."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.kind import ModelKind
from hf_xlt.data.anchors import AnchoredSplit, DataCollatorForTokenIds, ExtraAnchors, TokenIds
from hf_xlt.data.multilingual import LanguagePair, MultilingualText, PackedLanguages
from hf_xlt.data.objectives import DataCollatorForMultilingualMLM, Objective
from hf_xlt.data.sampling import Stream
from hf_xlt.errors import InputError
from hf_xlt.evaluation.curves import Point
from hf_xlt.evaluation.language_model import ValidationSet, measure
from hf_xlt.evaluation.retrieval import retrieval, sentence_vectors
from hf_xlt.evidence.translations import ParallelText
from hf_xlt.recipes.recipe import MultilingualOptions
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.comparison import Comparison
from hf_xlt.runs.inputs import Inputs
from hf_xlt.runs.results import LanguagePoint, RetrievalPoint
from hf_xlt.runs.text import Measured, Text

DEPTH = 7 / 12  # of the layer whose states are compared: that of XTREME (Hu et al., 2020) for BERT


@dataclass(frozen=True)
class TextReader:
    """A joint tokenizer that also tells the language of what it reads, in the ids of this language."""

    tokenizer: PreTrainedTokenizerBase
    ids: TokenIds
    language: int

    @property
    def model_max_length(self) -> int:
        return self.tokenizer.model_max_length

    def __call__(self, texts: Sequence[str], **options: Any) -> dict[str, Tensor]:
        """Inputs of the model; options as the tokenizer takes them."""
        inputs = self.tokenizer(list(texts), return_token_type_ids=False, **options)
        lang_ids = torch.full((len(texts),), self.language)
        return {**inputs, "input_ids": self.ids.of_languages(inputs["input_ids"], lang_ids), "lang_ids": lang_ids}


@dataclass(frozen=True, kw_only=True)
class LanguagesText(Text):
    """What every stage and every variant of a run on many languages shares.

    Where the first language has a vocabulary of its own, `source_tokenizer` is the joint one once more.
    """

    packed: PackedLanguages  # what is trained on
    lines: Mapping[str, tuple[str, ...]]  # language → validation lines
    ids: TokenIds  # what the model reads and writes
    translations: Mapping[LanguagePair, Sequence[tuple[str, str]]]  # pairs that are not trained on

    def objective(self, stage: Stage, kind: ModelKind) -> Objective:
        """Masked language modeling, of pairs as translation language modeling."""
        return self._masked

    @cached_property
    def _masked(self) -> Objective:
        collator = DataCollatorForMultilingualMLM(self.tokenizer, position_offset=self.position_offset)
        return DataCollatorForTokenIds(collator, self.ids)

    def validation_set(self, kind: ModelKind) -> ValidationSet:
        """The validation lines of all languages, each in its own."""
        parts = self._by_language.values()
        return ValidationSet(
            examples=tuple(chain.from_iterable(part.examples for part in parts)),
            text_bytes=sum(part.text_bytes for part in parts),
            text_tokens=sum(part.text_tokens for part in parts),
            objective=self._masked,
        )

    def stream(self, stage: Stage, positions: int, seed: int) -> Stream:
        return self.packed.stream(positions, seed, languages_of(stage, tuple(self.lines)))

    def measure(self, model: PreTrainedModel, step: int) -> Measured:
        """Quality in each language, and how well translations find each other."""
        found = {language: measure(model, part, self.tokenizer) for language, part in self._by_language.items()}
        languages = tuple(
            LanguagePoint(**asdict(Point.at(step, quality)), language=language) for language, quality in found.items()
        )
        return Measured((self._retrieval(model, step),) if self.translations else (), languages)

    def _retrieval(self, model: PreTrainedModel, step: int) -> RetrievalPoint:
        """A mean over pairs of languages; the model's mode is restored."""
        training, found = model.training, []
        for languages, pairs in self.translations.items():
            sides = zip(languages, zip(*pairs, strict=True), strict=True)
            found.append(retrieval(*(self._vectors(model, language, side) for language, side in sides)))
        model.train(training)
        return RetrievalPoint(step, fmean(each.backward for each in found), fmean(each.forward for each in found))

    def _vectors(self, model: PreTrainedModel, language: str, sentences: Sequence[str]) -> Tensor:
        layer = round(DEPTH * model.config.num_hidden_layers)
        reader = cast(PreTrainedTokenizerBase, TextReader(self.tokenizer, self.ids, list(self.lines).index(language)))
        body = cast(PreTrainedModel, model.base_model)
        return sentence_vectors(body, reader, sentences, layers=slice(layer, layer + 1))[0]

    @cached_property
    def _by_language(self) -> dict[str, ValidationSet]:
        cut = {
            language: ValidationSet.cut(lines, self.tokenizer, self.length, self._masked)
            for language, lines in self.lines.items()
        }
        return {
            language: replace(part, examples=tuple(example | {"lang_ids": number} for example in part.examples))
            for number, (language, part) in enumerate(cut.items())
        }


def languages_of(stage: Stage, languages: Sequence[str]) -> tuple[str, ...]:
    """The languages that a stage trains on: `source` is the first one, `target` all others, none named all."""
    if stage.languages and len(languages) == 1:
        problem = f"stage {stage.name!r} is of some of the languages, but there is only {languages[0]}"
        raise InputError(f"{problem}; add a corpus, as data.corpora.de=FILE.")
    meant = {"source": languages[:1], "target": languages[1:]}
    return tuple(chain.from_iterable(meant[name] for name in stage.languages))


def languages_text(inputs: Inputs) -> MultilingualText:
    """The corpora and the translation pairs of a recipe that are trained on."""
    options = inputs.recipe.multilingual or MultilingualOptions()
    splits = dict(inputs.splits)
    if options.anchors == "extra":
        if len(splits) != 2 or inputs.dictionary is None:
            given = f"{len(splits)} languages and {'no' if inputs.dictionary is None else 'a'} dictionary"
            problem, hint = f"multilingual: anchors is 'extra' with {given}", "Name its file as data.dictionary."
            expected = "two languages, and a dictionary of words of the first and their translations"
            raise InputError(problem, value="extra", expected=expected, hint=hint)
        first = next(iter(splits))
        splits[first] = AnchoredSplit.of(splits[first], ExtraAnchors(inputs.dictionary, options.anchor_probability))
    parallel = {pair: ParallelText(training) for pair, (training, _) in inputs.translations.items()}
    return MultilingualText(splits, parallel, options.alpha, options.pair_share)


def read_languages(inputs: Inputs, comparison: Comparison, ids: TokenIds, cache: Path) -> LanguagesText:
    """Pack the corpora and the pairs of a recipe in files of `cache`."""
    text, length = languages_text(inputs), inputs.recipe.stages[0].sequence_length
    packed = text.packed(comparison.tokenizer, length, inputs.data.max_sequences, cache)
    lines = {code: tuple(split.held_out_lines()) for code, split in text.splits.items()}
    sequences = sum(map(len, packed.corpora.values()))
    return LanguagesText(
        tokenizer=comparison.tokenizer,
        packed=packed,
        lines=lines,
        validation_lines=tuple(chain.from_iterable(lines.values())),
        length=length,
        sequences=sequences,
        tokens=sequences * length,
        ids=ids,
        position_offset=comparison.position_offset,
        translations={languages: validation for languages, (_, validation) in inputs.translations.items()},
        source_tokenizer=comparison.source_tokenizer,
    )
