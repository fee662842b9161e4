"""Play the adversarial game over many rounds and keep the best map."""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from hf_xlt.errors import InputError
from hf_xlt.geometry.adversarial import AdversarialGame, GameSettings
from hf_xlt.geometry.csls import matches
from hf_xlt.geometry.similarity import unit_rows


def play(images: Tensor, rows: Tensor, start: Tensor, settings: GameSettings, seed: int = 0) -> Tensor:
    """The map with the best criterion of all restarts and rounds.

    Args:
        images: Unit rows `(m, d)` of the source's frequent words.
        rows: Unit rows `(n, k)` of the target's.
        start: `(k, d)`, the map every restart begins with.
        settings: How the game is played.
        seed: Seed of the first restart; each further one has the next.

    Raises:
        InputError: If a map is no longer finite.
    """
    game = AdversarialGame(start, settings, seed)
    best, best_criterion = start, -torch.inf
    judged = settings.judged
    with tqdm(total=settings.rounds * settings.iterations, desc="game", unit="step", disable=None) as bar:
        for _ in range(settings.rounds):
            for _ in range(settings.iterations):
                game.step(*game.batches(images, rows))
                bar.update()
            if not game.maps.isfinite().all():
                raise InputError(
                    f"The game diverged at map_rate={settings.map_rate}, beta={settings.beta}; expected maps that stay "
                    "orthogonal: lower map_rate."
                )
            criteria = [matches(unit_rows(rows[:judged] @ map_), images[:judged]).criterion for map_ in game.maps]
            game.end_round(torch.tensor(criteria))
            bar.set_postfix(criterion=f"{max(criteria):.3f}")
            if max(criteria) > best_criterion:
                best_criterion = max(criteria)
                best = game.maps[criteria.index(best_criterion)].clone()
    return best
