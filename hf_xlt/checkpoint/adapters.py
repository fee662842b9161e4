"""Merge the adapters that lie beside a model's weights into these."""

import shutil
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import transformers
from peft import PeftModel
from transformers import PreTrainedModel

from hf_xlt.arguments import checked
from hf_xlt.checkpoint.contents import ADAPTERS
from hf_xlt.checkpoint.fetch import fetch
from hf_xlt.checkpoint.kind import auto_class_name
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.weights import INDEX_FILE, Weights
from hf_xlt.errors import InputError
from hf_xlt.files.folders import atomic_folder, check_output, check_space

ADAPTER_WEIGHTS = "adapter_model.safetensors"


@checked
def merge_adapters(
    model: str | Path, output: str | Path, *, overwrite: bool = False, trust_remote_code: bool = False
) -> Path:
    """Write a model with its adapters merged into its weights, for tools that read no adapters.

    What transformers opens of such a folder has its adapters on, and saving it after peft has merged them gives names
    that it does not find again; so the model is opened here without them. The sums are made in float32 and stored in
    the type of the weights. All other files stay as they are.

    Args:
        model: What a stage with `adapters: kept` has left, or the like: a folder or a Hub id.
        output: The folder to write; it appears when it is complete.
        overwrite: Whether an existing folder may be replaced.
        trust_remote_code: Run code that the model brings.

    Raises:
        InputError: If it has no adapters in safetensors or no model beside them, or the output cannot be written there.

    Example:
        >>> merge_adapters("smollm2-german-lora", "smollm2-german")  # doctest: +SKIP
    """
    folder = fetch(model).absolute()
    for name in (ADAPTERS, ADAPTER_WEIGHTS, "config.json"):
        if not (folder / name).is_file():
            problem = f"{model} has no {name}"
            raise InputError(problem, value=name, expected="a model with adapters beside it", path=folder)
    check_output(output, overwrite=overwrite, sources=[folder])
    weights = [shard.path.name for shard in Weights.open(folder).shards]
    check_space(output, sum((folder / name).stat().st_size for name in weights))
    with TemporaryDirectory() as place:
        bare = Path(place)
        for path in folder.iterdir():
            if path.name not in (ADAPTERS, ADAPTER_WEIGHTS):
                (bare / path.name).symlink_to(path)
        base = Checkpoint.open(bare, trust_remote_code=trust_remote_code)
        with atomic_folder(output, overwrite=overwrite, sources=[folder]) as made:
            shutil.copytree(bare, made, ignore=shutil.ignore_patterns(*weights, INDEX_FILE), dirs_exist_ok=True)
            _merged(base, folder).save_pretrained(made)
            Checkpoint.open(made, trust_remote_code=trust_remote_code)  # what appears can be opened
    return Path(output)


def _merged(base: Checkpoint, adapters: Path) -> PreTrainedModel:
    """The model with adapters merged, in the type of its weights."""
    auto_class = getattr(transformers, auto_class_name(base.config))
    model = auto_class.from_pretrained(base.folder, dtype="auto", trust_remote_code=base.trust_remote_code)
    stored = model.dtype
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for a setting by its old name
            warnings.filterwarnings("error", ".*missing adapter keys")  # which would go on from zero
            merged: PreTrainedModel = PeftModel.from_pretrained(model.float(), str(adapters)).merge_and_unload()
    except Exception as error:  # whatever peft makes of settings and weights that do not fit the model
        problem = (
            f"The adapters of {adapters} cannot be merged ({type(error).__name__}: {' '.join(str(error).split())})"
        )
        raise InputError(
            problem, path=adapters / ADAPTERS, expected="adapters of this model, such as LoRA's"
        ) from error
    return merged.to(stored)
