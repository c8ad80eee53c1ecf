"""Which directories a project may have, and what of them is removed."""

import errno
import os
import pwd
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from api_calls import ID
from faults import before, failing, home_directory
from file_trees import names_below

from gns3server.errors import Conflict, FilesFailed
from gns3server.places import paths


@pytest.fixture
def places(tmp_path):
    """The server's own directories."""
    made = [tmp_path / "server" / name for name in ("projects", "images", "state")]
    for place in made:
        place.mkdir(parents=True)
    return made


# Which ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lab", "missing/lab", "with blank", "Zürich", ".hidden"])
def test_any_other_directory_will_do(name, places, tmp_path):
    assert paths.real_path(f"{tmp_path}/{name}", places) == tmp_path / name
    assert not (tmp_path / name).exists()


def test_a_directory_below_the_projects_directory_will_do(places):
    assert paths.real_path(f"{places[0]}/lab", places) == places[0] / "lab"


@pytest.mark.parametrize("path", ["lab", "./lab", "../lab", "~", "~/lab", "", "."])
def test_a_relative_path_is_refused(path, places):
    with pytest.raises(Conflict, match="relative"):
        paths.real_path(path, places)


@pytest.mark.parametrize("path", ["/", "//", "/.", "/tmp/..", "/proc/1/../.."])
def test_the_root_directory_is_refused(path, places):
    with pytest.raises(Conflict):
        paths.real_path(path, places)


@pytest.mark.parametrize("home", sorted({entry.pw_dir for entry in pwd.getpwall()}))
def test_every_home_directory_is_refused(home, places):
    for path in (home, f"{home}/", f"{home}/x/.."):
        with pytest.raises(Conflict):
            paths.real_path(path, places)


def test_a_home_that_is_reached_by_a_link_is_refused_as_are_its_parents(
    places, tmp_path, monkeypatch
):
    real, link = tmp_path / "disk" / "me", tmp_path / "me"
    real.mkdir(parents=True)
    link.symlink_to(real)
    home_directory(monkeypatch, link)
    for path in (real, link, real.parent):
        with pytest.raises(Conflict, match="home"):
            paths.real_path(str(path), places)


@pytest.mark.parametrize("place", range(3))
def test_the_servers_directories_and_their_parents_are_refused(place, places, tmp_path):
    for path in (places[place], places[place].parent, tmp_path, tmp_path.parent):
        with pytest.raises(Conflict, match=r"directory of the server|home"):
            paths.real_path(str(path), places)


def test_links_are_followed_before_anything_is_compared(places, tmp_path):
    link = tmp_path / "link"
    for target in ("/", places[0], places[0].parent):
        link.symlink_to(target)
        with pytest.raises(Conflict):
            paths.real_path(str(link), places)
        link.unlink()
    link.symlink_to(tmp_path / "target")
    assert paths.real_path(f"{link}/lab", places) == tmp_path / "target" / "lab"


def test_the_servers_directories_are_known_by_their_second_names(places, tmp_path, monkeypatch):
    images, second = places[1], tmp_path / "second"
    second.mkdir()
    stat = os.stat

    def bound(path, **options):
        # As a bind mount does it, which needs root.
        return stat(images if os.fspath(path) == str(second) else path, **options)

    monkeypatch.setattr(os, "stat", bound)
    with pytest.raises(Conflict, match=f"is or holds {images}"):
        paths.real_path(str(second), places, places[1:])
    with pytest.raises(Conflict, match=f"is in {images}"):
        paths.real_path(f"{second}/missing/lab", places, places[1:])
    assert paths.real_path(f"{tmp_path}/third", places, places[1:]) == tmp_path / "third"


