"""Two spaces are laid on each other without a dictionary, in the order given, or refused."""

import pytest
import torch
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.geometry.adversarial import GameSettings
from hf_xlt.geometry.align import align_spaces
from hf_xlt.geometry.csls import matches
from hf_xlt.geometry.similarity import unit_rows
from hf_xlt.geometry.space import Alignment, Space

WORDS, WIDTH = 600, 20


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def space(seed: int = 0) -> Tensor:
    """Rows in clusters of several sizes, off the origin, of lengths that fall with the rank: somewhat like words."""
    centres = torch.randn(40, WIDTH, generator=draw(seed)).exp()
    members = torch.randint(40, (WORDS,), generator=draw(seed + 1))
    rows = centres[members] + 0.7 * torch.randn(WORDS, WIDTH, generator=draw(seed + 2)) + 1
    return unit_rows(rows) * torch.linspace(1, 3, WORDS)[:, None]


def rotated(rows: Tensor, noise: float = 0.02, width: int = WIDTH, seed: int = 9) -> Tensor:
    rotation = torch.linalg.qr(torch.randn(width, width, generator=draw(seed)))[0][: rows.shape[1]]
    return 0.1 * (rows @ rotation + noise * torch.randn(len(rows), width, generator=draw(seed + 1)))


def order() -> Tensor:
    return torch.arange(WORDS)


def aligned(source: Tensor, target: Tensor, **options: object) -> Alignment:
    return align_spaces(source, target, **{"source_order": order(), "target_order": order()} | options)


def precision(alignment: Alignment, truth: Tensor | None = None) -> float:
    found = matches(alignment.mapped(), alignment.source.rows).forward
    return float((found == (order() if truth is None else truth)).float().mean())


def dictionary(size: int) -> Tensor:
    return order()[:size, None].expand(-1, 2).clone()


def test_a_rotated_and_noised_space_is_recovered_without_a_dictionary():
    alignment = aligned(space(), rotated(space()))
    assert precision(alignment) > 0.99
    assert alignment.confidence > 0.3
    torch.testing.assert_close(alignment.map @ alignment.map.T, torch.eye(WIDTH), rtol=0, atol=1e-5)
    assert (alignment.pairs[:, 0] == alignment.pairs[:, 1]).float().mean() > 0.99
    assert alignment.criterion == max(alignment.history)


@pytest.mark.parametrize("start", ["similarity", "axes"])
def test_either_start_finds_the_way(start):
    assert precision(aligned(space(), rotated(space()), start=start)) > 0.99


def test_a_game_that_diverges_is_refused():
    settings = GameSettings(rounds=1, iterations=30, hidden=8, batch=8, map_rate=1e4)
    with pytest.raises(InputError, match="The game diverged at map_rate=10000.0, beta=0.5"):
        aligned(space(), rotated(space()), start="identity", game=settings)


@pytest.mark.slow
def test_a_narrower_or_wider_target_is_recovered_too():
    for rows, images in ((space(), rotated(space(), width=WIDTH + 8)), (rotated(space(), width=WIDTH + 8), space())):
        assert precision(aligned(rows, images)) > 0.99


def test_a_dictionary_is_a_start():
    alignment = aligned(space(), rotated(space()), dictionary=dictionary(60), refinements=0)
    assert precision(alignment) > 0.99
    assert len(alignment.history) == 1


def test_refinement_mends_a_poor_dictionary():
    poor = torch.cat([dictionary(25), torch.randint(WORDS, (15, 2), generator=draw(1))])
    before = aligned(space(), rotated(space()), dictionary=poor, refinements=0)
    after = aligned(space(), rotated(space()), dictionary=poor)
    assert precision(before) < precision(after)
    assert precision(after) > 0.99


def test_entries_held_out_tell_how_many_words_are_found():
    alignment = aligned(space(), rotated(space(), noise=0.2), dictionary=dictionary(500))
    assert alignment.held_out == pytest.approx(precision(alignment), abs=0.2)
    assert alignment.confidence >= alignment.held_out > 0.1
    assert aligned(space(), rotated(space()), dictionary=dictionary(9)).held_out is None


def test_a_dictionary_of_pairs_that_are_none_is_refused_by_the_entries_held_out():
    unrelated = torch.randn(WORDS, WIDTH, generator=draw(7))
    with pytest.raises(InputError, match=r"of held-out dictionary entries \d+% are found"):
        aligned(space(), unrelated, dictionary=dictionary(300))


@pytest.mark.slow
def test_the_game_goes_on_from_its_start_and_refinement_from_the_game():
    rows = space()
    slightly = torch.linalg.matrix_exp(0.06 * torch.randn(WIDTH, WIDTH, generator=draw(3)).triu(1))
    slightly = torch.linalg.qr(slightly)[0]
    settings = GameSettings(restarts=2, rounds=2, iterations=20, hidden=64, judged=WORDS)
    alignment = aligned(rows, rows @ slightly, start="identity", game=settings)
    assert precision(alignment) > 0.99
    again = aligned(rows, rows @ slightly, start="identity", game=settings)
    assert torch.equal(alignment.map, again.map)


