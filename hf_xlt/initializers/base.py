"""What all initializers share: a source, a target tokenizer, the tokens both have, and the models made from them."""

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, cached_property, wraps
from itertools import repeat
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.arguments import checked, refused, require_one_of, require_seed, require_whole, short
from hf_xlt.checkpoint.fit import FittedTokenizer, check_opens
from hf_xlt.checkpoint.kind import auto_class_name, kind_of
from hf_xlt.checkpoint.open import Checkpoint, check_finite, rows_of_ids, tokens_without_row
from hf_xlt.checkpoint.padding import multiple_of, padded
from hf_xlt.checkpoint.rewrite import TargetSettings, assemble, chat_of, revocabulary, target_settings
from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.checkpoint.weights import Weights
from hf_xlt.files.corpora import Corpus
from hf_xlt.files.folders import check_output
from hf_xlt.files.printable import tell
from hf_xlt.geometry.similarity import Weighting
from hf_xlt.hub.card import CardFacts, EvidenceFacts, RowCounts, installed_versions, write_card
from hf_xlt.hub.push import push
from hf_xlt.initializers.evidence import AnyTokenizer, Model, folder_of
from hf_xlt.initializers.health import Health, health, health_tables
from hf_xlt.tokenizers.renumber import without_ids_from
from hf_xlt.tokenizers.vocabulary import Overlap, Vocabulary, kept_pairs, match
from hf_xlt.transport import FalseFriends, Transport
from hf_xlt.transport.mixture import Mixture

TRANSPORT_FILE = "transport.safetensors"
OVERLAPS = ("exact", "ignore-case", "none")
MOST_PADDING = 2**16  # rows; hardware likes 8 to 1024

_NAMED = 3  # tokens that a notice names

Made = TypeVar("Made")


def once(method: Callable[[Any], Made]) -> Callable[[Any], Made]:
    """A method without arguments whose result is kept, in the attribute of its name with an underscore."""
    name = f"_{method.__name__}"

    @wraps(method)
    def call(self: Any) -> Made:
        if name not in vars(self):
            setattr(self, name, method(self))
        made: Made = vars(self)[name]
        return made

    return call


@cache
def paper(key: str) -> str:
    """The entry of a paper in `papers.bib`."""
    entries = Path(__file__).with_name("papers.bib").read_text(encoding="utf-8").strip().split("\n\n")
    return next(entry for entry in entries if f"{{{key}," in entry)


