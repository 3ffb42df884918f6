"""Files that are written: none is one that is read, whatever its name, and none is left half written for good."""

import os
from pathlib import Path

import pytest

from hydrart.errors import ProfileError, SettingError
from hydrart.targets import hold, refuse_inputs, refuse_twice, remove_abandoned


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_an_input_has_several_names(link: str, tmp_path: Path) -> None:
    source, other = tmp_path / "in", tmp_path / "out"
    source.write_text("precious")
    getattr(other, link)(source)
    for target in (source, other, tmp_path / "." / "in"):
        with pytest.raises(ProfileError, match="is the input itself: give another name to write to"):
            refuse_inputs(target, [None, tmp_path / "none", source], ProfileError)


def test_what_is_no_input(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("precious")
    (tmp_path / "other").write_text("precious")
    refuse_inputs(None, [tmp_path / "in"])
    refuse_inputs(tmp_path / "none", [tmp_path / "in", tmp_path / "none"])
    refuse_inputs(tmp_path / "other", [tmp_path / "in", None])
    refuse_inputs(Path("/dev/null"), [Path("/dev/null")])


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    one, other, link = tmp_path / "one", tmp_path / "other", tmp_path / "link"
    refuse_twice(one, None, other)
    with pytest.raises(SettingError, match="would be written twice"):
        refuse_twice(one, tmp_path / "x" / ".." / "one")
    link.symlink_to(one)
    with pytest.raises(SettingError, match="would be written twice"):
        refuse_twice(one, other, link)
    one.touch()
    other.hardlink_to(one)
    with pytest.raises(SettingError, match="would be written twice"):
        refuse_twice(one, other)
    refuse_twice(Path("/dev/null"), Path("/dev/null"))


def test_what_killed_processes_left_is_deleted(tmp_path: Path) -> None:
    for name in (".x.part", ".y.part", ".young.part", "other.part"):
        (tmp_path / name).touch()
    (tmp_path / ".folder.part").mkdir()
    (tmp_path / ".folder.part/file").touch()
    (tmp_path / ".link.part").symlink_to(tmp_path / "other.part")
    for path in tmp_path.iterdir():
        if path.name != ".young.part" and not path.is_symlink():
            os.utime(path, (0, 0))
    held = hold(tmp_path / ".y.part")
    remove_abandoned(tmp_path, r"\..*\.part")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".link.part", ".y.part", ".young.part", "other.part"]
    os.close(held)
    remove_abandoned(tmp_path, r"\.y\.part")
    assert not (tmp_path / ".y.part").exists()
    remove_abandoned(tmp_path / "none", ".*")
