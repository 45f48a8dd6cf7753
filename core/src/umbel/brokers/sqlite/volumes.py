"""Where a file really lives: SQLite's locks and shared memory do not work between hosts."""

from __future__ import annotations

import os

MOUNTS = "/proc/self/mountinfo"
NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"ocfs2", "orangefs", "pvfs2", "smb", "smb2", "smb3", "smbfs", "vboxsf", "vmhgfs"}
)
"""File systems whose files several hosts may write to, or whose locks stay on one side."""
NETWORK_FUSE = frozenset(
    {"ceph", "curlftpfs", "davfs", "davfs2", "gcsfuse", "glusterfs", "goofys", "jfs", "juicefs", "rclone", "s3fs"}
    | {"s3ql", "smbnetfs", "sshfs", "vmhgfs-fuse"}
)
"""The same among those that mount as fuse.NAME."""


def network_filesystem(path: str) -> str | None:
    """The type of the network file system that holds the path; None if it is local, or if nobody can tell."""
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as lines:
            table = [_mount(line) for line in lines]
    except OSError:
        return None
    path = os.path.realpath(path)
    best = ("", "")
    for point, kind in table:
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):  # a later mount on the same point hides the earlier one
            best = (point, kind)
    kind = best[1]
    return kind if kind in NETWORK or kind.removeprefix("fuse.") in NETWORK_FUSE else None


def _mount(line: str) -> tuple[str, str]:
    """Mount point and type; the format is in proc(5)."""
    fields, _, rest = line.partition(" - ")
    point = fields.split(" ")[4]
    for escape in ("\\040", "\\011", "\\012", "\\134"):
        point = point.replace(escape, chr(int(escape[1:], 8)))
    return point, rest.split(" ")[0]