class Initializer(ABC):
    """Makes a target-language checkpoint out of a source checkpoint and a target tokenizer.

    A subclass is one method: `mixture` turns its evidence into what rows are made of. Special tokens are copied by
    their role; where the target tokenizer extends the source's, the source's tokens keep their rows, whatever the
    method. Rows without a mixture are drawn.

    Evidence is given as a Hub id or a path, or as the opened object; `EVIDENCE` has the names of all kinds. What is
    given by ids, such as vectors, goes by the ids of the tokenizer that was given: where the body counts positions from
    the id of padding, another token exchanges its id with padding (`fitted` says which).

    Args:
        source: The source checkpoint.
        tokenizer: The target tokenizer.
        pad_to_multiple_of: Pad the target table to a multiple of this with rows that no token has; 1 for no padding. By
            default as the source is: where its table has more rows than its tokenizer has ids, and these are a multiple
            of 128 or 64, so is the target's (see `hf_xlt.checkpoint.padding`).
        seed: Seed of the rows that have no evidence.
        add_missing_tokens: Add special tokens that the body cannot do without, such as padding, where the target
            tokenizer lacks them.
        trust_remote_code: Run code that the checkpoints and the tokenizer bring.

    Raises:
        InputError: If the source cannot be opened, its tokenizer does not fit it, or the target tokenizer lacks tokens
            that are not to be added.
    """

    label: str  # the method and what distinguishes this instance of it, for tables
    citation: ClassVar[str | None] = None
    needs_one_of: ClassVar[tuple[str, ...]] = ()  # evidence that one is needed of, beside what has no default
    helper: Any = None  # a checkpoint that the card names as the helper

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = checked(cls.__init__)  # type: ignore[method-assign]

    @checked
    def __init__(
        self,
        source: Model,
        tokenizer: AnyTokenizer,
        *,
        pad_to_multiple_of: int | None = None,
        seed: int = 42,
        add_missing_tokens: bool = False,
        trust_remote_code: bool = False,
    ) -> None:
        if pad_to_multiple_of is not None:
            require_whole("pad_to_multiple_of", pad_to_multiple_of, least=1, most=MOST_PADDING)
        require_seed("seed", seed)
        self.source = Checkpoint.open(source, trust_remote_code=trust_remote_code)
        own = self.source.tokenizer()
        self._unknown = unknown_tokens(self.source, own)
        self.source_tokenizer = without_ids_from(own, self.source.vocab_size)
        given = open_tokenizer(tokenizer, trust_remote_code=trust_remote_code)
        self.fitted = FittedTokenizer.of(self.source, given, add_missing_tokens)
        self.tokenizer = self.fitted.tokenizer
        check_opens(self.source, own, self.tokenizer)
        self.seed = seed
        self.source_vocabulary = Vocabulary.of(self.source_tokenizer)
        self.target_vocabulary = Vocabulary.of(self.tokenizer)
        by_source = multiple_of(self.source.vocab_size, self.source_vocabulary.size)
        self.pad_to_multiple_of = by_source if pad_to_multiple_of is None else pad_to_multiple_of
        for notice in self.notices:
            tell(self.source.name, notice)

    def __repr__(self) -> str:
        sizes = f"{self.source_vocabulary.size:,} -> {self.target_size:,} rows"
        return f"{type(self).__name__}({self.label}, source {short(self.source.name)}, {sizes})"

    @abstractmethod
    def mixture(self, rows: np.ndarray) -> Mixture | None:
        """What target rows are made of in source rows; None where all are to be drawn.

        The `rows` are int64, ascending ids of the target's tokens that are not copied, at least one.
        """

    @once
    def overlap(self) -> Overlap:
        """The tokens whose rows are copied, and those whose rows are mixed."""
        return shared_tokens(self.source_vocabulary, self.target_vocabulary, "none")

    @once
    def transport(self) -> Transport:
        """The operator that makes target rows out of source rows; computed once."""
        overlap = self.overlap()
        mixture = self.mixture(overlap.missing_ids) if len(overlap.missing_ids) else None
        return Transport(
            source_size=self.source_vocabulary.size,
            target_size=self.target_size,
            copied_source=torch.from_numpy(overlap.source_ids),
            copied_target=torch.from_numpy(overlap.target_ids),
            mixed_target=torch.from_numpy(overlap.missing_ids if mixture is not None else overlap.missing_ids[:0]),
            mixture=mixture,
            source_names=_names(self.source_vocabulary, self.source_vocabulary.size),
            target_names=_names(self.target_vocabulary, self.target_size),
            seed=self.seed,
            evidence=self._evidence_behind(overlap.missing_ids, mixture),
            false_friends=self._false_friends_of(overlap),
        )

    def _evidence_behind(self, rows: np.ndarray, mixture: Mixture | None) -> Mapping[str, Tensor]:
        """Where rows are mixed by counts: kind of evidence → float32 `(nnz,)`, how much is behind each entry."""
        return {}

    def _false_friends_of(self, overlap: Overlap) -> FalseFriends | None:
        """The copied rows whose translations say otherwise; None where there is nothing that tells."""
        return None

    @property
    def target_size(self) -> int:
        """Rows of the target table."""
        return padded(self.target_vocabulary.size, self.pad_to_multiple_of)

    @property
    def sources(self) -> tuple[str | Path, ...]:
        """Where its checkpoints and its tokenizer are: folders that a build may not touch."""
        checkpoints = [value.folder for value in vars(self).values() if isinstance(value, Checkpoint)]
        return (*checkpoints, *folder_of(self.tokenizer))

    @property
    def notices(self) -> tuple[str, ...]:
        """What was changed in the tokenizer, what settings lost, what tokens nothing is known of: a sentence each."""
        return (*self.fitted.notices, *self._target_settings.notices, *self._unknown)

    @cached_property
    def _target_settings(self) -> TargetSettings:
        return target_settings(self.source, self.target_size, self.tokenizer)

    def target_config(self) -> PreTrainedConfig:
        """The source's configuration with the target's vocabulary size and special ids."""
        return type(self.source.config).from_dict(self._target_settings.files["config.json"])

    def build_model(self, dtype: torch.dtype | None = None) -> PreTrainedModel:
        """The target model in memory, with a language-modeling head.

        Its weights are of the source's type by default. A head that the source checkpoint lacks starts at random (seed
        it with `torch.manual_seed`).
        """
        return assemble(self.source, self.transport(), self.tokenizer, dtype)

    def health(self, corpus: str | Path | Sequence[str | Path] | None = None) -> Health:
        """What the rows of the target are like beside the source's, before training.

        Text of the target language, in files or Hub datasets, weights rows by how often they occur. InputError is
        raised if it cannot be read, or the source's rows are not finite.
        """
        return self._health(None if corpus is None else Corpus.of(corpus))

    def _health(self, text: Corpus | None, table: Tensor | None = None) -> Health:
        return replace(health(self.transport(), self.source, self.tokenizer, text, table), notices=self.notices)

    def build(
        self,
        output: str | Path,
        *,
        overwrite: bool = False,
        chat_template: str | None = None,
        command: str | None = None,
        corpus: str | Path | Sequence[str | Path] | None = None,
        calibrate: bool = False,
        evidence: Sequence[EvidenceFacts] = (),
    ) -> Path:
        """Write the target checkpoint without loading the source's body, and return its folder.

        Beside the model the folder gets the transport, which `hf-xlt explain` reads, the health of its rows and a model
        card. InputError is raised if it cannot be written there, the text cannot be read, or the source's rows are not
        finite.

        Args:
            output: The folder to write; it appears when it is complete.
            overwrite: Whether an existing folder may be replaced.
            chat_template: `tokenizer`, `source` or a file. By default the tokenizer's own; where it has none, those of
                the source whose special tokens it has.
            command: The command to print on the card.
            corpus: Text to judge the rows by, as `health` takes it.
            calibrate: Whether to calibrate the output head on that text; for this the whole model is loaded.
            evidence: What to name on the card, as `evidence_facts` gives it.
        """
        text = None if corpus is None else Corpus.of(corpus)  # refused before work starts
        if calibrate and text is None:
            raise refused("corpus", corpus, "text of the target language, to calibrate the output head on")
        if calibrate:
            from hf_xlt.initializers.calibration import check_output_head  # it brings datasets

            check_output_head(self.source)
        chat_of(self.source, self.tokenizer, chat_template)
        read = [corpus] if isinstance(corpus, str | Path) else list(corpus or ())
        check_output(output, overwrite=overwrite, sources=(*self.sources, *read))

        def add(folder: Path) -> None:
            self.transport().save(folder / TRANSPORT_FILE)
            body = folder / self.source.body.relative_to(self.source.folder)
            if calibrate and text is not None:
                from hf_xlt.initializers.calibration import calibrate_folder

                extends = self.target_vocabulary.extends(self.source_vocabulary)
                kept = self.transport().copied_target if extends else None
                trust = self.source.trust_remote_code
                calibrate_folder(folder, self.tokenizer, text, kept, trust_remote_code=trust)
            found = self._health(text, Weights.open(body).load(self.source.layout.input_name))
            found.save(folder)
            write_card(folder, self._card_facts(Path(output).name, command, found, tuple(evidence)))

        parts = self.source, self.transport(), self.tokenizer
        return revocabulary(*parts, output, overwrite=overwrite, chat_template=chat_template, add=add)

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Build and upload in one go; if the upload fails, the built folder stays and the error names it.

        Returns the address of the repository. Raises InputError as `build` does, or if the id is not one, and
        UploadError if the Hub does not take it.
        """
        folder = Path(tempfile.mkdtemp(prefix="hf-xlt-"))
        built = self.build(folder / repo_id.rsplit("/", 1)[-1])
        address = push(built, repo_id, private=private, token=token)
        shutil.rmtree(folder)
        return address

    def _card_facts(
        self, title: str, command: str | None, found: Health, evidence: tuple[EvidenceFacts, ...]
    ) -> CardFacts:
        return CardFacts(
            title=title,
            base_model=self.source.pinned_name,
            method=self.label,
            kind=kind_of(self.source.config).name,
            auto_class=auto_class_name(self.source.config),
            rows=RowCounts(**asdict(self.transport().counts)),
            evidence=evidence,
            health=health_tables(found),
            command=command,
            versions=installed_versions(),
            citation=self.citation,
            helper=self.helper.pinned_name if isinstance(self.helper, Checkpoint) else None,
        )


class OverlapInitializer(Initializer):
    """Copies the rows of tokens that source and target share, and mixes those of the others.

    Which tokens are the same, `overlap` says: `exact`: those that stand for the same text; `ignore-case`: also those
    that differ in case only, where no other does; `none`: special tokens alone, by their role. Everything else is as
    `Initializer` takes it. InputError is raised if no token is shared where some have to be.
    """

    def __init__(self, source: Model, tokenizer: AnyTokenizer, *, overlap: str = "exact", **options: Any) -> None:
        super().__init__(source, tokenizer, **options)
        self._overlap = shared_tokens(self.source_vocabulary, self.target_vocabulary, overlap)

    def _from_shared(self, weighting: Weighting, table: Tensor, rows: np.ndarray) -> Mixture:
        """Target rows mixed from the shared tokens, by the vectors `(V_t, k)` of the target's tokens."""
        missing, shared = (table[torch.from_numpy(ids).to(table.device)] for ids in (rows, self._overlap.target_ids))
        return weighting.mix(missing, shared, torch.from_numpy(self._overlap.source_ids), self.source_vocabulary.size)


