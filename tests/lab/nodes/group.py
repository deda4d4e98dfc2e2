"""Control groups: what belongs to a node and to nothing else on this machine."""

import errno
import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from .host import wait_until


class Group:
    """One group in each hierarchy of this machine, below that of the cluster."""

    def __init__(self, cluster_id: str, name: str) -> None:
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
        files = (file for group in self.directories() for file in group.glob("**/cgroup.procs"))
        return {int(pid) for file in files for pid in file.read_text().split()}

    def remove(self) -> None:
        """Removes the group, and that of the cluster with its last one."""
        for group in self.directories():
            # A process that just ended keeps its group busy for a moment.
            wait_until(f"removal of {group}", partial(removed, group), 10)
            if group.parent.is_dir() and not any(child.is_dir() for child in group.parent.iterdir()):
                group.parent.rmdir()


def removed(group: Path) -> bool:
    try:
        for directory, _, _ in os.walk(group, topdown=False):
            os.rmdir(directory)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True
