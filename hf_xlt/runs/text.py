"""The text of a run: packed corpora, aligned translation pairs, the validation set."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from statistics import fmean

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.kind import ModelKind, kind_of
from hf_xlt.data.objectives import OBJECTIVES, Objective, Setting, objective_for
from hf_xlt.data.packing import pack
from hf_xlt.data.pairs import aligned_pairs, tokenized_pairs
from hf_xlt.data.sampling import AlternatingStream, ReplayStream, ShuffledStream, Stream, replayed
from hf_xlt.data.token_stream import BATCH, Frame, batched, token_stream
from hf_xlt.evaluation.curves import Point
from hf_xlt.evaluation.language_model import ValidationSet, measure
from hf_xlt.evidence.alignment import WordAligner
from hf_xlt.recipes.stage import LANGUAGES, Stage
from hf_xlt.runs.comparison import Comparison
from hf_xlt.runs.inputs import Inputs
from hf_xlt.runs.results import LanguagePoint, RetrievalPoint

SAMPLE = 2**21  # bytes of a text that tell how many a token stands for


@dataclass(frozen=True)
class SequenceSize:
    """What a training sequence holds, on average: ids, and bytes of UTF-8 of the text that they stand for."""

    tokens: float
    text_bytes: float

    @classmethod
    def packed(cls, lines: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int) -> "SequenceSize":
        """Of a text packed into sequences of `length` ids, line ends included.

        How many bytes a token stands for is counted in the first `SAMPLE` bytes of the text: of a longer one this is
        an estimate. Ids that the tokenizer puts around a sequence stand for none.
        """
        text_bytes = tokens = 0
        for batch in batched(lines, BATCH):
            text_bytes += sum(len(line.encode()) + 1 for line in batch)
            tokens += sum(map(len, token_stream(batch, tokenizer)))
            if text_bytes >= SAMPLE:
                break
        return cls(length, Frame.of(tokenizer).room(length) * text_bytes / max(1, tokens))


@dataclass(frozen=True)
class Measured:
    """What is measured of a model between stages, besides its quality on the validation set."""

    retrieval: tuple[RetrievalPoint, ...] = ()
    languages: tuple[LanguagePoint, ...] = ()

    def __add__(self, other: "Measured") -> "Measured":
        return Measured(self.retrieval + other.retrieval, self.languages + other.languages)


@dataclass(frozen=True, kw_only=True)
class Text(ABC):
    """What every stage of a run shares, and every variant with the same tokenizer."""

    tokenizer: PreTrainedTokenizerBase  # of the target language, or of all
    validation_lines: tuple[str, ...]  # what is not trained on
    length: int  # ids a sequence
    sequences: int  # how many examples there are to train on
    tokens: int  # ids in them
    source_tokenizer: PreTrainedTokenizerBase | None = None  # of the source, where it has a vocabulary of its own
    position_offset: int = 0  # the model's row of the first position, see `TreLMConfig`
    pooling: str | None = None  # how sentence vectors are made, where stages learn them

    @abstractmethod
    def objective(self, stage: Stage, kind: ModelKind) -> Objective:
        """What a stage learns; `auto` is what the kind of model was made for."""

    @abstractmethod
    def validation_set(self, kind: ModelKind) -> ValidationSet:
        """The validation lines cut for the objective of a kind of model."""

    @abstractmethod
    def stream(self, stage: Stage, positions: int, seed: int) -> Stream:
        """What a stage trains on, in the order of use."""

    def sequence_size(self, stage: Stage) -> SequenceSize | None:
        """What a sequence of a stage holds; None where that is not known, by default."""
        return None

    def measure(self, model: PreTrainedModel, step: int) -> Measured:
        """What is measured besides quality; by default nothing. The model's mode is restored."""
        return Measured()


