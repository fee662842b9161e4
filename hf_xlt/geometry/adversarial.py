"""The adversarial game: a map that makes one space look like another (Conneau et al., 2018)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from hf_xlt.arguments import MOST, checked, refused, require_one_of, require_positive, require_whole
from hf_xlt.errors import InputError
from hf_xlt.geometry.csls import matches
from hf_xlt.geometry.similarity import unit_rows

LEAK = 0.2


class Discriminators(nn.Module):
    """One network a restart: input dropout, two hidden layers with leaky ReLU, one logit (Conneau et al., 2018).

    Every parameter has a leading dimension `(restarts, …)`; layers are batched products. No restart sees another's rows
    or draws: each has its own generator, so that a batch plays as its restarts would play alone.
    """

    def __init__(self, width: int, hidden: int, dropout: float, draws: Sequence[torch.Generator]) -> None:
        super().__init__()
        self._dropout, self._draws = dropout, draws
        widths = (width, hidden, hidden, 1)
        layers = list(zip(widths, widths[1:], strict=False))
        self.weights = nn.ParameterList(self._uniform((n, m), n**-0.5) for n, m in layers)
        self.biases = nn.ParameterList(self._uniform((1, m), n**-0.5) for n, m in layers)

    def _uniform(self, shape: tuple[int, int], bound: float) -> Tensor:
        return torch.stack([torch.empty(shape).uniform_(-bound, bound, generator=draw) for draw in self._draws])

    def forward(self, rows: Tensor) -> Tensor:
        """Logits `(restarts, batch)` of rows `(restarts, batch, width)`: high where they seem mapped."""
        if self.training:
            kept = [torch.rand(rows.shape[1:], generator=draw, device=draw.device) for draw in self._draws]
            rows = rows * (torch.stack(kept).to(rows.device) >= self._dropout) / (1 - self._dropout)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            rows = F.leaky_relu(torch.baddbmm(bias, rows, weight), LEAK)
        return torch.baddbmm(self.biases[-1], rows, self.weights[-1]).squeeze(-1)


OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}

_LOWEST_RATE = 1e-6


@checked
@dataclass(frozen=True)
class GameSettings:
    """How the game is played.

    The defaults let unit rows of width 100 find each other from any rotation in some 2,000 iterations, on a processor:
    larger batches, smaller discriminators, faster maps that are kept orthogonal. `paper` has the published settings.
    """

    restarts: int = 1  # games played as one batch; they begin with the same map and differ in their draws
    rounds: int = 10  # rounds; after each, maps are judged and their learning rates fall
    iterations: int = 300  # steps of the maps in a round
    discriminator_steps: int = 2  # steps of the discriminators before each step of the maps
    batch: int = 256  # rows of either side in a step
    hidden: int = 256  # width of the discriminators' hidden layers
    dropout: float = 0.1  # share of its inputs that a discriminator does not see
    smoothing: float = 0.2  # how far labels are from 0 and 1
    optimizer: str = "adam"  # of the discriminators, `sgd` or `adam`
    discriminator_rate: float = 5e-4  # learning rate of the discriminators
    map_rate: float = 2.0  # first learning rate of the maps (plain gradient descent)
    decay: float = 0.98  # factor of a map's rate after each round
    shrink: float = 0.5  # one more factor after each round but the first whose criterion is below the map's best
    # strength of the pull towards orthogonal maps after each step; 0.5 is Newton and Schulz's full step
    beta: float = 0.5
    judged: int = 4000  # frequent words, on either side, that the criterion is taken over

    def __post_init__(self) -> None:
        for name in ("restarts", "rounds", "iterations", "discriminator_steps", "batch", "hidden", "judged"):
            require_whole(name, getattr(self, name), least=1, most=MOST)
        for name, highest in (("dropout", 1), ("smoothing", 0.5), ("beta", 1)):
            if not 0 <= getattr(self, name) < highest:
                raise refused(name, getattr(self, name), f"from 0 and below {highest}")
        for name in ("discriminator_rate", "map_rate", "decay", "shrink"):
            require_positive(name, getattr(self, name))
        require_one_of("optimizer", self.optimizer, OPTIMIZERS)

    @classmethod
    def paper(cls, restarts: int = 1) -> Self:
        """The settings of Conneau et al. (2018): rounds of a million rows, small batches, large discriminators."""
        return cls(
            restarts=restarts,
            rounds=5,
            iterations=31_250,
            discriminator_steps=5,
            batch=32,
            hidden=2048,
            smoothing=0.1,
            optimizer="sgd",
            discriminator_rate=0.1,
            map_rate=0.1,
            beta=0.001,
        )


class AdversarialGame:
    """Maps, discriminators and their optimizers; every restart plays as it would play alone.

    All begin with the map `start` `(k, d)`; the first has the seed given, each further one the next. Rows come as
    batches `(restarts, batch, width)`, target rows of width `k` and source rows of width `d`. They are multiplied by
    `√d` before they meet a discriminator, so that the entries of unit rows have variance one.
    """

    def __init__(self, start: Tensor, settings: GameSettings, seed: int = 0) -> None:
        self.settings = settings
        self._draws = [torch.Generator().manual_seed(seed + restart) for restart in range(settings.restarts)]
        self.maps = start.detach().float().expand(settings.restarts, *start.shape).clone()  # (r, k, d)
        self._map_rates = torch.full((settings.restarts, 1, 1), settings.map_rate, device=start.device)
        self._best = torch.full((settings.restarts,), -torch.inf)
        self._fell = torch.zeros(settings.restarts, dtype=torch.bool)
        discriminators = Discriminators(start.shape[1], settings.hidden, settings.dropout, self._draws)
        self.discriminators = discriminators.to(start.device)
        optimizer: Any = OPTIMIZERS[settings.optimizer]
        self._optimizer = optimizer(self.discriminators.parameters(), lr=settings.discriminator_rate)

    def batches(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """What a `step` needs, drawn uniformly from `(m, d)` and `(n, k)`: each `(steps + 1, restarts, batch, width)`.

        There is a batch for each step of the discriminators, and the last is for the maps.
        """
        shape = (self.settings.discriminator_steps + 1, self.settings.batch)

        def drawn(rows: Tensor) -> Tensor:
            ids = torch.stack([torch.randint(len(rows), shape, generator=draw) for draw in self._draws], dim=1)
            return rows[ids.to(rows.device)]

        return drawn(source), drawn(target)

    def step(self, source: Tensor, target: Tensor) -> dict[str, Tensor]:
        """A few steps of the discriminators and one of the maps, on batches as `batches` draws them.

        Returns the last losses `(restarts,)`, of `discriminators` and `maps`.
        """
        self.discriminators.train()
        for images, rows in zip(source[:-1], target[:-1], strict=True):
            of_discriminators = self._losses(rows @ self.maps, images, self.settings.smoothing)
            self._optimizer.zero_grad()
            of_discriminators.sum().backward()
            self._optimizer.step()
        self.discriminators.eval()
        maps = self.maps.detach().requires_grad_()
        of_maps = self._losses(target[-1] @ maps, source[-1], 1 - self.settings.smoothing)
        (gradient,) = torch.autograd.grad(of_maps.sum(), maps)
        self.maps = orthogonalize(maps.detach() - self._map_rates * gradient, self.settings.beta)
        return {"discriminators": of_discriminators.detach(), "maps": of_maps.detach()}

    def _losses(self, mapped: Tensor, images: Tensor, source_label: float) -> Tensor:
        """Binary cross-entropy `(restarts,)` of both sides, where mapped rows are labeled `1 − source_label`."""
        logits = self.discriminators(torch.cat([mapped, images], dim=1) * images.shape[-1] ** 0.5)
        labels = torch.full_like(logits, source_label)
        labels[:, : mapped.shape[1]] = 1 - source_label
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)

    def end_round(self, criteria: Tensor) -> None:
        """Lower the maps' learning rates, the more where a criterion `(restarts,)` is below its map's best again."""
        falls = criteria < self._best
        factors = torch.where(falls & self._fell, self.settings.decay * self.settings.shrink, self.settings.decay)
        self._map_rates = (self._map_rates * factors.to(self._map_rates)[:, None, None]).clamp(min=_LOWEST_RATE)
        self._fell |= falls
        self._best = torch.maximum(self._best, criteria)

    def state_dict(self) -> dict[str, Tensor]:
        """All that a game needs to go on, as plain tensors."""
        state = {"maps": self.maps.detach(), "map_rates": self._map_rates, "best": self._best, "fell": self._fell}
        state |= {f"discriminators.{name}": t.detach() for name, t in self.discriminators.named_parameters()}
        state |= {f"draws.{restart}": draw.get_state() for restart, draw in enumerate(self._draws)}
        for index, moments in self._optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{index}.{name}": t for name, t in moments.items() if torch.is_tensor(t)}
        return {name: t.clone() for name, t in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from the state of a game of the same settings."""
        parameters = dict(self.discriminators.named_parameters())
        shapes = {f"discriminators.{name}": p.shape for name, p in parameters.items()} | {"maps": self.maps.shape}
        unfit = [name for name, shape in shapes.items() if name not in state or state[name].shape != shape]
        if unfit:
            raise InputError(f"{unfit[0]} of the game's state does not fit", expected="the state of the same settings")
        self.maps, self._map_rates = (state[name].to(self.maps, copy=True) for name in ("maps", "map_rates"))
        self._best, self._fell = state["best"].clone(), state["fell"].clone()
        for restart, draw in enumerate(self._draws):
            draw.set_state(state[f"draws.{restart}"].cpu())
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(state[f"discriminators.{name}"])
        moments: dict[int, dict[str, Tensor]] = {index: {} for index in range(len(parameters))}
        for name in (name for name in state if name.startswith("optimizer.")):
            _, index, moment = name.split(".")
            moments[int(index)][moment] = state[name].clone()
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})


def orthogonalize(maps: Tensor, beta: float) -> Tensor:
    """One step towards the orthogonal maps, `(1 + β)W − βWWᵀW`, for a map or a stack of them `(…, k, d)`."""
    return (1 + beta) * maps - beta * (maps @ maps.mT) @ maps


def play(images: Tensor, rows: Tensor, start: Tensor, settings: GameSettings, seed: int = 0) -> Tensor:
    """The map with the best criterion of all restarts and rounds.

    Images `(m, d)` and rows `(n, k)` are unit rows of the source's and the target's frequent words.
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
                    f"The game diverged at map_rate={settings.map_rate}, beta={settings.beta}",
                    expected="maps that stay orthogonal",
                    hint="Lower map_rate.",
                )
            criteria = [matches(unit_rows(rows[:judged] @ map_), images[:judged]).criterion for map_ in game.maps]
            game.end_round(torch.tensor(criteria))
            bar.set_postfix(criterion=f"{max(criteria):.3f}")
            if max(criteria) > best_criterion:
                best_criterion = max(criteria)
                best = game.maps[criteria.index(best_criterion)].clone()
    return best
