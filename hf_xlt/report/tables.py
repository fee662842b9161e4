"""Tables in the terminal: results, origins of rows, and any table of a card."""

from collections.abc import Sequence
from unicodedata import category

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from hf_xlt.files.printable import one_line
from hf_xlt.hub.card import CardTable, ResultRow
from hf_xlt.transport import Part, Transport


def results_table(summaries: Sequence[ResultRow]) -> Table:
    """The table shown in the terminal: one line for each method; lower values are better.

    Values at equal compute replace perplexity, which cannot be compared between tokenizers.
    """
    title = "Held-out quality (lower is better) and steps saved"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("method")
    compute = any(summary.equal_compute_bits_per_byte is not None for summary in summaries)
    for name in ("start", "bits/byte", "at equal\ncompute" if compute else "perplexity"):
        table.add_column(name, justify="right", no_wrap=True)
    baselines = list(dict.fromkeys(name for summary in summaries for name in summary.steps_saved))
    for name in baselines:
        table.add_column(Text("\n".join(["saved vs", *one_line(name).split()])), justify="right")
    for summary in summaries:
        spread = f" ± {summary.spread:.3f}" if summary.seeds > 1 else ""
        start, final = f"{summary.start_bits_per_byte:.3f}", f"{summary.bits_per_byte:.3f}{spread}"
        shares = {
            name: "not reached" if share is None else f"{share:.0%}" for name, share in summary.steps_saved.items()
        }
        saved = (shares.get(name, "") for name in baselines)
        equal = summary.equal_compute_bits_per_byte
        at_compute = "not reached" if equal is None else f"{equal:.3f}"
        third = at_compute if compute else f"{summary.perplexity:,.1f}"
        table.add_row(*map(_text, (summary.method, start, final, third, *saved)))
    return table


def _text(cell: str) -> Text:
    """A cell as it is: no markup of rich's, nothing that a terminal obeys."""
    return Text(one_line(cell))


def explanation_table(transport: Transport, tokens: Sequence[str], k: int) -> Table:
    """Where rows of target tokens come from: one line for each token, with the source tokens of the largest weights.

    Where rows are mixed by counts, those behind each source token stand in brackets after its weight. After a false
    friend come the source tokens that it is linked to, with how often.
    """
    evidence = " (and the counts behind them)" if transport.evidence else ""
    table = Table(box=None, pad_edge=False)
    for name in ("token", "row", f"source tokens and their weights{evidence}"):
        table.add_column(name)
    for token in tokens:
        parts = ", ".join(map(_part, transport.parts(token, k)))
        if linked := transport.linked(token, k):
            parts += f"; a false friend, as it is linked to {_counted(linked)}"
        table.add_row(*map(_text, (token, transport.origin(token), parts)))
    return table


def example_token(transport: Transport) -> str | None:
    """A word of the target language whose row is mixed, to show what `explain` tells; None if there is none.

    Tokenizers number frequent tokens first, so it is an early one, and no very short one if there is a choice.
    """
    origins = transport.origins
    made = (origins["mixed"] | origins["projected"]).tolist()
    mixed = (name for name, is_mixed in zip(transport.target_names, made, strict=True) if is_mixed)
    words = [name for name in mixed if all(category(character)[0] in "LM" for character in name)]  # letters, marks
    return next((word for length in (4, 2, 1) for word in words if len(word) >= length), None)


def _counted(names: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {count:,.0f}" for name, count in names)


def _part(part: Part) -> str:
    counts = ", ".join(f"{kind} {amount:.3g}" for kind, amount in part.evidence.items())
    return f"{part.source} {part.weight:.3f}" + (f" ({counts})" if counts else "")


def text_table(table: CardTable) -> Group:
    """A table of the card for the terminal, under its caption: cells as they are, columns of numbers to the right."""
    shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, *cells in zip(table.header, *table.lines, strict=True):
        numbers = all(cell.lstrip("-")[:1].isdigit() for cell in cells)
        shown.add_column(_text(name), justify="right" if numbers else "left")
    for line in table.lines:
        shown.add_row(*map(_text, line))
    return Group(Text(one_line(table.caption), style="italic"), shown)
