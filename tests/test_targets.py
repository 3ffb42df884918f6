"""A file that is written is none that is read, whatever its name."""

from pathlib import Path

import pytest

from hydrart.errors import ProfileError, SettingError
from hydrart.targets import refuse_inputs, refuse_twice


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
