"""What a URL says, and which file systems are not for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from umbel.brokers.sqlite import volumes
from umbel.brokers.sqlite.location import Location, parse
from umbel.brokers.sqlite.volumes import network_filesystem


def test_three_slashes_are_relative_and_four_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative, absolute = parse("sqlite:///a/queue.db", {}), parse(f"sqlite:///{tmp_path}/a/queue.db", {})
    assert relative == absolute == Location(path=os.path.realpath(tmp_path / "a" / "queue.db"))


def test_symbolic_links_lead_to_the_one_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    assert Location.of(tmp_path / "link" / "queue.db") == Location.of(tmp_path / "queue.db")


def test_names_may_have_any_characters(tmp_path: Path) -> None:
    location = parse(f"sqlite:///{tmp_path}/a%20b%3F%C3%A9.db?fast=1", {})
    assert location is not None
    assert Path(location.path).name == "a b?é.db"
    assert location.fast


def test_the_urls_options_win_over_those_of_the_settings() -> None:
    location = parse(
        "sqlite:///x.db?timeout=3&fast=no", {"timeout": 5, "fast": True, "lease": "7.5", "broker_url": "x"}
    )
    assert location is not None
    assert (location.timeout, location.fast, location.lease, location.unsafe_network) == (3.0, False, 7.5, False)


def test_another_scheme_is_not_ours() -> None:
    assert parse("redis://localhost", {}) is None


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("sqlite://", "no file is named"),
        ("sqlite:///", "no file is named"),
        ("sqlite:///folder/", "no file is named"),
        ("sqlite://queue.db", "three slashes.*sqlite:///queue.db"),
        ("sqlite://host/queue.db", "three slashes"),
        ("sqlite:///queue.db#x", "three slashes"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///a%00b", "NUL"),
        ("sqlite:///x.db?fats=1", "no option 'fats'; it has fast, lease, timeout, unsafe_network"),
        ("sqlite:///x.db?fast=perhaps", "fast must be 1 or 0"),
        ("sqlite:///x.db?timeout=0", "timeout must be a number of seconds above 0"),
        ("sqlite:///x.db?lease=nan", "lease must be a number"),
        ("sqlite:///x.db?lease=inf", "lease must be a number"),
    ],
)
def test_a_wrong_url_says_what_would_be_right(url: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        parse(url, {})


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:30 / /home rw shared:2 - nfs4 server:/home rw
31 30 8:2 / /home/local rw - xfs /dev/sdb rw
32 22 0:32 / /mnt/with\\040space rw - fuse.sshfs user@host: rw
33 22 0:33 / /mnt/two rw - nfs x:/ rw
34 22 0:34 / /mnt/two rw - tmpfs tmpfs rw
35 22 0:35 / /mnt/disk rw - fuseblk /dev/sdc rw
36 22 0:36 / /mnt/nine rw - 9p x rw
37 22 0:37 / /mnt/cloud rw - fuse.s3fs x rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/queue.db", None),
        ("/home", "nfs4"),
        ("/home/me/queue.db", "nfs4"),
        ("/homes/queue.db", None),
        ("/home/local/queue.db", None),
        ("/mnt/with space/queue.db", "fuse.sshfs"),
        ("/mnt/two/queue.db", None),
        ("/mnt/disk/queue.db", None),
        ("/mnt/nine/queue.db", "9p"),
        ("/mnt/cloud/queue.db", "fuse.s3fs"),
    ],
)
def test_network_file_systems_are_known(
    path: str, kind: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    monkeypatch.setattr(volumes, "MOUNTS", str(mounts))
    assert network_filesystem(path) == kind


def test_where_nobody_can_tell_the_file_is_taken_for_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "MOUNTS", "/nowhere")
    assert network_filesystem("/home/me") is None
