import dataclasses

from clef_jax import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    number: int = 1
    threads: int = setting.setting(2, resumable=True, per_process=True)


def test_what_may_change_is_metadata_of_the_field():
    assert setting.declared(Settings, setting.RESUMABLE) == {"threads"}
    assert setting.declared(Settings, setting.PER_PROCESS) == {"threads"}
    assert Settings().threads == 2


def test_a_flag_is_the_name_with_dashes():
    assert setting.flag("read_threads") == "--read-threads"
