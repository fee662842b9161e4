"""The health of a start: what is counted and measured agrees with plain dense computations, and is told everywhere."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.files.corpora import Corpus
from hf_xlt.initializers.baselines import MeanInitializer
from hf_xlt.initializers.clp import CLPInitializer
from hf_xlt.initializers.health import Health, health, health_tables, rows, text
from hf_xlt.initializers.health.rows import Lengths, first_component, mean_cosine, nearest_names, sample
from hf_xlt.initializers.health.text import count_text, first_lines, is_letters, whole_words
from hf_xlt.recipes import load_recipe
from hf_xlt.report.tables import text_table
from hf_xlt.runs import run_recipe
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.train import train_tokenizer
from hf_xlt.transport.mixture import ProjectedMixture

FAMILIES = ("byte-level-bpe", "unigram", "wordpiece")
SIZES = st.tuples(st.integers(2, 40), st.integers(1, 8), st.integers(0, 1000))


def randn(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def wordpiece(*tokens):
    vocab = {token: id_ for id_, token in enumerate(("[UNK]", "a", *tokens))}
    backend = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """An English source, a German helper and German text."""
    folder = tmp_path_factory.mktemp("health")
    english, german = tiny.tokenizer("en", "byte-level-bpe"), tiny.tokenizer("de", "byte-level-bpe", 500)
    tiny.save(tiny.model("gpt2", english, seed=1), english, folder / "source")
    tiny.save(tiny.model("gpt2", german, seed=2, width=8), german, folder / "helper")
    (folder / "de.txt").write_text("\n".join(sentences("de", "train")[:300]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def clp(places):
    return CLPInitializer(places / "source", places / "helper", "top-k", pad_to_multiple_of=16)


class TestText:
    def test_tokens_and_words_are_counted_in_whole(self, places):
        source, target = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "unigram", 500)
        lines = list(Corpus(str(places / "de.txt")).lines())
        counted = count_text(Corpus(str(places / "de.txt")), source, target)
        assert (counted.facts.name, counted.facts.lines) == ("de.txt", len(lines))
        words = sum(len(line.split()) for line in lines)
        assert counted.facts.words == words
        for found, tokenizer in ((counted.source, source), (counted.target, target)):
            ids = [id_ for line in lines for id_ in tokenizer(line, add_special_tokens=False)["input_ids"]]
            assert found.counts.tolist() == np.bincount(ids, minlength=len(found.counts)).tolist()
            assert found.fertility.tokens_per_word == pytest.approx(len(ids) / words)
            assert found.fertility.unknown == pytest.approx(ids.count(tokenizer.unk_token_id) / len(ids))
            some = np.arange(len(found.counts) + 7) % 3 == 0  # a padded table has more rows than the tokenizer ids
            assert found.share(some) == pytest.approx(sum(id_ % 3 == 0 for id_ in ids) / len(ids))

    def test_a_tokenizer_without_an_unknown_token_knows_everything(self, places):
        bare = wordpiece("Wasser")
        bare.unk_token = None
        english = tiny.tokenizer("en", "wordpiece")
        assert count_text(Corpus(str(places / "de.txt")), english, bare).target.fertility.unknown == 0

    def test_only_the_beginning_is_read(self, monkeypatch, tmp_path):
        def endless():
            while True:
                yield "zwölf Worte"

        assert list(first_lines(endless(), 22)) == ["zwölf Worte"] * 2
        assert list(first_lines(endless(), 23)) == ["zwölf Worte"] * 3
        (tmp_path / "t.txt").write_text("eins zwei drei\n" * 50, encoding="utf-8")
        monkeypatch.setattr(text, "CHARACTERS", 140)
        counted = count_text(Corpus(str(tmp_path / "t.txt")), *[tiny.tokenizer("de", "wordpiece", 500)] * 2)
        assert (counted.facts.lines, counted.facts.words) == (10, 30)

    def test_common_words_are_of_letters_and_by_frequency(self, tmp_path):
        (tmp_path / "t.txt").write_text("zwei, eins 3 zwei zwei\nzwei eins drei हिन्दी\n", encoding="utf-8")
        tokenizer = tiny.tokenizer("de", "byte-level-bpe", 500)
        common = count_text(Corpus(str(tmp_path / "t.txt")), tokenizer, tokenizer).common
        assert common[:2] == ("zwei", "eins")
        assert set(common[2:]) == {"drei", "हिन्दी"}
        assert [is_letters(word) for word in ("हिन्दी", "für", "a-b", "3")] == [True, True, False, False]

    def test_whole_words_are_those_of_one_token_in_a_sentence(self):
        tokenizer = wordpiece("Wasser", "Was", "##ser", "Haus")
        ids = whole_words(["Haus", "Wasserhaus", "Wasser", "Messer", "Haus"], tokenizer)
        assert tokenizer.convert_ids_to_tokens(ids) == ["Haus", "Wasser"]

    @pytest.mark.parametrize("family", FAMILIES)
    def test_whole_words_of_any_family_are_spelled_like_words(self, family):
        tokenizer = tiny.tokenizer("de", family, 500)
        words = [word for line in sentences("de", "train")[:100] for word in line.split() if word.isalpha()]
        decoded = {tokenizer.decode([id_]).strip() for id_ in whole_words(words, tokenizer)}
        assert len(decoded) > 10
        assert decoded <= {*words}

    def test_a_text_without_words_is_refused(self, places, tmp_path):
        (tmp_path / "empty.txt").write_text("\n \n", encoding="utf-8")
        with pytest.raises(InputError, match="empty.txt has no word to count; expected text of the target language"):
            count_text(Corpus(str(tmp_path / "empty.txt")), *[tiny.tokenizer("de", "wordpiece", 500)] * 2)


class TestRows:
    @settings(deadline=None, max_examples=50)
    @given(SIZES)
    def test_mean_cosine_is_that_of_all_pairs(self, size):
        table = randn(*size)
        units = torch.nn.functional.normalize(table.double())
        cosines = (units @ units.T)[~torch.eye(len(table), dtype=torch.bool)]
        assert mean_cosine(table) == pytest.approx(float(cosines.mean()), abs=1e-5)
        padded = torch.cat([table, torch.zeros(3, table.shape[1])])
        assert mean_cosine(padded) == pytest.approx(mean_cosine(table), abs=1e-6)

    @settings(deadline=None, max_examples=50)
    @given(SIZES)
    def test_first_component_is_that_of_a_singular_value_decomposition(self, size):
        table = randn(*size) + 3
        values = torch.linalg.svdvals(table.double() - table.double().mean(0)).square()
        assert first_component(table) == pytest.approx(float(values[0] / values.sum()), abs=1e-4)

    def test_rows_that_are_all_alike_have_no_component(self):
        assert first_component(torch.ones(5, 3)) == 0
        assert mean_cosine(torch.ones(5, 3)) == pytest.approx(1)
        assert mean_cosine(torch.ones(1, 3)) == 0

    def test_a_large_table_is_sampled_the_same_every_time(self, monkeypatch):
        monkeypatch.setattr(rows, "SAMPLED_ROWS", 20)
        monkeypatch.setattr(rows, "_RUN", 4)
        table = randn(90, 4)
        taken = sample(table)
        assert len(taken) == 20
        assert all((table == row).all(dim=1).any() for row in taken)
        assert torch.equal(taken, sample(table))
        assert torch.equal(sample(table[:20]), table[:20])
        some = torch.arange(0, 90, 2)
        assert len(sample(table, some)) == 20
        assert all((table[some] == row).all(dim=1).any() for row in sample(table, some))
        assert torch.equal(sample(table, some[:20]), table[some[:20]])
        assert Lengths.of(table).rows == 90
        assert Lengths.of(table, some).rows == 45

    @pytest.mark.parametrize("block", [7, 4096])
    def test_nearest_names_are_those_with_the_largest_cosines(self, monkeypatch, block):
        monkeypatch.setattr(rows, "_BLOCK_ROWS", block)
        table, queries = randn(30, 5).bfloat16(), randn(4, 5, seed=1)
        names = [f"s{i}" if i % 4 else "" for i in range(25)]  # the last rows are padding
        named = [i for i, name in enumerate(names) if name]
        units = torch.nn.functional.normalize(table.float()[named])
        cosines, places = (torch.nn.functional.normalize(queries) @ units.T).topk(3)
        for found, row, near in zip(nearest_names(queries, table, names, 3), cosines, places, strict=True):
            assert [name for name, _ in found] == [names[named[place]] for place in near]
            assert [cosine for _, cosine in found] == pytest.approx(row.tolist(), abs=1e-5)
        assert nearest_names(queries[:0], table, names, 3) == []

    def test_lengths_are_euclidean_in_any_type(self):
        table = randn(30, 5).bfloat16()
        lengths = table.float().square().sum(1).sqrt()
        assert Lengths.of(table).mean == pytest.approx(float(lengths.mean()))
        assert Lengths.of(table).std == pytest.approx(float(lengths.std(correction=0)))


class TestHealth:
    def test_rows_are_told_by_origin_and_weighted_by_the_text(self, clp, places):
        found = clp.health(places / "de.txt")
        transport, table = clp.transport(), clp.transport().apply(clp.source.input_rows())
        assert {origin: part.lengths.rows for origin, part in found.rows.items()} == {
            "copied": transport.counts.copied,
            "mixed": transport.counts.mixed,
            "unused": transport.counts.unused,
        }
        assert sum(part.share for part in found.rows.values()) == pytest.approx(1)
        ids = [id_ for line in sentences("de", "train")[:300] for id_ in clp.tokenizer(line)["input_ids"]]
        copied = transport.origins["copied"]
        assert found.rows["copied"].share == pytest.approx(float(copied[ids].float().mean()))
        lengths = table[copied].norm(dim=1)
        assert found.rows["copied"].lengths.mean == pytest.approx(float(lengths.mean()), rel=1e-4)
        assert found.rows["copied"].lengths.std == pytest.approx(float(lengths.std(correction=0)), rel=1e-4)
        assert found.target.isotropy.mean_cosine == pytest.approx(mean_cosine(table))
        assert found.text.name == "de.txt"
        assert found.source.fertility.tokens_per_word > found.target.fertility.tokens_per_word > 1

    def test_words_shown_are_not_copied_and_have_source_tokens_near(self, clp, places):
        for corpus in (None, places / "de.txt"):
            found = clp.health(corpus).neighbors
            assert 0 < len(found) <= 10
            for word in found:
                assert word.origin == clp.transport().origin(word.token) != "copied"
                assert len(word.nearest) == 3
                assert {name for name, _ in word.nearest} <= {*clp.transport().source_names}
                assert -1 <= word.nearest[2][1] <= word.nearest[0][1] <= 1 + 1e-6

    def test_without_text_nothing_is_weighted(self, clp):
        found = clp.health()
        assert found.text is None
        assert found.source.fertility is found.target.fertility is None
        assert {part.share for part in found.rows.values()} == {None}

    def test_projected_rows_are_not_called_mixed(self, clp):
        transport = clp.transport()
        mapped = ProjectedMixture(randn(len(transport.mixed_target), 4), randn(4, 16))
        found = health(replace(transport, mixture=mapped), clp.source, clp.tokenizer)
        assert found.rows.keys() >= {"copied", "projected"}
        assert "mixed" not in found.rows
        assert {word.origin for word in found.neighbors} == {"projected"}

    def test_rows_made_already_are_not_made_again(self, clp, places, monkeypatch):
        made = clp.transport().apply(clp.source.input_rows())
        expected = clp.health()
        monkeypatch.setattr(type(clp.transport()), "apply", None)
        assert health(clp.transport(), clp.source, clp.tokenizer, table=made) == expected

    def test_rows_that_are_not_finite_are_refused(self, clp, monkeypatch):
        broken = clp.source.input_rows()
        broken[3, 2] = torch.nan
        monkeypatch.setattr(Checkpoint, "input_rows", lambda checkpoint: broken)
        with pytest.raises(InputError, match="the embedding table of .*source"):
            clp.health()

    @pytest.mark.parametrize("weighted", [True, False])
    def test_a_saved_report_comes_back_equal(self, clp, places, tmp_path, weighted):
        found = clp.health(places / "de.txt" if weighted else None)
        found.save(tmp_path)
        assert Health.load(tmp_path) == found
        with pytest.raises(InputError, match="has no health.json; expected a model that hf-xlt made"):
            Health.load(tmp_path / "none")


class TestTold:
    @pytest.mark.slow
    def test_a_built_folder_holds_the_health_of_what_was_saved(self, clp, places, tmp_path):
        out = clp.build(tmp_path / "out", corpus=places / "de.txt")
        assert Health.load(out) == clp.health(places / "de.txt")
        card = (out / "README.md").read_text(encoding="utf-8")
        assert "## Embedding health" in card
        assert "of the first 300 lines" in card
        assert str(places) not in card + (out / "health.json").read_text(encoding="utf-8")
        assert Checkpoint.open(out).vocab_size == sum(part.lengths.rows for part in Health.load(out).rows.values())

    def test_a_sentence_transformers_model_keeps_its_body_elsewhere(self, places, tmp_path):
        (tmp_path / "source").mkdir()
        (places / "source").rename(tmp_path / "source" / "body")
        modules = [{"idx": 0, "name": "0", "path": "body", "type": "sentence_transformers.models.Transformer"}]
        (tmp_path / "source" / "modules.json").write_text(json.dumps(modules))
        try:
            mean = MeanInitializer(tmp_path / "source", tiny.tokenizer("de", "byte-level-bpe", 500))
            assert Health.load(mean.build(tmp_path / "out")) == mean.health()
        finally:
            (tmp_path / "source" / "body").rename(places / "source")

    def test_a_text_that_cannot_be_read_leaves_nothing_behind(self, clp, tmp_path):
        (tmp_path / "bad.txt").write_bytes(b"gut\nsch\xf6n\n")
        for name, message in (("none.txt", "none.txt is not a file"), ("bad.txt", "not UTF-8 at line 2")):
            with pytest.raises(InputError, match=message):
                clp.build(tmp_path / "out", corpus=tmp_path / name)
        assert [path.name for path in tmp_path.iterdir()] == ["bad.txt"]

    @pytest.mark.parametrize("weighted", [True, False])
    def test_tables_are_whole_and_fit_80_columns(self, clp, places, weighted):
        found = clp.health(places / "de.txt" if weighted else None)
        tables = health_tables(found)
        assert len(tables) == 3
        screen = io.StringIO()
        for table in tables:
            assert {len(line) for line in table.lines} == {len(table.header)}
            Console(file=screen, width=80).print(text_table(table))
        shown = screen.getvalue()
        assert "…" not in shown
        assert max(map(len, shown.splitlines())) <= 80
        assert ("tokens a word" in shown) is weighted
        assert ("share of the text's tokens" in shown) is weighted

    @pytest.mark.slow
    def test_a_recipe_tells_how_its_kept_method_began(self, places, tmp_path):
        given = [f"source={places / 'source'}", f"helper={places / 'helper'}", f"data.corpus={places / 'de.txt'}"]
        small = ["steps=1", "sequence_length=16", "batch_size=2", "evaluations=1"]
        settings = [*given, *(f"stages.0.{setting}" for setting in small), "data.held_out_every=40"]
        run_recipe(load_recipe("clp", settings), tmp_path / "out", "x")
        clp = CLPInitializer(places / "source", places / "helper")
        assert Health.load(tmp_path / "out") == clp.health(places / "de.txt")
        assert "## Embedding health" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


class TestTextLost:
    """What does not come back from a tokenizer, unknown and dropped alike."""

    @pytest.fixture
    def corpus(self, tmp_path):
        path = tmp_path / "marked.txt"
        path.write_text("tiếng Việt 犬 über\nHaus ½ 😀\n", encoding="utf-8")
        return Corpus(str(path))

    def test_accents_that_are_stripped_are_lost_and_case_is_not(self, corpus):
        text = [*sentences("de", "train"), *30 * ["tiếng Việt"]]
        stripped = train_tokenizer(text, 700, "wordpiece", strip_accents=True, lowercase=True)
        kept = train_tokenizer(text, 700, "byte-level-bpe", lowercase=True)
        counted = count_text(corpus, stripped, kept)
        assert counted.target.fertility.lost == counted.target.fertility.accents_lost == 0
        cut = counted.source.fertility
        assert cut.lost > cut.accents_lost > 0
        assert {"\u0301", "犬", "😀"} <= set(cut.examples)

    def test_text_that_vanishes_without_an_unknown_token_is_lost(self, corpus):
        silent = Tokenizer(models.BPE({letter: id_ for id_, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}, []))
        counted = count_text(corpus, PreTrainedTokenizerFast(tokenizer_object=silent), tiny.tokenizer("de", "unigram"))
        assert counted.source.fertility.unknown == 0
        assert counted.source.fertility.lost > 0.2
        assert counted.target.fertility.lost == 0