def test_the_servers_directories_are_compared_by_where_they_really_are(places, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(places[0])
    with pytest.raises(Conflict):
        paths.real_path(str(places[0]), [link])


@pytest.mark.parametrize("path", ["/tmp/a\0b", "/tmp/\ud800", "/" + "x" * 5000])
def test_text_that_cannot_be_a_path_is_refused_or_fails_clearly(path, places):
    with pytest.raises((Conflict, FilesFailed)):
        paths.make_project_directory(paths.real_path(path, places))


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("/a/lab", True),
        ("/a/lab/inside", True),
        ("/a", True),
        ("/a/labs", False),
        ("/a/la", False),
        ("/b/lab", False),
    ],
)
def test_two_projects_share_no_directory(path, refused):
    others = [Path("/c"), Path("/a/lab")]
    if refused:
        with pytest.raises(Conflict, match="the directory of another project"):
            paths.check_apart(Path(path), others)
    else:
        paths.check_apart(Path(path), others)


# Making -----------------------------------------------------------------------------


def test_what_is_ours(tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("dear")
    (tmp_path / "empty").mkdir()
    assert paths.make_project_directory(tmp_path / "a" / "b" / "new") is True
    assert paths.make_project_directory(tmp_path / "empty") is True
    assert paths.make_project_directory(full) is False
    assert (tmp_path / "a/b/new").is_dir()
    assert names_below(full) == {"letter.txt"}


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "lab", Path("/proc/lab")):
        with pytest.raises(FilesFailed) as failed:
            paths.make_project_directory(path)
        assert str(path) in failed.value.message


@pytest.mark.statement("PRJ-18", "PRJ-19")
def test_the_marker_comes_and_goes(tmp_path):
    paths.mark_temporary(tmp_path, True)
    paths.mark_temporary(tmp_path, True)
    assert (tmp_path / ".gns3_temporary").read_text() == "1"
    paths.mark_temporary(tmp_path, False)
    paths.mark_temporary(tmp_path, False)
    assert names_below(tmp_path) == set()


# Removing ---------------------------------------------------------------------------

OURS = {"project.db", "project.db-wal", ".gns3_temporary", "project-files"}
OURS_BELOW = {"project-files/toy", "project-files/toy/disk"}
THEIRS = {"letter.txt", "photos", "photos/project.db", "my-project.db"}


@pytest.mark.parametrize("obstacle", [os.mkfifo, lambda path: path.symlink_to("precious")])
def test_what_is_in_the_way_of_the_marker_is_not_written_to(tmp_path, obstacle):
    obstacle(tmp_path / ".gns3_temporary")
    paths.mark_temporary(tmp_path, True)
    assert names_below(tmp_path) == {".gns3_temporary"}
    assert (tmp_path / ".gns3_temporary").read_text() == "1"


@pytest.fixture
def lab(tmp_path):
    """A directory with files of ours and files of somebody else."""
    path = tmp_path / "lab"
    for name in ("project-files/toy", "photos"):
        (path / name).mkdir(parents=True)
    for name in OURS - {"project-files"} | {"project-files/toy/disk"} | THEIRS - {"photos"}:
        (path / name).write_text(name)
    return path


def test_a_directory_that_is_ours_goes_as_a_whole(lab, tmp_path):
    (tmp_path / "neighbour").write_text("")
    aside = paths.set_aside(ID, lab, whole=True)
    assert not lab.exists()
    paths.discard(aside)
    assert names_below(tmp_path) == {"neighbour"}


def test_of_a_directory_that_is_not_ours_only_our_files_go(lab, tmp_path):
    paths.discard(paths.set_aside(ID, lab, whole=False))
    assert names_below(lab) == THEIRS


@pytest.mark.parametrize("whole", [True, False])
def test_a_removal_can_be_undone(lab, whole, tmp_path):
    before = names_below(tmp_path)
    aside = paths.set_aside(ID, lab, whole)
    assert names_below(tmp_path) != before
    paths.bring_back(aside)
    assert names_below(tmp_path) == before


@pytest.mark.parametrize("whole", [True, False])
def test_what_an_earlier_removal_left_is_no_obstacle(lab, whole, tmp_path):
    paths.set_aside(ID, lab, whole)
    (lab / "project-files" / "toy").mkdir(parents=True)
    (lab / "project.db").write_text("new")
    aside = paths.set_aside(ID, lab, whole)
    paths.discard(aside)
    assert not (lab / "project.db").exists()


