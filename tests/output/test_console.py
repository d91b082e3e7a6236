"""Standard output of any encoding, and with a reader that may leave."""

import io
import os
import sys

import pytest

from cast_exp.output.console import tolerant_output


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
