"""The shipped configuration fits its schema, and whatever does not is named in one line."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import codec, configuration
from pipeline.snn import firing, language, popspike, position_ablation, positions, sentence_encoder
from pipeline.stage import UserError

ROOT = Path(__file__).parent.parent
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())


@pytest.fixture
def config() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "config/config.yaml").read_text())


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """What Snakemake makes of a configuration and one laid over it."""
    result = copy.deepcopy(base)
    for key, value in over.items():
        result[key] = merged(result[key], value) if isinstance(value, dict) and key in result else value
    return result


def network(task: str, **options: Any) -> dict[str, Any]:
    return {"snn": {task: {"options": options}}}


def test_the_shipped_configuration_is_accepted(config: dict[str, Any]) -> None:
    configuration.check(config, SCHEMA)


def test_the_tiny_configuration_is_accepted(config: dict[str, Any]) -> None:
    configuration.check(merged(config, yaml.safe_load((ROOT / "config/test.yaml").read_text())), SCHEMA)


def test_the_long_matryoshka_run_is_accepted_and_has_whatever_the_shipped_one_has(config: dict[str, Any]) -> None:
    long = merged(config, yaml.safe_load((ROOT / "config/matryoshka.yaml").read_text()))
    configuration.check(long, SCHEMA)
    for module in ("successive_refinement", "bit_planes", "matryoshka", "faiss_peers"):
        assert set(config["representations"][module]) <= set(long["representations"][module])
    assert {name for name in config["peers"]["faiss_peers"] if "OPQ" in name} <= set(
        long["representations"]["faiss_peers"]
    )


def defaults(schema: dict[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found = {}
    for key, part in schema.get("properties", {}).items():
        if "default" in part:
            found[(*path, key)] = part["default"]
        found |= defaults(part, (*path, key))
    return found


def test_schema_and_shipped_configuration_are_in_step(config: dict[str, Any]) -> None:
    assert list(config) == list(SCHEMA["properties"])
    assert len(defaults(SCHEMA)) >= 12
    for path, default in defaults(SCHEMA).items():
        value: Any = config
        for key in path:
            value = value[key]
        assert value == default, path


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("spikformer", language.How._fields),
        ("next_word", {*popspike.Options._fields, "length"} - {"variant"}),
        ("store_recall", {*popspike.Options._fields, "longest"} - {"variant"}),
        ("sentence_encoder", {*language.How._fields, *sentence_encoder.OWN} - {"variant"}),
        ("ablation", position_ablation.Plan._fields),
    ],
)
def test_the_schema_has_the_options_that_the_networks_have(task: str, options: set[str]) -> None:
    found = SCHEMA["properties"]["snn"]["properties"][task]["properties"]["options"]["properties"]
    assert set(found) == set(options)
    for key, choices in {
        "model": language.SIZES.keys(),
        "position": positions.KINDS,
        "dead_layers": firing.POLICIES,
    }.items():
        assert list(found.get(key, {"enum": choices})["enum"]) == list(choices)
    if task == "ablation":
        assert found["kinds"]["items"]["enum"] == list(positions.KINDS)


def test_every_key_of_the_schema_is_described() -> None:
    def undescribed(schema: dict[str, Any], path: str = "") -> list[str]:
        found = []
        for key, part in schema.get("properties", {}).items():
            found += [f"{path}{key}"] * ("description" not in part) + undescribed(part, f"{path}{key}.")
        return found

    assert undescribed(SCHEMA) == []


def test_every_representation_of_the_shipped_configuration_can_be_built(config: dict[str, Any]) -> None:
    for section in ("representations", "peers"):
        for module, names in config[section].items():
            for name in names:
                assert codec.build(module, name, 0).name == name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": {"shard_byte": 1}}, r"config: corpus: unknown key 'shard_byte'; did you mean 'shard_bytes'\?"),
        ({"corpse": {}}, r"config: unknown key 'corpse'; did you mean 'corpus'\?"),
        ({"zzz": {}}, r"config: unknown key 'zzz'; known are corpus, tokens"),
        ({"corpus": {"source": "web"}}, "config: corpus.source: 'web' is not one of packaged, files, huggingface"),
        ({"vocabulary": {"size": "many"}}, "config: vocabulary.size: 'many' is not of type integer"),
        ({"vocabulary": {"size": 5.0}}, "config: vocabulary.size: 5.0 is not of type integer"),
        ({"corpus": {"options": {"paths": [3]}}}, "config: corpus.options.paths.0: 3 is not of type string"),
        ({"corpus": {"options": {"paths": 3}}}, "config: corpus.options.paths: 3 is not of type string or array"),
        ({"embeddings": {"minilm": None}}, "config: embeddings.minilm: null is not of type object"),
        ({"embeddings": {"minilm": "spacy_md"}}, "config: embeddings.minilm: 'spacy_md' is not of type object"),
        (
            {"embeddings": {"minilm": {"options": {"path": 3}}}},
            "embeddings.minilm.options.path: 3 is not of type string",
        ),
        ({"embeddings": {"minilm": {"vocabulary": "some"}}}, "minilm.vocabulary: 'some' is not one of corpus, all"),
        ({"embeddings": {2024: {"source": "spacy_md"}}}, "config: embeddings: 2024 is not of type string"),
        (
            {"evaluation": {"similarity": {True: "packaged"}}},
            "config: evaluation.similarity: True is not of type string",
        ),
        ({"representations": {"floats": ["float8"]}}, "config: representations.floats: floats has no codec 'float8'"),
        ({"peers": {"faiss_peers": ["faiss:XX"]}}, "config: peers.faiss_peers: faiss cannot parse .* 'XX'"),
        ({"vocabulary": {"size": 0}}, "config: vocabulary.size: 0 is less than the minimum of 1"),
        ({"embeddings": {"glove": {}}}, "config: embeddings.glove: key 'source' is missing"),
        ({"embeddings": {"a+b": {"source": "spacy_md"}}}, "config: embeddings: 'a\\+b' does not match"),
        ({"tables": ["glove"]}, "config: tables: 'glove': there is no embedding 'glove'; there are spacy_md, minilm"),
        ({"tables": ["minilm+minilm"]}, "config: tables: 'minilm\\+minilm' holds an embedding twice"),
        ({"tables": []}, "config: tables: .*"),
        ({"embeddings": {"minilm": {"within": "x"}}}, "config: embeddings.minilm.within: 'x' is no other embedding"),
        ({"representations": {"floaty": ["float32"]}}, r"unknown key 'floaty'; did you mean 'floats'\?"),
        ({"evaluation": {"seeds": [1, 1]}}, "config: evaluation.seeds: .* has non-unique elements"),
        ({"device": "tpu"}, "config: device: 'tpu' is not one of auto, cpu, cuda"),
        (
            {"snn": {"spikformer": {"variants": ["dense"]}}},
            r"config: snn.spikformer.variants: \['dense'\] has 1 of at least 2 items",
        ),
        (
            {"snn": {"spikformer": {"variants": ["dense", "dense"]}}},
            r"config: snn.spikformer.variants: \['dense', 'dense'\] has non-unique elements",
        ),
        (network("spikformer", timesteps=0), "snn.spikformer.options.timesteps: 0 is less than the minimum of 1"),
        (network("spikformer", timestep=1), "options: unknown key 'timestep'; did you mean 'timesteps'"),
        (network("spikformer", model="huge"), "options.model: 'huge' is not one of small, base, large"),
        (network("next_word", model=None), "options.model: null is not one of small, base, large"),
        (network("next_word", length=1), "snn.next_word.options.length: 1 is less than the minimum of 2"),
        (network("store_recall", longest=-1), "snn.store_recall.options.longest: -1 is less than the minimum of 0"),
        (network("sentence_encoder", resolution=0), "snn.sentence_encoder.options.resolution: 0 is less than or equal"),
        (network("ablation", kinds=["sine"]), "snn.ablation.options.kinds.0: 'sine' is not one of none, learned, cpg"),
        (
            {"snn": {"spikformer": {"settings": {"metric": "accuracy"}}}},
            "config: snn.spikformer.settings.metric: 'accuracy' is not one of bits, null",
        ),
    ],
)
def test_a_wrong_key_or_value_is_named(config: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        configuration.check(merged(config, change), SCHEMA)
    assert "\n" not in str(error.value)


def test_a_missing_section_is_named(config: dict[str, Any]) -> None:
    del config["tokens"]
    with pytest.raises(UserError, match="config: key 'tokens' is missing"):
        configuration.check(config, SCHEMA)


def test_no_representation_at_all_is_said(config: dict[str, Any]) -> None:
    config["representations"] = {"floats": [], "scalar": []}
    with pytest.raises(UserError, match="config: representations: every list is empty"):
        configuration.check(config, SCHEMA)


def test_circles_are_named(config: dict[str, Any]) -> None:
    config["embeddings"] = {"tail": {"source": "spacy_md", "within": "minilm"}, **config["embeddings"]}
    configuration.check(config, SCHEMA)  # a chain without a circle is fine
    config["embeddings"]["spacy_md"]["within"] = "minilm"
    with pytest.raises(UserError, match=r"embeddings\.spacy_md\.within: .* circle: spacy_md -> minilm -> spacy_md$"):
        configuration.check(config, SCHEMA)


def test_a_library_that_is_not_installed_is_named(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def build(module: str, name: str, seed: int) -> None:
        raise ModuleNotFoundError("No module named 'faiss'")

    monkeypatch.setattr(codec, "build", build)
    with pytest.raises(UserError, match=r"config: representations\.floats: not installed \(No module named 'faiss'\)"):
        configuration.check(config, SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        {"embeddings": {"minilm": {"vocabulary": "all"}}},
        {"evaluation": {"similarity": {"wordsim353": None}}},
        {"corpus": {"options": {"paths": ["a.txt", "b.txt"]}}},
        {"peers": {"faiss_peers": []}},
    ],
)
def test_what_a_user_may_say(config: dict[str, Any], change: dict[str, Any]) -> None:
    configuration.check(merged(config, change), SCHEMA)


@pytest.mark.parametrize("text", [b"", b"# device: cpu\n", b"---\n", b"\xef\xbb\xbf", b"{}", b"~\n"])
def test_an_empty_user_file_overrides_nothing(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "user.yaml").write_bytes(text)
    assert configuration.read_user(tmp_path / "user.yaml") == {}


def test_no_user_file_overrides_nothing(tmp_path: Path) -> None:
    assert configuration.read_user(tmp_path / "user.yaml") == {}
    (tmp_path / "config").write_text("a file where the folder would be")
    assert configuration.read_user(tmp_path / "config/user.yaml") == {}


def test_a_user_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "user.yaml").write_text("vocabulary: {size: 5}\ndevice: cpu  # grün\n", encoding="utf-8")
    assert configuration.read_user(tmp_path / "user.yaml") == {"vocabulary": {"size": 5}, "device": "cpu"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"device: cpu\nvocabulary: {size: 5\n", "line 3, column 1: expected ',' or '}', but got '<stream end>'"),
        (b"device: cpu\n\ttokens: 1\n", "line 2, column 1: found character '\\t' that cannot start any token"),
        (b"device: *none\n", "line 1, column 9: found undefined alias 'none'"),
        (b"device: cpu\n# \xc3\xbc\xfc\n", "line 2, column 4: not UTF-8"),
        (b"# \xc3\xbc\nab: \x00\n", "line 2, column 5: special characters are not allowed"),
        (b"device: 2020-13-01\n", "month must be in 1..12"),
        (b"[" * 5000, "maximum recursion depth exceeded"),
        (b"tokens: {}\ndevice: cpu\ntokens: {}\n", "line 3, column 1: the key 'tokens' stands twice"),
        (b"- device\n", "must hold `key: value` lines, not a list"),
        (b"cpu\n", "must hold `key: value` lines, not a str"),
    ],
)
def test_a_broken_user_file_is_named_with_the_place(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "user.yaml"
    path.write_bytes(text)
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}: {message}')}") as error:
        configuration.read_user(path)
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        configuration.read_user(tmp_path)
    (tmp_path / "user.yaml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"user\.yaml: cannot be read \(No such file or directory\)"):
        configuration.read_user(tmp_path / "user.yaml")
