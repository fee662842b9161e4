"""How source positions of successive target words are distributed, which tells the models apart: IBM-2, the HMM."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hf_xlt.evidence.alignment.bitext import Batch
from hf_xlt.evidence.alignment.lexicon import Lexicon


@dataclass(frozen=True, eq=False)
class Posteriors:
    """The E-step of one batch and direction."""

    links: Tensor  # float32 `(n, b, m)`, the probability that the target word comes from the source word; 0 at padding
    null: Tensor  # float32 `(n, b)`, the probability that it comes from NULL; 1 at padding
    statistics: Tensor  # float64, what the distortion is estimated from
    log_likelihood: Tensor  # float64 scalar, of the targets given the sources


_LOWEST, _HIGHEST = 0.1, 14.0
_STEPS, _STEP_SIZE = 8, 20.0


@dataclass(frozen=True)
class Diagonal:
    """Positions are independent: `p(a_j = i | j, m, n) = (1 − p0) exp(−λ |i/m − j/n|) / Z_j`, and p0 for NULL."""

    tension: float = 4.0  # λ; the higher, the nearer to the diagonal
    null: float = 0.08  # p0, the probability that a target word comes from no source word

    def posteriors(self, batch: Batch, cells: Tensor, lexicon: Lexicon) -> Posteriors:
        """Equation 2 of the paper for every target position of a batch."""
        distances = _distances(batch)
        prior = torch.exp(-self.tension * distances).mul_(batch.source_mask)
        prior *= (1 - self.null) / prior.sum(2, keepdim=True)
        null = lexicon.null_at(batch.targets.T, self.null)
        links = lexicon.values.index_select(0, cells.flatten()).view(cells.shape).mul_(prior)
        total = links.sum(2).add_(null)
        links /= total[:, :, None]
        # fast_align counts target positions from 0 here, and from 1 everywhere else; so do we, see `estimate`.
        shifted = _distances(batch, first=0)
        return Posteriors(links, null / total, -(shifted * links).sum(dtype=torch.float64), total.log().double().sum())

    def estimate(self, statistics: Tensor, shapes: Tensor) -> "Diagonal":
        """Move λ along the gradient of the expected log-likelihood: observed minus expected mean distance.

        The observed ones count target positions from 0, as fast_align's code does though not its paper, whose alignment
        error rates are up to two points higher (measured on Multi30k, NTREX and PUD).
        """
        words = int((shapes[:, 1] * shapes[:, 2]).sum())
        tension = self.tension
        for _ in range(_STEPS):
            gradient = (float(statistics) - expected_distances(tension, shapes)) / words
            tension = min(max(tension + _STEP_SIZE * gradient, _LOWEST), _HIGHEST)
        return Diagonal(tension, self.null)


def expected_distances(tension: float, shapes: Tensor) -> float:
    """Sum of `E[−|i/m − j/n|]` under the prior over all target positions, in closed form (section 3 of the paper)."""
    # Left and right of the diagonal, `exp(−λ |i/m − j/n|)` is a geometric series in i with ratio `exp(−λ/m)`.
    m, n, pairs = shapes.double().repeat_interleave(shapes[:, 1], dim=0).T
    starts = (shapes[:, 1].cumsum(0) - shapes[:, 1]).repeat_interleave(shapes[:, 1])
    center = (torch.arange(1, len(m) + 1) - starts) * m / n
    below = center.floor()  # how many source positions lie on the diagonal or left of it
    z_left, d_left = _series(tension, (center - below) / m, below, m)
    z_right, d_right = _series(tension, (below + 1 - center) / m, m - below, m)
    return -float((pairs * (d_left + d_right) / (z_left + z_right)).sum())


def _series(tension: float, nearest: Tensor, count: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of `exp(−λ d)` and of `d exp(−λ d)` over the distances `nearest + k/m`, k from 0 and below `count`."""
    ratio = torch.exp(-tension / m)
    last, scale = ratio**count, torch.exp(-tension * nearest)
    sums = (1 - last) / (1 - ratio)
    weighted = (ratio * sums - count * last) / (1 - ratio)  # Σ k·ratio^k
    return scale * sums, scale * (nearest * sums + weighted / m)


def _distances(batch: Batch, first: int = 1) -> Tensor:
    """|i/m − j/n| of all cells of a batch `(n, b, m)`; source positions count from 1, target positions from `first`."""
    # Padding after a target counts as its end: far beyond it, every prior probability would underflow to 0.
    i = torch.arange(1, batch.sources.shape[1] + 1) / batch.source_lengths[:, None]  # (b, m)
    j = (torch.arange(first, batch.targets.shape[1] + first)[:, None] / batch.target_lengths).clamp_(max=1)  # (n, b)
    return (i - j[:, :, None]).abs_()


_WIDEST = 60
_SMOOTHING = 1e-3
_LONG = 900  # longer sentences are moved through by bands: a table is slower (1,000 tokens: 4.5 s for 3.6 s)


