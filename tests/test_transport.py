"""A transport copies, mixes and draws target rows, explains them, and comes back from its file as it was."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.files.tensors import tensors_of
from hf_xlt.transport import Counts, Transport
from hf_xlt.transport.mixture import ClippedMixture, FactoredMixture, Mixture, ProjectedMixture, SparseMixture

# A busy machine must not fail a property for being slow.
PROPERTY = settings(deadline=None, max_examples=40)
SOURCE, TARGET, WIDTH = 12, 15, 6
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sparse() -> SparseMixture:
    crow, col = torch.tensor([0, 2, 2, 5]), torch.tensor([0, 4, 7, 8, 2])
    return SparseMixture(crow, col, torch.tensor([0.25, 0.75, 0.2, -0.5, 1.3]), SOURCE)


def factored() -> FactoredMixture:
    left = randn(3, 4, seed=1) + 1
    left[1] = 0
    return FactoredMixture(left, randn(5, 4, seed=2) + 1, torch.tensor([0, 4, 7, 8, 2]))


def clipped() -> ClippedMixture:
    return ClippedMixture(**tensors_of(factored()))


def projected() -> ProjectedMixture:
    vectors = randn(3, 4, seed=1)
    vectors[1] = 0
    return ProjectedMixture(vectors, randn(4, WIDTH, seed=2))


KINDS = pytest.mark.parametrize("make", [sparse, factored, clipped, projected])


def transport(mixture: Mixture | None = None, seed: int = 42) -> Transport:
    """Three rows copied, three mixed (the second without evidence), nine without a source."""
    return Transport(
        source_size=SOURCE,
        target_size=TARGET,
        copied_source=torch.tensor([3, 1, 3]),
        copied_target=torch.tensor([0, 5, 9]),
        mixed_target=torch.tensor([2, 4, 14]) if mixture else torch.tensor([], dtype=torch.int64),
        mixture=mixture,
        source_names=[f"s{i}" for i in range(SOURCE)],
        target_names=["Hund", "Hunde", "Haus", "-en", "über", "", *(f"t{i}" for i in range(6, TARGET))],
        seed=seed,
    )


@DTYPES
@KINDS
@pytest.mark.parametrize("rows_at_a_time", [1, 4, 512])
def test_rows_are_copied_and_mixed_in_the_dtype_of_the_source(make, dtype, rows_at_a_time, monkeypatch):
    monkeypatch.setattr("hf_xlt.transport.transport._BLOCK_ROWS", rows_at_a_time)
    source = randn(SOURCE, WIDTH).to(dtype)
    target = transport(make()).apply(source)
    assert (target.dtype, target.shape) == (dtype, (TARGET, WIDTH))
    assert torch.equal(target[[0, 5, 9]], source[[3, 1, 3]])
    torch.testing.assert_close(target[[2, 14]], make().apply(source)[[0, 2]].to(dtype))
    assert target.isfinite().all()


@KINDS
def test_rows_without_evidence_are_drawn_like_the_source(make):
    source = randn(SOURCE, WIDTH) * torch.arange(1, WIDTH + 1) + 5
    drawn = transport(make()).apply(source)[[1, 3, 4, 6]]
    mean, std = source.mean(0), source.std(0, correction=0)
    noise = torch.randn(TARGET, WIDTH, generator=torch.Generator().manual_seed(42))[[1, 3, 4, 6]]
    torch.testing.assert_close(drawn, mean + std * noise)


def test_many_drawn_rows_have_the_mean_and_deviation_of_the_source():
    source = randn(SOURCE, WIDTH) * 3 + torch.arange(WIDTH)
    many = replace(transport(), target_size=20_000, target_names=["x"] * 20_000)
    drawn = many.apply(source)[10:]
    torch.testing.assert_close(drawn.mean(0), source.mean(0), rtol=0, atol=0.15)
    torch.testing.assert_close(drawn.std(0), source.std(0, correction=0), rtol=0.05, atol=0)


@KINDS
def test_rows_that_no_token_has_are_the_mean_and_count_as_unused(make):
    source, made = randn(SOURCE, WIDTH) * 3 + torch.arange(WIDTH), transport(make())
    without = replace(
        made, target_names=["" if i in (0, 1, 2, 7) else name for i, name in enumerate(made.target_names)]
    )
    target = without.apply(source)
    torch.testing.assert_close(target[[1, 7]], source.mean(0).expand(2, -1))
    rest = [i for i in range(TARGET) if i not in (1, 7)]
    assert torch.equal(target[rest], made.apply(source)[rest])
    torch.testing.assert_close(without.apply(source[:, 0])[[1, 7]], source[:, 0].mean().expand(2))
    assert without.origins["unused"].nonzero().flatten().tolist() == [1, 7]
    assert without.counts == replace(made.counts, drawn=made.counts.drawn - 2, unused=2)


@PROPERTY
@given(st.integers(0, 2**31), st.integers(0, 2**31))
def test_the_seed_alone_decides_the_draw(seed, other):
    source = randn(SOURCE, WIDTH)
    drawn = transport(seed=seed).apply(source)
    assert torch.equal(drawn, transport(seed=seed).apply(source))
    assert torch.equal(drawn, transport(seed=other).apply(source)) == (seed == other)


def test_a_row_is_drawn_alike_whatever_the_others_are_made_of():
    source = randn(SOURCE, WIDTH)
    rows = [1, 3, 4, 6]
    assert torch.equal(transport().apply(source)[rows], transport(factored()).apply(source)[rows])


def test_padding_of_the_source_is_never_read():
    source = randn(SOURCE, WIDTH)
    padded = torch.cat([source, torch.full((4, WIDTH), torch.nan)])
    assert torch.equal(transport(sparse()).apply(padded), transport(sparse()).apply(source))


@DTYPES
@pytest.mark.parametrize("make", [sparse, factored, clipped])
def test_a_bias_goes_the_way_of_a_column(make, dtype):
    bias = randn(SOURCE).to(dtype)
    target = transport(make()).apply(bias)
    assert (target.dtype, target.shape) == (dtype, (TARGET,))
    assert torch.equal(target, transport(make()).apply(bias[:, None])[:, 0])


def test_the_bias_of_a_projected_row_is_drawn():
    bias = randn(SOURCE)
    target = transport(projected()).apply(bias)
    assert torch.equal(target, transport().apply(bias))
    assert torch.equal(target[[0, 5, 9]], bias[[3, 1, 3]])


@KINDS
def test_the_source_is_left_alone_and_may_be_a_non_contiguous_parameter(make):
    source = torch.nn.Parameter(randn(WIDTH, SOURCE)).T
    before = source.detach().clone()
    target = transport(make()).apply(source)
    assert torch.equal(source, before)
    assert not target.requires_grad
    torch.testing.assert_close(target, transport(make()).apply(before.contiguous()))


@KINDS
def test_counts_and_origins_tell_rows_without_evidence_from_mixed_ones(make):
    made = transport(make())
    origin = "projected" if make is projected else "mixed"
    assert made.counts == Counts(**{"copied": 3, "mixed": 0, "drawn": 10} | {origin: 2})
    origins = [made.origin(name) for name in ("Hund", "Hunde", "Haus", "über", "t9", "t14")]
    assert origins == ["copied", "drawn", origin, "drawn", "copied", origin]
    assert torch.stack([*made.origins.values()]).sum(0).tolist() == [1] * TARGET


@PROPERTY
@given(st.data())
def test_counts_add_up_to_the_target_size(data):
    order = data.draw(st.permutations(range(TARGET)))
    copied = data.draw(st.integers(0, TARGET - 3))
    made = replace(
        transport(sparse()),
        copied_source=torch.zeros(copied, dtype=torch.int64),
        copied_target=torch.tensor(sorted(order[:copied]), dtype=torch.int64),
        mixed_target=torch.tensor(sorted(order[copied : copied + 3])),
    )
    counts = made.counts
    assert (counts.copied, counts.mixed) == (copied, 2)
    assert counts.copied + counts.mixed + counts.drawn + counts.unused == TARGET


def test_explain_lists_the_heaviest_source_tokens_first():
    made = transport(sparse())
    assert made.explain("Haus") == [("s4", 0.75), ("s0", 0.25)]
    assert made.explain("t14", k=2) == [("s2", pytest.approx(1.3)), ("s8", -0.5)]
    assert made.explain("Hund") == [("s3", 1.0)]
    assert made.explain("t9") == [("s3", 1.0)]
    assert made.explain("-en") == made.explain("über") == []
    assert transport(projected()).explain("Haus") == []


@pytest.mark.parametrize("make", [sparse, factored, clipped])
def test_explained_weights_reproduce_the_row(make):
    source = randn(SOURCE, WIDTH)
    made = transport(make())
    explained = made.explain("Haus", k=SOURCE)
    row = sum(weight * source[int(name[1:])] for name, weight in explained)
    torch.testing.assert_close(row, made.apply(source)[2], rtol=1e-4, atol=1e-5)


def test_of_repeated_names_the_first_is_explained():
    names = ["gleich"] * TARGET
    assert replace(transport(sparse()), target_names=names).explain("gleich") == [("s3", 1.0)]


@pytest.mark.parametrize("ask", ["explain", "origin"])
def test_an_unknown_token_is_refused_with_its_neighbours(ask):
    with pytest.raises(InputError, match="'Hunt' is not a token .* Did you mean 'Hund' or 'Hunde'"):
        getattr(transport(), ask)("Hunt")
    with pytest.raises(InputError, match="Nothing is spelled like it"):
        getattr(transport(), ask)("犬")
    with pytest.raises(InputError, match="'' is not a token"):
        getattr(transport(), ask)("")


def test_explaining_nothing_is_refused():
    with pytest.raises(InputError, match="k is 0; expected at least 1"):
        transport().explain("Hund", k=0)


@pytest.mark.parametrize("make", [sparse, factored, clipped, projected, lambda: None])
def test_a_saved_transport_comes_back_equal_to_the_bit(make, tmp_path):
    made = replace(transport(make(), seed=7), source_names=['"', "\n", "\0", "\ud800", *("ß犬" * 4)])
    again = Transport.load(made.save(tmp_path / "transport.safetensors"))
    for name in ("copied_source", "copied_target", "mixed_target"):
        assert torch.equal(getattr(again, name), getattr(made, name))
    for name in ("source_names", "target_names"):
        assert list(getattr(again, name)) == list(getattr(made, name))
    assert (again.source_size, again.target_size, again.seed) == (SOURCE, TARGET, 7)
    assert type(again.mixture) is type(made.mixture)
    if made.mixture and again.mixture:
        for name, tensor in tensors_of(made.mixture).items():
            assert torch.equal(tensors_of(again.mixture)[name], tensor)
    source = randn(SOURCE, WIDTH)
    torch.testing.assert_close(again.apply(source), made.apply(source), rtol=1e-6, atol=1e-6)  # memory is laid anew


def test_tensors_that_share_memory_are_saved_too(tmp_path):
    ids = torch.arange(10)
    vectors = randn(3, 4)
    mixture = FactoredMixture(vectors, vectors, ids[2:5])
    shared = replace(transport(mixture), copied_source=ids, copied_target=ids, mixed_target=torch.arange(12, 15))
    again = Transport.load(shared.save(tmp_path / "shared.safetensors"))
    assert torch.equal(again.copied_source, ids)


def test_saving_replaces_a_file_only_when_asked_and_leaves_nothing_else(tmp_path):
    path = transport().save(tmp_path / "transport.safetensors")
    with pytest.raises(InputError, match="exists; expected a new file"):
        transport(seed=1).save(path)
    assert Transport.load(path).seed == 42
    assert Transport.load(transport(seed=1).save(path, overwrite=True)).seed == 1
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="is not a folder; expected one to write transport.st"):
        transport().save(tmp_path / "missing" / "transport.st")


def test_a_file_that_is_no_transport_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a file; expected a transport"):
        Transport.load(tmp_path / "missing.safetensors")
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"not safetensors at all")
    with pytest.raises(InputError, match="is not a readable safetensors file"):
        Transport.load(garbage)
    weights = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(2)}, weights)
    with pytest.raises(InputError, match="is not a transport; expected a file that"):
        Transport.load(weights)


@pytest.mark.parametrize(
    "matrix",
    [torch.zeros(SOURCE - 1, 2), torch.zeros(3), torch.zeros(SOURCE, 2).long(), torch.zeros(SOURCE, 2, 2)],
)
def test_apply_refuses_a_tensor_of_another_checkpoint(matrix):
    with pytest.raises(InputError, match="Cannot transport .* at least 12 source ids"):
        transport().apply(matrix)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"copied_source": torch.tensor([0, 1, SOURCE])}, "copied_source runs from 0 to 12; expected .* below 12"),
        ({"copied_source": torch.tensor([0, 1])}, "copied_target has 3 entries; expected 2"),
        ({"copied_target": torch.tensor([0, -1, 1])}, "copied_target runs from -1"),
        ({"copied_target": torch.tensor([0, 7, 7])}, "Target row 7 is given 2 times"),
        ({"copied_target": torch.tensor([0, 9, 5])}, "copied_target is not in order"),
        ({"mixed_target": torch.tensor([14, 4, 2])}, "mixed_target is not in order"),
        ({"copied_target": torch.tensor([0, 7, 14])}, "Target row 14 is given 2 times"),
        ({"mixed_target": torch.tensor([2, 4, TARGET])}, "mixed_target runs from 2 to 15"),
        ({"mixed_target": torch.tensor([2, 4])}, "mixed_target has 2 entries; expected 3"),
        ({"mixture": None}, "mixed_target has 3 entries; expected 0"),
        ({"mixed_target": torch.tensor([2.0, 4.0, 14.0])}, "mixed_target is torch.float32"),
        ({"source_names": ["a"]}, "source_names has 1 entries; expected 12"),
        ({"target_names": ["a"]}, "target_names has 1 entries; expected 15"),
        ({"source_size": 9, "source_names": ["a"] * 9}, "source_size is 9; expected 12 or more"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        replace(transport(sparse()), **changes)