class ModelInitializer(OverlapInitializer):
    """An `OverlapInitializer` of the rows of another model, of any architecture, whose tokenizer is the target's."""

    def __init__(self, source: Model, model: Model, *, ignore_case: bool = False, **options: Any) -> None:
        self.model = Checkpoint.open(model, trust_remote_code=options.get("trust_remote_code", False))
        tokenizer = self.model.tokenizer()
        super().__init__(source, tokenizer, overlap="ignore-case" if ignore_case else "exact", **options)
        for notice in unknown_tokens(self.model, tokenizer):
            tell(self.model.name, notice)
        check_finite(self._model_rows, f"the embedding table of {self.model.name}")

    @cached_property
    def _model_rows(self) -> Tensor:
        """Its rows by the ids of the target, zero for tokens that it has none for."""
        return self.fitted.rows(rows_of_ids(self.model.input_rows(), self.fitted.former_size))


def shared_tokens(source: Vocabulary, target: Vocabulary, rule: str) -> Overlap:
    """The overlap of two vocabularies by one of `OVERLAPS`."""
    require_one_of("overlap", rule, OVERLAPS)
    if rule != "none":
        return match(source, target, ignore_case=rule == "ignore-case")
    return Overlap.of(kept_pairs(source, target), target)


def unknown_tokens(checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """A notice of the tokens of a checkpoint's tokenizer that its table has no row for; none where there are none."""
    found = tokens_without_row(tokenizer.get_vocab(), checkpoint.vocab_size, checkpoint.name)
    if not found:
        return ()
    named = ", ".join(map(repr, found[:_NAMED])) + ", …" * (len(found) > _NAMED)
    return (f"{len(found):,} tokens have no row in the table ({named}): nothing is made of them.",)


def _names(vocabulary: Vocabulary, size: int) -> tuple[str, ...]:
    return tuple(map(vocabulary.names.get, range(size), repeat("")))
