"""A target tokenizer is fitted to its body: renumbered where that counts from padding, refused where tokens lack."""

import json

import pytest
import tiny
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from hf_xlt import CLPInitializer, FocusInitializer, MeanInitializer, OMPInitializer, PooledInitializer
from hf_xlt.checkpoint.fit import FittedTokenizer
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rewrite import revocabulary
from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import ParallelText
from hf_xlt.initializers.subtoken_mean import SubtokenMeanInitializer
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.renumber import exchanged, without_ids_from
from hf_xlt.transport import Transport
from hf_xlt.transport.mixture import SparseMixture

TEXTS = ["Der Hund schläft, 3.14!", "", "  x <mask> [MASK]y\tz", "naïve 🚀 中文"]


def word_level():
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "<pad>": 1, "Der": 2, "Hund": 3, "x": 4}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")


def byte_fallback():
    """A Unigram model with bytes, its padding added beside it, as T5's sentinels are."""
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("▁", -2.0), ("x", -3.0), ("▁Hund", -4.0)]
    pieces += [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    tokenizer.add_special_tokens([AddedToken("<pad>", special=True), AddedToken("<extra>", special=True)])
    tokenizer.post_processor = processors.Sequence(
        [processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])]
    )
    roles = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template="{{ eos_token }}", **roles)


def bert_framed():
    tokenizer = tiny.tokenizer("de", "wordpiece", 500)
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **tokenizer.special_tokens_map)


TOKENIZERS = {
    "BPE": lambda: tiny.tokenizer("de", "byte-level-bpe", 500),
    "Unigram": lambda: tiny.tokenizer("de", "unigram", 500),
    "WordPiece": lambda: tiny.tokenizer("de", "wordpiece", 500),
    "WordLevel": word_level,
    "byte fallback": byte_fallback,
    "BERT's frame": bert_framed,
}


def mapped(ids, first, second):
    return [{first: second, second: first}.get(id_, id_) for id_ in ids]


@pytest.mark.slow
@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("places", [(0, 1), (1, -1), (2, 3)])
def test_exchanged_ids_change_nothing_else(name, places, tmp_path):
    tokenizer = TOKENIZERS[name]()
    first, second = (place % len(tokenizer) for place in places)
    made, vocab = exchanged(tokenizer, first, second), tokenizer.get_vocab()
    made.save_pretrained(tmp_path)
    for new in (made, AutoTokenizer.from_pretrained(tmp_path)):
        assert new.get_vocab() == dict(zip(vocab, mapped(vocab.values(), first, second), strict=True))
        for text in TEXTS:
            assert new(text)["input_ids"] == mapped(tokenizer(text)["input_ids"], first, second)
            assert new("x", text)["input_ids"] == mapped(tokenizer("x", text)["input_ids"], first, second)
            assert new.decode(new(text)["input_ids"]) == tokenizer.decode(tokenizer(text)["input_ids"])
        assert new.special_tokens_map == tokenizer.special_tokens_map
        assert new.chat_template == tokenizer.chat_template
        assert new.pad_token_id == mapped([tokenizer.pad_token_id], first, second)[0]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokens_without_a_row_are_no_longer_made(name):
    tokenizer = TOKENIZERS[name]()
    rows = len(tokenizer) - 1
    known = without_ids_from(tokenizer, rows)
    assert known.get_vocab() == {token: id_ for token, id_ in tokenizer.get_vocab().items() if id_ < rows}
    assert all(id_ < rows for text in TEXTS for id_ in known(text)["input_ids"])
    assert without_ids_from(tokenizer, len(tokenizer)) is tokenizer


def test_a_role_whose_token_has_no_row_is_none():
    tokenizer = byte_fallback()
    assert without_ids_from(tokenizer, tokenizer.pad_token_id).pad_token is None
    assert tokenizer.pad_token == "<pad>"


@pytest.fixture
def roberta(tmp_path):
    english = tiny.tokenizer("en", "byte-level-bpe")  # pads with 2
    return tiny.save(tiny.model("roberta", english), english, tmp_path / "roberta")


def helper_of(tokenizer, folder, rows=None):
    return tiny.save(tiny.model("gpt2", tokenizer, rows=rows, seed=2, width=8), tokenizer, folder)


def test_the_tokenizer_that_is_given_stays_as_it_is(roberta):
    german = tiny.tokenizer("de", "wordpiece", 500)
    fitted = FittedTokenizer.of(Checkpoint.open(roberta), german)
    assert (german.pad_token_id, german.cls_token_id) == (0, 2)
    assert (fitted.tokenizer.pad_token_id, fitted.tokenizer.cls_token_id) == (2, 0)
    assert fitted.exchanged == (0, 2)
    assert "'[PAD]' has this id" in fitted.notices[0]
    assert FittedTokenizer.of(Checkpoint.open(roberta), fitted.tokenizer).exchanged is None


