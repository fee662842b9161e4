"""Text of the source language between that of the target: how much, in which order, and what it keeps."""

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from hf_xlt import InputError, load_recipe, run_recipe
from hf_xlt.data.sampling import ReplayStream, Stream, replayed
from hf_xlt.runs import check_recipe
from hf_xlt.runs.kinds.transfer import Transfer
from hf_xlt.runs.text import replayed_text
from hf_xlt.sample import sentences

SMALL = ("stages.0.steps=4", "stages.0.sequence_length=16", "stages.0.batch_size=4", "stages.0.evaluations=1",
         "data.held_out_every=40", "language=de")  # fmt: skip


class Named(Stream):
    def __init__(self, name, length):
        self.name, self.length = name, length

    def __len__(self):
        return self.length

    def __getitems__(self, positions):
        return [(self.name, position) for position in positions]


@given(length=st.integers(0, 200), share=st.floats(0, 1, exclude_max=True))
def test_every_example_comes_once_in_its_order_and_old_ones_are_spread_evenly(length, share):
    old = replayed(length, share)
    stream = ReplayStream(Named("new", length - old), Named("old", old), share)
    assert len(stream) == length
    seen = [stream[position] for position in range(length)]
    for name, count in (("new", length - old), ("old", old)):
        assert [example for example in seen if example[0] == name] == [(name, place) for place in range(count)]
    for end in range(length + 1):
        assert sum(name == "old" for name, _ in seen[:end]) == pytest.approx(share * end, abs=1)


@pytest.fixture
def asked(tmp_path):
    english, german = tiny.tokenizer("en", "byte-level-bpe"), tiny.tokenizer("de", "byte-level-bpe", 500)
    tiny.save(tiny.model("gpt2", english, seed=1), english, tmp_path / "source")
    german.save_pretrained(tmp_path / "german")
    for language in ("en", "de"):
        text = "\n".join(sentences(language, "train")[:120]) + "\n"
        (tmp_path / f"{language}.txt").write_text(text, encoding="utf-8")
    places = [f"source={tmp_path / 'source'}", f"target_tokenizer={tmp_path / 'german'}"]
    recipe = load_recipe("clp", [*SMALL, *places, f"data.corpus={tmp_path / 'de.txt'}"])
    return recipe.replace(initializer={"method": "mean"}, alternatives=())


def replaying(recipe, folder, share=0.25):
    data = recipe.data.replace(source_corpus=str(folder / "en.txt"))
    return recipe.replace(data=data, stages=tuple(stage.replace(replay=share) for stage in recipe.stages))


def test_a_stage_reads_its_share_of_the_source_language(asked, tmp_path):
    inputs = Transfer(recipe := replaying(asked, tmp_path)).inputs
    text = replayed_text(inputs, inputs.target_tokenizer, tmp_path / "packed")
    stream = text.stream(recipe.stages[0], 16, seed=0)
    old = [list(row) for row in text.replayed["input_ids"]]
    assert sum(list(stream[position]["input_ids"]) in old for position in range(16)) == 4
    size = text.sequence_size(recipe.stages[0])
    assert size.text_bytes == pytest.approx(
        0.75 * text.sizes["target"].text_bytes + 0.25 * text.replayed_size.text_bytes
    )


@pytest.mark.slow
def test_a_run_tells_what_is_left_of_the_source_language(asked, tmp_path):
    recipe = replaying(asked, tmp_path)
    results = run_recipe(recipe, tmp_path / "out")
    (run,) = results.runs
    assert [(point.language, point.step) for point in run.languages] == [("source", 0), ("source", 4)]
    (table,) = (table for table in Transfer(recipe).tables(results) if "source language" in table.caption)
    assert table.lines[0][1:] == tuple(f"{point.bits_per_byte:.3f}" for point in run.languages)


def test_replay_without_text_or_in_another_kind_of_run_is_refused(asked, tmp_path):
    whole = replaying(asked, tmp_path)
    without = whole.replace(data=whole.data.replace(source_corpus=None))
    other = load_recipe("scratch", [f"data.corpus={tmp_path / 'de.txt'}", "stages.0.replay=0.1"])
    unread = asked.replace(data=whole.data)
    for recipe, key in ((without, "data.source_corpus"), (other, "stages.0.replay"), (unread, "data.source_corpus")):
        with pytest.raises(InputError) as refusal:
            check_recipe(recipe, compare=False)
        assert refusal.value.key == key
    with pytest.raises(InputError):
        asked.stages[0].replace(replay=1.0)
