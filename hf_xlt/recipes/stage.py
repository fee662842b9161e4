"""Stage: one stretch of a recipe's training, as data."""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from transformers import SchedulerType, TrainingArguments

from hf_xlt.arguments import MOST
from hf_xlt.data.objectives import OBJECTIVES
from hf_xlt.recipes.settings import Count, Name, Positive, SettingError, Settings, Several, one_of, setting, unknown

Language = Literal["source", "target"]
LANGUAGES: tuple[Language, ...] = ("source", "target")

# What these were called in recipes of version 0.1; `--set stages.0.steps=500` is short and stays.
FORMER = {
    "steps": "max_steps",
    "batch_size": "per_device_train_batch_size",
    "accumulation": "gradient_accumulation_steps",
    "warmup": "warmup_ratio",
    "schedule": "lr_scheduler_type",
    "compile": "torch_compile",
}
# Settings of a stage that are `TrainingArguments` as they are.
PASSED_ON = (
    *("max_steps", "per_device_train_batch_size", "gradient_accumulation_steps"),
    *("learning_rate", "lr_scheduler_type", "bf16"),
)
# `TrainingArguments` that a run sets itself, and in their place: what the user sets.
OWN = {
    **dict.fromkeys(("output_dir", "do_train", "do_eval", "do_predict", "resume_from_checkpoint"), ""),
    **dict.fromkeys(("use_cpu", "disable_tqdm"), ""),
    **dict.fromkeys(("seed", "data_seed"), "the recipe's seeds"),
    **dict.fromkeys(("eval_strategy", "eval_steps", "eval_delay", "eval_on_start"), "evaluations"),
    **dict.fromkeys(("save_strategy", "save_steps", "save_total_limit", "save_only_model"), "checkpoints"),
    **dict.fromkeys(("num_train_epochs", "auto_find_batch_size"), "max_steps and per_device_train_batch_size"),
    **dict.fromkeys(("load_best_model_at_end", "metric_for_best_model", "greater_is_better"), "max_steps"),
    **dict.fromkeys(("label_smoothing_factor", "label_names", "remove_unused_columns"), "the objective"),
    **dict.fromkeys(("train_sampling_strategy", "length_column_name", "ignore_data_skip"), "the objective"),
    **dict.fromkeys(("push_to_hub", "hub_model_id", "hub_strategy", "hub_token"), "`hf-xlt push` after the run"),
    "warmup_steps": "warmup_ratio",
}

# Settings of a stage that distils sentences, and of one that distils new tokens.
OF_SENTENCES = ("temperature", "negatives", "entries")
OF_SNIPPETS = ("snippets", "snippet_length", "layer")

_FORMER_KEY = re.compile(rf"((?:stages\.\d+|training)\.)({'|'.join(FORMER)})(?==)")
_FORMER_PRECISION = re.compile(r"((?:stages\.\d+|training)\.)precision=(float32|bfloat16)$")


def of_today(override: str) -> str:
    """An override `stages.0.steps=7` by the name that the setting has today."""
    override = _FORMER_PRECISION.sub(lambda match: f"{match[1]}bf16={str(match[2] == 'bfloat16').lower()}", override)
    return _FORMER_KEY.sub(lambda match: match[1] + FORMER[match[2]], override, count=1)