def test_the_order_decides_and_not_the_ids():
    source, target = space(), rotated(space())
    plain = aligned(source, target, frequent=400)
    of_source, of_target = torch.randperm(WORDS, generator=draw(1)), torch.randperm(WORDS, generator=draw(2))
    shuffled = align_spaces(
        source[of_source.argsort()],
        target[of_target.argsort()],
        source_order=of_source,
        target_order=of_target,
        frequent=400,
    )
    torch.testing.assert_close(shuffled.map, plain.map, rtol=0, atol=1e-4)
    assert shuffled.criterion == pytest.approx(plain.criterion, abs=1e-5)
    assert torch.equal(shuffled.source.order[:5], of_source[:5])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_map():
    first, again = (aligned(space(), rotated(space()), seed=4) for _ in range(2))
    assert torch.equal(first.map, again.map)
    assert (first.criterion, first.chance) == (again.criterion, again.chance)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["similarity", "identity"])
def test_unrelated_spaces_are_refused(start):
    source, target = (torch.randn(WORDS, WIDTH, generator=draw(seed)) for seed in (1, 2))
    with pytest.raises(InputError, match=r"could not be aligned.*is chance.*Give a dictionary"):
        aligned(source, target, start=start)


@pytest.mark.slow
def test_a_start_that_leads_nowhere_is_refused():
    with pytest.raises(InputError, match="could not be aligned"):
        aligned(space(), rotated(space()), start="identity", refinements=2)


@pytest.mark.slow
def test_a_word_without_a_vector_takes_no_part():
    source, target = space(), rotated(space())
    target[[3, 50]] = 1e-8
    source[7] = 0
    alignment = aligned(source, target)
    assert not alignment.target.rows[[3, 50]].any()
    assert not alignment.source.rows[7].any()
    assert not torch.isin(alignment.target.order, torch.tensor([3, 50])).any()
    assert alignment.projection(torch.tensor([2, 3, 50])).finite.tolist() == [True, False, False]


@pytest.mark.slow
def test_projected_rows_lie_where_the_sources_do():
    source = space()
    alignment = aligned(source, rotated(source))
    rows = alignment.projection(order()).apply(torch.empty(0, WIDTH))
    assert (torch.cosine_similarity(rows, source) > 0.99).all()
    lengths = rows.norm(dim=1)
    torch.testing.assert_close(lengths, source.norm(dim=1), rtol=0.05, atol=0)
    some = torch.tensor([9, 4])
    torch.testing.assert_close(alignment.projection(some).apply(torch.empty(0, WIDTH)), rows[some])


@pytest.mark.slow
def test_ids_outside_the_order_are_mapped_as_the_rarest():
    source = space()
    alignment = aligned(source, rotated(source), target_order=order()[:500])
    rows = alignment.projection(order()).apply(torch.empty(0, WIDTH))
    assert (torch.cosine_similarity(rows, source) > 0.99).all()
    torch.testing.assert_close(rows[500:].norm(dim=1), torch.full((100,), float(rows[499].norm())), rtol=1e-4, atol=0)


def test_a_space_is_unit_rows_around_their_centre():
    normal = Space.of("source", space(), order())
    torch.testing.assert_close(normal.rows.norm(dim=1), torch.ones(WORDS))
    units = space() / space().norm(dim=1, keepdim=True)
    centred = units - units.mean(0)
    torch.testing.assert_close(normal.rows, centred / centred.norm(dim=1, keepdim=True), rtol=0, atol=1e-5)
    torch.testing.assert_close(normal.distances, centred.norm(dim=1))


def changed(row: int, value: float) -> Tensor:
    rows = space()
    rows[row, 2] = value
    return rows


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"target": changed(5, float("nan"))}, "Row 5 of target holds NaN or infinity"),
        ({"source": changed(6, float("inf"))}, "Row 6 of source holds NaN or infinity"),
        ({"source": torch.ones(4)}, "source is a torch.float32"),
        ({"target": torch.ones(WORDS, 3, dtype=torch.int64)}, "target is a torch.int64"),
        ({"target": torch.zeros(WORDS, 3)}, "None of the target words to learn from has a vector"),
        (
            {"source_order": torch.tensor([0, WORDS])},
            "source_order runs from 0 to 600",
        ),
        ({"target_order": torch.tensor([1, 2, 1])}, "target_order names an id twice"),
        ({"target_order": torch.tensor([1.0])}, "target_order is torch.float32"),
        ({"dictionary": torch.tensor([0, 1])}, r"dictionary is of shape \(2,\); expected \(p, 2\)"),
        ({"dictionary": torch.tensor([[0, 1], [2, 600]])}, r"dictionary: source ids runs from 1 to 600"),
        ({"start": "magic"}, "start is 'magic'; expected one of similarity, axes, identity"),
        ({"refinements": -1}, "refinements=-1"),
        ({"frequent": 0}, "expected 0 or more, and at least 1 word"),
    ],
)
def test_bad_input_is_refused(options, match):
    given = {"source": space(), "target": rotated(space()), "source_order": order(), "target_order": order()} | options
    with pytest.raises(InputError, match=match):
        align_spaces(given.pop("source"), given.pop("target"), **given)


def test_a_dictionary_of_words_without_vectors_is_refused():
    source = space()
    source[:3] = 0
    with pytest.raises(InputError, match="None of the 3 dictionary entries has a vector on both sides"):
        aligned(source, rotated(space()), dictionary=dictionary(3))
