"""A report is one page that needs nothing else, says what it was given, and can be read on light and dark paper."""

import re
import warnings
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.evaluation.compare import ComparedResult, Interval
from hf_xlt.evaluation.curves import Curve, Point
from hf_xlt.evaluation.results import SeedResult, TaskResult
from hf_xlt.files.printable import printable
from hf_xlt.hub.card import CardTable
from hf_xlt.report.comparison import Comparison, neighbors_table
from hf_xlt.report.page import COLORS, Picture, Report, Section, render_report, write_report
from hf_xlt.report.pictures import Bar, bars_svg, heat_map_svg, learning_curves_svg

NASTY = "<b>&amp; $x$ \"狗\" 'ü' #1f5fa8 </td></script>"
VOID = {"meta"}


class Page(HTMLParser):
    """A page as its tags, attributes and texts; what is opened must be closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.append([tag, ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.texts[-1][0] == self.open[-1]:
            self.texts[-1][1] += data

    def of(self, *tags):
        return [text for tag, text in self.texts if tag in tags]

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]


def curve(*bits, seed=0):
    return Curve("x", seed, tuple(Point(i * 50, bit, 2.0**bit, bit) for i, bit in enumerate(bits)), seconds=1.0)


CURVES = {
    f"ours {NASTY}": (curve(4, 2, 1), curve(4, 2, 1.5, seed=1)),
    "random rows": (curve(6, 4, 3),),
    "from scratch": (curve(7, 6, 2),),
}
MATRIX = np.array([[1.0, 0.5, 0.0], [0.25, np.nan, 0.75]])
TABLE = CardTable(f"Scores {NASTY}", ("method", "F1", NASTY), (("ours", "81.2 ± 0.3", NASTY), (NASTY, "–", "x")))
PICTURES = {
    "curves": lambda: learning_curves_svg(CURVES, ("random rows", "from scratch"), f"Curves {NASTY}"),
    "heat map": lambda: heat_map_svg(MATRIX, ["a", NASTY, "c"], ["first", "second"], f"CKA {NASTY}"),
    "bars": lambda: bars_svg([Bar(NASTY, 1.24, -0.3, 2.1), Bar("b", -2, -3, -1)], f"Differences {NASTY}", "points"),
}


@pytest.fixture(scope="module")
def drawn():
    return {name: draw() for name, draw in PICTURES.items()}


@pytest.fixture(scope="module")
def text(drawn):
    sections = (
        Section(f"Tasks {NASTY}", f"One {NASTY}\n\nTwo", (TABLE,), (Picture(drawn["bars"], f"Bootstrap {NASTY}"),)),
        Section("Rest", pictures=tuple(Picture(drawn[name], name) for name in ("curves", "heat map"))),
    )
    return render_report(Report(f"A and B {NASTY}", f"Intro {NASTY}", sections))


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


class TestPage:
    def test_it_says_what_it_was_given(self, page):
        assert page.of("h1") == page.of("title") == [f"A and B {NASTY}"]
        assert page.of("h2") == [f"Tasks {NASTY}", "Rest"] == page.of("a")
        assert page.of("p") == [f"Intro {NASTY}", f"One {NASTY}", "Two"]
        assert page.of("caption") == [f"Scores {NASTY}"]
        assert page.of("figcaption") == [f"Bootstrap {NASTY}", "curves", "heat map"]
        assert page.of("th", "td") == [*TABLE.header, *TABLE.lines[0], *TABLE.lines[1]]

    def test_it_reaches_for_nothing_and_runs_nothing(self, text, page):
        tags = {tag for tag, _ in page.tags}
        assert not tags & {"script", "link", "img", "iframe", "object", "image", "foreignobject"}
        assert [tag for tag, _ in page.tags].count("style") == 1
        assert not page.attributes("src")
        assert all(link.startswith("#") for link in page.attributes("href"))
        assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
        assert not re.search(r"https?:|@import|javascript:", text)
        assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))

    def test_every_reference_leads_to_the_one_element_of_that_name(self, text, page):
        names = page.attributes("id")
        assert len(names) == len(set(names))
        references = [
            *page.attributes("href"),
            *page.attributes("aria-labeledby"),
            *re.findall(r"url\((#\w[^)]*)\)", text),
        ]
        assert {reference.lstrip("#") for reference in references} <= set(names)

    def test_every_color_is_set_for_light_and_for_dark(self, page):
        (style,) = page.of("style")
        light, dark = style.split("@media screen and (prefers-color-scheme: dark)")
        used = set(re.findall(r"var\(--([\w-]+)\)", style + " ".join(page.attributes("style"))))
        assert {"paper", "ink", "line-1", "line-6"} <= used
        for color in COLORS:
            assert f"--{color.name}: {color.light};" in light
            assert f"--{color.name}: {color.dark};" in dark
        assert used <= {color.name for color in COLORS}
        assert len({color.light for color in COLORS}) == len(COLORS)

    def test_figures_are_readable_on_their_paper_and_on_the_densest_cell(self):
        by_name = {color.name: color for color in COLORS}
        for kind in ("light", "dark"):
            paper, ink, faint, accent = (rgb(getattr(by_name[n], kind)) for n in ("paper", "ink", "faint", "line-1"))
            assert contrast(ink, paper) > 7
            assert contrast(faint, paper) > 4.5
            assert contrast(ink, 0.55 * accent + 0.45 * paper) > 4.5
            assert all(contrast(rgb(getattr(color, kind)), paper) > 2 for color in COLORS if "line-" in color.name)

    def test_it_can_be_read_aloud(self, page):
        assert {attrs["scope"] for tag, attrs in page.tags if tag == "th"} == {"col", "row"}
        pictures = [attrs for tag, attrs in page.tags if tag == "svg"]
        assert [attrs["role"] for attrs in pictures] == ["img"] * 3
        assert [attrs["aria-label"] for attrs in pictures] == [f"{n} {NASTY}" for n in ("Differences", "Curves", "CKA")]
        assert ("html", {"lang": "en"}) in page.tags

    def test_columns_of_numbers_stand_to_the_right(self, page):
        kinds = ["number" in attrs.get("class", "") for tag, attrs in page.tags if tag in ("th", "td")]
        assert kinds == [False, True, False] * 3

    @settings(max_examples=50)
    @given(st.lists(st.tuples(*[st.text(st.characters())] * 3), min_size=1, max_size=4), st.text())
    @pytest.mark.slow
    def test_any_text_comes_back_from_its_cell(self, lines, caption):
        header, *rest = lines
        report = Report("t", "", (Section("h", tables=(CardTable(caption, header, tuple(rest)),)),))
        page = Page(render_report(report))
        assert page.of("th", "td") == [printable(cell) for line in lines for cell in line]
        assert page.of("caption") == [printable(caption)]

    def test_one_section_needs_no_contents(self):
        assert "<nav" not in render_report(Report("t", "", (Section("h"),)))


def rgb(color):
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def contrast(one, other):
    """Contrast ratio of two colors (WCAG 2)."""
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in (one, other)]
    dim, bright = sorted(float(c @ [0.2126, 0.7152, 0.0722]) for c in linear)
    return (bright + 0.05) / (dim + 0.05)


class TestPictures:
    @pytest.mark.parametrize("name", PICTURES)
    def test_no_color_is_left_as_it_was_drawn_and_fonts_are_the_page_s(self, drawn, name):
        styles = " ".join(Page(drawn[name]).attributes("style"))
        assert not re.search(r"#[0-9a-f]{3}|rgb|font-family", styles)
        assert "var(--ink)" in styles
        assert not set(Page(drawn[name]).attributes("fill")) - {"none"}

    @pytest.mark.parametrize("name", PICTURES)
    def test_it_is_drawn_the_same_each_time(self, drawn, name):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert PICTURES[name]() == drawn[name]

    def test_labels_are_text(self, drawn):
        for name, labels in {"curves": [*CURVES], "heat map": [NASTY, "first", "1.00"], "bars": [NASTY, "b"]}.items():
            assert set(labels) <= set(Page(drawn[name]).of("text"))

    def test_control_characters_in_labels_are_replaced(self):
        assert "a\ufffdb" in Page(heat_map_svg(np.ones((1, 1)), ["a\x01b"], ["c"], "t")).of("text")

    def test_a_heat_map_is_the_denser_the_higher_the_value(self, drawn):
        page = Page(drawn["heat map"])
        styles = [attrs["style"] for tag, attrs in page.tags if tag in ("path", "use") and "style" in attrs]
        found = [float(match[1]) for style in styles if (match := re.search(r"line-1.*fill-opacity: ([\d.]+)", style))]
        values = MATRIX[np.isfinite(MATRIX)]
        assert found == pytest.approx([0.55 * value for value in values if value > 0])
        assert [text for text in page.of("text") if text.count(".") == 1][: len(values)] == [f"{v:.2f}" for v in values]

    def test_bars_are_told_with_their_intervals(self, drawn):
        texts = Page(drawn["bars"]).of("text")
        assert {"+1.2 [−0.3, +2.1]", "−2.0 [−3.0, −1.0]", "points"} <= set(texts)

    def test_methods_and_baselines_have_colors_of_their_own(self, drawn):
        styles = " ".join(Page(drawn["curves"]).attributes("style"))
        assert {"line-1", "line-6", "line-7"} <= set(re.findall(r"line-\d", styles))

    def test_a_map_whose_labels_do_not_fit_is_refused(self):
        with pytest.raises(InputError, match=r"shape \(2, 3\) has 2 and 2 labels"):
            heat_map_svg(MATRIX, ["a", "b"], ["c", "d"], "t")

    @pytest.mark.parametrize("value", [-0.1, 1.1])
    def test_a_map_of_something_else_is_refused(self, value):
        with pytest.raises(InputError, match="expected values between 0 and 1"):
            heat_map_svg(np.array([[value]]), ["a"], ["b"], "t")

    def test_no_bars_are_refused(self):
        with pytest.raises(InputError, match="there is no value to show"):
            bars_svg([], "t", "points")


def test_neighbors_come_nearest_first_a_line_a_word():
    table = neighbors_table("c", {"Hund": [("dog", 0.712), ("dogs", 0.6)], "Katze": [("cat", 0.5)]})
    assert table.header == ("word", "1", "2")
    assert table.lines == (("Hund", "dog 0.71", "dogs 0.60"), ("Katze", "cat 0.50", ""))
    assert neighbors_table("c", {}) == CardTable("c", ("word",), ())


def test_a_table_with_an_uneven_line_is_refused():
    with pytest.raises(InputError, match="has 1 cells; expected 2"):
        Section("h", tables=(CardTable("c", ("a", "b"), (("x", "y"), ("z",))),))


class TestWriting:
    REPORT = Report("One \ud800 狗", "", ())

    def test_the_file_is_the_page_and_nothing_lies_beside_it(self, tmp_path):
        path = write_report(tmp_path / "report.html", self.REPORT)
        assert path.read_text(encoding="utf-8") == render_report(self.REPORT)
        assert list(tmp_path.iterdir()) == [path]

    def test_what_is_there_is_replaced_only_if_asked(self, tmp_path):
        path = tmp_path / "report.html"
        write_report(path, Report("Old", "", ()))
        old = path.read_text(encoding="utf-8")
        with pytest.raises(InputError, match="exists; expected a new file"):
            write_report(path, self.REPORT)
        assert path.read_text(encoding="utf-8") == old
        write_report(path, self.REPORT, overwrite=True)
        assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
        assert path.read_text(encoding="utf-8") != old

    def test_a_page_of_somebody_else_is_left_alone(self, tmp_path):
        path = tmp_path / "report.html"
        path.write_text("<!DOCTYPE html><title>My thesis</title>")
        with pytest.raises(InputError, match="was not written by hf-xlt"):
            write_report(path, self.REPORT, overwrite=True)
        assert "thesis" in path.read_text()

    def test_a_folder_that_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="is not a folder"):
            write_report(tmp_path / "none" / "report.html", self.REPORT)


HOSTILE = (
    "</text><script>alert(1)</script>", "<img src=x onerror=y>", "<a href='javascript:x'>", "\u202egnp.exe", "\x1b[31m",
    "$x^$", "_hidden", "\ud800", "{{ report }}", "x" * 5000, "a\nb\rc", "]]>", "&lt;", "-->",
)  # fmt: skip


def page_of(texts):
    """A page with each text wherever data may be."""
    first = texts[0]
    curves = {text: (curve(4, 2),) for text in texts}
    pictures = (
        bars_svg([Bar(text, 1, 0, 2) for text in texts], first, first),
        heat_map_svg(np.ones((len(texts), 1)), [first], texts, first),
        learning_curves_svg(curves, (), first),
    )
    sections = [
        Section(text, text, (CardTable(text, (text, text), ((text, text),)),), (Picture("<svg></svg>", text),))
        for text in texts
    ]
    drawn = Section("Pictures", pictures=tuple(Picture(picture, first) for picture in pictures))
    return render_report(Report(first, first, (*sections, drawn)))


class TestHostileText:
    @pytest.mark.slow
    def test_a_page_of_it_is_the_page_that_was_meant(self):
        text = page_of(HOSTILE)
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
        found, meant = Page(text), Page(page_of([f"plain {number}" for number in range(len(HOSTILE))]))
        shape = [tag for tag, _ in found.tags if tag not in ("tspan", "use", "path", "defs", "g", "text")]
        assert shape == [tag for tag, _ in meant.tags if tag not in ("tspan", "use", "path", "defs", "g", "text")]
        assert {tag for tag, _ in found.tags} == {tag for tag, _ in meant.tags}
        assert all(link.startswith("#section-") for link in found.attributes("href") if "section" in link)
        assert len(found.of("a")) == len(HOSTILE) + 1

    def test_a_line_whose_name_begins_with_an_underscore_is_in_the_legend(self):
        assert "_mine" in learning_curves_svg({"_mine": (curve(4, 2),)}, (), "t")


def compared(model, value):
    run = SeedResult(0, {"accuracy": value}, [[1.0, 1.0]], {})
    result = TaskResult(model, "classification", "accuracy", False, {}, (run,))
    return ComparedResult(result, Interval(value, value, value), None)


def test_a_comparison_tells_models_apart_and_no_folder_of_this_machine(tmp_path):
    models = [f"{tmp_path}/german", f"{tmp_path}/a/english", f"{tmp_path}/b/english", "someone/model"]
    tasks = {"classification": [compared(model, number / 4) for number, model in enumerate(models)]}
    curves = {models[1]: [curve(4, 2)]}
    neighbors = {models[2]: {"Hund": [("dog", 0.5)]}}
    text = render_report(Comparison(tasks, curves, (), neighbors).report())
    assert str(tmp_path) not in text
    page = Page(text)
    assert page.of("p")[0].endswith("german, a/english, b/english, someone/model.")
    assert "b/english" in page.of("caption")
