"""What is written may be read by whom the umask lets, whatever library wrote it."""

import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from hf_xlt.files.folders import atomic_folder, write_whole
from hf_xlt.files.tensors import write_tensors


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_files_of_their_own(tmp_path, umask):
    tensors = write_tensors(tmp_path / "a.safetensors", {"a": torch.ones(2)}, {"format": "x"})
    write_whole(tmp_path / "a.txt", "text")
    assert mode(tensors) == mode(tmp_path / "a.txt") == 0o666 & ~umask


def test_everything_in_a_folder(tmp_path, umask):
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "inner").mkdir(mode=0o700)
        save_file({"a": torch.ones(2)}, folder / "inner" / "a.safetensors")
        (folder / "code.py").write_text("")
        (folder / "code.py").chmod(0o444)
    out = tmp_path / "out"
    assert mode(out) == mode(out / "inner") == 0o777 & ~umask
    assert mode(out / "inner" / "a.safetensors") == mode(out / "code.py") == 0o666 & ~umask


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "a.txt", "\ud800")
    assert not list(tmp_path.iterdir())
