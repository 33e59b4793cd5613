"""Text templates: what a model that embeds text is given for a word."""

from collections.abc import Iterable

from pipeline.stage import UserError

FIELD = "{word}"


def check(template: object, what: str) -> str:
    """The template itself, if it is a string that holds {word} exactly once and no other brace.

    Raises UserError, opening with `what`, for anything else: different words must become different texts.
    """
    if not isinstance(template, str):
        raise UserError(f"{what}: template must be a string, not {template!r}")
    if template.count(FIELD) != 1 or set("{}") & set(template.replace(FIELD, "")):
        raise UserError(f"{what}: template {template!r} must hold {FIELD} exactly once and no other brace")
    return template


def fill(template: str, words: Iterable[str]) -> list[str]:
    """The text of each word, which may itself hold braces."""
    before, after = template.split(FIELD)
    return [f"{before}{word}{after}" for word in words]
