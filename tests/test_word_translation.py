"""Word translation: as all pairs of words tell, by rows and by states, with each side read in its own way."""

import pytest
import tiny
import torch
from transformers import AutoModel, AutoTokenizer

from hf_xlt.errors import InputError
from hf_xlt.evaluation.config import ModelSpec
from hf_xlt.evaluation.tasks.retrieval import WordTranslation
from hf_xlt.trelm import TreLMForMaskedLM

TASK = WordTranslation()
ENTRIES = [
    ("house", "Haus"), ("dog", "Hund"), ("the", "der"), ("the", "die"), ("the", "das"), ("water", "Wasser"),
    ("good morning", "guten Morgen"), ("train", "Zug"), ("book", "Buch"), ("garden", "Garten"), ("child", "Kind"),
    ("small", "klein"), ("little", "klein"), ("letter", "Brief"), ("friend", "Freund"),
]  # fmt: skip
SOURCES = list(dict.fromkeys(source for source, _ in ENTRIES))
TARGETS = list(dict.fromkeys(target for _, target in ENTRIES))


@pytest.fixture
def dictionary(tmp_path):
    path = tmp_path / "muse.tsv"
    path.write_text("\n".join(f"{source}\t{target}\ttest" for source, target in ENTRIES), encoding="utf-8")
    return str(path)


def saved(folder, language="de", kind="bert", family="wordpiece", **overrides):
    tokenizer = tiny.tokenizer(language, family)
    model = tiny.model(kind, tokenizer, **overrides)
    return str(tiny.save(model.base_model, tokenizer, folder))


def spaces(model, tokenizer, words, space=""):
    """Static and contextual vectors of words, one word at a time."""
    rows = model.get_input_embeddings().weight
    static, contextual = [], []
    for word in words:
        bare = tokenizer(space + word, add_special_tokens=False, return_tensors="pt")["input_ids"][0]
        static.append(rows[bare].mean(0))
        contextual.append(model(**tokenizer(space + word, return_tensors="pt")).last_hidden_state[0].mean(0))
    return torch.stack(static).detach(), torch.stack(contextual).detach()


def dense(sources, targets):
    """Cosines and CSLS of all pairs, in float64."""
    cosines = torch.nn.functional.cosine_similarity(sources.double()[:, None], targets.double()[None], dim=2)
    of_sources = cosines.topk(min(10, len(targets)), dim=1).values.mean(1, keepdim=True)
    of_targets = cosines.topk(min(10, len(sources)), dim=0).values.mean(0, keepdim=True)
    return cosines, 2 * cosines - of_sources - of_targets


def assert_hits(outcome, of_sources, of_targets):
    """A hit where a translation scores higher than all other words, none where lower; either if rounding tells."""
    gold = torch.tensor([[(source, target) in ENTRIES for target in TARGETS] for source in SOURCES])
    by_space = [dense(*sides) for sides in zip(of_sources, of_targets, strict=True)]
    hits = torch.from_numpy(outcome.counts[:, 1:]).T.bool()
    for of_way, scored in zip(hits, by_space[0] + by_space[1], strict=True):
        right, wrong = (scored.masked_fill(left_out, -torch.inf).amax(1) for left_out in (~gold, gold))
        assert of_way[right > wrong + 1e-5].all()
        assert not of_way[right < wrong - 1e-5].any()


def scores(outcome):
    return {name: float(score) for name, score in TASK.metric().of_counts(outcome.counts.sum(0)).items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "family", "space"),
    [("bert", "wordpiece", ""), ("roberta", "byte-level-bpe", " "), ("bert", "unigram", "")],
)
def test_hits_are_those_of_a_dense_computation(tmp_path, dictionary, kind, family, space):
    folder = saved(tmp_path / "model", kind=kind, family=family)
    outcome = TASK.measure(ModelSpec(folder), {"test": dictionary})
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    assert_hits(outcome, *(spaces(model, tokenizer, words, space) for words in (SOURCES, TARGETS)))
    assert (outcome.counts[:, 0] == 1).all()
    shares = outcome.counts[:, 1:].mean(0).tolist()
    assert scores(outcome) == pytest.approx(dict(zip(TASK.metric().ways, shares, strict=True)))
    assert TASK.headline in scores(outcome)


