import pytest

from clef_jax.errors import UserError, exit_on_user_error


def test_a_users_mistake_is_a_sentence_and_exit_code_1(capsys):
    with pytest.raises(SystemExit) as error, exit_on_user_error():
        raise UserError("The folder x does not exist. Give another.")
    assert error.value.code == 1
    told = capsys.readouterr()
    assert "The folder x does not exist." in told.err
    assert "Traceback" not in told.err
    assert not told.out


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), exit_on_user_error():
        1 / 0  # noqa: B018
