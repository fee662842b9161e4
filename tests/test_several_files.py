"""Text, translation pairs and dictionaries of several files are read one after the other, each once."""

import pytest
import tiny

from hf_xlt.data.packing import pack
from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import read_dictionary, read_parallel
from hf_xlt.files import plain_yaml
from hf_xlt.files.corpora import Corpus, Split
from hf_xlt.files.folders import check_output
from hf_xlt.initializers import evidence_facts, read_places
from hf_xlt.initializers.evidence import check_files
from hf_xlt.recipes import load_recipe
from hf_xlt.recipes.recipe import recipe_from
from hf_xlt.runs.inputs import Inputs
from hf_xlt.runs.kinds.transfer import Transfer

CLP = ["source=a", "helper=b"]


@pytest.fixture
def files(tmp_path):
    written = {
        "a.txt": "eins\nzwei\n",
        "b.txt": "drei\n",
        "a.tsv": "one\teins\ntwo\tzwei\nbare\n",
        "b.tsv": "three\tdrei\n",
    }
    for name, text in written.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return lambda suffix: [str(tmp_path / f"{name}.{suffix}") for name in "ab"]


def test_corpora_are_read_in_order_and_a_change_of_any_is_noticed(files, tmp_path):
    corpus = Corpus.of(files("txt"))
    assert list(corpus.lines()) == ["eins", "zwei", "drei"]
    assert Corpus.of(files("txt")[:1]) == Corpus(files("txt")[0]) == Corpus.of(files("txt")[0])
    pieces = tiny.tokenizer("de", "wordpiece")
    first = len(pack(Split(corpus, every=2), pieces, 4, 100, tmp_path / "cache"))
    (tmp_path / "b.txt").write_text("drei\nvier\nfünf und sechs\n", encoding="utf-8")
    assert len(pack(Split(corpus, every=2), pieces, 4, 100, tmp_path / "cache")) > first


def test_pairs_and_entries_are_joined_and_lines_left_out_are_told_of(files, caplog):
    assert read_parallel(files("tsv")).pairs == (("one", "eins"), ("two", "zwei"), ("three", "drei"))
    assert read_dictionary(files("tsv")).pairs == (("one", "eins"), ("two", "zwei"), ("three", "drei"))
    assert caplog.text.count("a.tsv: 1 line") == 2


@pytest.mark.parametrize("read", [Corpus.of, read_parallel, read_dictionary])
def test_none_or_one_twice_is_refused(files, read):
    suffix = "txt" if read == Corpus.of else "tsv"
    for given in ([], files(suffix)[:1] * 2):
        with pytest.raises(InputError) as refused:
            read(given)
        assert refused.value.expected in ("one or more", "each once")


def test_evidence_tells_of_each_file(files):
    given = {"parallel": files("tsv"), "dictionary": files("tsv")}
    assert [(fact.name, fact.size) for fact in evidence_facts(given) if "dictionary" in fact.kind] == [
        (name, size) for name, size in zip(files("tsv"), ("2 entries", "1 entries"), strict=True)
    ]
    with pytest.raises(InputError) as refused:
        check_files({"dictionary": [files("tsv")[0], "c.tsv"]})
    assert refused.value.path.name == "c.tsv"


def test_a_recipe_names_one_or_several_and_comes_back_from_yaml(files):
    several = load_recipe("clp", [*CLP, f"data.corpus={files('txt')}", f"data.parallel={files('tsv')}"])
    assert Transfer(several).trained_on == tuple(files("txt"))
    assert len(Inputs(several).pairs) == 3
    assert recipe_from(plain_yaml.load(several.to_yaml())) == several
    one = load_recipe("clp", [*CLP, f"data.corpus={files('txt')[0]}"])
    assert Transfer(one).trained_on == tuple(files("txt")[:1])


def test_a_new_tokenizer_of_a_run_learns_the_words_of_the_dictionary(files):
    given = [*CLP, f"data.corpus={files('txt')}", f"data.dictionary={files('tsv')[1]}"]
    inputs = Inputs(load_recipe("clp", [*given, "data.held_out_every=2"]))
    assert list(inputs.tokenizer_lines()) == ["zwei", "drei"]


def test_no_output_lies_in_any_of_several_that_are_read(files, tmp_path):
    given = {"corpus": files("txt"), "parallel": files("tsv"), "dictionary": files("tsv")[1:]}
    assert {*map(str, read_places(given))} == {*files("txt"), *files("tsv")}
    with pytest.raises(InputError, match="overlaps"):
        check_output(tmp_path, overwrite=True, sources=read_places(given))