def test_a_body_that_counts_from_nothing_takes_any_tokenizer(tmp_path):
    english = tiny.tokenizer("en", "wordpiece")
    bert = Checkpoint.open(tiny.save(tiny.model("bert", english), english, tmp_path / "bert"))
    german = tiny.tokenizer("de", "unigram", 500)
    assert FittedTokenizer.of(bert, german).tokenizer is german


def test_too_small_a_vocabulary_for_the_padding_id_is_refused(tmp_path):
    english = tiny.tokenizer("en", "wordpiece")
    model = tiny.model("roberta", english, pad_token_id=550, max_position_embeddings=700)
    roberta = tiny.save(model, english, tmp_path / "roberta")
    with pytest.raises(InputError, match="counts positions from id 550"):
        MeanInitializer(roberta, tiny.tokenizer("de", "wordpiece", 500))


def test_a_tokenizer_that_was_not_fitted_is_refused_where_a_checkpoint_is_rewritten(roberta, tmp_path):
    german, nothing = tiny.tokenizer("de", "wordpiece", 500), torch.empty(0, dtype=torch.int64)
    transport = Transport(600, 500, nothing, nothing, nothing, None, [""] * 600, [""] * 500)
    with pytest.raises(InputError) as refused:
        revocabulary(Checkpoint.open(roberta), transport, german, tmp_path / "out")
    assert (refused.value.value, refused.value.expected) == (0, "2")


def named_rows(initializer):
    """Token → its row of the target table, of tokens that are not drawn."""
    transport = initializer.transport()
    table = transport.apply(initializer.source.input_rows())
    kept = ~transport.origins["drawn"]
    return {token: table[id_] for token, id_ in initializer.tokenizer.get_vocab().items() if kept[id_]}


def both_ways(make, tmp_path):
    """The rows that a method makes for a body that counts from padding, and for one of the same table that does not."""
    english = tiny.tokenizer("en", "byte-level-bpe")
    roberta = tiny.save(tiny.model("roberta", english), english, tmp_path / "counts")
    bert = tiny.model("bert", english)
    bert.get_input_embeddings().weight.data = tiny.model("roberta", english).get_input_embeddings().weight.data
    bert.tie_weights()
    plain = tiny.save(bert, english, tmp_path / "does-not")
    return named_rows(make(roberta)), named_rows(make(plain))


@pytest.mark.parametrize("method", ["clp", "omp", "pooled", "focus", "similarity"])
def test_what_is_given_by_ids_follows_the_renumbering(method, tmp_path):
    german = tiny.tokenizer("de", "wordpiece", 500)
    helper = helper_of(german, tmp_path / "helper")
    vectors = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    table = SparseMixture(torch.arange(501), torch.randint(600, (500,)), torch.ones(500), 600)
    make = {
        "clp": lambda source: CLPInitializer(source, helper, "top-k"),
        "omp": lambda source: OMPInitializer(source, helper, k=4),
        "pooled": lambda source: PooledInitializer(source, german, helper=helper),
        "focus": lambda source: FocusInitializer(source, german, vectors=vectors),
        "similarity": lambda source: PooledInitializer(source, german, similarity=table),
    }[method]
    counted, plain = both_ways(make, tmp_path)
    assert counted.keys() == plain.keys()
    for token, row in plain.items():
        torch.testing.assert_close(counted[token], row)


def without_padding(language="de"):
    backend = tiny.tokenizer(language, "byte-level-bpe", 500).backend_tokenizer
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def test_padding_that_ends_texts_too_is_none_where_positions_are_counted_from_it(roberta, tmp_path):
    shared = without_padding()
    shared.pad_token = "</s>"
    with pytest.raises(InputError) as refused:
        MeanInitializer(roberta, shared)
    assert refused.value.value == "pad"
    assert "add_missing_tokens" in refused.value.hint
    fitted = MeanInitializer(roberta, shared, add_missing_tokens=True).tokenizer
    assert (fitted.pad_token, fitted.pad_token_id) == ("<pad>", 2)
    assert fitted.eos_token_id != 2
    assert shared.pad_token == "</s>"


