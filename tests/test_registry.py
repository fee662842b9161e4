"""Every method is built by name from the evidence given; what is missing, unknown or of no use is named."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.evidence.counting import dictionary_counts
from hf_xlt.evidence.translations import read_dictionary, read_parallel
from hf_xlt.evidence.vectors import read_vectors
from hf_xlt.files.corpora import Corpus
from hf_xlt.initializers import (
    METHODS,
    TRANSPORT_FILE,
    check_initializer,
    choose,
    evidence_facts,
    initializer,
    initializer_class,
    unused_evidence,
    used_evidence,
)
from hf_xlt.initializers.evidence import EVIDENCE, check_files
from hf_xlt.initializers.registry import parameters
from hf_xlt.report.tables import explanation_table
from hf_xlt.sample import sentences
from hf_xlt.transport import Transport

FILES = {
    "pooled": ("dictionary", "parallel"),
    "dictionary": ("dictionary",),
    "ramen": ("parallel",),
    "ramen-vectors": ("vectors", "source_vectors"),
    "wechsel": ("dictionary", "vectors", "source_vectors"),
    "focus": ("vectors",),
    "ofa": ("vectors", "source_vectors"),
    "adversarial": ("vectors", "corpus", "source_corpus"),
}
OPTIONS = {"clp": {"weighting": "positive"}}  # the paper's rows are drawn where a random helper's cosines cancel
ENTRIES = ("the\tdas", "water\tWasser", "mother\tMutter", "house\tHaus", "small\tklein", "is\tist", "and\tund")


def write_vectors(path, language, seed):
    words = list(dict.fromkeys(word.strip(".,!?") for line in sentences(language, "train") for word in line.split()))
    table = np.random.default_rng(seed).normal(size=(len(words), 16))
    lines = [f"{word} {' '.join(f'{number:.4f}' for number in row)}" for word, row in zip(words, table, strict=True)]
    path.write_text(f"{len(words)} 16\n" + "\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def german():
    return tiny.tokenizer("de", "wordpiece", 500)


@pytest.fixture(scope="module")
def places(tmp_path_factory, german):
    """Each piece of evidence, by its name."""
    folder = tmp_path_factory.mktemp("registry")
    english = tiny.tokenizer("en", "wordpiece")
    pairs = zip(sentences("en", "train")[:80], sentences("de", "train")[:80], strict=True)
    (folder / "dictionary").write_text("\n".join(ENTRIES) + "\n", encoding="utf-8")
    (folder / "parallel").write_text("\n".join(map("\t".join, pairs)) + "\n", encoding="utf-8")
    (folder / "corpus.txt").write_text("\n".join(sentences("de", "train")[:80]) + "\n", encoding="utf-8")
    (folder / "source_corpus.txt").write_text("\n".join(sentences("en", "train")[:80]) + "\n", encoding="utf-8")
    write_vectors(folder / "vectors", "de", 0)
    write_vectors(folder / "source_vectors", "en", 1)
    tiny.save(tiny.model("bert", english, seed=1), english, folder / "source")
    tiny.save(tiny.model("gpt2", german, seed=2, width=8), german, folder / "helper")
    return {path.stem: path for path in folder.iterdir()} | {"tokenizer": german, "donor": folder / "helper"}


def needs(method):
    """The evidence that a method cannot do without."""
    return [name for name, each in parameters(method).items() if name in EVIDENCE and each.default is each.empty]


def needed(method, places, without=()):
    names = {*needs(method), *FILES.get(method, ())} - {*without}
    return {name: places[name] for name in names}


def some(places, *names):
    return {name: places[name] for name in ("source", *names)}


BUILT = [
    *((method, OPTIONS.get(method, {})) for method in METHODS),
    ("clp", {"weighting": "paper"}),
    ("clp", {"weighting": "top-k", "k": 3}),
    ("clp", {"weighting": "sparsemax"}),
    ("ofa", {"factorized": 5}),
    ("ofa", {"factorized": 16, "weighting": "sparsemax"}),
    ("random", {"pad_to_multiple_of": 64, "seed": 7}),
]


@pytest.mark.parametrize(("method", "options"), BUILT)
@pytest.mark.parametrize(("kind", "dtype"), [("bert", torch.float32), ("llama", torch.bfloat16)])
@pytest.mark.slow
def test_the_transport_beside_a_model_makes_its_rows(method, options, dtype, kind, places, tmp_path, monkeypatch):
    monkeypatch.setattr("hf_xlt.geometry.align.CONFIDENCE", -1.0)  # random vectors do not align well
    english = tiny.tokenizer("en", "wordpiece")
    source = tiny.save(tiny.model(kind, english, seed=1).to(dtype), english, tmp_path / "source")
    evidence = needed(method, places) | {"source": source}
    built = initializer(method, **evidence, **options).build(tmp_path / "built")
    transport = Transport.load(built / TRANSPORT_FILE)
    before, after = Checkpoint.open(source), Checkpoint.open(built)
    for name in {before.layout.input_name, *(name for name in ("lm_head.weight",) if name in before.weights.tensors)}:
        rows = after.weights.load(name)
        assert rows.dtype == dtype
        assert torch.equal(transport.apply(before.weights.load(name)), rows), name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.slow
def test_each_method_is_built_of_the_evidence_it_needs(method, places, german):
    made = initializer(method, seed=7, **needed(method, places), **OPTIONS.get(method, {}))
    assert type(made) is initializer_class(method)
    assert made.seed == 7
    assert made.tokenizer.get_vocab() == german.get_vocab()
    assert len(repr(made)) < 200
    assert "\n" not in repr(made)
    if method == "adversarial":  # random vectors have no shape in common with the source's
        return
    transport = made.transport()
    rows = transport.apply(made.source.input_rows())
    assert rows.shape == (500, 16)
    assert rows.isfinite().all()
    if method != "random":
        assert transport.counts.mixed > 5


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_paths_and_opened_objects_make_the_same_rows(method, places, german, tmp_path, monkeypatch):
    monkeypatch.setattr("hf_xlt.geometry.align.CONFIDENCE", -1.0)  # random vectors do not align well
    german.save_pretrained(tmp_path / "tokenizer")
    opened = {
        "source": Checkpoint.open(places["source"]),
        "tokenizer": german,
        "helper": Checkpoint.open(places["helper"]),
        "donor": Checkpoint.open(places["donor"]),
        "dictionary": read_dictionary(places["dictionary"]),
        "parallel": read_parallel(places["parallel"]),
        "vectors": read_vectors(places["vectors"]),
        "source_vectors": read_vectors(places["source_vectors"]),
        "corpus": Corpus.of(places["corpus"]),
        "source_corpus": Corpus.of(places["source_corpus"]),
    }
    named = {**places, "tokenizer": str(tmp_path / "tokenizer")}
    by_name, by_object = (
        initializer(method, **needed(method, given), **OPTIONS.get(method, {})).transport() for given in (named, opened)
    )
    table = opened["source"].input_rows()
    assert torch.equal(by_name.apply(table), by_object.apply(table))


@pytest.mark.parametrize(("method", "name"), [(method, name) for method in METHODS for name in needs(method)])
def test_missing_evidence_is_named(method, name, places):
    with pytest.raises(InputError) as refused:
        initializer(method, **needed(method, places, without=[name]))
    assert refused.value.value == (name,)
    assert f"--{name.replace('_', '-')}" in refused.value.hint


def test_pooled_needs_some_evidence_of_translations():
    with pytest.raises(InputError) as refused:
        check_initializer("pooled", {"source": "source"}, to_come=("tokenizer",))
    assert refused.value.value == ("dictionary", "parallel", "vectors", "helper")


@pytest.mark.parametrize("method", METHODS)
def test_all_know_their_options(method, places):
    with pytest.raises(InputError) as refused:
        check_initializer(method, needed(method, places) | {"sede": 1})
    assert refused.value.value == "sede"
    assert refused.value.hint.startswith("Did you mean 'seed'?")
    with pytest.raises(InputError) as refused:
        check_initializer(method, needed(method, places) | {"seed": "one"})
    assert (refused.value.value, refused.value.expected) == ("one", "a whole number")


def test_options_are_checked_by_their_types(places):
    for method, option, value, expected in (
        ("clp", "k", True, "a whole number"),
        ("clp", "temperature", "hot", "a number"),
        ("clp", "ignore_case", "no", "true or false"),
        ("pooled", "weights", 3, "Mapping[str, float] or None"),
        ("ofa", "factorized", 1.5, "a whole number or None"),
    ):
        with pytest.raises(InputError) as refused:
            check_initializer(method, needed(method, places) | {option: value})
        assert (refused.value.value, refused.value.expected) == (value, expected)
    check_initializer("clp", needed("clp", places) | {"temperature": 1})


def test_unknown_methods_list_the_known_ones():
    with pytest.raises(InputError) as refused:
        initializer("pool")
    assert refused.value.value == "pool"
    assert "Did you mean 'pooled'?" in refused.value.hint
    assert all(method in refused.value.hint for method in METHODS)


def test_evidence_to_come_is_not_missed(places):
    check_initializer("focus", some(places), to_come=("tokenizer", "vectors"))
    with pytest.raises(InputError) as refused:
        check_initializer("focus", some(places), to_come=("tokenizer",))
    assert refused.value.value == ("vectors",)


@pytest.mark.parametrize("name", ["dictionary", "parallel", "vectors", "source_vectors"])
def test_a_file_that_is_not_there_is_refused_at_once(name, tmp_path):
    with pytest.raises(InputError) as refused:
        check_files({name: tmp_path / "none.tsv"})
    assert refused.value.path == tmp_path / "none.tsv"
    assert f"--{name.replace('_', '-')}" in refused.value.hint


def test_word_vectors_are_no_table_of_tokens(places):
    both = some(places, "tokenizer", "source_vectors", "dictionary")
    with pytest.raises(InputError) as refused:
        initializer("pooled", **both, vectors=torch.ones(500, 2))
    assert refused.value.expected.startswith("word vectors")


def test_parallel_text_may_be_columns_of_a_table(places, tmp_path):
    table = tmp_path / "table.tsv"
    pairs = read_parallel(places["parallel"]).pairs
    table.write_text("de\ten\n" + "".join(f"{b}\t{a}\n" for a, b in pairs), encoding="utf-8")
    given = some(places, "tokenizer") | {"parallel": f"{table}:en,de"}
    assert initializer("ramen", **given).parallel.pairs == pairs
    assert evidence_facts(given)[0].size == f"{len(pairs):,} pairs"


def test_the_helpers_tokenizer_serves_where_none_is_named(places, german):
    given = some(places, "helper", "dictionary")
    made = initializer("dictionary", **used_evidence("dictionary", given))
    assert made.tokenizer.get_vocab() == german.get_vocab()
    assert unused_evidence("dictionary", given) == ()
    assert unused_evidence("clp", given) == ("dictionary",)


@pytest.mark.slow
def test_pooled_takes_vectors_as_similarities(places):
    one = initializer("pooled", **some(places, "tokenizer", "vectors"))
    assert one.label == "pooled (similarity, overlap)"
    both = some(places, "tokenizer", "vectors", "source_vectors")
    two = initializer("pooled", **both, dictionary=places["dictionary"])
    assert two.label == "pooled (dictionary, similarity, overlap)"
    assert two.transport().counts.mixed > one.transport().counts.mixed / 2
    with pytest.raises(InputError) as refused:
        initializer("pooled", **both)
    assert refused.value.value == ("dictionary",)


def test_pooled_takes_the_sources_pieces_as_evidence(places):
    pooled = initializer("pooled", **some(places, "tokenizer", "dictionary"), pieces=True)
    alone = initializer("subtoken-mean", **some(places, "tokenizer"), overlap="none")
    assert pooled.label == "pooled (dictionary, pieces, overlap)"
    row = int(alone.overlap().missing_ids[40])
    table, place = pooled.observations()["pieces"], alone.overlap().missing_ids.tolist().index(row)
    ids, weights = alone.transport().mixture.weights(place)
    assert np.allclose(table.at(np.full(len(ids), row), ids.numpy()), weights.numpy())
    assert (
        pooled.transport().counts.drawn
        < initializer("dictionary", **some(places, "tokenizer", "dictionary")).transport().counts.drawn
    )


def test_pooled_takes_a_helper_as_evidence_and_its_tokenizer(places, german):
    alone = initializer("pooled", **used_evidence("pooled", some(places, "helper")))
    assert alone.label == "pooled (helper, overlap)"
    assert alone.tokenizer.get_vocab() == german.get_vocab()
    given = some(places, "tokenizer", "helper", "parallel")
    assert unused_evidence("pooled", given) == ()
    assert initializer("pooled", **given).label == "pooled (links, helper, overlap)"


def test_the_transport_tells_the_evidence_behind_each_source_token(places, tmp_path):
    pooled = initializer("pooled", pad_to_multiple_of=64, **some(places, "tokenizer", "dictionary", "parallel"))
    transport = Transport.load(pooled.transport().save(tmp_path / "t.safetensors"))
    tables = {kind: dense(table) for kind, table in behind(pooled).items()}
    assert transport.evidence.keys() == tables.keys() == {"links", "dictionary", "overlap", "relatives"}
    for row in np.unique(pooled.evidence()["dictionary"].target_ids):
        name = transport.target_names[row]
        if transport.target_names.index(name) != row:  # another token of that name is explained
            continue
        parts = transport.parts(name, k=1000)
        assert [(part.source, part.weight) for part in parts] == transport.explain(name, k=1000)
        sources = [transport.source_names[id_] for id_ in sum(tables.values())[row].nonzero()[0]]
        assert sorted(part.source for part in parts) == sorted(sources)
        for kind, table in tables.items():
            told = sorted(part.evidence[kind] for part in parts if kind in part.evidence)
            assert told == pytest.approx(sorted(table[row][table[row] > 0]))
    assert [part.evidence for part in transport.parts("[MASK]")] == [{}]
    with pytest.raises(ValueError, match=r"evidence 'links' has 3 entries; expected \d+"):
        replace(transport, evidence={"links": torch.ones(3)})


@pytest.mark.slow
def test_pooled_tells_links_and_entries_as_they_were_counted(places):
    given = some(places, "tokenizer", "dictionary", "parallel", "vectors")
    seen, weighed = ({} for _ in range(2))
    for weight in (1.0, 3.0):
        pooled = initializer("pooled", weights={"links": weight, "dictionary": 7 * weight}, **given)
        seen[weight], weighed[weight] = pooled.observations(), pooled.evidence()
    for kind in ("links", "dictionary", "similarity", "overlap"):
        assert np.allclose(dense(seen[1.0][kind]), dense(seen[3.0][kind]))
    assert np.allclose(dense(weighed[1.0]["links"]) * 3, dense(weighed[3.0]["links"]))
    assert np.allclose(seen[1.0]["links"].values % 1, 0)
    assert seen[1.0]["dictionary"].values.sum() == pytest.approx(dictionary_entries(pooled))
    assert np.allclose(seen[1.0]["similarity"].target_totals[seen[1.0]["similarity"].rows], 1, atol=1e-5)


def dictionary_entries(pooled):
    """The entries that both tokenizers can spell, in each way they are written."""
    return dictionary_counts(pooled.dictionary, pooled.source.tokenizer(), pooled.tokenizer).values.sum()


def test_methods_without_counts_have_no_evidence_to_show(places):
    clp = initializer("clp", weighting="top-k", **needed("clp", places)).transport()
    token = next(name for name in clp.target_names if clp.origin(name or "[MASK]") == "mixed")
    assert clp.evidence == {}
    assert all(part.evidence == {} for part in clp.parts(token))
    with pytest.raises(ValueError, match="evidence 'links' has 3 entries; expected 0"):
        replace(clp, mixed_target=clp.mixed_target[:0], mixture=None, evidence={"links": torch.ones(3)})


def behind(made):
    """What the transport should tell: what was seen, before it is weighed."""
    return made.observations()


def dense(counts):
    table = np.zeros(counts.shape)
    table[counts.target_ids, counts.source_ids] = counts.values
    return table


@pytest.mark.parametrize("method", ["pooled", "ramen", "dictionary"])
def test_an_explanation_shows_the_counts_in_brackets(method, places):
    transport = initializer(method, **needed(method, places)).transport()
    row = int(transport.mixed_target[transport.origins["mixed"][transport.mixed_target]][0])
    token = transport.target_names[row]
    (column,) = explanation_table(transport, [token], 2).columns[2:]
    (first, *_) = transport.parts(token)
    assert column.header == "source tokens and their weights (and the counts behind them)"
    assert str(next(column.cells)).startswith(f"{first.source} {first.weight:.3f} ({next(iter(first.evidence))} ")


def test_evidence_tells_a_card_its_files_and_their_sizes(places, tmp_path):
    (tmp_path / "vectors.bin").write_bytes(b"\xba\x16\x4f\x2f and more of a fastText model")
    given = some(places, "donor", "dictionary", "parallel", "vectors") | {"source_vectors": tmp_path / "vectors.bin"}
    words = len((places["vectors"]).read_text(encoding="utf-8").splitlines()) - 1
    told = {fact.kind: (fact.name, fact.size) for fact in evidence_facts(given)}
    assert told == {
        "a donor checkpoint": (str(places["donor"]), None),
        "a dictionary": (str(places["dictionary"]), f"{len(ENTRIES)} entries"),
        "parallel text": (str(places["parallel"]), "80 pairs"),
        "vectors of the target language": (str(places["vectors"]), f"{words:,} vectors"),
        "vectors of the source language": (str(tmp_path / "vectors.bin"), None),
    }
    assert [fact.kind for fact in evidence_facts(given, ["donor", "vectors", "source_vectors", "parallel"])] == [
        "a dictionary"
    ]
    assert evidence_facts({"vectors": torch.ones(3, 2)}) == ()


def test_names_that_look_like_markup_are_shown_as_they_are(places):
    transport = initializer("random", **some(places, "tokenizer")).transport()
    names = ("[/x]", *transport.target_names[1:])
    table = explanation_table(replace(transport, target_names=names), ["[/x]", "[UNK]"], 3)
    assert [str(cell) for cell in table.columns[0].cells] == ["[/x]", "[UNK]"]
    assert [column.header for column in table.columns] == ["token", "row", "source tokens and their weights"]


def test_lines_left_out_of_a_file_are_told(places, tmp_path, caplog):
    (tmp_path / "d.tsv").write_text("\n".join((*ENTRIES, "lonely\t")) + "\n", encoding="utf-8")
    initializer("dictionary", **some(places, "tokenizer"), dictionary=tmp_path / "d.tsv")
    assert "1 line that is no entry left out of the dictionary: 8" in caplog.text


def test_published_methods_are_cited():
    assert {name for name in METHODS if initializer_class(name).citation is None} == {"pooled", "dictionary", "random"}


class TestAuto:
    @pytest.mark.parametrize(
        ("names", "method", "reason"),
        [
            (("tokenizer", "parallel"), "pooled", "parallel text"),
            (("tokenizer", "dictionary", "parallel", "helper"), "pooled", "parallel text and a dictionary"),
            (("helper", "vectors"), "clp", "helper"),
            (("tokenizer", "vectors"), "focus", "vectors"),
            (("donor",), "omp", "donor"),
            (("tokenizer",), "subtoken-mean", "only a tokenizer"),
        ],
    )
    def test_the_method_follows_from_the_evidence(self, names, method, reason, places):
        choice = choose(some(places, *names))
        assert choice.method == method
        assert reason in choice.reason

    def test_a_source_alone_is_not_enough(self, places):
        with pytest.raises(InputError) as refused:
            choose(some(places))
        assert "--tokenizer" in refused.value.hint
