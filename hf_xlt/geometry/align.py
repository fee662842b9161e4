"""Align two embedding spaces: a start, perhaps a game, refinement, and a check that it worked."""

import torch
from torch import Tensor
from tqdm import tqdm

from hf_xlt.arguments import checked, require_id_pairs, require_one_of, require_seed
from hf_xlt.errors import InputError
from hf_xlt.geometry.adversarial import GameSettings, play
from hf_xlt.geometry.csls import Matches, matches
from hf_xlt.geometry.similarity import unit_rows
from hf_xlt.geometry.space import Alignment, Space, procrustes

EVERY = 10
STARTS = ("similarity", "axes", "identity")
CONFIDENCE = 0.1

_SIMILARITY_WORDS = 4000
_CHANCE_REFINEMENTS = 5
_SETTLED = 1e-4


@checked
def align_spaces(
    source: Tensor,
    target: Tensor,
    *,
    source_order: Tensor,
    target_order: Tensor,
    dictionary: Tensor | None = None,
    start: str = "similarity",
    game: GameSettings | None = None,
    refinements: int = 10,
    frequent: int = 10_000,
    seed: int = 0,
) -> Alignment:
    """Find the orthogonal map that lays a target's vectors on a source's, with or without a dictionary.

    Both tables are scaled to unit rows, centered and scaled again. The first map comes from the dictionary if there is
    one, else from similarity profiles, principal axes or the identity; a game may improve it; then Procrustes on mutual
    CSLS matches is repeated until the criterion settles, and the map with the best criterion is kept, unless the first
    one finds more of the dictionary entries that were held out. The criterion is the mean cosine of mapped words and
    their CSLS matches among the most frequent (`mean_cosine` of Conneau et al., 2018, there over the whole source
    vocabulary). It is compared with chance: what refinement reaches on the target with each principal coordinate
    shuffled over the words.

    Args:
        source: `(V_s, d)`, rows that are led to, such as a model's input embeddings.
        target: `(V_t, k)`, rows that are mapped, such as static vectors; `k` need not be `d`.
        source_order: int64, source ids to learn from, the most frequent first; leave out special tokens.
        target_order: The same for the target. Ids in neither order are mapped all the same.
        dictionary: int64 `(p, 2)`, target and source ids of translations.
        start: `similarity`, `axes` or `identity`: the first map where there is no dictionary.
        game: If given, the adversarial game is played from the first map.
        refinements: The most Procrustes steps on mutual matches; 0 keeps the map as it is.
        frequent: Number of words that are matched, on either side.
        seed: Of the game and of the shuffles that chance is measured on.

    Raises:
        InputError: If the input does not fit together, or the criterion is no better than chance and the map finds
            less than a tenth of the dictionary entries held out.
    """
    require_one_of("start", start, STARTS)
    if refinements < 0 or frequent < 1:
        raise InputError(f"refinements={refinements}, frequent={frequent}", expected="0 or more, and at least 1 word")
    require_seed("seed", seed)
    spaces = Space.of("source", source, source_order), Space.of("target", target, target_order)
    images, rows = (space.frequent(frequent) for space in spaces)
    kept_back = None
    if dictionary is not None:
        learned, kept_back = _split(*spaces, dictionary)
        first = procrustes(spaces[1].rows[learned[:, 0]], spaces[0].rows[learned[:, 1]])
    elif start == "similarity":
        first = similarity_start(rows[:_SIMILARITY_WORDS], images[:_SIMILARITY_WORDS])
    elif start == "axes":
        first = axes_start(rows, images)
    else:
        first = torch.eye(rows.shape[1], images.shape[1], device=rows.device)
    if game is not None:
        first = play(images, rows, first, game, seed)
    best, found, history = _refine(images, rows, first, refinements, "refinement")
    held_out = None if kept_back is None else _found(*spaces, kept_back, best, frequent)
    if kept_back is not None and held_out is not None:
        plain = _found(*spaces, kept_back, first, frequent) or 0
        if held_out < plain:
            best, found, held_out = first, matches(unit_rows(rows @ first), images), plain
    shuffled = _without_structure(rows, seed)
    _, by_chance, _ = _refine(images, shuffled, best, min(refinements, _CHANCE_REFINEMENTS), "chance")
    pairs = torch.stack([spaces[1].order[found.mutual[:, 0]], spaces[0].order[found.mutual[:, 1]]], dim=1)
    alignment = Alignment(*spaces, best, found.criterion, by_chance.criterion, history, pairs, held_out)
    _check_success(alignment)
    return alignment


def axes_start(rows: Tensor, images: Tensor) -> Tensor:
    """Map the principal axes of centered rows `(n, k)` to those of images `(m, d)`, the strongest to the strongest.

    An axis has no sign of its own: it is turned to where its coordinates are positively skewed. The second and third
    moments are all that is used, so the time is that of two `d × d` products; what comes out is rough.
    """
    shared = min(rows.shape[1], images.shape[1])
    return _axes(rows)[:, :shared] @ _axes(images)[:, :shared].T


