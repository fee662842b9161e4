"""Text of many languages: from corpora to batches that mix languages and objectives, and training that resumes."""

import numpy as np
import pytest
import tiny
import torch
from transformers import Trainer, TrainingArguments

from hf_xlt.data.multilingual import MultilingualText, train_joint_tokenizer
from hf_xlt.data.objectives import IGNORED, DataCollatorForMultilingualMLM, DataCollatorForTLM, MaskedLM
from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import ParallelText
from hf_xlt.files.corpora import Corpus, Split
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.train import train_tokenizer
from hf_xlt.trelm import TreLMConfig, TreLMForMaskedLM

TOKENIZER = tiny.tokenizer("de", "wordpiece")
LENGTH = 24
SENTENCES = {"en": 400, "de": 90, "id": 30}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for language, number in SENTENCES.items():
        text = "\n".join(sentences(language, "train")[:number])
        (folder / f"{language}.txt").write_text(text, encoding="utf-8")
    return folder


def splits(folder) -> dict[str, Split]:
    return {language: Split(Corpus(str(folder / f"{language}.txt"))) for language in SENTENCES}


def parallel(first: str = "en", second: str = "id", number: int = 50) -> ParallelText:
    return ParallelText(tuple(zip(*(sentences(code, "train")[:number] for code in (first, second)), strict=True)))


@pytest.fixture
def text(folder):
    return MultilingualText(splits(folder), {("en", "id"): parallel()}, alpha=0.3, pair_share=0.25)


@pytest.fixture
def packed(text, folder):
    return text.packed(TOKENIZER, LENGTH, 1000, folder / "cache")


def is_pair(example) -> bool:
    return "labels" in example


class TestStream:
    def test_languages_and_pairs_have_their_shares(self, packed):
        examples = list(packed.stream(1024, seed=0))
        pairs = [example for example in examples if is_pair(example)]
        assert len(pairs) == 256
        assert {(example["lang_ids"], example["target_lang_ids"]) for example in pairs} == {(0, 2)}
        weights = np.array([len(corpus) for corpus in packed.corpora.values()]) ** 0.3
        counts = np.bincount([int(example["lang_ids"]) for example in examples if not is_pair(example)])
        assert abs(counts - 768 * weights / weights.sum()).max() < 4

    def test_texts_are_the_packed_corpus_of_their_language(self, packed):
        for example in packed.stream(60, seed=0):
            if not is_pair(example):
                language = list(packed.corpora)[int(example["lang_ids"])]
                rows = packed.corpora[language]["input_ids"][:]
                assert (rows == example["input_ids"]).all(axis=1).any()

    def test_both_sides_of_a_pair_together_are_no_longer_than_a_text(self, packed):
        pairs = [example for example in packed.stream(200, seed=0) if is_pair(example)]
        assert max(len(example["input_ids"]) + len(example["labels"]) for example in pairs) <= LENGTH

    def test_some_languages_alone_keep_their_ids_and_pairs_of_others_are_left_out(self, packed):
        german = list(packed.stream(100, seed=0, languages=["de"]))
        assert {int(example["lang_ids"]) for example in german} == {1}
        two = list(packed.stream(512, seed=0, languages=["id", "en"]))
        assert sum(map(is_pair, two)) == 128
        assert {int(example["lang_ids"]) for example in two} == {0, 2}

    def test_without_parallel_text_all_examples_are_texts(self, folder):
        text = MultilingualText(splits(folder))
        stream = text.packed(TOKENIZER, LENGTH, 1000, folder / "cache").stream(300, seed=0)
        assert not any(map(is_pair, stream))

    def test_a_language_that_is_none_of_them_is_refused(self, packed):
        with pytest.raises(InputError, match="The language to train on is 'yo'; expected one of en, de, id"):
            packed.stream(10, seed=0, languages=["yo"])


