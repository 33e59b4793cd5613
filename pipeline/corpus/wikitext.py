"""Wiki markup to clean prose.

What a reader of the page sees as running text is kept: paragraphs, list items, quotations, section titles, link
labels, and the words inside templates that only dress them ({{lang}}, {{convert}}, {{nowrap}}, {{quote}} ...). What is
not prose goes: comments, references, tables, formulas, images, categories, all other templates, and the sections that
only list sources and links. Broken markup (an opener that nothing closes) never swallows the page and leaves no bracket
behind.

One pass with a stack resolves what nests ({{ }}, [[ ]], {| |}); everything else is flat and left to regular
expressions, so the time is linear in the text.
"""

import html
import re
from collections.abc import Callable

# Elements whose content is no prose, references among them.
_DROPPED = (
    r"gallery|math|chem|ce|source|syntaxhighlight|timeline|imagemap|score|hiero|graph|mapframe|inputbox|references"
)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_NOWIKI = re.compile(r"<nowiki\s*>(.*?)</nowiki\s*>|<nowiki\s*/>", re.DOTALL | re.IGNORECASE)
_EMPTY_ELEMENT = re.compile(rf"<(?:ref|{_DROPPED})\b(?:[^<>\"'/]|\"[^\"<]*\"|'[^'<]*'|/(?!>))*/>", re.IGNORECASE)
# A reference holds no other reference: so one that is never closed ends at the next instead of eating the text between.
_REFERENCE = re.compile(r"<ref\b[^<>]*>(?:(?!<ref\b).)*?</ref\s*>", re.DOTALL | re.IGNORECASE)
_DROPPED_ELEMENT = re.compile(rf"<({_DROPPED})\b[^<>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_BLOCK_TAG = re.compile(
    r"</?(?:br|p|div|blockquote|li|ul|ol|dl|dd|dt|center|poem|hr|pre|h[1-6]|tr|table)\b[^<>]*>", re.I
)
_TAG = re.compile(r"</?[a-zA-Z][^<>\n]*>")
_AUTOLINK_TAG = re.compile(r"<https?://[^<>\s]*>")

# `|}` followed by one more brace is a template's end after an empty argument; at a line's start it may close a table.
_BRACKET = re.compile(r"\{\{|\}\}|\[\[|\]\]|^[ :*]*\{\||^[ ]*\|\}(?=\}\}|[^}]|\Z)", re.MULTILINE)
_CLOSES = {"}}": "{{", "]]": "[[", "|}": "{|"}

_NO_TEXT_LINK = re.compile(r"\s*(?:file|image|media|category)\s*:", re.IGNORECASE)
_LANGUAGE_LINK = re.compile(r"[a-z]{2,3}(?:-[a-z]+)*:")
_PROJECT_LINK = re.compile(r":?(?:w|s|b|q|v|wikt|wiktionary|wikisource|commons|wikipedia|wp)?:", re.IGNORECASE)
_EXTERNAL_LINK = re.compile(
    r"\[\s*(?:(?:https?|ftps?|irc|news|gopher)://|//|mailto:)[^\s\]]*([^\]\n]*)\]", re.IGNORECASE
)
_BARE_URL = re.compile(r"(?:https?|ftp)://[^\s<>\[\]|{}]*[^\s<>\[\]|{}.,;:!?)'\"]", re.IGNORECASE)

_HEADING = re.compile(r"(={1,6})\s*(.*?)\s*\1\s*")
_APPARATUS = re.compile(
    r"(?:(?:external|further|see|general|additional|primary|secondary|cited|online|selected|other)\s+)?"
    r"(?:references?|links?|reading|also|notes?|footnotes?|endnotes|sources?|citations?|bibliography|works\s+cited|literature)"
    r"(?:\s*(?:and|&)\s*(?:references?|notes?|footnotes?|sources?|citations?|further\s+reading|external\s+links?))*",
    re.IGNORECASE,
)
_QUOTES = re.compile(r"'{2,}")
_MAGIC_WORD = re.compile(r"__[A-Z]{3,}__")
_LINE_PREFIX = re.compile(r"[*#:;\s]+")

# Parentheses and commas around something that is gone: "Aristotle (; 384 BC)" -> "Aristotle (384 BC)".
_EMPTY_PARENTHESES = re.compile(r" ?\([\s;,:/]*\)| ?\[[\s;,:/]*\]")
_AFTER_OPENING = re.compile(r"(?<=[(\[])(?: ?[;,:][\s;,:]*| )")
_BEFORE_CLOSING = re.compile(r"(?: ?[;,:] ?| )(?=\))")
_BEFORE_COMMA = re.compile(r" (?=[,;.](?:\s|\Z))")
_SPACES = re.compile(r"[^\S\n]+")
_STRAY = re.compile(r"\{\{+|\}\}+|\[\[+|\]\]+|\{\||\|\}")

# Text inside <nowiki> passes through as private-use characters, which no rule below knows, and is restored at the end.
_MARKUP = "[]{}|'=*#:;<>"
_HIDE = {ord(c): 0xE000 + ord(c) for c in _MARKUP}
_SHOW = {hidden: c for c, hidden in _HIDE.items()}


