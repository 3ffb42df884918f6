"""Files that are written: none is one that is read, whatever its name, and none is left half written for good."""

import errno
import os
import stat
from pathlib import Path

import pytest

from hydrart.errors import ProfileError, SettingError
from hydrart.targets import refuse_inputs, refuse_twice, replacing


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


def test_the_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("before")
    with replacing(path) as file:
        file.write(b"after")
        file.flush()
        assert path.read_text() == "before" and Path(file.name).read_bytes() == b"after"
    assert path.read_text() == "after" and os.listdir(tmp_path) == ["out"]


def test_the_block_may_replace_the_new_file_itself(tmp_path: Path) -> None:
    with replacing(tmp_path / "out") as file, replacing(Path(file.name)) as inner:
        inner.write(b"after")
    assert (tmp_path / "out").read_text() == "after" and os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("before", ["before", None])
def test_a_failure_changes_nothing(before: str | None, error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "out"
    if before:
        path.write_text(before)
    with pytest.raises(error), replacing(path, ProfileError) as file:
        file.write(b"after")
        raise error
    assert [each.read_text() for each in tmp_path.iterdir()] == ([before] if before else [])


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_full_disk_changes_nothing(fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out"
    path.write_text("before")

    def full(*unused: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, fails, full)
    sentence = "out cannot be written: No space left on device"
    with pytest.raises(ProfileError, match=sentence), replacing(path, ProfileError) as file:
        file.write(b"after")
    with pytest.raises(OSError, match="No space left on device"), replacing(path):
        pass
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["out"]


def test_a_link_stays_and_so_does_the_mode(tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    real, link, hop = place / "real", tmp_path / "link", tmp_path / "hop"
    real.write_text("before")
    real.chmod(0o640)
    hop.symlink_to("elsewhere/real")
    link.symlink_to("hop")
    with replacing(link) as file:
        file.write(b"after")
    assert link.is_symlink() and hop.is_symlink() and not real.is_symlink()
    assert real.read_text() == "after" and stat.S_IMODE(real.stat().st_mode) == 0o640
    real.unlink()
    with replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink() and real.read_text() == "new", "a link to nothing leads to the new file"
    assert os.listdir(place) == ["real"]


def test_a_new_file_has_the_mode_of_every_new_file(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with replacing(tmp_path / "new"):
        pass
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


def test_a_name_in_a_checked_folder(tmp_path: Path) -> None:
    """There a link is replaced, and nobody else may read the file."""
    (tmp_path / "target").write_text("precious")
    (tmp_path / "name").symlink_to("target")
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with replacing(Path("name"), directory=directory) as file:
            file.write(b"private")
    finally:
        os.close(directory)
    made = tmp_path / "name"
    assert not made.is_symlink() and made.read_text() == "private" and (tmp_path / "target").read_text() == "precious"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600 and sorted(os.listdir(tmp_path)) == ["name", "target"]


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        (tmp_path, "is a folder or a device: give the name of a file to write"),
        (tmp_path / "pipe", "is a folder or a device"),
        (Path("/dev/null"), "is a folder or a device"),
        (tmp_path / "missing" / "out", "cannot be written: No such file or directory"),
        (tmp_path / ("x" * 300), "cannot be written: File name too long"),
    ):
        with pytest.raises(ProfileError, match=words), replacing(path, ProfileError):
            pytest.fail("there is nothing to write to")
    assert os.listdir(tmp_path) == ["pipe"]


def test_an_error_of_another_file_is_not_one_of_this(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"), replacing(tmp_path / "out", ProfileError):
        (tmp_path / "nowhere").read_text()
    assert not list(tmp_path.iterdir())


def test_what_killed_processes_left_is_deleted(tmp_path: Path) -> None:
    names = {name: tmp_path / name for name in (".hydrart-00000000", ".hydrart-1", ".hydrart-abcdef01")}
    for path in names.values():
        path.mkdir()
        (path / "out").touch()
        os.utime(path, (0, 0))
    (tmp_path / "other").mkdir()
    (tmp_path / ".hydrart-22222222").symlink_to("other")
    (tmp_path / ".hydrart-33333333").mkdir()  # it is young
    with replacing(tmp_path / "long") as file:
        held = Path(file.name).parent
        os.utime(held, (0, 0))
        with replacing(tmp_path / "out"):
            pass
        assert held.exists(), "its process lives"
    kept = [".hydrart-1", ".hydrart-22222222", ".hydrart-33333333", "long", "other", "out"]
    assert sorted(os.listdir(tmp_path)) == kept