class TestCollator:
    def test_texts_and_pairs_are_masked_as_alone_and_padded_together(self, packed):
        examples = list(packed.stream(64, seed=0))
        assert {is_pair(example) for example in examples} == {True, False}
        batch = DataCollatorForMultilingualMLM(TOKENIZER)(examples)
        alone = {True: DataCollatorForTLM(TOKENIZER), False: MaskedLM(TOKENIZER)}
        for i, example in enumerate(examples):
            row = alone[is_pair(example)]([example])
            length = row["input_ids"].shape[1]
            for name in ("input_ids", "labels", "attention_mask"):
                assert batch[name][i, :length].equal(row[name][0])
            languages = row["lang_ids"][0] if is_pair(example) else row["lang_ids"].expand(length)
            assert batch["lang_ids"][i, :length].equal(languages)
            assert (batch["labels"][i, length:] == IGNORED).all()
            assert not batch["attention_mask"][i, length:].any()

    def test_texts_alone_are_the_masked_language_models_own_batch(self, packed):
        examples = list(packed.stream(16, seed=0, languages=["en", "de"]))
        batch = DataCollatorForMultilingualMLM(TOKENIZER)(examples)
        expected = MaskedLM(TOKENIZER)(examples)
        assert batch.keys() == expected.keys()
        assert all(batch[name].equal(expected[name]) for name in expected)

    def test_a_pair_has_the_positions_that_it_has_alone(self, packed):
        pair = next(example for example in packed.stream(64, seed=0) if is_pair(example))
        beside, alone = (
            kind(TOKENIZER, position_offset=2)([pair]) for kind in (DataCollatorForMultilingualMLM, DataCollatorForTLM)
        )
        assert beside["position_ids"].equal(alone["position_ids"])
        assert beside["position_ids"].min() == 2

    @pytest.mark.parametrize("offset", [0, 2])
    def test_a_text_is_read_alike_beside_a_pair_and_without_one(self, packed, offset):
        examples = list(packed.stream(64, seed=0))
        texts = [example for example in examples if not is_pair(example)][:3]
        pair = next(example for example in examples if is_pair(example))
        collator = DataCollatorForMultilingualMLM(TOKENIZER, position_offset=offset)
        model = trelm(position_offset=offset)
        with torch.no_grad():
            alone, beside = (
                model(**{name: tensor for name, tensor in collator(rows).items() if name != "labels"}).logits[:3]
                for rows in (texts, [*texts, pair])
            )
        assert torch.allclose(alone, beside[:, : alone.shape[1]], atol=1e-5)


def trelm(**overrides) -> TreLMForMaskedLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    special = {"vocab_size": len(TOKENIZER), "pad_token_id": TOKENIZER.pad_token_id}
    model = TreLMForMaskedLM(TreLMConfig(**shape | none | special, languages=list(SENTENCES), **overrides))
    with torch.no_grad():
        model.trelm.embeddings.language_embeddings.weight.normal_()
    return model.eval()


@pytest.mark.slow
def test_trainer_resumes_where_it_stopped(packed, tmp_path):
    def trained(name: str, resume: str | None = None) -> TreLMForMaskedLM:
        args = TrainingArguments(
            str(tmp_path / name),
            max_steps=6,
            save_steps=3,
            per_device_train_batch_size=4,
            learning_rate=1e-2,
            train_sampling_strategy="sequential",
            remove_unused_columns=False,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
        )
        collator = DataCollatorForMultilingualMLM(TOKENIZER)
        trainer = Trainer(trelm(), args, train_dataset=packed.stream(24, seed=1), data_collator=collator)
        trainer.train(resume_from_checkpoint=resume)
        return trainer.model

    whole = trained("whole").state_dict()
    resumed = trained("resumed", str(tmp_path / "whole" / "checkpoint-3")).state_dict()
    assert all(torch.equal(whole[name], tensor) for name, tensor in resumed.items())
    assert any(not torch.equal(whole[name], tensor) for name, tensor in trelm().state_dict().items())


def test_the_joint_tokenizer_is_trained_with_the_same_smoothing(text):
    same, other = (train_joint_tokenizer(text.splits, alpha, 500, "byte-level-bpe") for alpha in (0.3, 1.0))
    vocabulary = train_tokenizer(text.smoothed_lines(), 500, "byte-level-bpe").get_vocab()
    assert vocabulary == same.get_vocab() != other.get_vocab()


class TestBadInput:
    def test_a_text_of_no_language(self):
        with pytest.raises(InputError, match="There is no language"):
            MultilingualText({})

    def test_parallel_text_of_another_language_or_of_one(self, folder):
        with pytest.raises(InputError, match="A language of parallel text is 'yo'; expected one of en, de, id"):
            MultilingualText(splits(folder), {("en", "yo"): parallel()})
        with pytest.raises(InputError, match="Parallel text is of 'en' and itself"):
            MultilingualText(splits(folder), {("en", "en"): parallel()})

    @pytest.mark.parametrize("name", ["alpha", "pair_share"])
    def test_a_share_out_of_range(self, folder, name):
        with pytest.raises(InputError, match=rf"{name} is 2\.0; expected a number from 0 to 1"):
            MultilingualText(splits(folder), **{name: 2.0})
