"""The adversarial game: each restart plays as alone, a state goes on as if never stopped, maps stay orthogonal."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.geometry.adversarial import AdversarialGame, GameSettings
from hf_xlt.geometry.similarity import unit_rows

SMALL = replace(GameSettings.paper(restarts=3), discriminator_steps=2, batch=8, hidden=16)


def rows(width: int, seed: int, count: int = 50) -> Tensor:
    return unit_rows(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)))


SOURCE, TARGET = rows(6, 1), rows(6, 2)


def played(settings: GameSettings, seed: int, steps: int = 5, start: Tensor | None = None) -> AdversarialGame:
    game = AdversarialGame(torch.eye(6) if start is None else start, settings, seed)
    go_on(game, steps)
    return game


def go_on(game: AdversarialGame, steps: int) -> list[dict[str, Tensor]]:
    return [game.step(*game.batches(SOURCE, TARGET)) for _ in range(steps)]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_batch_of_games_is_each_game_alone(optimizer):
    settings = replace(SMALL, optimizer=optimizer, discriminator_rate=0.01)
    together = played(settings, seed=7)
    for restart in range(3):
        alone = played(replace(settings, restarts=1), seed=7 + restart)
        torch.testing.assert_close(together.maps[restart], alone.maps[0], rtol=1e-4, atol=1e-6)
        for batched, single in zip(
            together.discriminators.parameters(), alone.discriminators.parameters(), strict=True
        ):
            torch.testing.assert_close(batched[restart], single[0], rtol=1e-4, atol=1e-5)


def test_restarts_differ_and_a_seed_decides():
    first, again, other = played(SMALL, seed=1), played(SMALL, seed=1), played(SMALL, seed=50)
    assert torch.equal(first.maps, again.maps)
    assert not torch.equal(first.maps, other.maps)
    assert not torch.equal(first.maps[0], first.maps[1])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_game_goes_on_from_its_state(optimizer):
    settings = replace(SMALL, optimizer=optimizer, discriminator_rate=0.01)
    game = played(settings, seed=3)
    game.end_round(torch.tensor([0.5, 0.6, 0.7]))
    game.end_round(torch.tensor([0.6, 0.5, 0.8]))
    state = game.state_dict()
    resumed = AdversarialGame(torch.eye(6), settings, seed=99)
    resumed.load_state_dict(state)
    losses, losses_again = go_on(game, 3), go_on(resumed, 3)
    assert torch.equal(game.maps, resumed.maps)
    assert all(torch.equal(a["maps"], b["maps"]) for a, b in zip(losses, losses_again, strict=True))
    assert all(torch.is_tensor(t) for t in state.values())
    game.end_round(torch.tensor([0.55, 0.55, 0.55]))
    resumed.end_round(torch.tensor([0.55, 0.55, 0.55]))
    assert torch.equal(game.state_dict()["map_rates"], resumed.state_dict()["map_rates"])


def test_a_state_is_a_copy():
    game = played(SMALL, seed=3)
    state = game.state_dict()
    before = {name: t.clone() for name, t in state.items()}
    go_on(game, 2)
    assert all(torch.equal(state[name], before[name]) for name in state)


def test_a_state_of_other_settings_is_refused():
    state = played(SMALL, seed=1).state_dict()
    with pytest.raises(InputError, match="of the game's state does not fit"):
        AdversarialGame(torch.eye(6), replace(SMALL, hidden=8)).load_state_dict(state)


@pytest.mark.parametrize("widths", [(6, 6), (4, 6)])
def test_maps_stay_near_the_orthogonal_ones(widths):
    k, d = widths
    game = AdversarialGame(torch.eye(k, d), replace(SMALL, beta=0.1), seed=0)
    for _ in range(40):
        game.step(*game.batches(rows(d, 1), rows(k, 2)))
    grams = game.maps @ game.maps.mT
    assert (grams - torch.eye(k)).abs().max() < 0.2
    assert not torch.allclose(game.maps[0], torch.eye(k, d), atol=1e-3)


@pytest.mark.slow
def test_discriminators_learn_and_maps_answer():
    shifted = unit_rows(rows(6, 2) + 1)
    game = AdversarialGame(torch.eye(6), replace(SMALL, map_rate=1e-9), seed=0)
    losses = [game.step(*game.batches(SOURCE, shifted)) for _ in range(200)]
    assert (losses[-1]["discriminators"] < losses[0]["discriminators"]).all()
    assert (losses[-1]["maps"] > losses[-1]["discriminators"]).all()


def test_rates_fall_each_round_and_are_halved_where_the_criterion_fell_again():
    game = AdversarialGame(torch.eye(6), SMALL)
    game.end_round(torch.tensor([0.5, 0.5, 0.5]))
    game.end_round(torch.tensor([0.6, 0.4, 0.5]))
    game.end_round(torch.tensor([0.7, 0.4, 0.4]))
    rates = game.state_dict()["map_rates"].flatten() / SMALL.map_rate
    torch.testing.assert_close(rates, 0.98**3 * torch.tensor([1, 0.5, 1]))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"restarts": 0}, "restarts is 0; expected a whole number from 1"),
        ({"dropout": 1.0}, "dropout is 1.0; expected from 0 and below 1"),
        ({"smoothing": 0.5}, "smoothing is 0.5"),
        ({"map_rate": float("nan")}, "map_rate is nan; expected a finite number > 0"),
        ({"optimizer": "lion"}, "optimizer is 'lion'; expected one of sgd, adam"),
    ],
)
def test_settings_out_of_range_are_refused(change, match):
    with pytest.raises(InputError, match=match):
        GameSettings(**change)
