"""What is evaluated and how: the model, the seeds, the fine-tuning."""

from dataclasses import dataclass, fields, replace

from hf_xlt.arguments import MOST, checked, refused, require_positive, require_seeds, require_share, require_whole
from hf_xlt.device import PRECISIONS


@checked
@dataclass(frozen=True)
class ModelSpec:
    """A model to evaluate, not yet opened.

    Args:
        name: A Hub id or a folder.
        source: Checkpoint whose embeddings and tokenizer read the source language; None where the model reads it
            itself.
        languages: Source and target language of a multilingual model (TreLM).
        trust_remote_code: Run code that the checkpoint brings.
    """

    name: str
    source: str | None = None
    languages: tuple[str, str] | None = None
    trust_remote_code: bool = False


@checked
@dataclass(frozen=True)
class FineTuningConfig:
    """How a supervised task is learned, and how much of it.

    Args:
        frozen: Train only the head on the encoder's states, which are then computed once (a probe).
        epochs: Passes over the training examples, at most.
        patience: Stop after so many evaluations without a better score on the development examples.
        evaluations: How often an epoch the development examples are scored.
        batch_size: Examples a step.
        learning_rate: Peak, of the encoder.
        head_learning_rate: Peak, of the head.
        warmup: Share of the steps with rising learning rate; it falls linearly afterwards.
        train_examples: Learn from so many, drawn; None for all.
        dev_examples: Select by the first so many; None for all.
        layer: Whose states the head gets, 0 for the embeddings; None for the last. In frozen encoders syntax lies
            lower than that.
        precision: What the encoder computes in, `float32` or `bfloat16`; weights and head stay float32.
        dropout: Of the encoder while it learns, in place of what its configuration says; None for that. Drawing it
            takes a CPU as long as all the rest.

    Raises:
        InputError: If a number is out of range, or the precision is neither.
    """

    frozen: bool = False
    epochs: int = 10
    patience: int = 4
    evaluations: int = 2
    batch_size: int = 16
    learning_rate: float = 5e-5
    head_learning_rate: float = 1e-3
    warmup: float = 0.1
    train_examples: int | None = None
    dev_examples: int | None = None
    layer: int | None = None
    precision: str = "float32"
    dropout: float | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "evaluations", "batch_size", "train_examples", "dev_examples"):
            if getattr(self, name) is not None:
                require_whole(name, getattr(self, name), least=1, most=MOST)
        for name in ("learning_rate", "head_learning_rate"):
            require_positive(name, getattr(self, name))
        for name in ("warmup", "dropout"):
            if getattr(self, name) is not None:
                require_share(name, getattr(self, name), below_one=True)
        if self.layer is not None:
            require_whole("layer", self.layer, least=0)
        if self.precision not in PRECISIONS:
            raise refused("precision", self.precision, f"one of {', '.join(PRECISIONS)}")

    def __repr__(self) -> str:
        return _changes(self)

    def probe(self) -> "FineTuningConfig":
        """The encoder as it is: only the head learns, faster and for more epochs, as each is cheap."""
        return replace(self, frozen=True, epochs=40, patience=8, evaluations=1, batch_size=32, head_learning_rate=1e-2)

    def quick(self) -> "FineTuningConfig":
        """At most 2,000 examples to learn from and 300 to select by, and a third of the epochs."""
        return replace(self, epochs=max(1, self.epochs // 3), train_examples=2000, dev_examples=300)


@checked
@dataclass(frozen=True)
class EvaluationConfig:
    """How models are evaluated.

    Args:
        zero_shot: Learn supervised tasks in the source language; select on its development examples.
        seeds: Of supervised tasks; others have nothing to draw.
        fine_tuning: Of supervised tasks.

    Raises:
        InputError: If there is no seed, or one twice.
    """

    zero_shot: bool = False
    seeds: tuple[int, ...] = (0,)
    fine_tuning: FineTuningConfig = FineTuningConfig()

    def __post_init__(self) -> None:
        require_seeds("seeds", self.seeds)

    def __repr__(self) -> str:
        return _changes(self)


def _changes(config: FineTuningConfig | EvaluationConfig) -> str:
    """A configuration with the fields that are not as by default."""
    changed = (field for field in fields(config) if getattr(config, field.name) != field.default)
    return f"{type(config).__name__}({', '.join(f'{field.name}={getattr(config, field.name)!r}' for field in changed)})"
