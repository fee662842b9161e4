"""False friends: kept tokens whose translations are others are found, told of wherever rows are, and mixed if asked."""

import io
from dataclasses import asdict, replace

import numpy as np
import pytest
import tiny
import torch
from rich.console import Console
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.translations import Dictionary, ParallelText
from hf_xlt.files.corpora import Corpus
from hf_xlt.initializers.false_friends import LEAST_LINKS, false_friends
from hf_xlt.initializers.health import Health, health, health_tables
from hf_xlt.initializers.pooled import PooledInitializer
from hf_xlt.initializers.ramen import RamenInitializer
from hf_xlt.report.tables import explanation_table, text_table
from hf_xlt.tokenizers.vocabulary import Vocabulary
from hf_xlt.transport import FalseFriends, Transport

NOUNS = {"dog": "hund", "cat": "katze", "house": "haus", "tree": "baum", "radio": "radio", "book": "buch"}
SEEN = {"falls": "##t", "stands": "steht", "sleeps": "ruht"}
SOURCE = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "the", "die", "we", "3", ".", "Die", "##t", *NOUNS, "falls",
          "stands", "sleeps", "fall")  # fmt: skip
TARGET = (*SOURCE, "wir", "sterben", "hund", "katze", "haus", "baum", "buch", "steht", "ruht")
LINES = [
    *((f"the {a} {does} 3 .", f"die {b} {thut} 3 .".replace("##t", "fallt"))
      for a, b in NOUNS.items() for does, thut in SEEN.items()),
    *[("we die .", "wir sterben .")] * 6,
]  # fmt: skip
TEXT = ParallelText(tuple(LINES))
ID = {token: id_ for id_, token in enumerate(TARGET)}


