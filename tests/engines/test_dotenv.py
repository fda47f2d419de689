"""The file .env, beside the environment."""

import pytest

from cinebook.engines.environment import is_on, settings


def test_the_environment_comes_first_and_no_file_is_fine(tmp_path):
    assert settings(tmp_path, {}).address.port == 8000
    assert settings(tmp_path, {}).data_folder == tmp_path / "var"
    (tmp_path / ".env").write_text("PORT=8001\nHOST='[::1]'\nDEMO=1\n")
    found = settings(tmp_path, {"PORT": "8002"})
    assert (found.address.port, found.address.host, found.variables["DEMO"]) == (8002, "::1", "1")
    assert found.address.url == "http://[::1]:8002"


def test_an_empty_variable_counts_as_not_set(tmp_path):
    (tmp_path / ".env").write_text("PORT=8001\nHOST=\nWEB_WORKERS\nDATABASE_URL=''\nDEMO_CINEMA=\n")
    found = settings(tmp_path, {"PORT": "", "CINEBOOK_DATA_DIR": " "})
    assert (found.address.port, found.address.host, found.web_workers) == (8001, "127.0.0.1", 2)
    assert found.data_folder == tmp_path / "var"
    assert found.database_url is None
    assert found.variables == {"PORT": "8001"}


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_quoted_value_is_taken_as_it_is(tmp_path, quote):
    secret = "$HOME ${PORT} # no comment"
    (tmp_path / ".env").write_text(f"PORT=8001\nSECRET_KEY={quote}{secret}{quote}  # a comment\n")
    assert settings(tmp_path, {}).secret_key == secret


def test_a_switch_is_on_by_the_words_of_the_settings():
    assert all(map(is_on, ("on", "TRUE", "1", " Yes ")))
    assert not any(map(is_on, ("off", "false", "0", "no", "", "y", "t", "enabled")))
