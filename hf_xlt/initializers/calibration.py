"""Calibrate a new output head: predict each token as often, on average, as the text has it.

Rows mixed from source rows point the right way, but they are not in proportion to each other. A token that stands for
three pieces of the source is far less likely than its first piece was, and nothing in a mean of rows says so. Before
training, most of the loss of a decoder with a new vocabulary comes from this: its average prediction is far from the
frequencies of the tokens.

For a model whose average prediction on a text is q, and a text whose token frequencies are p, adding
`β_t = ln p_t − ln q_t` to each logit brings q to p, up to the normalization of each prediction; two rounds are enough
(iterative proportional fitting; Deming & Stephan 1940). An output bias takes β as it is. A head without a bias gets it
through its rows: the states h that it reads have a large part in common, so that there is a vector w with `h·w ≈ 1`
for all of them, the ridge regression of a constant on the states, and `W_t += β_t w` adds about β_t to every logit of
the token. With tied embeddings the input rows move by as much, which is little beside their length.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.arguments import checked, require_whole
from hf_xlt.checkpoint.kind import auto_class_name, kind_of
from hf_xlt.checkpoint.layout import places
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.weights import Shard
from hf_xlt.data.objectives import objective_for
from hf_xlt.data.objectives.objective import Example, Objective, output_layer, target_logits, targets
from hf_xlt.data.packing import blocks
from hf_xlt.data.sampling import Stream
from hf_xlt.errors import InputError
from hf_xlt.files.corpora import Corpus
from hf_xlt.files.folders import whole_file

Examples = Stream | Sequence[Example]

ROUNDS = 2
POSITIONS = 4096  # that are predicted in a round
COUNTED = 4096  # sequences whose tokens are counted
LENGTH = 256  # tokens a sequence of a text that is read for this alone

_TOKENS = 2048  # that the model reads at once
_UNSEEN = 0.1  # occurrences of a token that the text does not have
_RIDGE = 0.01  # of the mean square of a component of the states


@dataclass(frozen=True)
class Calibration:
    """What calibrating did, on the text that the model read for it.

    Args:
        before: Mean loss of a prediction before, in nats.
        after: The same afterwards. Where it was not lower, the model is as it was before, and both are equal.
        tokens: Tokens that the model read, all rounds together.
    """

    before: float
    after: float
    tokens: int


@checked
@torch.no_grad()
def calibrate(
    model: PreTrainedModel, objective: Objective, examples: Examples, kept: Tensor | None = None
) -> Calibration:
    """Shift the output bias of a language model, or else its output rows, in place.

    Tokens are counted in at most `COUNTED` examples. The model reads the first of them, about `POSITIONS` predictions,
    before and after each of two rounds. A model whose loss is no lower then stays as it was.

    Args:
        model: With a language-modeling head.
        objective: Its objective, which makes batches with labels.
        examples: Packed sequences, each with `input_ids` and a `key`, in an order that is no order of the text's.
        kept: int64 `(k,)`, rows that stay as they are.

    Raises:
        InputError: If there are no examples, or the model has no output head.

    Example:
        >>> calibrate(model, CausalLM(tokenizer), packed)  # doctest: +SKIP
        Calibration(before=9.06, after=7.31, tokens=12288)
    """
    head = output_layer(model)
    if head is None or not isinstance(weight := getattr(head, "weight", None), Tensor):
        raise InputError(f"{type(model).__name__} has no output head to calibrate", expected="a language model")
    require_whole("the number of examples", len(examples), least=1)
    frequencies = token_frequencies(objective, examples, len(weight)).to(weight.device)
    batches = read_batches(objective, examples, model.device)
    bias = getattr(head, "bias", None)
    shifted = bias if isinstance(bias, Tensor) else weight
    training, former = model.training, shifted.detach().clone()
    model.eval()
    first = found = average_prediction(model, batches, objective.shifts_labels)
    for _ in range(ROUNDS):
        amounts = (frequencies.log() - found.probabilities.log()) / found.scale
        if kept is not None:
            amounts.index_fill_(0, kept.to(amounts.device), 0)
        if shifted.ndim == 1:
            shifted += amounts.to(shifted)
        else:
            shifted.addr_(amounts.to(shifted), found.constant.to(shifted))
        found = average_prediction(model, batches, objective.shifts_labels)
    if found.loss >= first.loss:
        shifted.copy_(former)
        found = first
    model.train(training)
    tokens = (1 + ROUNDS) * sum(batch["input_ids"].numel() for batch in batches)
    return Calibration(first.loss, found.loss, tokens)


def token_frequencies(objective: Objective, examples: Examples, rows: int) -> Tensor:
    """How often each token is to be predicted, float32 `(rows,)`, all above 0 and in sum 1."""
    counts = np.full(rows, _UNSEEN)
    for chosen in _together(examples, min(len(examples), COUNTED)):
        labels = objective(chosen)["labels"].flatten().numpy()
        counts += np.bincount(labels[labels >= 0], minlength=rows)
    return torch.from_numpy(counts / counts.sum()).float()


def read_batches(objective: Objective, examples: Examples, device: torch.device) -> list[dict[str, Tensor]]:
    """The batches that a round reads."""
    batches: list[dict[str, Tensor]] = []
    positions = 0
    for chosen in _together(examples, len(examples)):
        batch = objective(chosen)
        batches.append({name: tensor.to(device) for name, tensor in batch.items()})
        positions += int((targets(batch["labels"], objective.shifts_labels) >= 0).sum())
        if positions >= POSITIONS:
            break
    return batches


def _together(examples: Examples, count: int) -> Iterator[list[Example]]:
    """The first examples, packed to one length, as many at a time as the model reads at once."""
    size = max(1, _TOKENS // len(examples[0]["input_ids"]))
    for start in range(0, count, size):
        yield [examples[place] for place in range(start, min(start + size, count))]


class AveragePrediction(NamedTuple):
    """What a model predicts on average."""

    probabilities: Tensor  # float32 `(V,)`, the mean of its distributions
    constant: Tensor  # float32 `(d,)`, whose product with the states that the head reads is about 1
    scale: float  # what logits are of the head's output, as some models scale them
    loss: float  # mean, in nats


def average_prediction(
    model: PreTrainedModel, batches: Sequence[Mapping[str, Tensor]], shifted: bool
) -> AveragePrediction:
    """What a model predicts on average on some batches."""
    head = output_layer(model)
    predicted, states, moments = (torch.zeros((), device=model.device) for _ in range(3))
    count, products, squares, loss = 0, 0.0, 0.0, 0.0
    seen: list[tuple[Tensor, Tensor]] = []
    handle = head.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    try:
        for batch in batches:
            seen.clear()
            logits, wanted = target_logits(model, model, batch, shifted)
            loss += float(cross_entropy(logits.float(), wanted, reduction="sum"))
            state, raw = (tensor.flatten(0, -2).float() for tensor in seen[-1])
            for part, of_head in zip(logits.float().split(512), raw.split(512), strict=True):
                predicted = predicted + part.softmax(-1).sum(0)
                products += float((part * of_head).sum())
                squares += float((of_head * of_head).sum())
            states, moments = states + state.sum(0), moments + state.T @ state
            count += len(state)
    finally:
        handle.remove()
    ridge = _RIDGE * moments.diagonal().mean()
    constant = torch.linalg.solve(moments + ridge * torch.eye(len(moments), device=moments.device), states)
    tiny = torch.finfo(torch.float32).tiny
    scale = products / squares if squares else 1.0
    return AveragePrediction((predicted / count).clamp(min=tiny), constant, scale, loss / count)


def check_output_head(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint without the head of a language model, which nothing could be calibrated of."""
    saved_as = auto_class_name(checkpoint.config)
    if saved_as != kind_of(checkpoint.config).auto_class.__name__:
        problem = f"{checkpoint.name} is opened by {saved_as} and has no output head to calibrate"
        raise InputError(problem, value=saved_as, expected="a language model", hint="Leave calibrate out.")


