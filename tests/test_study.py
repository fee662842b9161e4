"""The study of emerging structure on tiny models: its grid, what a cell trains, resuming, tables and pictures."""

import json

import pytest

from hf_xlt.errors import InputError
from hf_xlt.evaluation.retrieval import Retrieval
from hf_xlt.evaluation.structure import Level, Structure
from hf_xlt.evaluation.structure.structure import Precision
from hf_xlt.runs.kinds.multilingual import Multilingual
from hf_xlt.sample import sentences
from hf_xlt.study import Cell, CellResult, StudyResults, load_study, run_study
from hf_xlt.study import run as running
from hf_xlt.study.run import cell_file, make_tokenizer, recipes_of
from hf_xlt.study.study import own_parts

SMALL = ["model.hidden_size=16", "model.intermediate_size=32", "model.num_hidden_layers=2",
         "model.num_attention_heads=2", "tokenizer.vocab_size=500", "held_out_every=20", "training.steps=3",
         "training.batch_size=4", "training.sequence_length=24", "training.evaluations=1", "training.checkpoints=1",
         "words=40", "budget={epochs: 1, evaluations: 1}"]  # fmt: skip
GRID = ["private=[nothing]", "anchors=[default]", "domains=[same]"]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    for language, name, part in (("en", "en", slice(200)), ("de", "de", slice(200)), ("de", "other", slice(200, 400))):
        (folder / f"{name}.txt").write_text("\n".join(sentences(language, "train")[part]) + "\n", encoding="utf-8")
    pairs = zip(*(sentences(language, "train")[400:520] for language in ("en", "de")), strict=True)
    (folder / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    (folder / "dictionary.tsv").write_text("the\tdas\nwater\tWasser\n", encoding="utf-8")
    for language in ("en", "de"):
        (folder / f"{language}.conllu").write_text(treebank(sentences(language, "train")[:6]), encoding="utf-8")
    return folder


def treebank(texts) -> str:
    """Sentences whose long words are nouns."""
    blocks = []
    for text in texts:
        words = text.split()[:8]
        tags = ["NOUN" if len(word) > 4 else "DET" for word in words]
        rows = enumerate(zip(words, tags, strict=True), start=1)
        blocks.append("\n".join(f"{i}\t{word}\t_\t{tag}\t_\t_\t{i - 1}\tdep\t_\t_" for i, (word, tag) in rows))
    return "\n\n".join(blocks) + "\n\n"


def treebanks(places) -> list[str]:
    files = {"train": "en.conllu", "dev": "en.conllu", "test": "de.conllu"}
    return [f"tagging.{role}={places / file}" for role, file in files.items()]


@pytest.fixture
def study(places):
    def shipped(*more):
        given = [f"corpora.{language}={places / f'{language}.txt'}" for language in ("en", "de")]
        return load_study(None, [*given, f"parallel={places / 'pairs.tsv'}", *SMALL, *GRID, *more])

    return shipped


class TestTheGrid:
    def test_the_shipped_one_changes_one_factor_at_a_time(self):
        names = ["corpora.en=a.txt", "corpora.de=b.txt", "parallel=p.tsv"]
        study = load_study(None, [*names, "seeds=[0, 1]"])
        settings = [cell.setting for cell in study.cells if cell.seed == 0]
        base = ("nothing", "default", "same")
        assert settings[0] == base
        assert len(settings) == len(study.private) + len(study.anchors) + len(study.domains) - 2
        assert all(sum(a != b for a, b in zip(setting, base, strict=True)) == 1 for setting in settings[1:])
        assert len(study.cells) == 2 * len(settings)

    def test_crossed_it_is_every_combination(self, study):
        found = study("private=[nothing, embeddings]", "anchors=[default, none]", "crossed=true").cells
        assert len({cell.setting for cell in found}) == len(found) == 4

    def test_what_is_private(self):
        found = {name: own_parts(name) for name in
                 ("nothing", "embeddings", "layers-3", "embeddings+layers-12", "everything")}  # fmt: skip
        assert found == {
            "nothing": (False, 0),
            "embeddings": (True, 0),
            "layers-3": (False, 3),
            "embeddings+layers-12": (True, 12),
            "everything": (False, 0),
        }

    def test_it_comes_back_equal_from_its_yaml(self, study, tmp_path):
        asked = study("seeds=[3]")
        (tmp_path / "mine.yaml").write_text(asked.to_yaml(), encoding="utf-8")
        assert load_study(tmp_path / "mine.yaml") == asked


class TestWhatACellTrains:
    @pytest.mark.parametrize(
        ("private", "apart", "layers"),
        [("nothing", False, []), ("embeddings+layers-1", True, [0]), ("layers-2", False, [0, 1])],
    )
    def test_a_model_with_these_parts_apart(self, private, apart, layers, study, tmp_path):
        asked = study(f"private=['{private}']")
        make_tokenizer(asked, tmp_path / "tokenizer")
        (recipe,) = recipes_of(asked, asked.cells[0], tmp_path / "tokenizer")
        config = Multilingual(recipe).comparison(tmp_path, compare=False).config
        assert (config.separate_embeddings, config.own_layers, config.languages) == (apart, layers, ["en", "de"])

    def test_two_models_of_one_language_each_that_begin_differently(self, study, tmp_path):
        asked = study("private=[everything]", "seeds=[0, 1]")
        found = [recipe for cell in asked.cells for recipe in recipes_of(asked, cell, tmp_path)]
        assert [list(recipe.data.corpora) for recipe in found] == [["en"], ["de"], ["en"], ["de"]]
        assert len({recipe.seeds for recipe in found}) == 4

    def test_another_domain_is_another_corpus_of_the_second_language(self, study, places, tmp_path):
        asked = study(f"other_domain={places / 'other.txt'}", "domains=[same, different]")
        same, different = (recipes_of(asked, cell, tmp_path)[0].data.corpora for cell in asked.cells)
        assert same["en"] == different["en"]
        assert (same["de"], different["de"]) == (str(places / "de.txt"), str(places / "other.txt"))


class TestARun:
    @pytest.mark.slow
    def test_cells_that_are_done_are_not_done_again(self, study, places, tmp_path, monkeypatch):
        asked, out = study("private=[nothing, everything]", *treebanks(places)), tmp_path / "out"
        shared, apart = asked.cells
        measured = running.measure_cell

        def interrupted(study, cell, *rest):
            if cell == apart:
                raise KeyboardInterrupt
            return measured(study, cell, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(running, "measure_cell", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run_study(asked, out)
        written = cell_file(out, shared).read_text(encoding="utf-8")
        results = run_study(asked, out)
        assert cell_file(out, shared).read_text(encoding="utf-8") == written
        assert [result.cell for result in results] == [shared, apart]
        assert CellResult.load(cell_file(out, shared)) == results[0]
        assert not list((out / "models").iterdir())

        assert 0 <= results[0].transfer <= 1
        assert 0 <= results[0].learned <= 1
        assert results[1].transfer is None
        for result in results:
            assert set(result.bits_per_byte) == {"en", "de"}
            assert len(result.structure.sentences.cka) == 3
            assert result.structure.words is not None

        monkeypatch.setattr(running, "measure_cell", interrupted)
        assert run_study(asked, out) == results
        with pytest.raises(InputError, match="holds another study"):
            run_study(asked.replace(seeds=(5,)), out)

    @pytest.mark.timeout(600)
    @pytest.mark.slow
    def test_cells_of_two_vocabularies_are_measured_alike_in_processes_of_their_own(self, study, places, tmp_path):
        asked = study("private=[nothing, embeddings+layers-1]", "anchors=[none]", "words=0", *treebanks(places))
        results = run_study(asked, tmp_path / "out", workers=2)
        assert [result.cell for result in results] == list(asked.cells)
        assert all(0 <= result.transfer <= 1 for result in results)
        assert {path.stem for path in (tmp_path / "out" / "cells").iterdir()} == {cell.name for cell in asked.cells}


def result(cell: Cell, transfer: float | None = 0.5, words: bool = True) -> CellResult:
    """A cell whose figures are made up."""
    grid = tuple(tuple(0.1 * (i + j) for j in range(3)) for i in range(3))
    found = Precision(Retrieval(0.2, 0.4), Retrieval(0.5, 0.7))
    level = Level(8, 2, grid, grid, {"unaligned": (found,) * 3, "orthogonal": (found,) * 3})
    layers = ((0, 0), (1, 1), (2, 2))
    return CellResult(
        cell, {"en": 2.0, "de": 3.0}, Structure("a", "b", layers, level, level if words else None), transfer, 0.6, 1.0
    )


class TestWhatIsShown:
    CELLS = tuple(
        Cell(private, anchors, "same", seed)
        for private, anchors in (("nothing", "default"), ("layers-2", "default"), ("nothing", "none"))
        for seed in (0, 1)
    )

    def test_the_table_holds_every_setting_with_its_seeds(self):
        both = StudyResults([result(cell, transfer=0.5 + 0.1 * cell.seed) for cell in self.CELLS]).tables()
        for table in both:
            assert [line[0] for line in table.lines] == ["nothing", "layers-2", "nothing, anchors: none"]
            assert {len(line) for line in table.lines} == {len(table.header)}
        learned, alike = (dict(zip(table.header, table.lines[0], strict=True)) for table in both)
        assert learned["transfer"] == "55.0 ± 7.1"
        assert learned["bits/byte de"] == "3.000 ± 0.000"
        assert (alike["CKA"], alike["sentences"]) == ("0.200 ± 0.000", "60.0 ± 0.0")

    def test_what_was_not_measured_is_left_open(self):
        learned, alike = StudyResults([result(self.CELLS[0], transfer=None, words=False)]).tables()
        assert dict(zip(learned.header, learned.lines[0], strict=True))["transfer"] == "–"
        assert dict(zip(alike.header, alike.lines[0], strict=True))["words"] == "–"
        assert StudyResults().tables() == ()

    @pytest.mark.parametrize(("transfer", "words"), [(0.5, True), (None, False)])
    def test_pictures_appear(self, transfer, words, tmp_path):
        files = StudyResults([result(cell, transfer, words) for cell in self.CELLS]).pictures(tmp_path)
        assert [file.name for file in files] == ["transfer.png", "cka.png", "retrieval.png"]
        assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


class TestRefused:
    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (["private=[layers-3]"], "private is 'layers-3'; expected at most 2 layers"),
            (["private=[half]"], "private is 'half'; expected nothing, embeddings, layers-2"),
            (["private=[]"], r"private is \[\]; expected 1 or more"),
            (["seeds=[0, 0]"], r"seeds is \[0, 0\]; expected each once"),
            (["anchors=[some]"], "anchors.0 is 'some'; expected 'none', 'default' or 'extra'"),
            (["domains=[other]"], "domains.0 is 'other'; expected 'same' or 'different'"),
            (["corpora.id=c.txt"], "corpora of 3 languages; expected two"),
            (["parallel=null"], "has no parallel, but representations are compared on translation pairs"),
            (["anchors=[default, extra]"], "has no dictionary, but extra anchors come from a dictionary"),
            (["domains=[same, different]"], "has no other_domain, but a different domain needs its own corpus"),
            (["tagging.train=a.conllu"], "tagging has no dev; expected train, dev and test"),
            (["held_out.fr=a.txt"], "held_out is 'fr'; expected one of en, de"),
            (["stepz=3"], "stepz is no known key"),
        ],
    )
    def test_in_the_study(self, more, message, study):
        with pytest.raises(InputError, match=message):
            study(*more)

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (["alpha=1.5"], "alpha is 1.5; expected a number ≤ 1"),
            (["parallel={places}/none.tsv"], "none.tsv"),
            (["corpora.de={places}/none.txt"], "none.txt is not a file"),
            (["model.num_attention_heads=3"], "attention heads do not divide"),
            (["model.hiden_size=3"], "model: field is 'hiden_size'"),
        ],
    )
    def test_before_work_starts(self, more, message, study, places, tmp_path):
        with pytest.raises(InputError, match=message):
            run_study(study(*(each.format(places=places) for each in more)), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_folder_of_something_else_and_no_workers(self, study, tmp_path):
        with pytest.raises(InputError, match="exists and holds no study"):
            run_study(study(), tmp_path)
        with pytest.raises(InputError, match="workers is 0; expected a whole number ≥ 1"):
            run_study(study(), tmp_path / "out", workers=0)

    def test_a_file_that_is_not_there(self):
        with pytest.raises(InputError, match=r"No study 'none.yaml': expected a .yaml file"):
            load_study("none.yaml")


def test_a_cells_file_is_plain_json(tmp_path):
    made = result(Cell("nothing", "default", "same", 0))
    made.save(tmp_path / "cell.json")
    assert json.loads((tmp_path / "cell.json").read_text(encoding="utf-8"))["cell"]["private"] == "nothing"
    assert CellResult.load(tmp_path / "cell.json") == made
