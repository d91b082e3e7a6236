"""Standard output of any encoding, and with a reader that may leave; Ctrl-C without a trace."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cast_exp
from cast_exp.output.console import end_at_ctrl_c, tolerant_output


def test_what_an_encoding_lacks_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    with tolerant_output():
        print("━ 5 \udcff")
    assert written.getvalue() == b"? 5 ?\n"


def test_a_reader_that_has_left_ends_the_program_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit) as end, tolerant_output():
            print("too late")
    assert end.value.code == 141
    assert capfd.readouterr().err == ""


@pytest.fixture
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("handler")
@pytest.mark.parametrize(
    ("before", "after"),
    [(signal.default_int_handler, signal.SIG_DFL), (signal.SIG_IGN, signal.SIG_IGN)],
)
def test_ctrl_c_ends_at_once_unless_it_is_ignored(before: object, after: object) -> None:
    signal.signal(signal.SIGINT, before)  # type: ignore[arg-type]
    end_at_ctrl_c()
    assert signal.getsignal(signal.SIGINT) is after


@pytest.mark.parametrize("module", ["train", "eval", "segment"])
def test_ctrl_c_while_an_entry_point_imports_leaves_no_trace(module: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")
    places = [str(tmp_path), str(Path(cast_exp.__file__).parents[1])]
    process = subprocess.Popen(
        [sys.executable, "-m", f"cast_exp.{module}", "photo.png", "--checkpoint=CKPT"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130)
    assert "Traceback" not in error
