import csv

import pytest

from performance import measurement, sigma_delta


def test_a_ratio_above_1_means_that_ours_is_better():
    faster = measurement.row("a", "b", "x/s", 30.0, "peer", 20.0)
    assert (faster["ours"], faster["peer_value"], faster["ratio"]) == ("30", "20", "1.500")
    assert measurement.row("a", "b", "s", 30.0, "peer", 20.0, digits=1, less=True)["ratio"] == "0.667"


def test_what_has_no_peer_has_no_ratio(tmp_path, caplog):
    rows = [measurement.alone("traffic", "9 bits", "bytes/s", 7.0), measurement.row("a", "b", "x/s", 3.0, "peer", 2.0)]
    with caplog.at_level("INFO"):
        measurement.write_rows(tmp_path / "out.csv", rows)
    with open(tmp_path / "out.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert tuple(found[0]) == measurement.COLUMNS
    assert [found[0][name] for name in ("ours", "peer", "peer_value", "ratio")] == ["7", "", "", ""]
    assert caplog.messages == ["traffic: 7 bytes/s", "a: 3 against 2 x/s, ratio 1.500"]


def test_sides_take_turns_and_the_first_of_each_is_not_counted(monkeypatch):
    calls = []
    ours, peer = (lambda name=name: calls.append(name) for name in ("ours", "peer"))
    monkeypatch.setattr(measurement, "seconds", lambda work: (work(), len(calls) ** 2)[1])
    found = measurement.medians(3, "x", ours, peer)
    assert calls == ["ours", "peer"] * 4
    assert found == [5**2, 6**2]  # the third and fourth, fifth and sixth, seventh and eighth call


def test_the_kernel_s_traffic_has_no_peer(monkeypatch):
    monkeypatch.setattr(sigma_delta, "VECTORS", 8)
    rows = {row["what"]: row for row in sigma_delta.encoding(2, 64, 1)}
    name = "sigma-delta encoding, r = 2"
    assert [rows[f"{name}: {what}"]["ratio"] for what in ("traffic", "copying of the drives")] == ["", ""]
    speeds = rows[name], rows[f"{name}: arithmetic"]
    assert all(
        float(row["ratio"]) == pytest.approx(float(row["ours"]) / float(row["peer_value"]), rel=0.01) for row in speeds
    )
