"""The hidden Markov model of word alignment (Vogel, Ney and Tillmann, 1996)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_xlt.evidence.alignment.bitext import Batch
from hf_xlt.evidence.alignment.lexicon import Lexicon
from hf_xlt.evidence.alignment.posteriors import Posteriors

_WIDEST = 60
_SMOOTHING = 1e-3


@dataclass(frozen=True, eq=False)
class Jumps:
    """A source position depends on the one before: `p(a_j = i | a_(j-1) = i', m) = (1 − p0) c(i − i') / Σ_k c(k − i')`.

    A target word comes from NULL with probability p0; the position before it is then remembered (Och and Ney, 2003).
    The first word jumps from the position before the sentence.

    Attributes:
        widths: float32 `(2w + 1,)`, c of the jumps −w … w; wider ones count as the widest.
        null: p0.
    """

    widths: Tensor
    null: float = 0.2

    @classmethod
    def start(cls) -> Jumps:
        """Jumps around one position forward, the nearer the likelier: where training starts."""
        jumps = torch.arange(-_WIDEST, _WIDEST + 1)
        return cls._smoothed(torch.exp(-(jumps - 1).abs() / 2), cls.null)

    @classmethod
    def _smoothed(cls, counts: Tensor, null: float) -> Jumps:
        counts = counts + _SMOOTHING * counts.mean()
        return cls((counts / counts.sum()).float(), null)

    def estimate(self, statistics: Tensor, shapes: Tensor) -> Jumps:
        """Relative frequencies of jumps."""
        return self._smoothed(statistics, self.null)

    def posteriors(self, batch: Batch, cells: Tensor, lexicon: Lexicon) -> Posteriors:
        """Scaled forward-backward over the target positions of all pairs of a batch at once.

        Real and NULL states of a position lead on in the same way, so that only their sum is carried along. Behind the
        end of a sentence NULL generates the padding for certain, which leaves everything as it was.
        """
        mask = batch.source_mask
        place = torch.arange(-1, mask.shape[1])
        widths = (place[1:] - place[:, None]).clamp_(-_WIDEST, _WIDEST) + _WIDEST
        jumps = self.widths[widths]  # (1 + m, m), the first row from before the sentence
        chain = _Chain(
            jumps=jumps,
            norms=mask.float() @ jumps.T,
            start=mask / batch.source_lengths[:, None],
            words=lexicon.values.index_select(0, cells.flatten()).view(cells.shape).mul_(1 - self.null),
            null=lexicon.null_at(batch.targets.T, self.null)[:, :, None],
        )
        real, total, scale = chain.forward()
        links, expected = chain.backward(real, total, scale)
        counts = torch.zeros(len(self.widths), dtype=torch.float64)
        counts.index_add_(0, widths.flatten(), expected.flatten().double())
        return Posteriors(links, (1 - links.sum(2)).clamp_(min=0), counts, scale.log().double().sum())


@dataclass(frozen=True, eq=False)
class _Chain:
    """The Markov chains of a batch.

    Attributes:
        jumps: `(1 + m, m)`, c of the jump from each position, the first one before the sentence, to each position.
        norms: `(b, 1 + m)`, sums of `jumps` over the positions that a sentence has.
        start: `(b, m)`, the position that NULL remembers where the first target word comes from it.
        words: `(n, b, m)`, (1 − p0) times the probabilities of the target words; 0 at padding.
        null: `(n, b, 1)`, p0 times their probabilities from NULL; 1 at padding.
    """

    jumps: Tensor
    norms: Tensor
    start: Tensor
    words: Tensor
    null: Tensor

    def forward(self) -> tuple[Tensor, Tensor, Tensor]:
        """Forward probabilities `(n, b, m)` of real states, and of real and NULL states together; scales `(n, b, 1)`.

        Those of a position sum to one over all states; the product of the scales is the likelihood.
        """
        real, total, scale = torch.empty_like(self.words), torch.empty_like(self.words), torch.empty_like(self.null)
        for j in range(len(real)):
            before = total[j - 1] if j else self.start
            arriving = self._leaving(before) @ self.jumps[1:] if j else self.jumps[0] / self.norms[:, :1]
            torch.mul(arriving, self.words[j], out=real[j])
            torch.addcmul(real[j], before, self.null[j], out=total[j])
            torch.sum(total[j], 1, keepdim=True, out=scale[j])
            real[j] /= scale[j]
            total[j] /= scale[j]
        return real, total, scale

    def backward(self, real: Tensor, total: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Posteriors of real states `(n, b, m)`, in the place of `real`, and expected jumps `(1 + m, m)`."""
        expected = torch.zeros_like(self.jumps)
        later = torch.ones_like(self.start)
        for j in range(len(real) - 1, 0, -1):
            real[j] *= later
            later /= scale[j]
            arriving = self.words[j] * later
            expected[1:].addmm_(self._leaving(total[j - 1]).T, arriving)
            later = self._leaving(arriving @ self.jumps[1:].T).addcmul_(self.null[j], later)
        real[0] *= later
        expected *= self.jumps
        expected[0] = real[0].sum(0)
        return real, expected

    def _leaving(self, states: Tensor) -> Tensor:
        """Probabilities `(b, m)` divided by the sum of jumps that their positions allow."""
        return states / self.norms[:, 1:]
