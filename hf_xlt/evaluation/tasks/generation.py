"""What a decoder writes: in which language, how repetitively, how long, and whether it comes to an end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jinja2 import TemplateError
from tqdm.auto import tqdm

from hf_xlt.checkpoint.kind import DECODER
from hf_xlt.data.token_stream import Frame
from hf_xlt.errors import InputError
from hf_xlt.evaluation.config import ModelSpec
from hf_xlt.evaluation.metrics import Metric, ratio
from hf_xlt.evaluation.models import LanguageModel, quiet
from hf_xlt.evaluation.tasks.data import text_lines_of
from hf_xlt.evaluation.tasks.task import Outcome, TrainingFreeTask
from hf_xlt.evaluation.trigrams import learned

REPEATED = 16  # characters of a text that come again, about three words
_LINES = 20_000  # of either language
_SHOWN = 3  # answers in the notes


class Answer(NamedTuple):
    """What a model wrote after a prompt, and whether it ended with one of its stop tokens before it had to."""

    text: str
    stopped: bool


class WrittenText(Metric):
    """The share of answers in the target language, that of repeated text, the mean length, and the share that stop.

    Repeated are n-grams of 16 characters that an answer has had before, out of all of these (as Welleck et al. 2020,
    "Neural Text Generation with Unlikelihood Training", arXiv:1908.04319, count n-grams of tokens: characters compare
    models with other tokenizers, and serve languages without spaces).
    """

    def counts(self, predictions: Sequence[Answer], references: Sequence[bool]) -> np.ndarray:
        """float64 `(n, 6)`: 1, whether in the target language, repeated n-grams, n-grams, characters, whether stopped.

        References tell whether each answer is in the target language.
        """
        rows = [
            (1, in_target, *repeated(answer.text), len(answer.text), answer.stopped)
            for answer, in_target in zip(predictions, references, strict=True)
        ]
        return np.array(rows, dtype=np.float64).reshape(len(rows), 6)

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """`target_language`, `repetition`, `characters` and `stops`."""
        answers, in_target, again, grams, characters, stopped = np.moveaxis(totals, -1, 0)
        return {
            "target_language": ratio(in_target, answers),
            "repetition": ratio(again, grams),
            "characters": ratio(characters, answers),
            "stops": ratio(stopped, answers),
        }


def repeated(text: str) -> tuple[int, int]:
    """How many n-grams of characters a text has had before, and how many it has.

    Example:
        >>> repeated("der Hund und der Hund"), repeated("Hund " * 20)
        ((0, 6), (80, 85))
    """
    grams = [text[i : i + REPEATED] for i in range(len(text) - REPEATED + 1)]
    return len(grams) - len(set(grams)), len(grams)


@dataclass(frozen=True)
class Generation(TrainingFreeTask):
    """A decoder's greedy answers to prompts.

    Prompts go through the chat template where there is one; else they stand where a text begins, and the model goes on
    with them. In which language an answer is, character trigrams tell (see `TwoLanguages`), learned from text of the
    target language (`train`) and of the source language (`dev`). An empty answer is in none.
    """

    name: ClassVar[str] = "generation"
    headline: ClassVar[str] = "target_language"
    summary: ClassVar[str] = (
        "what a decoder writes after prompts (test, one a line): its language, told by text of the target language "
        "(train) and of the source language (dev), repetition, length, and whether it stops"
    )
    roles: ClassVar[Mapping[str, bool]] = {"test": True, "train": True, "dev": True}

    tokens: int = 64  # the most that are written; fewer where the model has fewer positions
    prompts: int = 100  # the first of the file

    def metric(self, labels: Sequence[str] = ()) -> WrittenText:
        return WrittenText()

    def measure(self, model: ModelSpec, places: Mapping[str, str]) -> Outcome:
        prompts = list(islice(text_lines_of(places["test"]), self.prompts))
        if not prompts:
            raise InputError(f"{places['test']} has no text", value=places["test"], expected="a prompt a line")
        target, source = (list(islice(text_lines_of(places[role]), _LINES)) for role in ("train", "dev"))
        languages, accuracy = learned(target, source)
        opened = LanguageModel.open(model)
        if opened.kind is not DECODER:
            raise InputError(f"{opened.name} is a {opened.kind.name}", value=opened.kind.name, expected="a decoder")
        encoded = [prompt_ids(opened.tokenizer, prompt) for prompt in prompts]
        room = opened.max_length - max(map(len, encoded))
        if room < 1:
            problem = f"A prompt has {opened.max_length - room} tokens, {opened.name} {opened.max_length} positions"
            raise InputError(problem, value=opened.max_length - room, expected="room for an answer")
        most = min(self.tokens, room)
        bar = tqdm(encoded, desc="answers", unit="prompt", disable=None)
        answers = [answer(opened, ids, most) for ids in bar]
        counts = self.metric().counts(answers, [languages.is_target(each.text) for each in answers])
        notes: dict[str, str | int | float] = {
            "chat": "yes" if opened.tokenizer.chat_template else "no",
            "tokens at most": most,
            "lines told apart": round(accuracy, 4),
        }
        shown = zip(prompts[:_SHOWN], answers, strict=False)
        return Outcome(counts, notes | {f"answer to {prompt!r}": each.text for prompt, each in shown})


def prompt_ids(tokenizer: Any, prompt: str) -> list[int]:
    """A prompt as a model reads it: by the chat template, else after the token that a text begins with."""
    if not tokenizer.chat_template:
        return [*Frame.of(tokenizer).opening, *tokenizer(prompt, add_special_tokens=False)["input_ids"]]
    try:
        asked = [{"role": "user", "content": prompt}]
        return list(tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)["input_ids"])
    except (TemplateError, ValueError) as error:
        problem = f"The chat template refuses a prompt ({' '.join(str(error).split())})"
        raise InputError(problem, value=prompt, expected="a template that takes what a user says") from error


@torch.inference_mode()
def answer(opened: LanguageModel, ids: Sequence[int], most: int) -> Answer:
    """What the model writes greedily after some ids, at most so many tokens, in one line."""
    model: Any = opened.model
    given = torch.tensor([ids], device=model.device)
    stops = np.atleast_1d(model.generation_config.eos_token_id or []).tolist()
    with quiet():  # settings of sampling, which does not take place
        written = model.generate(
            input_ids=given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=most,
            do_sample=False,
            num_beams=1,
            pad_token_id=opened.tokenizer.pad_token_id,
        )[0, len(ids) :].tolist()
    text = str(opened.tokenizer.decode(written, skip_special_tokens=True))
    return Answer(" ".join(text.split()), written[-1] in stops)
