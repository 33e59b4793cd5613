import numpy as np
import pytest

from pipeline.evaluation import id_coders
from pipeline.evaluation.id_coders import Setting, order_0, ppmd, settings, spellings
from pipeline.evaluation.word_tree import bisect

NAMES = [f"w{row}é" for row in range(300)]
IDS = np.random.default_rng(0).zipf(1.4, 20_000).astype(np.int32) % 250  # 50 words never occur


def some_spellings():
    counts = np.bincount(IDS, minlength=300)
    return spellings(NAMES, counts, bisect(np.random.default_rng(1).normal(size=(300, 4)), counts))


def test_order_0_takes_the_entropy():
    share = np.bincount(IDS) / len(IDS)
    entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
    coded = order_0(IDS, 300)
    assert coded.ids.dtype == np.int32
    assert (coded.ids == IDS).all()
    assert 8 + entropy * len(IDS) / 8 <= coded.payload < 8 + 1.003 * entropy * len(IDS) / 8 + 8
    assert 20 < coded.shared < 2 * 300


def test_order_0_of_one_word():
    coded = order_0(np.full(9, 3, np.int32), 5)
    assert coded.payload == 8
    assert coded.ids.tolist() == [3] * 9


@pytest.mark.parametrize("variant", ["H", "I"])
def test_ppmd_reads_what_it_wrote_in_every_spelling(variant):
    for spelling in some_spellings():
        coded = ppmd(IDS, Setting(spelling, variant, 6))
        assert (coded.ids == IDS).all()
        assert coded.shared == spelling.shared


def test_what_ppmd_is_told_of_the_words_is_counted():
    text, by_count, by_tree = some_spellings()
    assert text.shared == sum(len(name.encode()) + 1 for name in NAMES)
    assert by_count.shared == by_tree.shared == -(-300 * 9 // 8)  # a permutation in 9 bits a word


def test_numbers_follow_the_counts():
    by_count = some_spellings()[1].bytes_of
    assert by_count[int(np.bincount(IDS).argmax())] == b"\0\0"
    assert sorted(by_count) == [bytes(divmod(row, 256)) for row in range(300)]


def test_a_large_table_needs_three_bytes():
    assert {len(one) for one in id_coders._numbered(np.arange(1 << 16))} == {2}
    assert {len(one) for one in id_coders._numbered(np.arange((1 << 16) + 1))} == {3}


def test_settings_stand_by_their_payload():
    found = settings(IDS, some_spellings())
    payloads = [ppmd(IDS, setting).payload for setting in found]
    assert payloads == sorted(payloads)
    assert payloads[0] < len(id_coders.spelt(IDS, found[0].spelling)) / 2


def test_what_the_library_does_not_give_back_is_no_code(monkeypatch):
    monkeypatch.setattr(id_coders, "_compress", lambda text, setting: b"\x12" * 40)
    with pytest.raises(id_coders.NotReversibleError):
        ppmd(IDS, Setting(some_spellings()[0], "I", 6))


def test_what_the_library_refuses_is_no_code(monkeypatch):
    class Refusing:
        def __init__(self, order, memory):
            pass

        def decode(self, data, length):
            raise ValueError("Corrupted input data.")

    monkeypatch.setattr(id_coders.pyppmd, "Ppmd7Decoder", Refusing)
    with pytest.raises(id_coders.NotReversibleError, match="Corrupted"):
        ppmd(IDS, Setting(some_spellings()[0], "H", 6))
