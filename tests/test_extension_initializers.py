"""Models of extended tokenizers: whatever the method, the source's rows stay, and new tokens alone get new ones."""

import json
import re
from functools import cache

import pytest
import tiny
import torch
from test_cli import call
from test_registry import OPTIONS, german, needed, places  # noqa: F401
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, PreTrainedTokenizerFast

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.files import plain_yaml
from hf_xlt.initializers import METHODS, initializer
from hf_xlt.initializers.base import OVERLAPS
from hf_xlt.initializers.baselines import MeanInitializer, RandomInitializer
from hf_xlt.initializers.subtoken_mean import SubtokenMeanInitializer
from hf_xlt.recipes import load_recipe, recipe_from
from hf_xlt.recipes.settings import SettingError
from hf_xlt.runs import check_recipe, run_recipe
from hf_xlt.runs.kinds.transfer import Transfer
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.extend import extend_tokenizer
from hf_xlt.tokenizers.vocabulary import Vocabulary, kept_pairs, overlap
from hf_xlt.transport import Transport

GERMAN = sentences("de", "train")
ADDED = 60
FAMILY = {"bert": "wordpiece", "gpt2": "byte-level-bpe", "llama": "unigram", "t5": "unigram", "bart": "byte-level-bpe"}


@cache
def extended(family):
    return extend_tokenizer(tiny.tokenizer("en", family), GERMAN, ADDED)


def tables(checkpoint):
    """Every vocabulary-sized tensor, rows first."""
    return {name: checkpoint.weights.load(name).movedim(axis, 0) for name, axis in checkpoint.layout.axes.items()}


def holds_the_rows_of(built, source, size):
    for name, rows in tables(source).items():
        assert torch.equal(tables(built)[name][:size], rows[:size]), name


@pytest.mark.parametrize("kind", FAMILY)
@pytest.mark.parametrize("tied", [True, False])
def test_tables_heads_and_biases_keep_their_rows(kind, tied, tmp_path):
    english = tiny.tokenizer("en", FAMILY[kind])
    folder = tiny.save(tiny.model(kind, english, tie_word_embeddings=tied, rows=640), english, tmp_path / "source")
    made = SubtokenMeanInitializer(folder, extended(FAMILY[kind]))
    built = Checkpoint.open(made.build(tmp_path / "out"))
    holds_the_rows_of(built, made.source, len(english))
    assert built.vocab_size == 768  # the next multiple of 128, as 640 is one
    counts = made.transport().counts
    assert (counts.copied, counts.mixed + counts.drawn, counts.unused) == (len(english), ADDED, 108)
    assert made.overlap().missing_ids.tolist() == list(range(len(english), len(english) + ADDED))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.slow
def test_every_method_keeps_them(method, places, tmp_path):  # noqa: F811
    english, more = tiny.tokenizer("en", "wordpiece"), extended("wordpiece")
    helper = tiny.save(tiny.model("gpt2", more, seed=2, width=8), more, tmp_path / "helper")
    evidence = needed(method, places | {"tokenizer": more, "helper": helper, "donor": helper})
    made = initializer(method, **evidence, **OPTIONS.get(method, {}))
    if method == "adversarial":  # random vectors have no shape in common with the source's
        assert made.overlap().target_ids.tolist() == list(range(len(english)))
        return
    holds_the_rows_of(Checkpoint.open(made.build(tmp_path / "out")), made.source, len(english))
    copied = made.transport().copied_target
    assert copied[: len(english)].tolist() == list(range(len(english)))
    assert method == "ofa" or len(copied) == len(english)  # a new token may have one in another case


@pytest.mark.parametrize("rule", OVERLAPS)
def test_every_rule_of_what_is_shared_keeps_them(rule, places):  # noqa: F811
    made = MeanInitializer(places["source"], extended("wordpiece"), overlap=rule)
    size = made.source_vocabulary.size
    assert made.overlap().source_ids[:size].tolist() == list(range(size))
    assert made.overlap().target_ids[:size].tolist() == list(range(size))


def test_tokens_of_one_form_keep_their_own_rows():
    vocab = {"[UNK]": 0, "##中": 1, "中": 2, "a": 3}
    tokenizers = []
    for words in (vocab, vocab | {"b": 4}):
        backend = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizers.append(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]"))
    found = overlap(*tokenizers)
    assert found.source_ids.tolist() == found.target_ids.tolist() == [0, 1, 2, 3]
    assert found.missing_ids.tolist() == [4]


def test_rows_without_a_token_are_kept_and_padding_is_used(tmp_path):
    vocab = {"[UNK]": 0, "Haus": 2, "h": 5}
    backend = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    holed = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    more = extend_tokenizer(holed, ["Hund Hund hub hub"], 4)
    folder = tiny.save(tiny.model("bert", holed, rows=8), holed, tmp_path / "source")
    made = RandomInitializer(folder, more)
    holds_the_rows_of(Checkpoint.open(made.build(tmp_path / "out")), made.source, 6)
    assert min(more.get_vocab()[token] for token in more.get_vocab().keys() - vocab) == 6
    assert made.transport().counts.drawn == 4
    pairs = kept_pairs(Vocabulary.of(holed), Vocabulary.of(more))
    assert pairs == {id_: id_ for id_ in range(6)}


