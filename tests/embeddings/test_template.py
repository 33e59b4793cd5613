import pytest

from pipeline.embeddings import template
from pipeline.stage import UserError


def test_a_word_stands_where_the_field_is_whatever_it_holds():
    assert template.fill("the word {word}!", ["cat", "{word}", "a b"]) == [
        "the word cat!",
        "the word {word}!",
        "the word a b!",
    ]
    assert template.fill(template.FIELD, ["cat"]) == ["cat"]


@pytest.mark.parametrize("text", ["{word}", "the word {word}", "{word}:", "«{word}»"])
def test_good_templates_come_back(text):
    assert template.check(text, "here") == text


@pytest.mark.parametrize(
    "text", ["", "word", "{word} {word}", "{word} {x}", "{word} {", "}{word}", "{word!r}", "{{word}}"]
)
def test_other_templates_are_refused(text):
    with pytest.raises(UserError, match=r"here: template .* must hold \{word\} exactly once"):
        template.check(text, "here")


def test_a_template_is_a_string():
    with pytest.raises(UserError, match="here: template must be a string, not 3"):
        template.check(3, "here")
