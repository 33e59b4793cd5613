import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline import store
from pipeline.neurons.lif import LIF
from pipeline.snn import language, positions, spikformer, transformer
from pipeline.snn.activity import recorded
from pipeline.stage import UserError

TINY = {"dims": 16, "heads": 2, "hidden": 64, "blocks": 2, "context": 12, "timesteps": 4, "dropout": 0.0}


def tokens(rows=3, length=12, seed=0):
    return torch.randint(0, 50, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("encoding", ["current", "spikes"])
@pytest.mark.parametrize("module", [spikformer, transformer])
def test_a_later_token_changes_no_bit_of_an_earlier_output(module, encoding):
    torch.manual_seed(0)
    model = module.build(50, {**TINY, "encoding": encoding}).eval()
    given = tokens()
    with torch.no_grad():
        before = model(given)
        for j in range(12):
            changed = given.clone()
            changed[:, j] = (changed[:, j] + 7) % 50
            after = model(changed)
            assert torch.equal(after[:, :j], before[:, :j])
            assert not torch.equal(after[:, j], before[:, j])


def test_every_synapse_of_the_blocks_sees_spikes_alone():
    torch.manual_seed(0)
    model = spikformer.build(50, TINY)
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(
                lambda _, given, __, name=name: seen.update({name: given[0].unique().tolist()})
            )
    with recorded(model) as rates:
        model(tokens())
    assert len(seen) == 2 * 4
    assert all(values == [0.0, 1.0] for values in seen.values())
    assert len(rates) == sum(isinstance(module, LIF) for module in model.modules())
    assert all(0.02 < rate < 0.8 for rate in rates.values())


def test_all_position_codes_and_the_dense_network_have_as_many_parameters():
    options = {**TINY, "hidden": 96, "dims": 32}
    counts = [transformer.parameters(spikformer.build(50, {**options, "position": kind})) for kind in positions.KINDS]
    counts += [
        transformer.parameters(transformer.build(50, {**options, "position": kind})) for kind in ("none", "learned")
    ]
    assert max(counts) < 1.01 * min(counts)


@pytest.mark.parametrize("module", [spikformer, transformer])
def test_every_parameter_learns(module):
    torch.manual_seed(0)
    model = module.build(50, {**TINY, "position": "phase_learned", "dropout": 0.1})
    language.nats(model, tokens(16)).backward()
    still = [name for name, x in model.named_parameters() if x.grad is None or not x.grad.abs().sum() > 0]
    assert not still


@pytest.mark.parametrize("module", [spikformer, transformer])
def test_the_loss_is_the_cross_entropy_of_the_logits_in_any_precision(module):
    torch.manual_seed(0)
    model = module.build(50, TINY)
    given = tokens(40)
    losses = []
    for loss in (
        lambda: language.nats(model, given),
        lambda: torch.nn.functional.cross_entropy(model(given[:, :-1]).flatten(0, 1), given[:, 1:].flatten()),
    ):
        model.zero_grad()
        value = loss()
        value.backward()
        losses.append((value.detach(), [x.grad.clone() for x in model.parameters() if x.grad is not None]))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(language.nats(model, given), losses[1][0])
        with torch.autocast("cpu", torch.bfloat16):
            rounded = language.nats(model, given)
            inner = torch.randn(300, 16).bfloat16()
            of_rounded = model.embedding.nats(inner, given.flatten()[:300])
    assert rounded.dtype == of_rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, losses[1][0], rtol=0.02, atol=0)


@pytest.mark.parametrize("wrong", [50, -1, -100])
def test_a_target_outside_the_vocabulary_is_refused(wrong):
    model = transformer.build(50, TINY)
    given = tokens()
    given[2, -1] = wrong  # the last one is no input
    with pytest.raises(UserError, match=f"token {wrong} is outside the vocabulary of 50"):
        language.nats(model, given)
    with pytest.raises(UserError, match=f"token {wrong} is outside the vocabulary of 50"):
        language.log2_probabilities(model, [given[2].numpy()], context=12)