def test_a_padding_token_that_is_added_has_no_vector_and_gets_the_sources_row(roberta):
    german = Tokenizer.from_str(tiny.tokenizer("de", "wordpiece", 500).backend_tokenizer.to_str())
    bare = PreTrainedTokenizerFast(tokenizer_object=german, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")
    initializer = FocusInitializer(roberta, bare, vectors=torch.rand(500, 4), add_missing_tokens=True)
    assert (len(initializer.tokenizer), initializer.tokenizer.pad_token_id) == (501, 2)
    made = initializer.transport().apply(initializer.source.input_rows())
    torch.testing.assert_close(made[2], initializer.source.input_rows()[2])


def test_a_start_of_the_decoder_that_the_tokenizer_lacks_is_refused_or_added(tmp_path):
    english = AutoTokenizer.from_pretrained(saved_with(tmp_path / "tok", ["de_DE"]))
    start = english.convert_tokens_to_ids("de_DE")
    bart = tiny.save(tiny.model("bart", english, decoder_start_token_id=start), english, tmp_path / "bart")
    german = tiny.tokenizer("de", "unigram", 500)
    with pytest.raises(InputError) as refused:
        MeanInitializer(bart, german)
    assert refused.value.value == "de_DE"
    helped = MeanInitializer(bart, german, add_missing_tokens=True)
    assert helped.target_config().decoder_start_token_id == helped.tokenizer.convert_tokens_to_ids("de_DE") == 500


def saved_with(folder, special):
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder(folder))
    tokenizer.add_tokens([AddedToken(token, special=True) for token in special], special_tokens=True)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_folder(folder, family="byte-level-bpe", language="en"):
    tiny.tokenizer(language, family).save_pretrained(folder)
    return folder


@pytest.fixture
def rowless(tmp_path):
    """A source whose tokenizer has an ordinary and two special tokens more than its table has rows."""
    tokenizer = AutoTokenizer.from_pretrained(saved_with(tmp_path / "tok", ["<image>", "<sound>"]))
    return tiny.save(tiny.model("gpt2", tokenizer, rows=599), tokenizer, tmp_path / "rowless")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mean", "subtoken-mean", "pooled", "extended"])
def test_source_tokens_without_a_row_are_never_used(method, rowless, tmp_path):
    german, own = tiny.tokenizer("de", "unigram", 500), AutoTokenizer.from_pretrained(rowless)
    pairs = tuple(zip(sentences("en", "train")[:40], sentences("de", "train")[:40], strict=True))
    initializer = {
        "mean": lambda: MeanInitializer(rowless, german),
        "subtoken-mean": lambda: SubtokenMeanInitializer(rowless, german),
        "pooled": lambda: PooledInitializer(rowless, german, parallel=ParallelText(pairs)),
        "extended": lambda: MeanInitializer(rowless, own),
    }[method]()
    assert "3 tokens have no row" in initializer.notices[-1]
    assert initializer.source_vocabulary.size == 599
    initializer.build(tmp_path / "out", corpus=None)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["vocab_size"] == len(initializer.tokenizer)


@pytest.mark.parametrize("make", [CLPInitializer, OMPInitializer])
def test_helper_tokens_without_a_row_are_no_evidence(make, tmp_path):
    english = tiny.tokenizer("en", "byte-level-bpe")
    source = tiny.save(tiny.model("gpt2", english), english, tmp_path / "source")
    german = AutoTokenizer.from_pretrained(tiny_folder(tmp_path / "tok", "unigram", "de"))
    german.add_tokens([AddedToken("<image>", special=True)], special_tokens=True)
    helper = helper_of(german, tmp_path / "helper", rows=len(german) - 3)
    initializer = make(source, helper)
    origins, shared = initializer.transport().origins, initializer.overlap().target_ids
    rowless = torch.arange(len(german) - 3, len(german))
    assert origins["drawn"][rowless[~torch.isin(rowless, torch.from_numpy(shared))]].all()
    assert origins["drawn"][len(german) - 1]
    initializer.build(tmp_path / "out")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab() == german.get_vocab()


def test_another_models_tokenizer_is_refused(tmp_path):
    english = tiny.tokenizer("en", "byte-level-bpe")
    source = tiny.save(tiny.model("gpt2", english, rows=500), english, tmp_path / "source")
    with pytest.raises(InputError, match="ids up to 599"):
        MeanInitializer(source, tiny.tokenizer("de", "unigram", 500))


def test_a_tokenizer_that_would_open_as_another_is_refused(tmp_path):
    english = tiny.tokenizer("en", "byte-level-bpe")
    ids = {f"{role}_token_id": getattr(english, f"{role}_token_id") for role in ("pad", "bos", "eos")}
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=600, num_key_value_heads=2, **shape, **ids))
    source = tiny.save(model, english, tmp_path / "source")
    MeanInitializer(source, tiny.tokenizer("de", "byte-level-bpe", 500))
    with pytest.raises(InputError, match="opens any tokenizer as Qwen2Tokenizer"):
        MeanInitializer(source, tiny.tokenizer("de", "unigram", 500))
