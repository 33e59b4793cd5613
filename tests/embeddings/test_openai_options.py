import pytest

from pipeline.embeddings.openai_options import OFFICIAL, VARIABLE, Options, api_key, parse
from pipeline.stage import UserError

KEY = "sk-test-do-not-show-0123456789"


def test_defaults():
    assert parse({"model": "m"}) == Options("m", OFFICIAL)
    assert parse({"model": "m", "price": None, "dimensions": None, "tokenizer": None, "max_cost": None}) == Options("m")


@pytest.mark.parametrize(
    ("model", "price", "dimensions"),
    [
        ("text-embedding-ada-002", 0.10, 1536),
        ("text-embedding-3-small", 0.02, 1536),
        ("text-embedding-3-large", 0.13, 3072),
        ("m", None, None),
    ],
)
def test_prices_and_dimensions_that_are_known(model, price, dimensions):
    options = parse({"model": model})
    assert (options.price, options.dimensions, options.expected_dimensions) == (price, None, dimensions)
    assert parse({"model": model, "price": 7}).price == 7


def test_dimensions_are_asked_for_where_the_model_takes_them():
    assert parse({"model": "text-embedding-3-large", "dimensions": 256}).expected_dimensions == 256
    assert parse({"model": "text-embedding-ada-002", "dimensions": 1536}).dimensions is None
    with pytest.raises(UserError, match="text-embedding-ada-002 has 1536 and no others"):
        parse({"model": "text-embedding-ada-002", "dimensions": 512})


@pytest.mark.parametrize(
    ("batch", "concurrency", "workers", "inputs"),
    [(2048, 4, 4, 512), (10, 4, 4, 2), (3, 4, 3, 1), (1, 4, 1, 1), (100_000, 4, 4, 2048)],
)
def test_all_requests_under_way_hold_at_most_a_batch(batch, concurrency, workers, inputs):
    options = parse({"model": "m", "batch": batch, "concurrency": concurrency})
    assert (options.workers, options.request_inputs) == (workers, inputs)
    assert workers * inputs <= batch


@pytest.mark.parametrize("name", ["api_key", "key", "token", "apiKey", "API-KEY", "bearer_token", "password", "auth"])
def test_a_key_is_no_option_and_is_not_repeated(name):
    with pytest.raises(UserError, match=f"looks like a key.*environment variable {VARIABLE} only") as error:
        parse({"model": "m", name: KEY})
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("model", "tokenizer", "cache", "licence") for value in (3, "", " ", ["m"])),
        *((name, value) for name in ("batch", "concurrency", "retries", "dimensions") for value in (0, 2.5, "8", True)),
        *((name, value) for name in ("price", "max_cost") for value in (-1, float("nan"), float("inf"), "1", True)),
        *(("timeout_s", value) for value in (0, -1, None, "60")),
        *(("max_input_tokens", value) for value in (0, None)),
        ("template", "no field"),
    ],
)
def test_wrong_types_and_values_are_named(name, value):
    with pytest.raises(UserError, match=f"openai: {name} "):
        parse({"model": "m", name: value})


@pytest.mark.parametrize("held", [KEY, "sk-other-0123456789", f"x {KEY} y", "Bearer abc", "plain-key-of-somebody"])
def test_no_option_holds_a_key_and_no_message_shows_it(held):
    environment = {VARIABLE: "plain-key-of-somebody"}
    values = [held, {"inner": [held]}, {held: 1}]
    names = ("model", "base_url", "template", "tokenizer", "cache", "licence", "batch", "price", "colour")
    for given in [{held: 1}, {"model": "m", held: 1}, *({"model": "m", n: v} for n in names for v in values)]:
        with pytest.raises(UserError, match=r"holds (the key|what looks like a key).*take it out") as error:
            parse(given, environment)
        assert held not in str(error.value)


def test_the_key_of_this_environment_is_compared(monkeypatch):
    monkeypatch.setenv(VARIABLE, "plain-key-of-somebody")
    with pytest.raises(UserError, match="option licence holds the key of OPENAI_API_KEY"):
        parse({"model": "m", "licence": "plain-key-of-somebody"})


def test_unknown_and_missing_options_are_named():
    with pytest.raises(UserError, match="unknown key 'colour'"):
        parse({"colour": 1})
    with pytest.raises(UserError, match="key 'model' is missing"):
        parse({})


@pytest.mark.parametrize("url", ["http://localhost:8000/v1", "https://example.org/v1", "http://[::1]:443"])
def test_base_urls(url):
    assert parse({"model": "m", "base_url": url + "/"}).base_url == url


@pytest.mark.parametrize(
    ("url", "one"),
    [
        ("HTTPS://Example.ORG/v1", "https://example.org/v1"),
        ("https://example.org:443/v1", "https://example.org/v1"),
        ("http://example.org:0080//v1//", "http://example.org/v1"),
        ("http://example.org:/v1", "http://example.org/v1"),
        ("http://example.org:443/v1", "http://example.org:443/v1"),
        ("http://[::A]:80/Some//Path", "http://[::a]/Some/Path"),
        ("http://example.org//", "http://example.org"),
    ],
)
def test_one_endpoint_has_one_spelling(url, one):
    assert parse({"model": "m", "base_url": url}).base_url == one
    assert parse({"model": "m", "base_url": one}).base_url == one


@pytest.mark.parametrize(
    "url",
    [
        "localhost/v1",
        "ftp://a/v1",
        "http://",
        "http://a:x/v1",
        "https://user:hidden-word@a/v1",
        "https://a/v1?key=hidden-word",
        "https://a/v1#hidden-word",
        "http://a/v 1",
        "http://[::1/v1",
    ],
)
def test_what_is_no_plain_url_is_refused_without_what_it_may_hide(url):
    with pytest.raises(UserError, match="base_url must be") as error:
        parse({"model": "m", "base_url": url})
    assert "hidden-word" not in str(error.value)


def test_a_cost_limit_needs_a_price():
    assert parse({"model": "m", "price": 1, "max_cost": 2}).max_cost == 2
    assert parse({"model": "text-embedding-3-small", "max_cost": 2}).max_cost == 2
    with pytest.raises(UserError, match="max_cost needs option price"):
        parse({"model": "m", "max_cost": 2})


@pytest.mark.parametrize("url", [OFFICIAL, "https://eu.api.openai.com/v1"])
def test_openai_needs_a_key_and_others_do_not(url):
    assert api_key(Options("m", url), {VARIABLE: f" {KEY}\n"}) == KEY
    assert api_key(Options("m", "http://localhost/v1"), {}) is None
    assert api_key(Options("m", url), {}, needed=False) is None
    for environment in ({}, {VARIABLE: ""}):
        with pytest.raises(UserError, match=f"environment variable {VARIABLE} is not set"):
            api_key(Options("m", url), environment)


@pytest.mark.parametrize("key", ["sk-a b", "sk-a\nb", "sk-ä", "sk-a\x00"])
def test_a_key_that_no_header_carries_is_refused_and_not_shown(key):
    with pytest.raises(UserError, match="blank or a character that is not ASCII") as error:
        api_key(Options("m"), {VARIABLE: key})
    assert key not in str(error.value)