def clean(text: str) -> str:
    """The prose of a page of wiki markup: paragraphs, a line each (titles and list items too), no blank lines."""
    text = _COMMENT.sub("", text)
    text = _NOWIKI.sub(lambda found: (found[1] or "").translate(_HIDE), text)
    text = _EMPTY_ELEMENT.sub("", text)
    text = _REFERENCE.sub("", text)
    text = _DROPPED_ELEMENT.sub("", text)
    text = _resolve_brackets(text)
    text = _EXTERNAL_LINK.sub(lambda found: found[1].strip(), text)
    text = _AUTOLINK_TAG.sub("", text)
    text = _BARE_URL.sub("", text)
    text = _BLOCK_TAG.sub("\n", text)
    text = _TAG.sub("", text)
    text = _MAGIC_WORD.sub("", text)
    text = "\n".join(line for line in _prose_lines(text) if line)
    text = _without_strays(html.unescape(text).translate(_SHOW))
    text = _SPACES.sub(" ", text)
    text = _EMPTY_PARENTHESES.sub("", text)
    text = _AFTER_OPENING.sub("", text)
    text = _BEFORE_CLOSING.sub("", text)
    text = _without_strays(_BEFORE_COMMA.sub("", text))
    return "\n".join(line for line in map(str.strip, text.split("\n")) if line)


def _without_strays(text: str) -> str:
    """No bracket of wiki markup: what is left of one may come together with the next to a new pair."""
    stray = 1
    while stray:
        text, stray = _STRAY.subn("", text)
    return text


# --- brackets that nest --------------------------------------------------------------------------------------------


def _resolve_brackets(text: str) -> str:
    """Replace templates, links and tables, innermost first, in one pass with a stack of (opener, text so far)."""
    stack: list[tuple[str, list[str]]] = [("", [])]
    position = 0
    for found in _BRACKET.finditer(text):
        stack[-1][1].append(text[position : found.start()])
        position = found.end()
        bracket = found[0] if found[0] in ("{{", "}}", "[[", "]]") else found[0].strip(" :*")
        opener = _CLOSES.get(bracket)
        if opener is None:
            stack.append((bracket, []))
        elif any(kind == opener for kind, _ in stack):
            while stack[-1][0] != opener:
                _give_up_innermost(stack)
            _, parts = stack.pop()
            stack[-1][1].append(_RENDER[opener]("".join(parts)))
        elif bracket == "|}":
            stack[-1][1].append("\n")
    stack[-1][1].append(text[position:])
    while len(stack) > 1:
        _give_up_innermost(stack)
    return "".join(stack[0][1])


def _give_up_innermost(stack: list[tuple[str, list[str]]]) -> None:
    """Close what was never closed: a link keeps its label; a template or table is dropped up to the next blank line."""
    opener, parts = stack.pop()
    rest = "".join(parts)
    if opener == "[[":
        rest = re.sub(r"\A[^|\n]*\|", "", rest)
    else:
        _, blank, rest = rest.partition("\n\n")
        rest = blank + rest
    stack[-1][1].append(rest)


def _render_link(content: str) -> str:
    """`[[target|label]]` as the reader sees it. Images, categories and other languages' pages are not in the text."""
    target, bar, label = content.partition("|")
    if _NO_TEXT_LINK.match(target):
        return ""
    if bar and (label := label.rpartition("|")[2].strip()):
        return label
    if _LANGUAGE_LINK.match(target):
        return ""
    target = _PROJECT_LINK.sub("", target, count=1) if ":" in target else target
    if bar:  # the pipe trick: [[Mercury (planet)|]] reads "Mercury"
        target = re.sub(r"\s*\(.*\)\s*$", "", target)
    return target.partition("#")[0] or target.partition("#")[2]


def _render_table(_: str) -> str:
    return "\n"


# --- templates that hold running text ------------------------------------------------------------------------------

_QUOTATION = {"quote", "quotation", "blockquote", "bquote", "cquote", "quote box"}
_FIRST_ARGUMENT = _QUOTATION | {
    "nowrap", "nobr", "small", "smaller", "big", "larger", "large", "nobold", "noitalic", "sc", "smallcaps",
    "allcaps", "abbr", "tooltip", "vanchor", "nihongo", "flag", "flagcountry", "flagu", "keypress", "key", "linktext",
    "sup", "sub", "sic", "val", "nts", "nastaliq", "angbr", "mono", "code", "tt", "em", "strong", "var", "mvar",
    "pow", "visible anchor", "angle bracket",
}  # fmt: skip
_SECOND_ARGUMENT = {"lang", "script", "rtl-lang", "color", "colour", "native name", "font color"}
_LAST_ARGUMENT = {"transl", "transliteration", "resize"}
_JOINED = {"frac": "/", "sfrac": "/", "fraction": "/", "chem": "", "dts": " ", "start date": " ", "su": ""}
_LITERAL = {
    "ndash": "–", "endash": "–", "en dash": "–", "spaced ndash": " – ", "snd": " – ", "snds": " – ", "spnd": " – ",
    "mdash": "—", "em dash": "—", "mdashb": "—", "spaced mdash": " — ", "'": "'", "'s": "'s", "·": " ·", "•": " •",
    "dot": " ·", "nbsp": " ", "spaces": " ", "space": " ", "thinsp": " ", "hairsp": " ", "-": "\n", "clear": "\n",
    "=": "=", "colon": ":", "usa": "United States", "times": "×",
}  # fmt: skip
_PREFIX = {"as of": "As of ", "circa": "c. ", "c.": "c. ", "uss": "USS ", "hms": "HMS ", "ss": "SS ", "ca.": "c. "}
_BETWEEN_QUANTITIES = {"to", "and", "by", "or", "x", "×", "-", "–", "+/-", "±", "to(-)", "and(-)", "*"}
_NAMED_ARGUMENT = re.compile(r"\s*([\w -]+?)\s*=")
_NUMBER = re.compile(r"[-−+]?[\d.,/+eE]*\d[\d.,/+]*")