@pytest.mark.parametrize("whole", [True, False])
def test_a_removal_that_was_interrupted_can_be_undone(lab, whole, tmp_path):
    before = names_below(tmp_path)
    assert not paths.bring_back_interrupted(ID, lab, whole)
    paths.set_aside(ID, lab, whole)
    # What an earlier one has left is not taken for it.
    lab.mkdir(exist_ok=True)
    (lab / "project.db").write_text("new")
    assert not paths.bring_back_interrupted(ID, lab, whole)
    (lab / "project.db").unlink()
    if whole:
        lab.rmdir()
    assert paths.bring_back_interrupted(ID, lab, whole)
    assert names_below(tmp_path) == before


def test_a_removal_that_fails_halfway_leaves_everything_where_it_was(lab):
    before = names_below(lab)
    with failing("rename", "project.db", errno.EPERM), pytest.raises(PermissionError):
        paths.set_aside(ID, lab, whole=False)
    assert names_below(lab) == before


@contextmanager
def only_files_move(error):
    """Directories that no user may rename: mount points, or a lower layer of an overlay."""
    with failing("rename", "lab", error), failing("rename", "project-files", error):
        yield


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EBUSY])
def test_a_directory_that_cannot_be_moved_is_removed_in_its_place(lab, tmp_path, error):
    """If it cannot be renamed (EXDEV, EBUSY), the records go first, and the rest in its place."""
    before = names_below(tmp_path)
    with only_files_move(error):
        aside = paths.set_aside(ID, lab, whole=True)
        assert not (lab / "project.db").exists()
        assert (lab / "project-files" / "toy" / "disk").exists()
        paths.bring_back(aside)
        assert names_below(tmp_path) == before
        aside = paths.set_aside(ID, lab, whole=True)
        assert paths.bring_back_interrupted(ID, lab, whole=True)
        assert names_below(tmp_path) == before
        paths.discard(paths.set_aside(ID, lab, whole=True))
    assert names_below(tmp_path) == set()


def test_of_a_mount_point_that_is_a_project_nothing_is_left_in_it(lab, tmp_path):
    with only_files_move(errno.EBUSY), failing("rmdir", "lab", errno.EBUSY):
        paths.discard(paths.set_aside(ID, lab, whole=True))
    assert names_below(tmp_path) == {"lab"}


def test_ours_go_in_their_place_from_a_directory_that_is_not(lab):
    with failing("rename", "project-files", errno.EXDEV):
        paths.discard(paths.set_aside(ID, lab, whole=False))
    assert names_below(lab) == THEIRS


def test_a_directory_that_may_not_be_moved_stays_as_it_is(lab):
    before = names_below(lab)
    with failing("rename", "lab", errno.EACCES), pytest.raises(PermissionError):
        paths.set_aside(ID, lab, whole=True)
    assert names_below(lab) == before


@pytest.mark.parametrize("moved", range(1, 5))
def test_a_removal_that_stops_anywhere_can_be_undone(lab, moved, tmp_path):
    before_it = names_below(tmp_path)

    def stop() -> None:
        # Neither out nor back from here on, as if the machine had gone down.
        if len(calls) >= moved:
            raise OSError(errno.EIO, "gone")

    with before("rename", lab, stop) as calls, pytest.raises(OSError, match="gone"):
        paths.set_aside(ID, lab, whole=False)
    if (lab / "project.db").exists():
        assert (lab / "project.db-wal").exists()
    assert paths.bring_back_interrupted(ID, lab, whole=False) is (moved > 1)
    with suppress(FileNotFoundError):
        (lab / paths.aside_of(ID, lab, False)).rmdir()
    assert names_below(tmp_path) == before_it


