"""Reference pages, made from the package: its public names, its command line, its recipes, methods and errors."""

import errno
import inspect
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import typer

import hf_xlt
from hf_xlt import errors
from hf_xlt.cli.main import _HINTS, app
from hf_xlt.initializers import METHODS, Initializer
from hf_xlt.initializers.evidence import EVIDENCE
from hf_xlt.initializers.registry import initializer_class, parameters
from hf_xlt.recipes import recipe_schema
from hf_xlt.recipes.recipe import FOLDER
from hf_xlt.recipes.settings import SettingError

# Page of the API reference → the packages whose public names it has.
API = {
    "checkpoints": ("Checkpoints and tokenizers", ("checkpoint", "tokenizers", "transport")),
    "initializers": ("Initializers", ("initializers",)),
    "evidence": ("Evidence and geometry", ("evidence", "geometry")),
    "training": ("Recipes, text and training", ("recipes", "runs", "data", "merge", "export")),
    "evaluation": ("Evaluation and studies", ("evaluation", "report", "study", "mining")),
    "trelm": ("TreLM", ("trelm",)),
    "errors": ("Errors", ("errors",)),
}


def api_pages() -> Iterator[tuple[str, str]]:
    """The name and the text of each page; a public name without a page is an error."""
    left = set(hf_xlt.__all__)
    for page, (title, packages) in API.items():
        names = [name for name in hf_xlt.__all__ if hf_xlt._HOME[name].split(".")[1] in packages]
        left -= {*names}
        yield page, "\n\n".join([f"# {title}", *(f"::: hf_xlt.{name}" for name in names)])
    if left:
        raise RuntimeError(f"No page of the API reference has {', '.join(sorted(left))}")


def command_line() -> str:
    """Every command with its arguments and options."""
    root = typer.main.get_command(app)
    context = root.make_context("hf-xlt", [], resilient_parsing=True)
    intro = (
        "`hf-xlt COMMAND --help` shows the same in a terminal. `hf-xlt --install-completion` installs completion for "
        "your shell. The exit code is 0 after success, 2 after a refused input, 1 after a failure and 130 after Ctrl-C."
    )
    return "\n\n".join(["# Command line", intro, *_commands(root, context)])


def _commands(group: Any, context: Any) -> Iterator[str]:
    for name, command in group.commands.items():
        inner = command.make_context(name, [], parent=context, resilient_parsing=True)
        if hasattr(command, "commands"):
            yield from _commands(command, inner)
            continue
        yield f"## {inner.command_path}"
        yield from (_paragraph(text) for text in inspect.cleandoc(command.help or "").split("\n\n"))
        yield f"```text\n{command.get_usage(inner)}\n```"
        records = [param.get_help_record(inner) for param in command.get_params(inner)]
        rows = [f"| `{name}` | {_cell(told)} |" for name, told in filter(None, records)]
        yield "\n".join(["| argument or option | meaning |", "| --- | --- |", *rows])


def _paragraph(text: str) -> str:
    """A paragraph of a command's help, its example as code."""
    line = " ".join(text.split())
    before, command, rest = line.partition("hf-xlt ")
    if command and (not before or before.rstrip().endswith(("Example:", "Examples:"))):
        return f"{before}\n\n```bash\n{command}{rest}\n```".strip()
    return _escaped(line)


