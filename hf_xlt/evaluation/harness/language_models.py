"""Models as lm-eval asks them; imported only where lm-eval is installed."""

import sys
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

from lm_eval.models.huggingface import HFLM

from hf_xlt.checkpoint.kind import ENCODER_DECODER
from hf_xlt.data.token_stream import Frame
from hf_xlt.evaluation.models import LanguageModel
from hf_xlt.evidence.token_ids import token_ids


class OpenedModel(HFLM):
    """A model that is open already, asked one request at a time, so that the longest fits wherever the model does."""

    def __init__(self, opened: LanguageModel, **options: Any) -> None:
        backend = "seq2seq" if opened.kind is ENCODER_DECODER else "causal"
        super().__init__(pretrained=opened.model, tokenizer=opened.tokenizer, backend=backend, **options)

    def _loglikelihood_tokens(
        self, requests: Sequence[Any], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """The same, without a progress bar for every window of a text, or where nobody sees it."""
        hidden = disable_tqdm or override_bs is not None or not sys.stderr.isatty()
        found: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, hidden, override_bs)
        return found


class RunningText(OpenedModel):
    """A decoder for lm-eval that reads the examples of a text one after the other, as `ValidationSet` cuts it.

    Which tokens are predicted, and from what, is as there: the end of a line is the token that closes a document, the
    text begins after the token that opens one, and each token is predicted from those before it in a window of
    `length` tokens, which shares one with the window before. The log-likelihoods themselves, and what becomes of them,
    are lm-eval's.
    """

    def __init__(self, opened: LanguageModel, length: int) -> None:
        # without its cache of logits, which takes equal tokens for equal requests, wherever the prediction begins
        super().__init__(opened, logits_cache=False)
        self._window = length

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Of each line, its end included, after those before it."""
        frame = Frame.of(self.tokenizer)
        lines = token_ids(self.tokenizer, [request.args[0].removesuffix("\n") for request in requests])
        stream = [*frame.opening, *(token for line in lines for token in (*line, *frame.separator))]
        ends = accumulate((len(line) + len(frame.separator) for line in lines), initial=len(frame.opening))
        parts = [(line, part) for line, span in enumerate(pairwise(ends)) for part in self._parts(*span)]
        asked = [(None, stream[begin:start], stream[start:end]) for _, (begin, start, end) in parts]
        likelihoods = [0.0] * len(lines)
        found = self._loglikelihood_tokens(asked, disable_tqdm=disable_tqdm)
        for (line, _), (likelihood, _) in zip(parts, found, strict=True):
            likelihoods[line] += likelihood
        return likelihoods

    def _parts(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Where the window begins, and which of its tokens are predicted, for each window that a line lies in."""
        start, step = max(start, 1), self._window - 1  # nothing predicts the first token of all
        while start < end:
            begin = (start - 1) // step * step
            until = min(end, begin + self._window)
            yield begin, start, until
            start = until
