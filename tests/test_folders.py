"""Files of the user's own: what an output may replace, where it may go, and what is left of it where it fails."""

import json
import os
import re
import shutil
import socket
from pathlib import Path

import pytest
import tiny

from hf_xlt import CLPInitializer, InputError, RandomInitializer, Transport
from hf_xlt.files.folders import (
    MARK,
    atomic_folder,
    check_file,
    check_output,
    folder_in_place,
    foreign_files,
    write_whole,
)
from hf_xlt.initializers import read_places
from hf_xlt.sample import FOLDER


def write(folder: Path, name: str, text: str = "text") -> Path:
    with atomic_folder(folder) as partial:
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).write_text(text)
    return folder


class TestWhatIsReplaced:
    def test_a_folder_that_hf_xlt_wrote(self, tmp_path):
        write(tmp_path / "out", "deep/old")
        with atomic_folder(tmp_path / "out", overwrite=True) as folder:
            (folder / "new").write_text("text")
            assert (tmp_path / "out" / "deep" / "old").exists(), "the old one is there until the new one stands"
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [MARK, "new"]
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    @pytest.mark.parametrize("foreign", ["thesis.tex", "deep/thesis.tex", ".hidden"])
    def test_not_one_with_a_file_of_somebody_else(self, tmp_path, foreign):
        out = write(tmp_path / "out", "old")
        (out / foreign).parent.mkdir(exist_ok=True)
        (out / foreign).write_text("ten years of work")
        with pytest.raises(InputError, match=rf"did not write .*\({re.escape(foreign)}\)") as refused:
            check_output(out, overwrite=True)
        assert refused.value.value == [foreign]
        assert refused.value.path == out

    def test_not_one_whose_files_were_changed_since(self, tmp_path):
        out = write(tmp_path / "out", "README.md")
        (out / "README.md").write_text("My own words about this model.")
        with pytest.raises(InputError, match="changed since"):
            check_output(out, overwrite=True)

    def test_not_a_link_in_it_to_elsewhere(self, tmp_path):
        out = write(tmp_path / "out", "old")
        (tmp_path / "elsewhere").mkdir()
        (out / "link").symlink_to(tmp_path / "elsewhere")
        assert foreign_files(out) == ["link"]

    def test_not_a_folder_without_its_mark(self, tmp_path):
        shutil.copytree(FOLDER / "source", tmp_path / "model")
        (tmp_path / "model" / "README.md").unlink()
        with pytest.raises(InputError, match="did not write"):
            check_output(tmp_path / "model", overwrite=True)

    @pytest.mark.parametrize("mark", ["", "{", "[]", '{"files": 3}', "[" * 100_000])
    def test_a_broken_mark_marks_nothing(self, tmp_path, mark):
        out = write(tmp_path / "out", "old")
        (out / MARK).write_text(mark)
        assert foreign_files(out) == ["old"]

    def test_a_model_of_an_earlier_version_is_known_by_its_files(self, tmp_path):
        shutil.copytree(FOLDER / "source", tmp_path / "model")
        check_output(tmp_path / "model", overwrite=True)
        (tmp_path / "model" / "notes.txt").write_text("mine")
        assert foreign_files(tmp_path / "model") == ["notes.txt"]

    def test_an_empty_folder(self, tmp_path):
        (tmp_path / "out").mkdir()
        write_over = atomic_folder(tmp_path / "out", overwrite=True)
        with write_over as folder:
            (folder / "new").write_text("text")
        assert (tmp_path / "out" / "new").exists()

    def test_nothing_that_appeared_meanwhile(self, tmp_path):
        with pytest.raises(InputError, match="exists"), atomic_folder(tmp_path / "out"):  # noqa: PT012
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "thesis.tex").write_text("ten years of work")
        assert (tmp_path / "out" / "thesis.tex").exists()

    def test_what_was_replaced_comes_back_when_writing_fails(self, tmp_path):
        out = write(tmp_path / "out", "old")
        for replacing in (atomic_folder, folder_in_place):
            with pytest.raises(OSError, match="full"), replacing(out, overwrite=True) as folder:  # noqa: PT012
                (folder / "new").write_text("text")
                raise OSError("full")
            assert sorted(path.name for path in out.iterdir()) == [MARK, "old"]
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_an_unfinished_folder_does_not_cost_the_one_that_was_put_aside(self, tmp_path):
        out = write(tmp_path / "out", "old")
        aside = tmp_path / f".out.replaced-{socket.gethostname()}-999999999"
        out.rename(aside)
        out.mkdir()
        (out / "half").write_text("half")
        with pytest.raises(InputError, match="half"), folder_in_place(out, overwrite=True):
            pass
        assert (aside / "old").exists()
        shutil.rmtree(out)
        with folder_in_place(out, overwrite=True) as folder:
            (folder / "new").write_text("text")
        assert not aside.exists()


