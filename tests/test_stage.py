import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import stage
from pipeline.stage import UserError


def test_options_are_a_json_object():
    assert stage.options('{"a": [1, "b"]}') == {"a": [1, "b"]}


@pytest.mark.parametrize(("text", "said"), [("{", "not JSON .* at character 1"), ("[1]", "not list"), ("3", "not int")])
def test_other_options_are_refused(text, said):
    with pytest.raises(UserError, match=said):
        stage.options(text)


def test_unknown_and_missing_keys_are_named_with_the_known_ones():
    stage.check_keys("x", ["a", "b"], ["a"], ["b"])
    stage.check_keys("x", ["b"], ["a"], ["b"])
    with pytest.raises(UserError, match="x: unknown key 'c'; known are a, b"):
        stage.check_keys("x", ["b", "c"], ["a"], ["b"])
    with pytest.raises(UserError, match="x: key 'b' is missing"):
        stage.check_keys("x", ["a"], ["a"], ["b"])


def test_devices():
    assert stage.device("cpu") == "cpu"
    assert stage.device("auto") in ("cpu", "cuda")
    with pytest.raises(UserError, match="'tpu' is not one of auto, cpu, cuda"):
        stage.device("tpu")


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert stage.device("auto") == "cpu"
    with pytest.raises(UserError, match="cuda was asked for"):
        stage.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert stage.device("cuda") == stage.device("auto") == "cuda"
    assert stage.device("cpu") == "cpu"


def test_asking_for_the_cpu_imports_no_torch():
    code = "import sys; from pipeline import stage; stage.device('cpu'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_is_the_docstring_as_it_stands_and_shows_defaults(capsys):
    parser = stage.parser("Does this.\n\nTakes:  that")
    parser.add_argument("--size", type=int, default=7, help="how many")
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    shown = capsys.readouterr().out
    assert "Does this.\n\nTakes:  that" in shown
    assert "how many (default: 7)" in shown


def test_options_of_the_command_line_are_not_abbreviated():
    parser = stage.parser(None)
    parser.add_argument("--size", type=int)
    with pytest.raises(SystemExit):
        parser.parse_args(["--si", "3"])


def test_progress_gives_the_items_and_writes_to_standard_error(capsys):
    assert list(stage.progress([1, 2, 3], "counting")) == [1, 2, 3]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "counting" in shown.err


def raises(error):
    def main(argv):
        raise error

    return main


def test_a_stage_that_ends_well_gets_its_arguments_and_exits_with_0():
    seen = []
    assert stage.run(seen.append, ["--a", "b"]) == 0
    assert seen == [["--a", "b"]]


def test_bad_input_is_one_line_on_standard_error_and_exit_code_1(capsys):
    assert stage.run(raises(UserError("a.txt:\n  broken")), []) == 1
    assert capsys.readouterr().err == "error: a.txt: broken\n"


def test_an_interrupt_exits_with_130_and_a_bug_keeps_its_traceback():
    assert stage.run(raises(KeyboardInterrupt()), []) == 130
    with pytest.raises(ZeroDivisionError):
        stage.run(raises(ZeroDivisionError()), [])


def test_an_output_that_cannot_be_written_ends_in_one_line(capsys):
    def main(argv):
        Path("/proc/nowhere/file").write_text("")

    assert stage.run(main) == 1
    assert capsys.readouterr().err == "error: /proc/nowhere/file: No such file or directory\n"
