import pickle

import pytest
from culprits import assert_names

from clef_jax.errors import UserError, exit_on_user_error


def test_a_users_mistake_is_a_sentence_and_exit_code_1(capsys):
    with pytest.raises(SystemExit) as error, exit_on_user_error():
        raise UserError("The folder x.")
    assert error.value.code == 1
    shown = capsys.readouterr()
    assert_names(shown.err, "Error: The folder x.")
    assert "Traceback" not in shown.err
    assert not shown.out


def test_an_error_may_have_a_problem_code_and_keeps_it_between_processes():
    error = pickle.loads(pickle.dumps(UserError("The folder x.", problem="missing_folder")))
    assert (str(error), error.problem) == ("The folder x.", "missing_folder")
    assert UserError("The folder x.").problem is None


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), exit_on_user_error():
        1 / 0  # noqa: B018