def test_a_source_gives_its_tokenizer_and_rows_to_the_models_body(tmp_path, dictionary):
    english, german = saved(tmp_path / "en", "en", seed=1), saved(tmp_path / "de", "de", seed=2)
    outcome = TASK.measure(ModelSpec(german, source=english), {"test": dictionary})
    body, source = (AutoModel.from_pretrained(folder).eval() for folder in (german, english))
    of_targets = spaces(body, AutoTokenizer.from_pretrained(german), TARGETS)
    body.set_input_embeddings(source.get_input_embeddings())
    assert_hits(outcome, spaces(body, AutoTokenizer.from_pretrained(english), SOURCES), of_targets)


def test_a_trelm_with_separate_embeddings_reads_each_side_with_its_own(tmp_path, dictionary):
    english, german = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "wordpiece")
    model = TreLMForMaskedLM.from_encoder(
        tiny.model("bert", english), languages=["en", "de"], tokenizers=[english, german], tri_layer_index=None
    )
    folder = tiny.save(model, german, tmp_path / "trelm")
    english.save_pretrained(folder / "source_tokenizer")
    outcome = TASK.measure(ModelSpec(str(folder)), {"test": dictionary})
    sides = []
    for language, tokenizer, words in (("en", english, SOURCES), ("de", german, TARGETS)):
        model.set_language(language)
        sides.append(spaces(model.base_model, tokenizer, words))
    assert_hits(outcome, *sides)


def test_words_that_translate_as_themselves_are_all_found(tmp_path):
    folder = saved(tmp_path / "model")
    tokens = AutoTokenizer.from_pretrained(folder).get_vocab()
    words = sorted(word for word in tokens if word.isalpha() and len(word) > 3)[:50]
    (tmp_path / "same.tsv").write_text("\n".join(f"{word}\t{word}" for word in words), encoding="utf-8")
    outcome = TASK.measure(ModelSpec(folder), {"test": str(tmp_path / "same.tsv")})
    found = scores(outcome)
    assert found["static_nn_p@1"] == found["contextual_nn_p@1"] == 1


def test_any_translation_counts_and_each_source_word_once(tmp_path):
    folder = saved(tmp_path / "model")
    rows = [("Haus", "Hund"), ("Haus", "Haus"), ("Haus", "Haus"), ("Buch", "Kind"), ("Kind", "Buch")]
    (tmp_path / "d.tsv").write_text("\n".join(map("\t".join, rows)), encoding="utf-8")
    outcome = TASK.measure(ModelSpec(folder), {"test": str(tmp_path / "d.tsv")})
    assert (outcome.notes["source words"], outcome.notes["target words"]) == (3, 4)
    assert outcome.counts[:, 1].tolist() == [1, 0, 0]  # nearest to a word is the word itself


def test_words_without_a_known_token_are_counted(tmp_path):
    folder = saved(tmp_path / "model")
    (tmp_path / "d.tsv").write_text("漢\t字\nHaus\tHaus\n漢語\tBuch\n", encoding="utf-8")
    outcome = TASK.measure(ModelSpec(folder), {"test": str(tmp_path / "d.tsv")})
    assert outcome.counts[1, [1, 3]].tolist() == [1, 1]  # Haus, by rows and by states
    assert outcome.notes["unknown words"] == 3


def test_lines_with_an_empty_side_are_counted_and_too_few_pairs_refused(tmp_path):
    folder = saved(tmp_path / "model")
    path = tmp_path / "d.tsv"
    path.write_text("Haus\tHaus\nBuch\t\n\tKind\nKind\tKind\n", encoding="utf-8")
    assert TASK.measure(ModelSpec(folder), {"test": str(path)}).notes["skipped"] == 2
    path.write_text("Haus\tHaus\nBuch\t\n", encoding="utf-8")
    with pytest.raises(InputError, match="1 pairs and 1 lines with an empty side; expected two pairs or more"):
        TASK.measure(ModelSpec(folder), {"test": str(path)})
    with pytest.raises(InputError, match="is not a file"):
        TASK.measure(ModelSpec(folder), {"test": str(tmp_path / "missing.tsv")})


def test_models_that_do_not_fit_are_refused(tmp_path, dictionary):
    folder, wide = saved(tmp_path / "model"), saved(tmp_path / "wide", width=32)
    with pytest.raises(InputError, match="have width 32, those of .* 16; expected one width"):
        TASK.measure(ModelSpec(folder, source=wide), {"test": dictionary})
    decoder = saved(tmp_path / "gpt2", kind="gpt2", family="byte-level-bpe")
    with pytest.raises(InputError, match="is a decoder"):
        TASK.measure(ModelSpec(decoder), {"test": dictionary})