@dataclass(frozen=True, kw_only=True)
class PackedText(Text):
    """Packed text of the target language, or of source and target; with two vocabularies, each masked by its own."""

    corpora: Mapping[str, Dataset]  # `target`, and for models of both languages `source` → packed training text
    sizes: Mapping[str, SequenceSize]  # what a sequence of each of these holds
    pairs: Mapping[tuple[str, ...], Dataset] = field(default_factory=dict)  # language read and predicted → pairs

    def objective(self, stage: Stage, kind: ModelKind) -> Objective:
        name = kind.objective if stage.objective == "auto" else stage.objective
        return OBJECTIVES[name].of(Setting(self.tokenizer, self.source_tokenizer, self.position_offset))

    def validation_set(self, kind: ModelKind) -> ValidationSet:
        objective = objective_for(kind.objective, self.tokenizer)
        return ValidationSet.cut(self.validation_lines, self.tokenizer, self.length, objective)

    def stream(self, stage: Stage, positions: int, seed: int) -> Stream:
        if stage.on_pairs:
            return ShuffledStream(self.pairs[stage.languages], positions, seed)
        languages: tuple[str, ...] = stage.languages or tuple(self.corpora)
        share = -(-positions // len(languages))
        return AlternatingStream([ShuffledStream(self.corpora[language], share, seed) for language in languages])

    def sequence_size(self, stage: Stage) -> SequenceSize | None:
        """The mean of the languages, which take turns; not known of pairs."""
        if stage.on_pairs:
            return None
        sizes = [self.sizes[language] for language in stage.languages or self.corpora]
        return SequenceSize(fmean(size.tokens for size in sizes), fmean(size.text_bytes for size in sizes))


@dataclass(frozen=True, kw_only=True)
class ReplayedText(PackedText):
    """Text of the target language, and text of the source language that stages put between."""

    replayed: Dataset
    replayed_size: SequenceSize
    source_lines: tuple[str, ...]  # of the source language, which are not trained on

    def stream(self, stage: Stage, positions: int, seed: int) -> Stream:
        old = replayed(positions, stage.replay)
        new = super().stream(stage, positions - old, seed)
        return ReplayStream(new, ShuffledStream(self.replayed, old, seed), stage.replay)

    def sequence_size(self, stage: Stage) -> SequenceSize | None:
        """The mean of both, by their shares."""
        new, old = super().sequence_size(stage), self.replayed_size
        if new is None:
            return None
        share = stage.replay
        return SequenceSize(
            (1 - share) * new.tokens + share * old.tokens, (1 - share) * new.text_bytes + share * old.text_bytes
        )

    def measure(self, model: PreTrainedModel, step: int) -> Measured:
        """Quality in the source language."""
        objective = objective_for(kind_of(model.config).objective, self.tokenizer)
        validation = ValidationSet.cut(self.source_lines, self.tokenizer, self.length, objective)
        point = Point.at(step, measure(model, validation, self.tokenizer))
        return Measured(languages=(LanguagePoint(**asdict(point), language="source"),))


def packed_text(
    inputs: Inputs, tokenizer: PreTrainedTokenizerBase, cache: Path, lang_id: int | None = None
) -> PackedText:
    """The corpus of one language, packed in files of `cache`."""
    length = inputs.recipe.stages[0].sequence_length
    packed = pack(inputs.split, tokenizer, length, inputs.data.max_sequences, cache, lang_id)
    return PackedText(
        tokenizer=tokenizer,
        corpora={"target": packed},
        sizes={"target": SequenceSize.packed(inputs.split.training_lines(), tokenizer, length)},
        validation_lines=tuple(inputs.split.held_out_lines()),
        length=length,
        sequences=len(packed),
        tokens=len(packed) * length,
    )


def replayed_text(inputs: Inputs, tokenizer: PreTrainedTokenizerBase, cache: Path) -> ReplayedText:
    """The corpus of the target language and that of the source, packed by one tokenizer."""
    text = packed_text(inputs, tokenizer, cache)
    old, limit = inputs.source_split, inputs.data.max_sequences
    return ReplayedText(
        **{name: getattr(text, name) for name in (field.name for field in fields(text))},
        replayed=pack(old, tokenizer, text.length, limit, cache),
        replayed_size=SequenceSize.packed(old.training_lines(), tokenizer, text.length),
        source_lines=tuple(old.held_out_lines()),
    )


def bilingual_text(inputs: Inputs, comparison: Comparison, cache: Path) -> PackedText:
    """The corpora of both languages, packed, and the translation pairs that stages ask for, aligned token by token."""
    tokenizer, source_tokenizer = comparison.tokenizer, comparison.source_tokenizer
    text, limit = packed_text(inputs, tokenizer, cache, lang_id=1), inputs.data.max_sequences
    reader = source_tokenizer or tokenizer
    source = pack(inputs.source_split, reader, text.length, limit, cache, lang_id=0)
    size = SequenceSize.packed(inputs.source_split.training_lines(), reader, text.length)
    return replace(
        text,
        corpora={"source": source, **text.corpora},
        sizes={"source": size, **text.sizes},
        pairs=_aligned(inputs, tokenizer, text.length, cache),
        source_tokenizer=source_tokenizer,
        position_offset=comparison.position_offset,
    )


def _aligned(
    inputs: Inputs, tokenizer: PreTrainedTokenizerBase, length: int, cache: Path
) -> dict[tuple[str, ...], Dataset]:
    directions = {stage.languages for stage in inputs.recipe.stages if stage.on_pairs}
    if not directions:
        return {}
    pairs = tokenized_pairs(inputs.pairs.pairs, tokenizer, length)
    links = WordAligner.train(pairs).align(pairs)
    made: dict[tuple[str, ...], Dataset] = {}
    for languages in directions:
        number = LANGUAGES.index(languages[0]), LANGUAGES.index(languages[1])
        if languages == LANGUAGES:
            made[languages] = aligned_pairs(pairs, links, tokenizer, number, cache)
        else:
            turned = [(target, source) for source, target in pairs]
            made[languages] = aligned_pairs(turned, [link[:, ::-1] for link in links], tokenizer, number, cache)
    return made