def _render_template(content: str) -> str:
    """The running text that a template stands for; empty for the many that make boxes, notes and citations."""
    name, *arguments = content.split("|")
    name = " ".join(name.replace("_", " ").split()).lower()
    if name in _LITERAL:
        return _LITERAL[name]
    if name.startswith("formatnum:"):
        return name.removeprefix("formatnum:")
    if (given := _positional(arguments)) and (text := _running_text(name, given)):
        if name in _QUOTATION:
            return f"\n{text}\n"
        return text
    return ""


def _positional(arguments: list[str]) -> list[str]:
    """Arguments 1, 2, 3 ... of a template, stripped; `1=` or `text=` names the first by hand."""
    given: list[str] = []
    for argument in arguments:
        named = _NAMED_ARGUMENT.match(argument)
        if named is None or named[1] in ("1", "text", "quote"):
            given.append(argument[named.end() if named else 0 :].strip())
    return given


def _running_text(name: str, given: list[str]) -> str:
    if name in _FIRST_ARGUMENT or name.startswith("lang-"):
        return given[0]
    if name in _SECOND_ARGUMENT:
        return given[1] if len(given) > 1 else ""
    if name in _LAST_ARGUMENT:
        return given[-1]
    if name in _JOINED:
        return _JOINED[name].join(given)
    if name in _PREFIX:
        return _PREFIX[name] + " ".join(given)
    if name in ("convert", "cvt"):
        return _quantity(given)
    return ""


def _quantity(given: list[str]) -> str:
    """`{{convert|5|to|10|km|mi}}` -> "5 to 10 km": numbers and what stands between them, up to the first unit."""
    for count, argument in enumerate(given, start=1):
        if not _NUMBER.fullmatch(argument) and argument not in _BETWEEN_QUANTITIES:
            return " ".join(given[:count])
    return " ".join(given)


_RENDER: dict[str, Callable[[str], str]] = {"{{": _render_template, "[[": _render_link, "{|": _render_table}


# --- lines ---------------------------------------------------------------------------------------------------------


def _prose_lines(text: str) -> list[str]:
    """Lines without headings' `==`, list marks and quote marks; sections that only list sources are left out."""
    lines = []
    skipped_level = 7  # a section of this level or deeper is being left out; headings have levels 1 to 6
    for line in text.split("\n"):
        if line.startswith("=") and (heading := _HEADING.fullmatch(line)):
            level = len(heading[1])
            if level <= skipped_level:
                skipped_level = 7
            if skipped_level == 7 and _APPARATUS.fullmatch(_unquote(heading[2]).strip()):
                skipped_level = level
            line = heading[2]
        if skipped_level < 7 or line.startswith(("|", "----")):
            continue
        if prefix := _LINE_PREFIX.match(line):
            line = line[prefix.end() :]
        lines.append(_unquote(line))
    return lines


def _unquote(line: str) -> str:
    """Drop ''italic'' and '''bold''' marks, and keep apostrophes that touch them: ''Iliad'''s -> Iliad's.

    A run of three apostrophes is bold, unless the line then has an odd number of both bold and italic marks: then one
    of the threes is an apostrophe and an italic mark; the first that follows a letter, as MediaWiki decides it.
    """
    if "''" not in line:
        return line
    runs = list(_QUOTES.finditer(line))
    lengths = [len(run[0]) for run in runs]
    bold = sum(n >= 3 for n in lengths)
    italic = sum(n == 2 or n >= 5 for n in lengths)
    apostrophe = None
    if bold % 2 and italic % 2:
        threes = [run for run in runs if len(run[0]) == 3]
        apostrophe = next((run for run in threes if line[run.start() - 1 : run.start()].isalpha()), None)
    kept, position = [], 0
    for run in runs:
        kept.append(line[position : run.start()])
        spare = max(len(run[0]) - 5, 0) + (len(run[0]) == 4) + (run is apostrophe)
        kept.append("'" if spare else "")
        position = run.end()
    return "".join([*kept, line[position:]])
