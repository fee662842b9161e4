"""What MkDocs calls while it builds: generated pages and tables are added, and formulas become MathML.

A page asks for a table by a line such as `<!-- table: pairs -->`, with arguments after bars. Formulas are MathML, so
that the pages need no script and no network.
"""

import html
import re
from pathlib import Path

import figures
import house
import latex2mathml.converter
import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
AT_THE_ROOT = ("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md")
TABLES = {**figures.TABLES, **reference.TABLES}

_TABLE = re.compile(r"^<!-- table: (.+?) -->$", re.MULTILINE)
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.+?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, the pages that stand at the root of the repository, and the pictures."""
    pages = {
        "reference/recipes.md": reference.recipes(),
        "reference/command-line.md": reference.command_line(),
        **{f"reference/api/{name}.md": text for name, text in reference.api_pages()},
        "figures.md": (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8"),
        **{name: (ROOT / name).read_text(encoding="utf-8") for name in AT_THE_ROOT},
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    for name, image in (("pictures/house.svg", house.picture()), ("pictures/pairs.svg", figures.pairs_picture())):
        files.append(File.generated(config, name, content=image))
    for path in sorted((ROOT / "benchmarks" / "results").iterdir()):
        if path.suffix in (".png", ".json"):
            files.append(File.generated(config, f"results/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the tables in the place of the comments that ask for them."""
    return _TABLE.sub(lambda match: _table(match[1]), markdown)


def _table(asked: str) -> str:
    name, *given = (part.strip() for part in asked.split("|"))
    return TABLES[name](*given)


def on_page_content(html_text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn formulas into MathML."""
    return _FORMULA.sub(lambda match: _formula(html.unescape(match[2]), match[1] == "div"), html_text)


def _formula(latex: str, is_block: bool) -> str:
    return latex2mathml.converter.convert(latex, display="block" if is_block else "inline")
