"""What is a flag of Hydra's, what its value, and what an override."""

from cast_exp.run.arguments import parsed


def test_values_of_flags_are_no_overrides() -> None:
    words = ["-m", "a=1", "--config-dir", "mine", "b=2", "-cn", "own", "--cfg", "job"]
    found = parsed(words)
    assert found.overrides == ["a=1", "b=2"]
    assert (found.config_dir, found.config_name, found.cfg) == ("mine", "own", "job")
    assert found.multirun
    assert not found.help
    assert found.info is None
    assert parsed(["a=1", "--info"]).info == "all"
