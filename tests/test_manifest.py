"""A directory of fitted codecs, and all that may be wrong with it: one line that names the file and the key."""

import json
import shutil

import numpy as np
import pytest

from pipeline.codec import read_codes, write_codes
from pipeline.codecs.fit import fit_module
from pipeline.manifest import Manifest, read_manifest, write_manifest
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, array_digest

TABLE = EmbeddingTable(
    [f"w{row}" for row in range(30)], np.random.default_rng(0).standard_normal((30, 6)).astype(np.float32)
)
DIGEST = array_digest(TABLE.vectors)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two representations of two seeds, the first of which is not the smaller one; a third that the table lacks."""
    folder = tmp_path_factory.mktemp("made")
    fit_module(TABLE, "binary", ["sign", "sign_centered"], [7, 3], folder / "binary")
    fit_module(TABLE, "floats", ["float32", "truncate_9"], [7, 3], folder / "floats")
    return folder


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def test_it_says_what_was_fitted_and_reads_it(made):
    found = read_manifest(made / "binary")
    assert (found.module, found.seeds, list(found.files), found.skipped) == (
        "binary",
        (7, 3),
        ["sign", "sign_centered"],
        {},
    )
    assert found.codec("sign", 3, DIGEST).seed == 3
    codes = found.codes("sign", TABLE.words, DIGEST)
    unit = TABLE.vectors / np.linalg.norm(TABLE.vectors, axis=1, keepdims=True)
    expected = found.codec("sign", 7, DIGEST).encode(unit)  # the first seed's, in the order of fitting
    np.testing.assert_array_equal(codes["bits"], expected["bits"])
    assert read_manifest(made / "floats").codec("float32", 3, DIGEST).name == "float32"  # one file for both seeds
    assert "leaves nothing out" in read_manifest(made / "floats").skipped["truncate_9"]


def test_what_is_written_is_read(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "c").write_text("")
    written = Manifest(tmp_path, "m", (9, 10, 0), {"a": {9: "a/c", 10: "a/c", 0: "a/c"}}, {"b": "too small"})
    write_manifest(written)
    assert read_manifest(tmp_path) == written


FILES = {"7": "sign/seed-7.safetensors", "3": "sign/seed-3.safetensors"}
WRONG = [
    ([], "a list instead of an object"),
    ("text", "a str instead of an object"),
    (None, "a NoneType instead of an object"),
    *(({key: ...}, f"no key '{key}'") for key in ("module", "seeds", "files", "skipped")),
    ({"module": 3}, "module: 3 is no name"),
    ({"seeds": []}, "seeds: [] is no list of whole numbers"),
    ({"seeds": "73"}, "seeds: '73' is no list of whole numbers"),
    ({"seeds": [7, "3"]}, "seeds: [7, '3'] is no list of whole numbers"),
    ({"seeds": [7, True]}, "seeds: [7, True] is no list of whole numbers"),
    ({"seeds": [7, -3]}, "seeds: [7, -3] is no list of whole numbers"),
    ({"seeds": [7, 7]}, "seeds: [7, 7] holds one twice"),
    ({"files": ["sign"]}, "files: ['sign'] does not give a name's files"),
    ({"files": {"sign": ["sign/seed-7.safetensors"]}}, "files.sign: "),
    ({"files": {"sign": {}}}, "files.sign: {} does not give a file for each of the seeds [7, 3]"),
    ({"files": {"sign": {"7": FILES["7"]}}}, "does not give a file for each of the seeds [7, 3]"),
    ({"files": {"sign": {**FILES, "x": FILES["7"]}}}, "does not give a file for each of the seeds [7, 3]"),
    ({"files": {"sign": {**FILES, "3": 5}}}, "files.sign.3: 5 is no file of sign/"),
    ({"files": {"sign": {**FILES, "3": "/etc/passwd"}}}, "files.sign.3: '/etc/passwd' is no file of sign/"),
    ({"files": {"sign": {**FILES, "3": "sign/../../x"}}}, "files.sign.3: 'sign/../../x' is no file of sign/"),
    ({"files": {"sign": {**FILES, "3": "sign/seed-4.safetensors"}}}, "files.sign.3: there is no file "),
    ({"skipped": ["sign_centered"]}, "skipped: ['sign_centered'] does not give a reason for each name"),
    ({"skipped": {"x": 3}}, "skipped: {'x': 3} does not give a reason for each name"),
    ({"skipped": {"sign": "why"}}, "'sign' stands in both files and skipped"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_manifest_of_another_kind_is_refused(folder, change, message):
    path = folder / "binary" / "manifest.json"
    value = json.loads(path.read_text())
    if isinstance(change, dict):
        value = {key: one for key, one in {**value, **change}.items() if one is not ...}
    else:
        value = change
    path.write_text(json.dumps(value))
    with pytest.raises(UserError) as error:
        read_manifest(folder / "binary")
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", None])
def test_a_file_that_is_no_json_is_refused(folder, content):
    path = folder / "binary" / "manifest.json"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.json: (not JSON|no such file)"):
        read_manifest(folder / "binary")


def misplaced(folder, source, target, use):
    shutil.copy(folder / "binary" / source, folder / "binary" / target)
    with pytest.raises(UserError) as error:
        use(read_manifest(folder / "binary"))
    assert str(error.value).startswith(f"{folder / 'binary' / target}: belongs elsewhere: its ")
    return str(error.value).partition("its ")[2]


def test_files_in_another_s_place_are_refused(folder):
    other = "sign_centered/seed-7.safetensors"
    found = misplaced(folder, other, FILES["7"], lambda manifest: manifest.codec("sign", 7, DIGEST))
    assert found == "name is 'sign_centered', not 'sign'"
    found = misplaced(folder, FILES["3"], FILES["7"], lambda manifest: manifest.codec("sign", 7, DIGEST))
    assert found == "seed is 3, not 7"
    found = misplaced(
        folder,
        "sign_centered/codes.parquet",
        "sign/codes.parquet",
        lambda manifest: manifest.codes("sign", TABLE.words, DIGEST),
    )
    assert found == "representation is 'sign_centered', not 'sign'"
    path = folder / "binary/sign_centered/codes.parquet"
    words, codes = read_codes(path)
    facts = {"representation": "sign_centered", "codec": "sign_centered/seed-3.safetensors", "embedding_digest": DIGEST}
    write_codes(path, words, codes, facts)
    with pytest.raises(UserError, match=r"its codec is '.*seed-3\.safetensors', not '.*seed-7\.safetensors'"):
        read_manifest(folder / "binary").codes("sign_centered", TABLE.words, DIGEST)
    with pytest.raises(UserError, match=r"floats: float32 was not fitted for seed 9"):
        read_manifest(folder / "floats").codec("float32", 9, DIGEST)
    manifest = json.loads((folder / "binary/manifest.json").read_text())
    (folder / "binary/manifest.json").write_text(json.dumps({**manifest, "module": "scalar"}))
    with pytest.raises(UserError, match="its module is 'binary', not 'scalar'"):
        read_manifest(folder / "binary").codec("sign_centered", 7, DIGEST)


def test_codecs_and_codes_of_other_vectors_or_words_are_refused(made):
    manifest = read_manifest(made / "binary")
    with pytest.raises(UserError, match=r"sign/codes\.parquet: holds codes of other words than the embedding table"):
        manifest.codes("sign", TABLE.words[::-1], DIGEST)
    for use in (lambda: manifest.codec("sign", 7, "0"), lambda: manifest.codes("sign", TABLE.words, "0")):
        with pytest.raises(UserError, match=f"its embedding_digest is '{DIGEST}', not '0'"):
            use()
