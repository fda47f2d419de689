"""The file .env."""

import pytest

from cinebook.engines.environment import settings, variables_of_file
from cinebook.engines.refusal import Refusal


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=value", "value"),
        ("  export NAME = value  ", "value"),
        ("NAME=", ""),
        ("NAME=   # nothing", ""),
        ("NAME=a#b # a comment", "a#b"),
        ("NAME=two words", "two words"),
        ("NAME=it's", "it's"),
        ("NAME='a # b $HOME \\n'   # a comment", "a # b $HOME \\n"),
        ('NAME="a # \\"b\\"\\n"', 'a # "b"\n'),
        ("NAME=''", ""),
        ("NAME=postgresql://u:p@h/d?a=b&c=d", "postgresql://u:p@h/d?a=b&c=d"),
    ],
)
def test_a_line(tmp_path, line, value):
    (tmp_path / ".env").write_text(f"# a comment\n\n{line}\n")
    assert variables_of_file(tmp_path / ".env") == {"NAME": value}


@pytest.mark.parametrize("line", ["NAME", "1NAME=value", "NAME='open", 'NAME="a" b', "=value"])
def test_a_line_that_is_none(tmp_path, line):
    (tmp_path / ".env").write_text(f"\n{line}\n")
    with pytest.raises(Refusal, match="line 2: this is not NAME=value"):
        variables_of_file(tmp_path / ".env")


def test_the_environment_comes_first_and_no_file_is_fine(tmp_path):
    assert settings(tmp_path, {}).address.port == 8000
    assert settings(tmp_path, {}).data_folder == tmp_path / "var"
    (tmp_path / ".env").write_text("PORT=8001\nHOST='[::1]'\nDEMO=1\n")
    found = settings(tmp_path, {"PORT": "8002"})
    assert (found.address.port, found.address.host, found.variables["DEMO"]) == (8002, "::1", "1")
    assert found.address.url == "http://[::1]:8002"