def tokenizer(tokens):
    backend = Tokenizer(models.WordPiece({token: id_ for id_, token in enumerate(tokens)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    roles = {f"{role}_token": f"[{role.upper()}]" for role in ("unk", "cls", "sep", "pad", "mask")}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **roles)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    english = tokenizer(SOURCE)
    model = tiny.model("bert", english, seed=1, pad_token_id=3)
    return tiny.save(model, english, tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def kept(source):
    return PooledInitializer(source, tokenizer(TARGET), parallel=TEXT)


def found(counts, **changes):
    """The false friends of counts, given as target, source and number."""
    shape = len(TARGET), len(SOURCE)
    targets, sources, values = zip(*((ID[t], ID[s], n) for t, s, n in counts), strict=True)
    table = TokenCounts.of(np.array(targets), np.array(sources), np.array(values, float), shape)
    told = false_friends(table, Vocabulary.of(tokenizer(TARGET)))
    return {TARGET[id_] for id_ in told.rows}, told


class TestWhichTheyAre:
    def test_enough_must_be_known_and_almost_all_of_it_be_of_another_spelling(self):
        assert found([("die", "the", LEAST_LINKS)])[0] == {"die"}
        assert found([("die", "the", LEAST_LINKS - 1)])[0] == set()
        assert found([("die", "the", 91), ("die", "die", 9)])[0] == {"die"}
        assert found([("die", "the", 90), ("die", "die", 10)])[0] == set()

    def test_other_cases_and_places_are_the_same_spelling(self):
        assert found([("die", "Die", 50)])[0] == set()
        assert found([("die", "Die", 5), ("die", "the", 50)])[0] == {"die"}

    def test_nothing_but_letters_of_the_source_is_one(self):
        counts = [(token, "the", 50) for token in ("[MASK]", "3", ".", "hund", "##t")]
        assert found(counts)[0] == {"##t"}

    def test_their_counts_are_all_that_were_given(self):
        told = found([("die", "the", 40), ("die", "die", 2), ("die", "we", 8), ("dog", "dog", 9)])[1]
        pairs = zip(told.target_ids, told.source_ids, told.values, strict=True)
        assert [(TARGET[t], SOURCE[s], n) for t, s, n in pairs] == [
            ("die", "the", 40), ("die", "die", 2), ("die", "we", 8)]  # fmt: skip

    def test_nothing_is_known_without_counts(self):
        told = false_friends(TokenCounts.empty((len(TARGET), len(SOURCE))), Vocabulary.of(tokenizer(TARGET)))
        assert len(told) == 0


class TestInParallelText:
    def test_a_word_of_the_same_spelling_is_found_and_a_true_friend_is_not(self, kept):
        transport = kept.transport()
        named = {transport.target_names[row] for row in transport.false_friends.rows}
        assert "die" in named
        assert not named & {"radio", "3", ".", "[CLS]"}
        assert (transport.origin("die"), transport.explain("die")) == ("copied", [("die", 1.0)])
        links = kept.evidence()["links"].at(np.array([ID["die"]]), np.array([ID["the"]]))
        assert transport.linked("die")[0] == ("the", links[0])
        assert transport.linked("radio") == transport.linked("hund") == []

    def test_entries_of_a_dictionary_tell_too(self, source):
        entries = Dictionary((("the", "die"),))
        transport = PooledInitializer(source, tokenizer(TARGET), dictionary=entries).transport()
        assert transport.linked("die") == [("the", 20.0)]

    def test_any_method_that_counts_links_looks_for_them(self, source):
        transport = RamenInitializer(source, tokenizer(TARGET), parallel=TEXT).transport()
        assert transport.linked("die")[0][0] == "the"

    def test_nobody_looks_where_no_translation_is_given_or_the_vocabulary_is_new(self, source):
        vectors = torch.randn(len(TARGET), 4, generator=torch.Generator().manual_seed(0))
        assert PooledInitializer(source, tokenizer(TARGET), vectors=vectors).transport().false_friends is None
        other = tokenizer((*SOURCE[:5], "die", "hund", "."))
        assert PooledInitializer(source, other, parallel=TEXT).transport().false_friends is None


class TestWhatIsTold:
    def test_they_are_saved_and_files_without_them_still_open(self, kept, tmp_path):
        transport = kept.transport()
        again = Transport.load(transport.save(tmp_path / "with.safetensors"))
        assert again.linked("die", 2) == transport.linked("die", 2)
        before = replace(transport, false_friends=None).save(tmp_path / "without.safetensors")
        assert not any("false_friends" in name for name in load_file(before))
        assert Transport.load(before).false_friends is None

    def test_explain_says_what_a_copied_row_is_linked_to(self, kept):
        console = Console(width=200, file=io.StringIO())
        console.print(explanation_table(kept.transport(), ["die", "radio"], 2))
        die, radio = console.file.getvalue().strip().splitlines()[1:]
        links = kept.transport().linked("die")[0][1]
        assert f"die 1.000; a false friend, as it is linked to the {links:.0f}" in die
        assert "false friend" not in radio

    def test_health_counts_rows_and_their_share_of_the_text(self, kept, tmp_path):
        (tmp_path / "de.txt").write_text("die die hund\nradio die wir wir\n", encoding="utf-8")
        corpus = Corpus(str(tmp_path / "de.txt"))
        told = health(kept.transport(), kept.source, kept.tokenizer, corpus)
        rows = kept.transport().false_friends.rows
        assert told.false_friends.rows == len(rows)
        assert told.false_friends.share == pytest.approx(3 / 7)
        assert told.false_friends.examples[0].token == "die"
        assert told.false_friends.examples[0].linked[0] == kept.transport().linked("die")[0]
        told.save(tmp_path)
        assert Health.load(tmp_path) == told
        (table,) = (table for table in health_tables(told) if table.caption.startswith("False friends"))
        assert f"{len(rows)} rows (42.9% of the text's tokens)" in table.caption
        assert text_table(table)

    def test_without_text_those_with_the_most_links_are_shown(self, kept):
        told = kept.health().false_friends
        totals = kept.false_friends().target_totals
        expected = sorted(kept.false_friends().rows, key=lambda row: -totals[row])
        assert [each.token for each in told.examples] == [kept.transport().target_names[row] for row in expected][:10]
        assert told.share is None

    def test_the_card_has_them(self, kept, tmp_path):
        built = kept.build(tmp_path / "out")
        assert "translations say otherwise" in (built / "README.md").read_text(encoding="utf-8")
        assert Transport.load(built / "transport.safetensors").linked("die")


class TestMixing:
    @pytest.mark.parametrize("mix", [0.25, 0.5, 1.0])
    def test_a_row_is_its_own_and_what_links_say_by_the_weight(self, source, kept, mix):
        options = {"false_friends": "mix", "mix": mix, "keep_length": False}
        mixed = PooledInitializer(source, tokenizer(TARGET), parallel=TEXT, **options)
        rows, table = mixed.source.input_rows(), mixed.transport().apply(mixed.source.input_rows())
        links = kept.evidence()["links"]
        dense = np.zeros(links.shape)
        dense[links.target_ids, links.source_ids] = links.values
        false = kept.transport().false_friends.rows
        said = torch.from_numpy(dense[false]).float()
        expected = (1 - mix) * rows[false] + mix * said / said.sum(1, keepdim=True) @ rows[: len(SOURCE)]
        torch.testing.assert_close(table[false], expected, rtol=1e-5, atol=1e-6)
        others = np.setdiff1d(np.arange(len(SOURCE)), false)
        assert torch.equal(table[others], rows[others])
        assert mixed.transport().origin("die") == "mixed"
        assert mixed.transport().linked("die") == []
        assert mixed.health().false_friends.rows == 0
        assert f"false friends mixed {mix:g}" in mixed.label

    def test_all_else_is_as_where_they_are_kept(self, source, kept):
        mixed = PooledInitializer(source, tokenizer(TARGET), parallel=TEXT, false_friends="mix").transport()
        before, after = asdict(kept.transport().counts), asdict(mixed.counts)
        moved = len(kept.transport().false_friends.rows)
        assert after == before | {"copied": before["copied"] - moved, "mixed": before["mixed"] + moved}
        rows = kept.source.input_rows()
        new = slice(len(SOURCE), len(TARGET))
        assert torch.equal(mixed.apply(rows)[new], kept.transport().apply(rows)[new])

    @pytest.mark.parametrize(
        ("options", "value"),
        [
            ({"false_friends": "cure"}, "cure"),
            ({"mix": 0.5}, 0.5),
            ({"false_friends": "mix", "mix": 1.5}, 1.5),
            ({"false_friends": "mix", "mix": 0.0}, 0.0),
        ],
    )
    def test_what_cannot_be_is_refused(self, source, options, value):
        assert tiny.refusal(PooledInitializer, source, tokenizer(TARGET), parallel=TEXT, **options).value == value

    def test_so_is_mixing_without_translations_or_without_an_extended_vocabulary(self, source):
        vectors = torch.randn(len(TARGET), 4)
        mix = {"false_friends": "mix"}
        refused = tiny.refusal(PooledInitializer, source, tokenizer(TARGET), vectors=vectors, **mix)
        assert refused.value == ("parallel", "dictionary")
        other = tokenizer((*SOURCE[:5], "die", "hund", "."))
        assert tiny.refusal(PooledInitializer, source, other, parallel=TEXT, **mix).value == "mix"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"source_ids": torch.tensor([0])}, "source_ids has 1 entries; expected 2"),
        ({"target_ids": torch.tensor([3, 1])}, "not in order"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, match):
    parts = {"target_ids": torch.tensor([1, 3]), "source_ids": torch.tensor([0, 0]), "links": torch.ones(2)}
    with pytest.raises(ValueError, match=match):
        FalseFriends(**parts | changes)


def test_false_friends_are_copied_rows():
    ids = torch.tensor([0])
    one = FalseFriends(torch.tensor([1]), torch.tensor([0]), torch.ones(1))
    assert repr(one) == "FalseFriends(1 rows, 1 source tokens linked to them)"
    with pytest.raises(ValueError, match="is not copied"):
        Transport(1, 2, ids, ids, ids[:0], None, ["a"], ["a", "b"], false_friends=one)
