"""The key of an endpoint: where it comes from, and that no text shows it or anything that has the form of one."""

import re
from collections.abc import Iterator, Mapping

VARIABLE = "OPENAI_API_KEY"
COMPARED = 8  # characters: a shorter value may stand in a text by chance
FORM = re.compile(r"(\bsk-|\bBearer\s+)[^\s'\",]+")


def of(environment: Mapping[str, str]) -> str | None:
    """The key, or None where there is none."""
    return environment.get(VARIABLE, "").strip() or None


def scrubbed(text: str, key: str | None) -> str:
    """The text without the key, and without anything that has the form of one."""
    if key:
        text = text.replace(key, "***")
    return FORM.sub(r"\1***", text)


def held(value: object, key: str | None) -> str | None:
    """What a name or value, or anything inside it, holds that nobody may see, in words; None if it holds nothing."""
    for text in _texts(value):
        if key and len(key) >= COMPARED and key in text:
            return f"the key of {VARIABLE}"
        if FORM.search(text):
            return "what looks like a key (sk-... or Bearer ...)"
    return None


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(name)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
