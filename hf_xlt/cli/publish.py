"""Commands that hand a finished model on: merged with another, in another format, to the Hub."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hf_xlt.cli import options
from hf_xlt.cli.app import command, command_line, say


@command
def merge(
    adapted: Annotated[str, typer.Argument(help="The model that learned a language: a Hub id or a folder.")],
    output: options.Output,
    original: Annotated[
        str | None,
        typer.Argument(
            help="The model it comes from; for chat-vector the chat model. Without one, the adapters that lie beside "
            "ADAPTED are merged into its weights."
        ),
    ] = None,
    recipe: Annotated[
        options.MergeName,
        typer.Option(help="elchat: the outer layers; chat-vector: what chat training added to --base; linear: a mean."),
    ] = "elchat",
    base: Annotated[str | None, typer.Option(help="For chat-vector: the model that both come from.")] = None,
    weight: Annotated[
        float | None, typer.Option(help="Scales the original's part; by default 1, for linear a share of 0.5.")
    ] = None,
    chat_template: options.ChatTemplate = None,
    overwrite: options.Overwrite = False,
    trust_remote_code: options.Trust = False,
) -> None:
    """Give an adapted model back what it lost of its original, such as chat, or merge its adapters; nothing is trained.

    Examples: hf-xlt merge smollm2-german HuggingFaceTB/SmolLM2-135M-Instruct --output smollm2-german-chat

    hf-xlt merge smollm2-german-lora --output smollm2-german
    """
    from hf_xlt.checkpoint.adapters import merge_adapters
    from hf_xlt.merge import merge_models

    if original is None:
        made = merge_adapters(adapted, output, overwrite=overwrite, trust_remote_code=trust_remote_code)
        say(f"{made}: the model with its adapters merged. Next: hf-xlt evaluate --help")
        return
    merged = merge_models(
        adapted,
        original,
        output,
        recipe=recipe,
        base=base,
        weight=weight,
        overwrite=overwrite,
        chat_template=chat_template,
        command=command_line(),
        trust_remote_code=trust_remote_code,
    )
    say(f"{merged}: the model and its card. Next: hf-xlt evaluate --help")


@command
def export(
    model: Annotated[str, typer.Argument(help="A sentence encoder: a Hub id or a folder.")],
    output: options.Output,
    form: Annotated[
        options.FormatName,
        typer.Option("--format", help="static: a table of token vectors; onnx: the whole encoder as an ONNX graph."),
    ],
    dimensions: Annotated[
        int | None,
        typer.Option(help="With static: width of the vectors; by default 256, or all where there are fewer.", min=1),
    ] = None,
    overwrite: options.Overwrite = False,
    trust_remote_code: options.Trust = False,
) -> None:
    """Write a sentence encoder in a format that runs without transformers, and check that it gives the right vectors.

    Example: hf-xlt export minilm-german --format static --output minilm-german-static
    """
    from hf_xlt.export import export_onnx, export_static

    given: dict[str, Any] = {"overwrite": overwrite, "command": command_line(), "trust_remote_code": trust_remote_code}
    if form == "static":
        made = export_static(model, output, dimensions=dimensions, **given)
        checked = "model2vec and sentence-transformers give equal vectors"
    else:
        made = export_onnx(model, output, **given)
        checked = "onnxruntime gives the model's own vectors"
    say(f"{made.folder}: vectors of {made.width} numbers. {checked} (largest difference {made.difference:.0e}).")
    say(f"How to use it: {made.folder / 'README.md'}")


@command
def push(
    folder: Annotated[Path, typer.Argument(help="A model folder with its card.")],
    repo_id: Annotated[str, typer.Argument(help="Where to: name or namespace/name.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    token: Annotated[str | None, typer.Option(help="Access token; by default the one logged in with.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be uploaded and deleted.")] = False,
) -> None:
    """Upload a model folder to the Hub in one commit, and delete there what an earlier model has left."""
    from hf_xlt.hub.push import plan_upload

    upload = plan_upload(folder, repo_id, private=private or None, token=token)
    for path in upload.files if dry_run else ():
        say(f"upload {path}")
    for path in upload.deleted:
        say(f"delete {path}")
    if dry_run:
        say(f"{upload.repo_id} is unchanged: {len(upload.files)} to upload, {len(upload.deleted)} to delete.")
        return
    say(upload.carry_out(private=private or None))
