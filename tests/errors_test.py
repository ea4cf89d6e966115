import pytest

from clef_jax.errors import UserError, told_to_user


def test_a_users_mistake_is_a_sentence_and_exit_code_1(capsys):
    with pytest.raises(SystemExit) as error, told_to_user():
        raise UserError("The folder x does not exist. Give another.")
    assert error.value.code == 1
    told = capsys.readouterr()
    assert "The folder x does not exist." in told.err
    assert "Traceback" not in told.err
    assert not told.out


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), told_to_user():
        1 / 0  # noqa: B018
