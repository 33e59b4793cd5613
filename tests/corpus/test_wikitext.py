"""Markup goes, prose stays: on small cases, on every page of the default corpus, and on noise."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.corpus.source import Document
from pipeline.corpus.wikitext import clean


@pytest.mark.parametrize(
    ("markup", "prose"),
    [
        ("'''Anarchism''' is a [[political philosophy]].", "Anarchism is a political philosophy."),
        ("[[self-governance|self-governed]] [[dog]]s", "self-governed dogs"),
        ("[[Mercury (planet)|]] and [[wikt:anarchy]]", "Mercury and anarchy"),
        ("A[[File:x.jpg|thumb|A [[nested]] caption]]B[[Category:C]][[de:Anarchie]]", "AB"),
        ("{{Infobox|a={{b|{{c}}}}|d=[[e|f]]}}Text{{citation needed|date=May}}.", "Text."),
        (
            "Greek {{lang|grc|ἀρχός}}, {{convert|5|to|10|km|mi}} {{nowrap|so [[far|near]]}}",
            "Greek ἀρχός, 5 to 10 km so near",
        ),
        ("{{quote|text=He said so.|author}}", "He said so."),
        ('a<ref>b {{cite|c}}</ref>d<ref name="x/y" />e<ref name=z/>f', "adef"),
        ("one<ref>never closed. two<ref>closed</ref> three", "onenever closed. two three"),
        ("a<!-- b\n\n[[c]] -->d <!-- open", "ad"),
        ("x\n{| class=wikitable\n|-\n! h\n| cell {{t|1}}\n{|\n| inner\n|}\n|}\ny", "x\ny"),
        ("== Title ==\ntext\n=== ''Sub'' ===\nmore", "Title\ntext\nSub\nmore"),
        ("keep\n== References ==\ngone\n=== Deeper ===\ngone\n== Next ==\nkept", "keep\nNext\nkept"),
        ("== See also ==\n* [[gone]]\n== Notes and references ==\ngone", ""),
        ("* item\n## number\n:; term", "item\nnumber\nterm"),
        ("''Iliad'''s end, '''''both''''', it's ''that''", "Iliad's end, both, it's that"),
        ("L'''Amour'' ''x''", "L'Amour x"),
        ("see [http://a.b/c the site], [https://d.e] and http://f.g/h.", "see the site, and."),
        ("1&nbsp;km &mdash; H<sub>2</sub>O<br />AT&amp;T &lt;", "1 km — H2O\nAT&T <"),
        ("where <math>x^{2}</math> is<gallery>\nFile:x.jpg|y\n</gallery>", "where is"),
        ("Aristotle ({{IPA|x}}; 384 BC) and Plato ({{IPA|y}})", "Aristotle (384 BC) and Plato"),
        ("a <nowiki>[b]</nowiki> c __NOTOC__", "a [b] c"),
        ("broken {{template|a=b\n\nnext [[link|label and more", "broken next label and more"),
        ("{{cite|a [[b}} c ]] d", "c d"),
        ("{[[{ a", "a"),
        ("text\n|}\nafter |}} more", "text\nafter | more"),
    ],
)
def test_case(markup: str, prose: str) -> None:
    assert re.sub(r"\s+", " ", clean(markup)) == re.sub(r"\s+", " ", prose)


MARKUP = [
    r"\[\[",
    r"\]\]",
    r"\{\{",
    r"\}\}",
    r"\{\|",
    r"\|\}",
    "''",
    "<ref",
    "</",
    "<br",
    "&nbsp;",
    "&[a-z]+;",
    "==",
    "://",
]
MARKUP += [
    r"^[*#:;|]",
    r"\bthumb\|",
    "style=",
    r"\[http",
    "__[A-Z]",
    r"\(\s*\)",
    "[\ue000-\uf8ff]",
    "  ",
    r"\n\n",
    "#REDIRECT",
]


@pytest.mark.parametrize("pattern", MARKUP)
def test_no_markup_in_any_real_page(packaged: list[Document], pattern: str) -> None:
    articles = [document for document in packaged if document.id.startswith("enwiki")]
    assert len(articles) > 100
    for document in articles:
        found = re.search(pattern, document.text, re.MULTILINE)
        assert found is None, f"{document.id}: {document.text[max(0, found.start() - 50) : found.end() + 50]!r}"


def test_prose_is_kept(packaged: list[Document]) -> None:
    text = {document.id: document.text for document in packaged}
    assert text["enwiki/12"].startswith(
        "Anarchism is a political philosophy that advocates self-governed societies based on voluntary institutions."
        " These are often described as stateless societies, although several authors have defined them"
    )
    everything = "\n".join(text.values())
    for sentence in (
        "Albedo",
        "Abraham Lincoln",
        "was the 16th President of the United States",
        "The term anarchism is a compound word composed from the word anarchy and the suffix -ism, themselves derived"
        " respectively from the Greek ἀναρχία, i.e. anarchy (from ἄναρχος, anarchos,",
        "attracting 1.58 million members at one point and playing a major role in the Spanish Civil War.",
        "a notable contribution to the activities of the Commune and particularly to the organisation of public",
    ):
        assert sentence in everything
    assert 490_000 < len(everything.split()) < 540_000


NOISE = [
    *"{}[]|=<>'!/-*#: \nab",
    "<ref>",
    "</ref>",
    "{{",
    "}}",
    "[[",
    "]]",
    "\n{|",
    "\n|}",
    "<!--",
    "&#123;",
    "<nowiki>",
]


@given(st.lists(st.sampled_from(NOISE)))
@example(["[", ":", "["])
def test_noise_never_raises_nor_leaves_brackets(parts: list[str]) -> None:
    prose = clean("".join(parts))
    assert not re.search(r"\{\{|\}\}|\[\[|\]\]|\{\||\|\}", prose)


@given(st.lists(st.sampled_from(["alpha", "beta", "gamma,", "delta."]), min_size=1))
def test_plain_text_is_not_touched(words: list[str]) -> None:
    text = " ".join(words)
    assert clean(text) == text


@pytest.mark.parametrize("unit", ["[[", "{{", "<ref>", "[[a|", "''x", "( ", "<!-", " ", "{{a}}", "=="])
def test_time_is_linear(unit: str) -> None:
    start = time.perf_counter()
    clean(unit * 20_000)
    assert time.perf_counter() - start < 3
