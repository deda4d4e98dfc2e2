"""Control groups: what belongs to a node and to nothing else on this machine."""

import contextlib
import errno
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from .host import wait_until


class Group:
    """One group in each hierarchy of this machine: that of a cluster, or one below it."""

    def __init__(self, cluster_id: str, name: str = "") -> None:
        self.path = Path(cluster_id) / name

    def directories(self) -> list[Path]:
        mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
        return [Path(target) / self.path for _, target, kind, *_ in mounts if kind in ("cgroup", "cgroup2")]

    def spawn(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Starts a program in the group; it goes on when this process ends."""
        enter = 'for group; do [ "$group" != -- ] || break; echo $$ >"$group/cgroup.procs" || exit; shift; done; shift; exec "$@"'
        self.make()
        with log.open("ab") as output:
            return subprocess.Popen(
                ["sh", "-c", enter, "sh", *self.directories(), "--", *command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/",
                env={"PATH": os.environ["PATH"], **environment},
            )

    def make(self) -> None:
        for group in self.directories():
            group.mkdir(parents=True, exist_ok=True)
            for child in (group.parent, group):
                # A new cpuset is empty, and nothing can run in it.
                for name in ("cpuset.cpus", "cpuset.mems"):
                    if (child / name).exists() and (child.parent / name).exists():
                        (child / name).write_text((child.parent / name).read_text())

    def members(self) -> set[int]:
        """Every process of the group but for those that entered a container's namespaces from outside."""
        found: set[int] = set()
        # Groups come and go with what runs in them; a walk passes over what is gone, as a glob does not.
        for directory in (directory for group in self.directories() for directory, _, _ in os.walk(group)):
            with contextlib.suppress(OSError):
                found.update(map(int, Path(directory, "cgroup.procs").read_text().split()))
        return found

    def end(self) -> None:
        """Kills whatever is in the group at once, and removes the group."""
        wait_until(f"end of the processes of {self.path}", self.emptied, 20)
        for group in self.directories():
            # A process that just ended keeps its group busy for a moment.
            wait_until(f"removal of {group}", partial(removed, group), 10)

    def emptied(self) -> bool:
        members = self.members()
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not members


def removed(group: Path) -> bool:
    try:
        for directory, _, _ in os.walk(group, topdown=False):
            os.rmdir(directory)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOENT):
            raise
        return False
    return True
