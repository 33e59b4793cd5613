import pytest
import torch

from pipeline.snn import sentence_encoder, sentences
from pipeline.snn.transformer import parameters
from pipeline.stage import UserError

OPTIONS = {"dims": 8, "heads": 2, "hidden": 24, "blocks": 1, "context": 8, "timesteps": 2, "code": 6}


@pytest.mark.parametrize("variant", sentence_encoder.VARIANTS)
def test_what_stands_behind_a_sentence_changes_nothing(variant):
    torch.manual_seed(0)
    model = sentence_encoder.build(20, 5, {**OPTIONS, "variant": variant})[0].eval()
    tokens = torch.randint(20, (4, 8))
    lengths = torch.tensor([3, 8, 1, 5])
    code, y = model(tokens, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model(tokens[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(alone[0][0], code[row])
        torch.testing.assert_close(alone[1][0], y[row])
    if variant == "spiking":
        assert (code == code.round()).all()
        assert 0 < code.max() <= 2 * 8


def test_both_encoders_have_as_many_parameters():
    spiking, dense = (parameters(sentence_encoder.build(600, 32, {"variant": v})[0]) for v in sentence_encoder.VARIANTS)
    assert dense == pytest.approx(spiking, rel=0.01)


def test_options_that_cannot_be_are_refused():
    for wrong in ({"variant": "other"}, {"code": 0}, {"timesteps": 0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            sentence_encoder.build(20, 5, {**OPTIONS, **wrong})


def test_sentences_end_at_stops_and_lines():
    text = "One two three four five. Six seven eight nine ten!\nToo short.\nNo stop at e.g. this small letter here"
    assert sentences.sentences(text) == [
        "One two three four five.",
        "Six seven eight nine ten!",
        "No stop at e.g. this small letter here",
    ]