def renamed(stage: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a stage by the names that they have today; one under two names is refused."""
    named = {key: value for key, value in stage.items() if (key, value) != ("precision", None)}  # None: as by default
    for former, name in (FORMER | {"precision": "bf16"}).items():
        if former not in named:
            continue
        if name in named:
            raise SettingError(former, f"is another name of {name}", hint="Give one of them.")
        value = named.pop(former)
        if former == "precision":
            one_of("precision", value, ("float32", "bfloat16"))
            value = value == "bfloat16"
        named[name] = value
    return named


class Halves(Settings):
    """Two earlier stages that were trained apart: one gives the lower layers, the other the upper ones."""

    lower: str
    upper: str


NotNegative = Annotated[int, Field(ge=0, le=MOST)]
SnippetLength = Annotated[int, Field(ge=8, le=MOST)]
BelowOne = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Stage(Settings):
    """One stretch of training, or the meeting of two.

    Besides the fields here it takes whatever `transformers.TrainingArguments` takes, under the same names, and
    hands it on: `gradient_checkpointing`, `optim`, `max_grad_norm`, `report_to`, `fsdp`, `deepspeed`, …

    Objectives on packed text are `clm`, `mlm` and `denoise`, on translation pairs `cdlm` and `tlm`; with `distill` a
    sentence encoder learns to give a sentence the vector that the source gives its translation, with `token-distill` a
    decoder to read its new tokens as it reads the pieces that they replace. Of many languages
    `source` is the first and `target` all others. Adapters that are kept are written as peft does.

    Raises:
        InputError: If a key is unknown or belongs to the run, or a value is of the wrong type or out of range.
    """

    model_config = ConfigDict(extra="allow")

    name: Name = setting("target", "What the stage is called in logs and folders.")
    objective: str = setting("auto", f"auto (from the kind of model), {', '.join(OBJECTIVES)}.")
    languages: Several[Language] = setting(
        (), "`source`, `target`: those to train on, all if none is named; of pairs the one read and the one predicted."
    )
    frozen: Several[str] = setting((), "Parts of a TreLM that stay as they are, e.g. `lower`.")
    starts_from: str | None = setting(None, "An earlier stage to start from; the one before if none is named.")
    combine: Halves | None = setting(None, "In place of training: layers of two earlier stages, the rest averaged.")
    trains: Literal["all", "embeddings", "lora", "new-rows"] = setting(
        "all", "All, only the embeddings, `lora` adapters beside these, or only rows that the initializer did not copy."
    )
    lora_rank: Count = setting(16, "Rank of the adapters where `trains` is `lora`.")
    adapters: Literal["merged", "kept"] = setting("merged", "Into the weights, or beside them, in the last stage.")
    temperature: Positive = setting(0.05, "What cosines are divided by where `distill` tells a vector from others.")
    negatives: NotNegative = setting(
        0, "Further sentences, of all that are trained on, whose vectors `distill` tells a batch's from."
    )
    entries: BelowOne = setting(0.0, "Share of the sequences that are entries of the dictionary, with `distill`.")
    snippets: Count = setting(100, "Of each new token, where `token-distill` learns them.")
    snippet_length: Annotated[int, Field(ge=8, le=MOST)] = setting(
        50, "Tokens a snippet, at most, by either tokenizer."
    )
    layer: int = setting(
        -1, "Whose states `token-distill` compares: so many from the embeddings up or, below 0, from the head down."
    )
    replay: BelowOne = setting(
        0.0, "Share of the sequences that are of the source language: of a source corpus; with `distill` also of pairs."
    )
    sequence_length: Count = setting(128, "Tokens a sequence.")
    evaluations: Count = setting(10, "How often the validation set is measured after the first step, evenly spaced.")
    checkpoints: NotNegative = setting(5, "How often training state is saved for a killed run to resume from.")
    max_steps: Count = setting(1000, "Optimizer steps.")
    per_device_train_batch_size: Count = setting(16, "Sequences a forward pass and process.")
    gradient_accumulation_steps: Count = setting(1, "Forward passes a step.")
    learning_rate: Positive = setting(5e-4, "Peak of the schedule.")
    embedding_learning_rate: Positive | None = setting(
        None, "The same for embeddings, output head and output bias; as for the rest if none is given."
    )
    warmup_ratio: BelowOne = setting(0.1, "Share of the steps with rising learning rate.")
    lr_scheduler_type: str = setting("cosine", "A learning-rate schedule `transformers` knows.")
    weight_decay: Decay = setting(0.01, "AdamW's; none where only new rows are trained.")
    bf16: bool = setting(False, "Mixed precision; weights stay float32.")
    torch_compile: bool = setting(False, "Compile the body with `torch.compile`; pays only in long runs.")

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, given: Any) -> Any:
        """The keys by their names of today."""
        return renamed(given) if isinstance(given, Mapping) else given

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if not re.fullmatch(r"[\w-]+", self.name):
            raise SettingError("name", value=self.name, expected="letters, digits, - and _")
        one_of("objective", self.objective, ("auto", *OBJECTIVES))
        self._check_passed_on()
        if self.lora_rank != 16 and self.trains != "lora":
            raise SettingError("lora_rank", value=self.lora_rank, expected="it only where trains is 'lora'")
        self._check_sentences()
        self._check_token_distillation()
        if self.embedding_learning_rate is not None and self.trains in ("embeddings", "new-rows"):
            expected = "learning_rate alone, as only the embeddings are trained"
            raise SettingError("embedding_learning_rate", value=self.embedding_learning_rate, expected=expected)
        one_of("lr_scheduler_type", self.lr_scheduler_type, [schedule.value for schedule in SchedulerType])
        if self.on_pairs and len(set(self.languages)) != 2:
            expected = f"two for {self.objective}: the one that is read and the one that is predicted"
            raise SettingError("languages", value=self.languages, expected=expected)
        if self.adapters == "kept" and (self.trains != "lora" or self.distils):
            why = "as a sentence encoder keeps none" if self.distils else f"as it trains {self.trains}, not lora"
            raise SettingError("adapters", value="kept", expected=f"'merged', {why}")
        return self

    def _check_sentences(self) -> None:
        for name in () if self.distils else OF_SENTENCES:
            if (value := getattr(self, name)) != type(self).model_fields[name].default:
                raise SettingError(name, value=value, expected="it only where a stage distils")
        if self.distils and self.replay + self.entries >= 1:
            expected = "less than 1 with replay, so that something is left for the pairs"
            raise SettingError("entries", value=self.entries, expected=expected)

    def _check_token_distillation(self) -> None:
        if not self.distils_tokens:
            for name in OF_SNIPPETS:
                if (value := getattr(self, name)) != type(self).model_fields[name].default:
                    raise SettingError(name, value=value, expected="it only where a stage distils new tokens")
            return
        if self.trains != "new-rows":
            expected = f"'new-rows' with {self.objective}, as all others are the teacher's"
            raise SettingError("trains", value=self.trains, expected=expected)
        without_effect = {
            "replay": "as old rows stay as they are",
            "gradient_checkpointing": "as the model is in evaluation mode",
        }
        for name, why in without_effect.items():
            if value := getattr(self, name, None):
                raise SettingError(
                    name, f"has no effect with {self.objective}, {why}", value=value, hint="Leave it out."
                )
        if not self.layer:
            raise SettingError("layer", value=0, expected="1 or higher, or below 0: at 0 no token has read another")

    def _check_passed_on(self) -> None:
        defaults = {field.name: field.default for field in fields(TrainingArguments)}
        for key, value in (self.model_extra or {}).items():
            if key in OWN:
                hint = f"Use {OWN[key]} in its place." if OWN[key] else "Leave it out."
                raise SettingError(key, "is set by the run", value=key, hint=hint)
            if key not in defaults:
                raise unknown(key, (*type(self).model_fields, *FORMER, *(defaults.keys() - OWN.keys())))
            if type(defaults[key]) is bool and not isinstance(value, bool):
                raise SettingError(key, value=value, expected="true or false")
            if type(defaults[key]) in (int, float) and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise SettingError(key, value=value, expected="a number")

    def replace(self, **changes: Any) -> Self:
        """The same with other settings, by their names of today or by former ones."""
        return super().replace(**renamed(changes))

    @property
    def on_pairs(self) -> bool:
        """Whether it trains on aligned translation pairs."""
        return self.objective != "auto" and OBJECTIVES[self.objective].reads == "pairs"

    @property
    def distils(self) -> bool:
        """Whether it trains a sentence encoder on the source's vectors."""
        return self.combine is None and self.objective != "auto" and OBJECTIVES[self.objective].reads == "sentences"

    @property
    def distils_tokens(self) -> bool:
        """Whether it distils new tokens from the source's own."""
        return self.combine is None and self.objective != "auto" and OBJECTIVES[self.objective].reads == "snippets"

    @property
    def of_any_tokenizer(self) -> Self:
        """The same for a model without new tokens: language modeling where tokens are distilled."""
        if not self.distils_tokens:
            return self
        return self.replace(objective="auto", **{name: type(self).model_fields[name].default for name in OF_SNIPPETS})

    @property
    def longest_sequence(self) -> int:
        """Tokens of the longest sequences that it trains on."""
        return self.snippet_length if self.distils_tokens else self.sequence_length

    @property
    def follows(self) -> tuple[str, ...]:
        """The stages it names as its beginning."""
        if self.combine is not None:
            return (self.combine.lower, self.combine.upper)
        return () if self.starts_from is None else (self.starts_from,)

    @property
    def training_arguments(self) -> dict[str, Any]:
        """What of `TrainingArguments` the stage sets, by their names there."""
        passed_on = {name: getattr(self, name) for name in PASSED_ON} | dict(self.model_extra or {})
        decay = 0.0 if self.trains == "new-rows" else self.weight_decay
        return passed_on | {"weight_decay": decay, "warmup_steps": int(self.warmup_ratio * self.max_steps)}

    @property
    def batch_size(self) -> int:
        """Sequences a step and process."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def evaluate_every(self) -> int:
        """Steps between evaluations."""
        return max(1, self.max_steps // self.evaluations)

    def probed_steps(self, wanted: int) -> int:
        """The first step that is measured from `wanted` on."""
        return min(self.max_steps, -(-wanted // self.evaluate_every) * self.evaluate_every)

    @property
    def save_every(self) -> int | None:
        """Steps between training checkpoints, or None for none."""
        return max(1, self.max_steps // self.checkpoints) if self.checkpoints else None
