import matplotlib
from matplotlib.figure import Figure

from pipeline.plots import style

CONTRACT = (
    *("float", "scalar", "binary", "sigma_delta", "ternary", "lossless", "matryoshka", "faiss", "peer", "spikes"),
    *("snn", "cortex"),
)


def test_every_family_has_its_own_look_and_peers_stand_apart():
    looks = {family: style.look(family) for family in CONTRACT}
    assert set(style.FAMILIES) == set(CONTRACT)
    assert len({look[:2] for look in looks.values()}) == len(CONTRACT)
    assert {family for family, look in looks.items() if not look.filled} == {"faiss", "peer"}
    assert {family for family, look in looks.items() if look.drawn(6)["markerfacecolor"] == "white"} == {
        "faiss",
        "peer",
    }
    assert style.look("a_family_of_tomorrow") == style.UNKNOWN


def test_legends_list_own_codes_then_peers_then_unknown():
    assert style.in_order(["peer", "novel", "cortex", "faiss", "float", "float"]) == [
        *("float", "cortex", "faiss", "peer", "novel")
    ]


def test_short_names():
    assert style.short("faiss:PCA128,SQ4") == "PCA128,SQ4"
    assert style.short("faiss:OPQ16_64,PQ16x8np@opq_niter=8,pq_niter=10") == "OPQ16_64,PQ16x8np@…"
    assert style.short("sentence-transformers:int8+rescore") == "s-t: int8+rescore"
    assert style.short("sign_centered") == "sign_centered"


def test_short_names_that_two_would_share_stay_long():
    names = ["faiss:PQ4@a=1", "faiss:PQ4@a=2", "faiss:SQ4", "faiss:SQ4"]
    assert style.short_names(names) == {"faiss:PQ4@a=1": names[0], "faiss:PQ4@a=2": names[1], "faiss:SQ4": "SQ4"}


def test_a_users_matplotlibrc_changes_nothing_and_is_left_as_it_was():
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        with style.paper():
            assert matplotlib.rcParams["font.size"] == 9
            assert matplotlib.rcParams["axes.facecolor"] == "white"
        assert matplotlib.rcParams["font.size"] == 30


def test_the_same_figure_is_the_same_file(tmp_path):
    for name in ("a", "b"):
        figure = Figure()
        figure.add_subplot().plot([1, 2], [3, 4], clip_on=True)
        written = style.write(figure, tmp_path / name)
        assert [path.name for path in written] == [f"{name}.png", f"{name}.svg"]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b"dc:date" not in (tmp_path / "a.svg").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg", "b.png", "b.svg"]


def test_a_layout_is_found_once_for_both_formats_and_the_figure_can_still_find_its_own(tmp_path):
    figure = style.sheet("Layout", 4, 3)
    figure.add_subplot().set_ylabel("a label\nof two lines")
    engine, found = figure.get_layout_engine(), []
    assert engine is not None
    execute = engine.execute
    engine.execute = lambda drawn: (found.append(drawn), execute(drawn))  # type: ignore[method-assign]
    style.write(figure, tmp_path / "figure")
    assert len(found) == 1
    assert figure.get_layout_engine() is engine
    assert figure.axes[0].get_position().x0 > 0.125  # matplotlib's own place, which the label would leave