class TestWhereItMayGo:
    def test_not_into_what_is_read(self, tmp_path):
        source = write(tmp_path / "source", "model")
        (tmp_path / "link").symlink_to(source)
        text = tmp_path / "corpus.txt"
        text.write_text("text")
        for output, read in (
            (source, source), (source / "out", source), (tmp_path, source), (source, tmp_path / "link"), (text, text),
        ):  # fmt: skip
            with pytest.raises(InputError, match="overlaps"):
                check_output(output, overwrite=True, sources=[None, "an/id-on-the-hub", read])
        check_output(tmp_path / "out", sources=[source, text, tmp_path / "out" / "not there"])

    def test_a_build_refuses_every_checkpoint_it_reads(self, tmp_path):
        tok = tiny.tokenizer("en", "wordpiece")
        source = tiny.save(tiny.model("bert", tok), tok, tmp_path / "source")
        german = tiny.tokenizer("de", "wordpiece", 500)
        with atomic_folder(tmp_path / "helper") as folder:
            tiny.save(tiny.model("bert", german), german, folder)
        clp = CLPInitializer(source, tmp_path / "helper")
        with pytest.raises(InputError, match="overlaps"):
            clp.build(tmp_path / "helper", overwrite=True)
        assert (tmp_path / "helper" / "config.json").exists()

    def test_a_tokenizer_made_in_memory_is_read_from_nowhere(self, tmp_path, monkeypatch):
        tok = tiny.tokenizer("en", "wordpiece")
        source = tiny.save(tiny.model("bert", tok), tok, tmp_path / "source")
        monkeypatch.chdir(tmp_path)
        assert RandomInitializer(source, tiny.tokenizer("de", "wordpiece", 500)).build("built").is_dir()
        assert read_places({"tokenizer": tiny.tokenizer("de", "wordpiece", 500)}) == ()

    @pytest.mark.parametrize("output", ["", "a\0b", "a\udcff", "~nobody-by-that-name/x"])
    def test_not_where_no_name_leads(self, output):
        with pytest.raises(InputError, match="no name of a file|leads nowhere"):
            check_output(output)

    @pytest.mark.parametrize(
        "output", ["file/out", "file/deep/out", "loop/out", "x" * 256, "x" * 245, "y" * 300 + "/z"]
    )
    def test_not_where_nothing_can_be_made(self, tmp_path, output):
        (tmp_path / "file").write_text("text")
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        with pytest.raises(InputError), atomic_folder(tmp_path / output):
            pass
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
    def test_not_on_a_special_file_system(self):
        with pytest.raises(InputError, match="cannot be written"):
            check_output("/proc/out")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_not_in_a_folder_of_others(self, tmp_path):
        tmp_path.chmod(0o500)
        with pytest.raises(InputError, match="Permission denied"):
            check_output(tmp_path / "out")

    def test_folders_made_on_the_way_go_again_when_writing_fails(self, tmp_path):
        for replacing in (atomic_folder, folder_in_place):
            with pytest.raises(OSError, match="full"), replacing(tmp_path / "a" / "b" / "out"):
                raise OSError("full")
        assert not list(tmp_path.iterdir())


class TestFiles:
    def test_only_a_file_of_the_same_kind_is_replaced(self, tmp_path):
        tok = tiny.tokenizer("en", "wordpiece")
        source = tiny.save(tiny.model("bert", tok), tok, tmp_path / "source")
        transport = RandomInitializer(source, tiny.tokenizer("de", "wordpiece", 500)).transport()
        weights = source / "model.safetensors"
        before = weights.read_bytes()
        with pytest.raises(InputError, match="was not written by hf-xlt"):
            transport.save(weights, overwrite=True)
        assert weights.read_bytes() == before
        path = transport.save(tmp_path / "t.safetensors")
        assert Transport.load(transport.save(path, overwrite=True)).seed == transport.seed

    @pytest.mark.parametrize("kind", ["folder", "link", "dangling link", "pipe"])
    def test_only_ordinary_files_are(self, tmp_path, kind):
        path = tmp_path / "out.json"
        match kind:
            case "folder":
                path.mkdir()
            case "link":
                (tmp_path / "elsewhere").write_text("{}")
                path.symlink_to(tmp_path / "elsewhere")
            case "dangling link":
                path.symlink_to(tmp_path / "elsewhere")
            case "pipe":
                os.mkfifo(path)
        with pytest.raises(InputError, match="exists"):
            check_file(path, overwrite=False)
        with pytest.raises(InputError, match="no ordinary file"):
            check_file(path, overwrite=True)

    def test_a_file_that_fails_leaves_nothing(self, tmp_path):
        (tmp_path / "folder").mkdir()
        with pytest.raises(OSError, match="folder"):
            write_whole(tmp_path / "folder", json.dumps({}))
        assert [path.name for path in tmp_path.iterdir()] == ["folder"]