@pytest.mark.parametrize("module", [spikformer, transformer])
def test_bad_sequences_and_options_are_one_clear_line(module):
    model = module.build(50, TINY)
    with pytest.raises(UserError, match="a sequence of 13 tokens: the network was trained for at most 12"):
        model(tokens(length=13))
    with pytest.raises(UserError, match="token 50 at place 3 of sequence 1 is outside the vocabulary of 50"):
        model(tokens().index_put((torch.tensor([1]), torch.tensor([3])), torch.tensor([50])))
    for options, message in (
        ({"timesteps": 0}, "timesteps must be a whole number of at least 1, not 0"),
        ({"model": "huge"}, "model 'huge' is not one of small, base, large"),
        ({"position": "sine"}, "position: 'sine' is not one of"),
        ({"heads": 3}, "16 dims do not fall into 3 heads"),
        ({"dropout": 1}, "dropout must be at least 0 and below 1"),
        ({"depth": 3}, "depth"),
    ):
        with pytest.raises(UserError, match=message):
            module.build(50, {**TINY, **options})


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("module", [spikformer, transformer])
def test_no_tokens_have_no_logits(module, training, shape):
    model = module.build(50, TINY).train(training)
    logits = model(torch.zeros(shape, dtype=torch.int64))
    assert logits.shape == (*shape, 50)
    logits.sum().backward()


def write_shards(folder, documents, **how):
    folder.mkdir()
    column = pa.array(documents, pa.list_(pa.int32()))
    table = pa.table({"tokens": column}).replace_schema_metadata({"vocabulary_size": "20"})
    pq.write_table(table, folder / store.shard_name(0), row_group_size=5, **how)


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("part", ["train", "validation"])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (500, "holds token 500, expected 0 to 19"),
        (-3, "holds token -3, expected 0 to 19"),
        (None, "holds a null token"),
    ],
)
def test_a_token_that_cannot_be_is_named_by_file_and_row(tmp_path, wrong, said, part, statistics):
    for name in ("train", "validation"):
        documents = np.random.default_rng(0).integers(20, size=(20, 30)).tolist()
        if name == part:
            documents[13][4] = wrong
        write_shards(tmp_path / name, documents, write_statistics=statistics)

    def streamed():
        data = language.corpus([tmp_path / "train", tmp_path / "validation"], 8).data
        assert not statistics  # where there are some, no step is taken before it is seen
        assert part == "train"
        for piece in range(len(data.sizes)):
            data.read(piece)

    with pytest.raises(UserError, match=rf"{part}/shard-00000\.parquet: row 3 of row group 2 {said}"):
        streamed()


def test_a_position_code_that_needs_more_than_the_mlp_has_is_refused():
    with pytest.raises(UserError, match="leaves nothing of 3 hidden neurons"):
        spikformer.build(50, {**TINY, "hidden": 3, "position": "learned", "context": 100})


class Counting(language.LanguageModel):
    """p(next) depends on how many tokens there were before, and on the last one."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = language.Embedding(9, 9)

    def decoded(self, given):
        seen = torch.nn.functional.one_hot(given.long(), 9).cumsum(1).float()
        return (seen @ self.embedding.weight).tanh() + self.embedding(given)


def test_log2_probabilities_count_every_token_once_with_half_a_context_or_more():
    rng = np.random.default_rng(0)
    documents = [rng.integers(1, 9, n).astype(np.int32) for n in (1, 3, 8, 9, 21, 50)]
    model = Counting()
    found = language.log2_probabilities(model, documents, context=8)
    for document, one in zip(documents, found, strict=True):
        assert len(one) == len(document)
        sequence = [0, *document.tolist()]
        for place in range(len(document)):
            # some window of at most 8 tokens that ends here, and has 4 or more where the document does
            least = min(place + 1, 4)
            allowed = []
            for seen in range(least, min(place + 1, 8) + 1):
                given = torch.tensor([sequence[place + 1 - seen : place + 1]])
                allowed.append(float(model(given).detach()[0, -1].log_softmax(-1)[document[place]]) / np.log(2))
            assert min(abs(one[place] - value) for value in allowed) < 1e-5


def test_a_sample_is_cropped_from_a_place_of_its_own_the_same_for_any_processes():
    from types import SimpleNamespace

    rows = torch.arange(40).reshape(2, 20)

    def crop(mine):
        return language.cropped(
            rows[mine], SimpleNamespace(rows=2, mine=mine, generator=torch.Generator().manual_seed(3))
        )

    whole = crop(slice(0, 2))
    assert whole.shape == (2, 11)
    assert torch.equal(whole[:, 1:], whole[:, :-1] + 1)
    assert torch.equal(torch.cat([crop(slice(0, 1)), crop(slice(1, 2))]), whole)


def test_before_training_the_dense_network_says_little_more_than_frequencies():
    counts = np.array([100, 50, 10, *[1] * 47])
    torch.manual_seed(0)
    model = transformer.build(50, TINY)
    model.embedding.expect(counts)
    share = model(tokens()).softmax(-1).mean((0, 1)).detach()
    np.testing.assert_allclose(share[:3], (counts / counts.sum())[:3], rtol=0.3)
