"""The default corpus: two English texts that ship inside the gensim package, so that no download is needed.

- An extract of the English Wikipedia dump of April 2016 (106 articles, CC BY-SA 3.0), bzip2-compressed MediaWiki XML.
- The Lee background corpus: 300 news items of the Australian Broadcasting Corporation, a line each (M. D. Lee,
  B. Pincombe and M. Welsh, "An empirical evaluation of models of text document similarity", CogSci 2005).

Both are found on disk and read as data; gensim itself is not imported.
"""

import bz2
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from pipeline import packaged
from pipeline.corpus import wikitext
from pipeline.corpus.source import Document

FOLDER = "gensim/test/test_data"
WIKIPEDIA = f"{FOLDER}/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
WIKIPEDIA_SHA256 = "a53f4648dec40467ebdcbc7a1307eddb51fe6e28e9309f6ebde81ba0d04bea2d"
LEE = f"{FOLDER}/lee_background.cor"
LEE_SHA256 = "5d78d6dafd953bbf65797bef09a9ffb9ec430583381be705f8fd460000f370fb"


@dataclass(frozen=True)
class Source:
    """Wikipedia articles (`enwiki/<page id>`), then news items (`lee/<line>`)."""

    REQUIRED: ClassVar[tuple[str, ...]] = ()

    def __iter__(self) -> Iterator[Document]:
        yield from wikipedia(packaged.path("gensim", WIKIPEDIA, WIKIPEDIA_SHA256))
        yield from lee(packaged.path("gensim", LEE, LEE_SHA256))

    def facts(self) -> dict[str, str]:
        return {
            "source": "packaged: English Wikipedia extract (2016) and Lee background corpus, from gensim",
            "licence": "Wikipedia: CC BY-SA 3.0; Lee: as distributed with gensim",
            "sha256": f"{WIKIPEDIA_SHA256} {LEE_SHA256}",
        }


def wikipedia(path: Path) -> Iterator[Document]:
    """The articles of a bzip2-compressed MediaWiki dump as clean prose; redirects and other namespaces are left out."""
    with bz2.open(path) as dump:
        pages = ElementTree.iterparse(dump, events=("start", "end"))
        _, root = next(pages)
        namespace = root.tag.removesuffix("mediawiki")  # "{http://www.mediawiki.org/xml/export-0.10/}"
        for event, page in pages:
            if event == "start" or page.tag != f"{namespace}page":
                continue
            if page.findtext(f"{namespace}ns") == "0" and page.find(f"{namespace}redirect") is None:
                text = page.findtext(f"{namespace}revision/{namespace}text") or ""
                yield Document(f"enwiki/{page.findtext(f'{namespace}id')}", wikitext.clean(text))
            root.clear()  # else the tree keeps every page read so far


def lee(path: Path) -> Iterator[Document]:
    """News items, one a line; the few italics tags in them are dropped."""
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            yield Document(f"lee/{number}", line.replace("<i>", "").replace("</i>", ""))