def calibrate_folder(
    folder: Path, tokenizer: PreTrainedTokenizerBase, text: Corpus, kept: Tensor | None, *, trust_remote_code: bool
) -> Calibration:
    """Calibrate a checkpoint on disk on a text, in place: the tensors of the output head are written anew.

    The whole model, a language model, is loaded for it, in float32. InputError is raised if the text is shorter than a
    sequence. Rows that are `kept`, int64 `(k,)`, stay as they are.
    """
    checkpoint = Checkpoint.open(folder, trust_remote_code=trust_remote_code)
    kind = kind_of(checkpoint.config)
    model = kind.auto_class.from_pretrained(checkpoint.body, dtype=torch.float32, trust_remote_code=trust_remote_code)
    own = set(map(id, output_layer(model).parameters()))
    names = {name for name, each in model.named_parameters(remove_duplicate=False) if id(each) in own}
    found = places(checkpoint.weights.tensors, model)
    stored = {name: place.name for name, place in found.items() if place.name in names}
    length = min(LENGTH, getattr(checkpoint.config, "max_position_embeddings", LENGTH))
    rows = list(islice(blocks(text.lines(), tokenizer, length), COUNTED))
    if not rows:
        raise InputError(f"{text.name} is shorter than {length} tokens", hint="Give more text.")
    order = np.random.default_rng(0).permutation(len(rows))
    examples = [{"input_ids": rows[place], "key": (0, int(place))} for place in order]
    done = calibrate(model, objective_for(kind.objective, tokenizer), examples, kept)
    state = model.state_dict()
    for shard in checkpoint.weights.shards:
        if changed := {name: place for name, place in stored.items() if name in shard.tensors}:
            shapes = {name: shard.tensors[name].shape for name in changed}

            def make(name: str, shard: Shard = shard, changed: Mapping[str, str] = changed) -> list[Tensor]:
                return [state[changed[name]].to(shard.load(name).dtype).reshape(shard.tensors[name].shape)]

            with whole_file(shard.path) as unfinished:
                shard.rewrite(unfinished, shapes, make, lambda count: None)
    return done