def test_another_vocabulary_is_no_extension():
    source, target = (Vocabulary.of(tiny.tokenizer(language, "wordpiece")) for language in ("en", "de"))
    assert not target.extends(source)
    assert len(kept_pairs(source, target)) == 5


def test_settings_that_hold_ids_stay(tmp_path):
    english = tiny.tokenizer("en", "byte-level-bpe")
    model = tiny.model("bart", english)
    model.generation_config.bad_words_ids = [[17]]
    model.generation_config.eos_token_id = [2, 17]
    model.config.decoder_start_token_id = 21
    folder = tiny.save(model, english, tmp_path / "source")
    MeanInitializer(folder, extended("byte-level-bpe")).build(tmp_path / "out")
    for name in ("config.json", "generation_config.json"):
        before, after = (json.loads((tmp_path / place / name).read_text()) for place in ("source", "out"))
        assert after.pop("vocab_size", None) == (len(english) + ADDED if "vocab_size" in before else None)
        before.pop("vocab_size", None)
        assert after == before


@pytest.mark.parametrize(("kind", "auto_class"), [("bert", AutoModelForMaskedLM), ("gpt2", AutoModelForCausalLM)])
def test_a_text_without_new_tokens_means_what_it_did(kind, auto_class, tmp_path):
    english, more = tiny.tokenizer("en", FAMILY[kind]), extended(FAMILY[kind])
    folder = tiny.save(tiny.model(kind, english), english, tmp_path / "source")
    MeanInitializer(folder, more).build(tmp_path / "out")
    texts = [text for text in sentences("en", "held_out") if max(more(text)["input_ids"]) < len(english)]
    assert texts
    source, built = (auto_class.from_pretrained(place) for place in (folder, tmp_path / "out"))
    opened = AutoTokenizer.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        before = source(**english(texts[0], return_tensors="pt")).logits
        after = built(**opened(texts[0], return_tensors="pt")).logits
    torch.testing.assert_close(after[..., : len(english)], before)


def test_explanations_and_the_card_say_what_was_copied(places, tmp_path):  # noqa: F811
    more = extended("wordpiece")
    MeanInitializer(places["source"], more).build(tmp_path / "out")
    transport = Transport.load(tmp_path / "out" / "transport.safetensors")
    assert transport.explain("the") == [("the", 1.0)]
    new = Vocabulary.of(more).names[len(tiny.tokenizer("en", "wordpiece"))]
    assert transport.origin(new) == "mixed"
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert re.search(r"600 .*copied from the source", card)
    assert re.search(r"60 .*mixed", card)


STEPS = [f"stages.{stage}.{key}={value}" for stage in (0, 1) for key, value in
         {"steps": 2, "batch_size": 4, "evaluations": 1, "checkpoints": 1, "sequence_length": 16}.items()]  # fmt: skip


@pytest.mark.slow
def test_a_recipe_extends_the_sources_tokenizer_and_compares_with_random_rows_for_the_new_tokens(places, tmp_path):  # noqa: F811
    asked = ["tokenizer.added=40", f"source={places['source']}", f"data.corpus={places['corpus']}"]
    recipe = load_recipe("focus", [*asked, "data.held_out_every=40", *STEPS])
    assert recipe_from(plain_yaml.load(recipe.to_yaml())) == recipe
    compared = Transfer(recipe).comparison(tmp_path, compare=True)
    assert len(compared.tokenizer) == compared.config.vocab_size == 640
    assert [method.transport.counts.copied for method in compared.variants if method.transport] == [600, 600, 600]
    (random,) = (variant for variant in compared.variants if variant.name == "random rows")
    assert random.transport.counts.drawn == 40
    run_recipe(recipe, tmp_path / "out", "hf-xlt run focus")
    opened = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert Vocabulary.of(opened).extends(Vocabulary.of(tiny.tokenizer("en", "wordpiece")))
    assert AutoModelForMaskedLM.from_pretrained(tmp_path / "out").config.vocab_size == 640


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"tokenizer": {"added": 5}}, "tokenizer.family"),
        ({"tokenizer": {"family": "source", "added": -5}}, "tokenizer.added"),
        ({"tokenizer": {"family": "source", "added": 5}, "helper": "x"}, "tokenizer.added"),
        ({"initializer": None, "model": {"model_type": "llama"}, "tokenizer": {"family": "source", "added": 5}},
         "tokenizer.family"),
    ],
)  # fmt: skip
def test_what_a_recipe_cannot_extend_is_refused(changes, key):
    with pytest.raises(SettingError) as raised:
        check_recipe(recipe_from({"name": "mine", "initializer": {"method": "mean"}} | changes))
    assert raised.value.key == key


def test_the_command_line_extends_a_tokenizer(monkeypatch, capsys, places, tmp_path):  # noqa: F811
    asked = ("tokenizer", "--extend", places["source"], "--corpus", places["corpus"], "--output", tmp_path / "out")
    code, out, _ = call(monkeypatch, capsys, *asked, "--added", 40)
    assert code == 0
    assert "640 entries" in out
    assert len(AutoTokenizer.from_pretrained(tmp_path / "out")) == 640
    for more, message in ((("--like", places["source"]), "give one of them"), (("--added", 90_000), "Give more text")):
        code, _, err = call(monkeypatch, capsys, *asked, "--overwrite", *more)
        assert code == 2
        assert message in err