def test_what_a_lab_has_brought_along_is_not_taken_for_a_removal(lab, tmp_path):
    outside = tmp_path / "outside"
    (outside / "project-files").mkdir(parents=True)
    (outside / "project.db").write_text("another's")
    paths.aside_of(ID, lab, whole=False).symlink_to(outside)
    (lab / "project.db").unlink()
    before_it = names_below(outside)
    assert not paths.bring_back_interrupted(ID, lab, whole=False)
    paths.discard(paths.set_aside(ID, lab, whole=False))
    assert names_below(outside) == before_it
    assert names_below(lab) == THEIRS


def test_a_directory_with_the_longest_name_can_be_removed(tmp_path):
    lab = tmp_path / ("x" * 255)
    lab.mkdir()
    paths.discard(paths.set_aside(ID, lab, whole=True))
    assert names_below(tmp_path) == set()


@pytest.mark.parametrize("whole", [True, False])
def test_links_are_removed_and_what_they_point_at_stays(lab, whole, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "letter.txt").write_text("dear")
    (lab / "project-files" / "link").symlink_to(outside)
    (lab / "project.db-shm").symlink_to(outside / "letter.txt")
    paths.discard(paths.set_aside(ID, lab, whole))
    assert names_below(outside) == {"letter.txt"}


def test_nothing_there_is_nothing_to_remove(tmp_path):
    aside = paths.set_aside(ID, tmp_path / "missing", whole=True)
    paths.bring_back(aside)
    paths.discard(aside)
    assert names_below(tmp_path) == set()


def test_a_failed_creation_takes_back_only_its_own(lab, tmp_path):
    (lab / "photos" / "project.db").rename(lab / "project.db.of-another")
    paths.remove_what_was_made(lab)
    theirs = THEIRS - {"photos/project.db"} | {"project.db.of-another"}
    assert names_below(lab) == theirs | OURS_BELOW | {"project-files"}
    made = tmp_path / "made"
    made.mkdir()
    (made / "project.db").write_text("")
    paths.remove_what_was_made(made)
    assert names_below(made) == set()


def test_a_project_is_not_made_in_a_directory_of_the_servers(tmp_path):
    images = tmp_path / "images"
    (tmp_path / "link").symlink_to(images)
    for place in (images / "lab", tmp_path / "link" / "deep" / "lab"):
        with pytest.raises(Conflict, match=f"is in {images}, a directory of the server"):
            paths.real_path(str(place), [], [images])
    assert paths.real_path(f"{tmp_path}/other", [], [images]) == tmp_path / "other"


@pytest.fixture
def closed_directory(tmp_path):
    """A directory that may not be searched, as a disk's lost+found."""
    closed = tmp_path / "lost+found"
    closed.mkdir(mode=0)
    tmp_path.chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    yield closed
    os.seteuid(user)
    closed.chmod(0o700)


def test_a_directory_that_may_not_be_searched_holds_no_project(closed_directory):
    projects = closed_directory.parent
    assert paths.copied_projects(projects, []) == []
    assert paths.find_project(projects, ID, []) == []
    assert paths.find_project(projects, closed_directory.name, []) == []
    assert not paths.bring_back_interrupted(ID, closed_directory, whole=True)


def test_a_nodes_directory_goes_with_its_content_and_a_link_in_its_place_without(lab, tmp_path):
    directory, link = lab / "project-files" / "toy", lab / "project-files" / "link"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis").write_text("")
    link.symlink_to(elsewhere)
    (directory / "link").symlink_to(elsewhere)
    paths.remove_beneath(lab, link)
    for _ in range(2):
        paths.remove_beneath(lab, directory)
    assert not directory.exists()
    assert not os.path.lexists(link)
    assert (elsewhere / "thesis").exists()


def test_the_directory_of_a_node_is_not_looked_for_behind_a_link(lab, tmp_path):
    (tmp_path / "elsewhere" / "node").mkdir(parents=True)
    (lab / "project-files" / "vpcs").symlink_to(tmp_path / "elsewhere")
    paths.remove_beneath(lab, lab / "project-files" / "vpcs" / "node")
    assert (tmp_path / "elsewhere" / "node").is_dir()