def _axes(rows: Tensor) -> Tensor:
    """Principal axes `(d, d)` in columns by falling variance, turned to positive skewness."""
    axes = torch.linalg.eigh((rows.T @ rows).double()).eigenvectors.flip(1).to(rows)
    skewness = (rows @ axes).pow(3).sum(0)
    return axes * torch.where(skewness < 0, -1.0, 1.0)


def similarity_start(rows: Tensor, images: Tensor) -> Tensor:
    """Map rows `(n, k)` to images `(m, d)`, both unit rows of frequent words, whose similarity profiles match.

    A word's profile is its row of the square root of the similarity matrix, sorted: it does not depend on any axis of
    the space, nor on the order of words, so profiles of two spaces compare (VecMap's unsupervised initialization,
    section 3.2). They are centered, scaled to length one, and matched under CSLS, both ways. What
    one side has more than the other is left out; `n × n` similarities are formed.
    """
    size = min(len(rows), len(images))
    rows, images = rows[:size], images[:size]
    found = matches(_profiles(rows), _profiles(images))
    backward = torch.stack([found.backward, torch.arange(size, device=rows.device)], dim=1)
    forward = torch.stack([backward[:, 1], found.forward], dim=1)
    pairs = torch.cat([forward, backward])
    return procrustes(rows[pairs[:, 0]], images[pairs[:, 1]])


def _profiles(rows: Tensor) -> Tensor:
    """Sorted rows `(n, n)` of `(X Xᵀ)^½ = U S Uᵀ`, where `X = U S Vᵀ`; centered unit rows."""
    left, singular, _ = torch.linalg.svd(rows, full_matrices=False)
    profiles = unit_rows(((left * singular) @ left.T).sort(dim=1).values)
    return unit_rows(profiles - profiles.mean(0))


def _split(source: Space, target: Space, dictionary: Tensor) -> tuple[Tensor, Tensor]:
    """The entries with a vector on both sides: those to learn from, and every tenth, which is held out."""
    require_id_pairs("dictionary", dictionary, len(target.rows), len(source.rows))
    known = dictionary[target.rows[dictionary[:, 0]].any(dim=1) & source.rows[dictionary[:, 1]].any(dim=1)]
    if not len(known):
        raise InputError(
            f"None of the {len(dictionary)} dictionary entries has a vector on both sides",
            expected="some",
            hint="Check that its words are spelled as in the tables, or leave it out.",
        )
    kept = torch.arange(1, len(known) + 1, device=known.device) % EVERY == 0
    return known[~kept], known[kept]


def _found(source: Space, target: Space, entries: Tensor, map_: Tensor, frequent: int) -> float | None:
    """Share of targets whose source is their CSLS match among the most frequent ones; None where no source is one."""
    place = source.ranks()[entries[:, 1]]
    asked = (place >= 0) & (place < frequent)
    if not asked.any():
        return None
    mapped = unit_rows(target.rows[entries[asked, 0]] @ map_)
    return float((matches(mapped, source.frequent(frequent)).forward == place[asked]).float().mean())


def _refine(
    images: Tensor, rows: Tensor, first: Tensor, steps: int, name: str
) -> tuple[Tensor, Matches, tuple[float, ...]]:
    """The best of the maps that repeated Procrustes goes through, its matches, and every map's criterion."""
    best, found = first, matches(unit_rows(rows @ first), images)
    history = [found.criterion]
    latest = found
    for _ in tqdm(range(steps), desc=name, unit="step", disable=None):
        pairs = latest.mutual
        current = procrustes(rows[pairs[:, 0]], images[pairs[:, 1]])
        latest = matches(unit_rows(rows @ current), images)
        history.append(latest.criterion)
        if latest.criterion > found.criterion:
            best, found = current, latest
        if history[-1] - history[-2] < _SETTLED:
            break
    return best, found, tuple(history)


def _without_structure(rows: Tensor, seed: int) -> Tensor:
    """Unit rows with the principal coordinates of the given ones, each shuffled on its own: nothing to match."""
    draw = torch.Generator().manual_seed(seed)
    axes = torch.linalg.eigh((rows.T @ rows).double()).eigenvectors.float()
    orders = torch.rand(rows.shape, generator=draw).argsort(dim=0).to(rows.device)
    return unit_rows((rows @ axes).gather(0, orders) @ axes.T)


def _check_success(alignment: Alignment) -> None:
    if alignment.confidence < CONFIDENCE:
        share = alignment.held_out
        found = "" if share is None else f" (of held-out dictionary entries {share:.0%} are found)"
        raise InputError(
            f"The spaces could not be aligned: mapped words reach a mean cosine of {alignment.criterion:.3f} to their "
            f"matches, where {alignment.chance:.3f} is chance",
            expected=f"a confidence of {CONFIDENCE} or more, found {alignment.confidence:.2f}{found}",
            hint="Give a dictionary (words spelled alike may do), train on more text, on translation pairs too, or try "
            "another start.",
        )