def _cell(text: str) -> str:
    return _escaped(" ".join(text.split())).replace("|", "\\|")


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;") if "`" not in text else text


def recipes() -> str:
    """What a recipe may hold, from its schema, and the recipes that are shipped."""
    schema = recipe_schema()
    parts = [
        "# Recipes",
        "A recipe is a YAML file. `hf-xlt recipe show NAME` prints a shipped one, `hf-xlt recipe check FILE` says what "
        "it will do, and `hf-xlt recipe schema` prints the JSON schema that this page is made from.",
        "## Shipped recipes",
    ]
    for path in sorted(FOLDER.glob("*.yaml")):
        parts += [f"### {path.stem}", f"```yaml\n{path.read_text(encoding='utf-8').strip()}\n```"]
    parts += ["## Settings", _settings(schema)]
    for name, part in schema["$defs"].items():
        parts += [f"## {name}", _settings(part)]
    return "\n\n".join(parts)


def _settings(part: Mapping[str, Any]) -> str:
    described = part.get("description", "").partition("\n\nArgs:")[0].partition("\n\nRaises:")[0]
    rows = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, setting in part["properties"].items():
        default = "required" if name in part.get("required", ()) else _default(setting.get("default"))
        rows.append(f"| `{name}` | {_type(setting)} | {_cell(default)} | {_cell(setting.get('description', ''))} |")
    return f"{' '.join(described.split())}\n\n" + "\n".join(rows)


def _default(value: Any) -> str:
    """As YAML has it; nothing for what has settings of its own."""
    written = json.dumps(value)
    return "–" if value is None or '{"' in written else f"`{written}`"


def _type(setting: Mapping[str, Any]) -> str:
    if "$ref" in setting:
        name = setting["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in setting:
        return " or ".join(dict.fromkeys(_type(option) for option in setting["anyOf"] if option != {"type": "null"}))
    if "enum" in setting:
        return ", ".join(f"`{value}`" for value in setting["enum"])
    if "const" in setting:
        return f"`{setting['const']}`"
    if setting.get("type") == "array":
        return f"list of {_type(setting.get('items', {}))}"
    return {"object": "mapping"}.get(setting.get("type", ""), setting.get("type", "any"))


def method_facts(name: str) -> str:
    """What a method needs, may use and lets its user set, and how a command names it."""
    cls, known = initializer_class(name), parameters(name)
    empty = inspect.Parameter.empty
    needed = [key for key, each in known.items() if key in EVIDENCE and each.default is empty]
    optional = [key for key, each in known.items() if key in EVIDENCE and each.default is not empty]
    shared = inspect.signature(Initializer).parameters
    options = [f"`{key}` (`{each.default!r}`)" for key, each in known.items() if key not in {*EVIDENCE, *shared}]
    given = " ".join(f"--{key.replace('_', '-')} {key.upper()}" for key in [*needed, *cls.needs_one_of[:1]])
    rows = [
        ("Class", f"[`{cls.__name__}`][hf_xlt.{cls.__name__}]"),
        ("Needs", ", ".join(f"{EVIDENCE[key].told} (`{key}`)" for key in needed)),
        ("Needs one of", ", ".join(f"{EVIDENCE[key].told} (`{key}`)" for key in cls.needs_one_of)),
        ("Can use", ", ".join(f"{EVIDENCE[key].told} (`{key}`)" for key in optional if key not in cls.needs_one_of)),
        ("Options and their defaults", ", ".join(options)),
        ("Command", f"`hf-xlt initialize {name} {given} --output FOLDER`"),
    ]
    lines = [f"| {title} | {text} |" for title, text in rows if text]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def citation(name: str) -> str:
    """The paper of a method, with its address where it has one."""
    entry = initializer_class(name).citation
    if entry is None:
        raise RuntimeError(f"{name} has no paper")
    fields = {
        key: " ".join(re.sub(r"[{}]", "", value).split())
        for key, value in re.findall(
            r"^  (\w+) = \{(.*?)\},?$", entry.replace('\\"u', "ü"), flags=re.MULTILINE | re.DOTALL
        )
    }
    authors = [author.partition(",")[0] for author in fields["author"].split(" and ")]
    told = f"{', '.join(authors)} ({fields['year']}). *{fields['title']}.*"
    return (
        f"{told} [arXiv:{fields['eprint']}](https://arxiv.org/abs/{fields['eprint']})" if "eprint" in fields else told
    )


def error_classes() -> str:
    """The classes of exceptions that hf_xlt raises, and what each is for."""
    rows = []
    for error in (errors.InputError, SettingError, errors.UploadError):
        meaning = (error.__doc__ or "").splitlines()[0]
        rows.append(f"| `{error.__module__}.{error.__name__}` | `{error.__mro__[1].__name__}` | {meaning} |")
    return "\n".join(["| class | derives from | meaning |", "| --- | --- | --- |", *rows])


def system_errors() -> str:
    """What the command line advises after errors of the operating system."""
    rows = [f"| `{errno.errorcode[number]}` | {os.strerror(number)} | {hint} |" for number, hint in _HINTS.items()]
    return "\n".join(["| code | message | what to do |", "| --- | --- | --- |", *rows])


def methods() -> str:
    """All initializers and what they need."""
    rows = []
    for name in METHODS:
        known = parameters(name)
        needed = [
            EVIDENCE[key].told
            for key, each in known.items()
            if key in EVIDENCE and each.default is inspect.Parameter.empty and key != "source"
        ]
        one_of = [EVIDENCE[key].told for key in initializer_class(name).needs_one_of]
        told = ", ".join(needed) + (f", and one of {', '.join(one_of)}" if one_of else "")
        rows.append(f"| `{name}` | {told} |")
    return "\n".join(["| method | needs, beside the source |", "| --- | --- |", *rows])


TABLES = {
    "facts": method_facts,
    "paper": citation,
    "errors": error_classes,
    "system-errors": system_errors,
    "methods": methods,
}
