"""The files of machine code: which are read, what damage does, and what is left when writing fails."""

import errno
import grp
import multiprocessing
import os
import pwd
import random
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hydrart.codegen import cache
from tests.support.caches import ANSWER, CONTENT, NAME, NOBODY, answer, damages, old_keys, replace_keys
from tests.support.commands import PATIENCE_S

KEY = "0123456789abcdef"
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of KEY, with one file in it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HYDRART_CACHE", str(folder))
    cache.write(KEY, NAME, CONTENT)
    yield folder / KEY
    cache._warned.clear()


def test_what_is_written_is_read(place: Path) -> None:
    assert cache.read(KEY, NAME) == CONTENT
    cache.write(KEY, NAME, b"other")
    assert cache.read(KEY, NAME) == b"other"
    assert os.listdir(place) == [NAME], "nothing else is left"


def test_only_the_user_can_read_what_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0)
    try:
        monkeypatch.setenv("HYDRART_CACHE", str(tmp_path / "new" / "cache"))
        cache.write(KEY, NAME, CONTENT)
    finally:
        os.umask(before)
    for path in (tmp_path / "new", *(tmp_path / "new").rglob("*")):
        wanted = 0o600 if path.is_file() else 0o700
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_any_flipped_bit_and_any_cut_is_found(place: Path) -> None:
    path = place / NAME
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :])
        assert cache.read(KEY, NAME) is None, at
    for length in (*range(100), len(good) // 2, len(good) - 1):
        path.write_bytes(good[:length])
        assert cache.read(KEY, NAME) is None, length
    for damaged in (good + b"\0", bytes(len(good)), b"", good[:60] + bytes(len(good) - 60)):
        path.write_bytes(damaged)
        assert cache.read(KEY, NAME) is None
    path.write_bytes(good)
    assert cache.read(KEY, NAME) == CONTENT


def test_code_of_another_function_or_key_is_not_read(place: Path) -> None:
    (place / "other.code").write_bytes((place / NAME).read_bytes())
    assert cache.read(KEY, "other.code") is None
    place.rename(place.with_name("other"))
    assert cache.read("other", NAME) is None


Refused = Callable[[str], None]


@pytest.fixture
def refused(caplog: pytest.LogCaptureFixture) -> Refused:
    """Nothing is read, with one warning that says why; a second look does not warn again."""

    def check(reason: str) -> None:
        caplog.clear()
        assert cache.read(KEY, NAME) is None
        assert cache.read(KEY, NAME) is None
        (message,) = caplog.messages
        assert "is not used, because" in message and reason in message
        assert message.endswith("set HYDRART_CACHE to a folder that only you may write")

    return check


@pytest.mark.parametrize("mode", [0o777, 0o722, 0o770, 0o702])
@pytest.mark.parametrize("which", ["parent", "folder", "folder of the key", "file"])
def test_what_others_may_write_is_not_read(place: Path, refused: Refused, which: str, mode: int) -> None:
    paths = {"parent": place.parents[1], "folder": place.parent, "folder of the key": place, "file": place / NAME}
    path = paths[which]
    path.chmod(mode)
    if mode == 0o770 and cache._is_private(path.stat().st_gid):
        assert cache.read(KEY, NAME) == CONTENT, "the group is the user's alone"
        return
    refused(f"others may write {path} (mode {mode:o})")
    before = (place / NAME).read_bytes()
    cache.write(KEY, NAME, b"other")
    if which != "file":
        assert (place / NAME).read_bytes() == before, "nothing is written there either"
        return
    assert cache.read(KEY, NAME) == b"other", "a file of ours takes the place of the other"


@root
@pytest.mark.parametrize("which", ["parent", "folder", "folder of the key", "file"])
def test_what_belongs_to_somebody_else_is_not_read(place: Path, refused: Refused, which: str) -> None:
    paths = {"parent": place.parents[1], "folder": place.parent, "folder of the key": place, "file": place / NAME}
    os.chown(paths[which], NOBODY, NOBODY)
    refused(f"{paths[which]} belongs to nobody")


def test_what_belongs_to_root_is_not_a_users(place: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who runs this stands for somebody else, whose folders above are root's or this user's."""
    monkeypatch.setattr(cache, "_check_parents", lambda real: None)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    refused(f"{place} belongs to ")


def test_a_sticky_folder_may_be_above(place: Path, refused: Refused) -> None:
    """As /tmp is: others may write there, and can neither rename nor remove what is ours."""
    place.parent.chmod(0o1777)
    assert cache.read(KEY, NAME) == CONTENT
    place.chmod(0o1777)
    refused("others may write")


def test_the_group_of_the_user_alone_is_nobody_else(
    place: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.parent.chmod(0o775)
    for private, listed in ((True, False), (True, True), (False, False)):
        cache._warned.clear()
        monkeypatch.setattr(cache, "_is_private", lambda group, private=private: private)
        monkeypatch.setattr(cache, "_has_access_list", lambda opened, listed=listed: listed)
        if private and not listed:
            assert cache.read(KEY, NAME) == CONTENT
        else:
            refused("others may write")
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("gid", "group", "members", "private"),
    [
        (7, "ann", [], True),
        (7, "ann", ["ann"], True),
        (7, "ann", ["bob"], False),
        (7, "all", [], False),
        (8, "ann", [], False),
    ],
)
def test_which_groups_are_private(
    gid: int, group: str, members: list[str], private: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd(("ann", "x", uid, 7, "", "/", "")))
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group((group, "x", gid, members)))
    assert cache._is_private(gid) is private


def test_links_lead_where_they_end(place: Path, refused: Refused) -> None:
    """A folder that is a link is the folder where it ends. A file that is a link is not read."""
    home = place.parent
    home.rename(home.with_name("elsewhere"))
    home.symlink_to("elsewhere")
    assert cache.read(KEY, NAME) == CONTENT
    (home.with_name("elsewhere") / KEY).chmod(0o777)
    refused("others may write")
    (home.with_name("elsewhere") / KEY).chmod(0o700)
    cache._warned.clear()
    (place / NAME).rename(place / "target")
    (place / NAME).symlink_to("target")
    refused(f"{NAME} is not a regular file")
    cache.write(KEY, NAME, CONTENT)
    assert cache.read(KEY, NAME) == CONTENT and not (place / NAME).is_symlink()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "folder"])
def test_what_is_no_file_is_not_read(place: Path, refused: Refused, make: Callable[[Path], None]) -> None:
    (place / NAME).unlink()
    make(place / NAME)
    refused(f"{NAME} is not a regular file")


def test_there_is_a_folder_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nobody(*unused: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HYDRART_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "hydrart"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "hydrart"
    monkeypatch.setattr(Path, "home", nobody)
    assert str(os.geteuid()) in cache.folder().name


def fill(folder: str, seed: int, turns: int) -> None:
    """Write, and read what anybody wrote, many times. Ends the process with 1 where half a file is read."""
    os.environ["HYDRART_CACHE"] = folder
    for turn in range(turns):
        cache.write(KEY, NAME, bytes([seed]) * (1000 + turn))
        if not (found := cache.read(KEY, NAME)) or len(set(found)) != 1:
            os._exit(1)


def test_processes_that_write_at_once_see_whole_files(place: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=fill, args=(str(place.parent), seed, 100)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE_S)
        assert worker.exitcode == 0
    assert os.listdir(place) == [NAME]


@pytest.mark.parametrize("fails", ["write", "fsync", "replace"])
def test_a_full_disk_costs_one_warning_and_leaves_the_old_file(
    place: Path, fails: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*unused: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        try:
            if fails == "write":
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
            else:
                patch.setattr(os, fails, full)
            for _ in range(2):
                cache.write(KEY, NAME, CONTENT + CONTENT)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (message,) = caplog.messages
    assert "cannot be kept" in message
    assert os.strerror(errno.EFBIG if fails == "write" else errno.ENOSPC) in message
    assert cache.read(KEY, NAME) == CONTENT
    assert os.listdir(place) == [NAME], "no half file is left"


def test_what_a_killed_process_left_is_removed(place: Path) -> None:
    left = place / ".hydrart-0123abcd"
    left.mkdir()
    (left / NAME).touch()
    os.utime(left, (0, 0))
    cache.write(KEY, NAME, CONTENT)
    assert os.listdir(place) == [NAME]


def test_the_keys_that_were_used_longest_ago_are_removed(place: Path) -> None:
    keys = old_keys(place.parent, cache.MOST_KEYS + 5)
    others = [place.parent / name for name in ("0123", "notes", "f" * 25)]
    for other in others:
        other.mkdir()
        os.utime(other, (0, 0))
    cache.write(keys[0].name, NAME, CONTENT)
    assert sorted(path.name for path in place.parent.iterdir()) == sorted(
        path.name for path in (place, *others, keys[0], *keys[6:])
    )
    assert cache.read(keys[0].name, NAME) == CONTENT


def test_a_key_that_is_read_is_in_use(place: Path) -> None:
    keys = old_keys(place.parent, cache.MOST_KEYS)
    cache.write(keys[0].name, NAME, CONTENT)
    os.utime(keys[0], (0, 0))
    assert cache.read(keys[0].name, NAME) == CONTENT
    cache.write("f" * 24, NAME, CONTENT)
    assert keys[0].exists() and not keys[1].exists() and keys[2].exists()


def test_keys_of_the_last_day_stay(place: Path) -> None:
    for number in range(cache.MOST_KEYS + 5):
        cache.write(f"{number:024x}", NAME, CONTENT)
    assert len(os.listdir(place.parent)) == 1 + cache.MOST_KEYS + 5


@root
def test_keys_of_somebody_else_stay(place: Path) -> None:
    keys = old_keys(place.parent, cache.MOST_KEYS + 1)
    os.chown(keys[0], NOBODY, NOBODY)
    cache.write("f" * 24, NAME, CONTENT)
    assert (keys[0] / NAME).exists() and not keys[1].exists()


def test_a_link_in_place_of_a_key_leads_nowhere(place: Path, tmp_path: Path) -> None:
    keys = old_keys(place.parent, cache.MOST_KEYS + 1)
    keys[0].rename(tmp_path / "aside")
    keys[0].symlink_to(tmp_path / "aside")
    os.utime(keys[0], (0, 0), follow_symlinks=False)
    cache.write("f" * 24, NAME, CONTENT)
    assert (tmp_path / "aside" / NAME).exists()


def test_processes_may_remove_keys_at_once(place: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=replace_keys, args=(str(place.parent), seed)) for seed in (0, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE_S)
        assert worker.exitcode == 0
    assert len([path for path in place.parent.iterdir() if cache._KEY.fullmatch(path.name)]) <= 4


def test_a_key_that_is_removed_while_it_is_written_is_made_again(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make = cache._make

    def make_and_lose(path: Path) -> None:
        make(path)
        path.rmdir()
        monkeypatch.setattr(cache, "_make", make)

    monkeypatch.setattr(cache, "_make", make_and_lose)
    cache.write("new", NAME, CONTENT)
    assert cache.read("new", NAME) == CONTENT and not caplog.messages


def test_nothing_is_unpickled(place: Path, tmp_path: Path) -> None:
    """A file that would run a program on unpickling runs none, under any name that was ever read."""
    made = tmp_path / "made"
    poison = b"cos\nsystem\n(S'touch " + str(made).encode() + b"'\ntR."
    first, _ = answer(place.parent)
    for path in [each for each in place.parent.rglob("*") if each.is_file()]:
        for name in (path.name, path.name.replace(".code", "-0.py311.nbi"), path.name.replace(".code", ".1.nbc")):
            path.with_name(name).write_bytes(poison)
    assert answer(place.parent)[0] == first
    assert not made.exists()


def check_damaged(tmp_path: Path, seeds: range) -> None:
    sound = tmp_path / "sound"
    expected, _ = answer(sound)
    assert answer(sound) == (expected, "")
    for seed in seeds:
        folder = tmp_path / str(seed)
        shutil.copytree(sound, folder)
        name, damage = damages(folder, random.Random(seed))
        damage()
        found, said = answer(folder)
        assert found == expected, f"{name}, seed {seed}"
        assert said.count("is not used, because") == (name in ("mode 777", "link", "foreign")), f"{name}, seed {seed}"


def test_a_damaged_cache_gives_the_right_answer(tmp_path: Path) -> None:
    check_damaged(tmp_path, range(3))


@pytest.mark.slow
def test_a_hundred_damaged_caches_give_the_right_answer(tmp_path: Path) -> None:
    check_damaged(tmp_path, range(100, 200))


def test_two_starts_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "HYDRART_CACHE": str(tmp_path / "cache")}
    run = [sys.executable, "-c", ANSWER]
    started = [subprocess.Popen(run, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    first, *others = [each.communicate(timeout=PATIENCE_S)[0] for each in started]
    assert first and all(other == first for other in others)
    (file,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert file.read_bytes().startswith(cache._MAGIC)
    assert answer(tmp_path / "cache") == (first, "")


@root
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """A real one, of 16 KB. The code is compiled, used, and not kept."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k,mode=700", "none", disk], check=False)
    if mounted.returncode:
        pytest.skip("this root may not mount")
    try:
        found, said = answer(disk / "cache")
    finally:
        subprocess.run(["umount", disk], check=True)
    assert found == answer(tmp_path / "cache")[0]
    assert said.count("cannot be kept in") == 1 and "(No space left on device)" in said