@dataclass(frozen=True, eq=False)
class Jumps:
    """A source position depends on the one before: `p(a_j = i | a_(j-1) = i', m) = (1 − p0) c(i − i') / Σ_k c(k − i')`.

    A target word comes from NULL with probability p0; the position before it is then remembered (Och and Ney, 2003).
    The first word jumps from the position before the sentence.
    """

    widths: Tensor  # float32 `(2w + 1,)`, c of the jumps −w … w; wider ones count as the widest
    null: float = 0.2

    @classmethod
    def start(cls) -> "Jumps":
        """Jumps around one position forward, the nearer the likelier: where training starts."""
        jumps = torch.arange(-_WIDEST, _WIDEST + 1)
        return cls._smoothed(torch.exp(-(jumps - 1).abs() / 2), cls.null)

    @classmethod
    def _smoothed(cls, counts: Tensor, null: float) -> "Jumps":
        counts = counts + _SMOOTHING * counts.mean()
        return cls((counts / counts.sum()).float(), null)

    def estimate(self, statistics: Tensor, shapes: Tensor) -> "Jumps":
        """Relative frequencies of jumps."""
        return self._smoothed(statistics, self.null)

    def posteriors(self, batch: Batch, cells: Tensor, lexicon: Lexicon) -> Posteriors:
        """Scaled forward-backward over the target positions of all pairs of a batch at once.

        Real and NULL states of a position lead on in the same way, so that only their sum is carried along. Behind the
        end of a sentence NULL generates the padding for certain, which leaves everything as it was.
        """
        mask, start = batch.source_mask, batch.source_mask / batch.source_lengths[:, None]
        moves = (_Banded if mask.shape[1] > _LONG else _Table)(self.widths, mask.shape[1])
        norms = moves.before(mask.float())  # `(b, m)`, sums of c over the jumps from each position within its sentence
        first = self.widths[_jumps_to_first(mask.shape[1])]
        first = first / (mask.float() @ first)[:, None]
        words = lexicon.values.index_select(0, cells.flatten()).view(cells.shape).mul_(1 - self.null)
        null = lexicon.null_at(batch.targets.T, self.null)[:, :, None]
        # Forward probabilities of real states, and of all states, which sum to one; where NULL is first, it remembers
        # any position alike.
        real, total, scale = torch.empty_like(words), torch.empty_like(words), torch.empty_like(null)
        for j in range(len(words)):
            before = total[j - 1] if j else start
            torch.mul(moves.after(before / norms) if j else first, words[j], out=real[j])
            torch.addcmul(real[j], before, null[j], out=total[j])
            torch.sum(total[j], 1, keepdim=True, out=scale[j])
            real[j] /= scale[j]
            total[j] /= scale[j]
        later = torch.ones_like(start)
        for j in range(len(words) - 1, 0, -1):
            real[j] *= later
            later /= scale[j]
            arriving = words[j] * later
            moves.see(total[j - 1] / norms, arriving)
            later = (moves.before(arriving) / norms).addcmul_(null[j], later)
        real[0] *= later
        counts = moves.expected().index_add_(0, _jumps_to_first(mask.shape[1]), real[0].sum(0).double())
        return Posteriors(real, (1 - real.sum(2)).clamp_(min=0), counts, scale.log().double().sum())


def _jumps_to_first(length: int) -> Tensor:
    """The places in `Jumps.widths` of the jumps from before a sentence to each of its positions."""
    return torch.arange(1, length + 1).clamp_(max=_WIDEST) + _WIDEST


class _Table:
    """Jumps between positions by a table of all `(m, m)`: the quickest while sentences are short."""

    def __init__(self, widths: Tensor, length: int) -> None:
        place = torch.arange(length)
        self.places = (place - place[:, None]).clamp_(-_WIDEST, _WIDEST) + _WIDEST
        self.jumps = widths[self.places]
        self.seen = torch.zeros(length, length)  # what is expected of jumps, without their probabilities

    def after(self, states: Tensor) -> Tensor:
        """What arrives at each position: sum over i' of `states[i'] c(i − i')`."""
        return states @ self.jumps

    def before(self, states: Tensor) -> Tensor:
        """What each position leads to: sum over i of `c(i − i') states[i]`."""
        return states @ self.jumps.T

    def see(self, states: Tensor, arriving: Tensor) -> None:
        """Add `states[i'] arriving[i]` of all pairs to what is expected of jumps."""
        self.seen.addmm_(states.T, arriving)

    def expected(self) -> Tensor:
        """float64, as `Jumps.widths`: what was added up for jumps of each width, times their probabilities."""
        counts = torch.zeros(2 * _WIDEST + 1, dtype=torch.float64)
        return counts.index_add_(0, self.places.flatten(), (self.seen * self.jumps).flatten().double())


class _Banded:
    """The same by what all wider jumps have in common, so that time grows with the length and not with its square."""

    def __init__(self, widths: Tensor, length: int) -> None:
        self.widths = widths
        self.seen = torch.zeros_like(widths, dtype=torch.float64)

    def after(self, states: Tensor) -> Tensor:
        return self._spread(states, self.widths.flip(0))

    def before(self, states: Tensor) -> Tensor:
        return self._spread(states, self.widths)

    def _spread(self, states: Tensor, kernel: Tensor) -> Tensor:
        near = nn.functional.conv1d(states[:, None], kernel[None, None], padding=_WIDEST)[:, 0]
        left, right = _beyond(states)
        return near.addcmul_(left, kernel[0]).addcmul_(right, kernel[-1])

    def see(self, states: Tensor, arriving: Tensor) -> None:
        near = nn.functional.conv1d(arriving[None], states[None], padding=_WIDEST)[0, 0]
        left, right = _beyond(states)
        near[0] += (right * arriving).sum()
        near[-1] += (left * arriving).sum()
        self.seen.add_(near)

    def expected(self) -> Tensor:
        return self.seen * self.widths


def _beyond(states: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of what stands farther left, and farther right, of each position than the widest jump."""
    sums = states.cumsum(1)
    padded = nn.functional.pad(sums, (_WIDEST + 1, 0))[:, : states.shape[1]]
    to_the_right = nn.functional.pad(sums[:, -1:] - sums[:, _WIDEST:], (0, _WIDEST)).clamp_(min=0)
    return padded, to_the_right


Distortion = Diagonal | Jumps
