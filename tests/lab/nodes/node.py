"""One node: a system container whose disk outlives its power."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from .group import Group
from .host import LabError, alive, identify, mount, mounted, run, unmount, wait_until

# What the node writes lies in these directories; all but the first cannot be part of an overlay.
UPPER, CONTAINERD, KUBELET = "upper", "containerd", "kubelet"
PLAIN = {CONTAINERD: "var/lib/containerd", KUBELET: "var/lib/kubelet"}
CONTROL_PLANE, WORKER, SPARE = "control-plane", "worker", "spare"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/lab/bin"


class Node:
    """A node by its directory; which processes it has is kept there, too, so that every call finds them again."""

    def __init__(self, cluster_id: str, role: str, name: str, ip: str, directory: Path, lower: Sequence[Path]) -> None:
        self.role = role
        self.name = name
        self.ip = ip
        self.directory = directory
        self.root = directory / "root"
        self.netns = f"{cluster_id}-{name}"
        self.bridge_netns = cluster_id
        self.group = Group(cluster_id, name)
        self.lower = lower

    # Disk

    def mount(self) -> None:
        """Makes the whole file tree visible at `root`, whether the node has power or not."""
        if not mounted(self.root):
            shutil.rmtree(self.directory / "work", ignore_errors=True)
            for name in ("root", "work", UPPER, *PLAIN):
                (self.directory / name).mkdir(parents=True, exist_ok=True)
            options = [
                f"lowerdir={':'.join(str(lower) for lower in self.lower)}",
                f"upperdir={self.directory / UPPER}",
                f"workdir={self.directory / 'work'}",
                # The upper directory is replaced while it is not mounted; these features would bind it to other files.
                "index=off,metacopy=off,redirect_dir=off",
            ]
            mount(self.root, "-t", "overlay", "rescue-kit-lab", "-o", ",".join(options))
        for name, target in PLAIN.items():
            (self.root / target).mkdir(parents=True, exist_ok=True)
            mount(self.root / target, "--bind", self.directory / name)

    def unmount(self) -> None:
        for target in PLAIN.values():
            unmount(self.root / target)
        unmount(self.root)

    def save(self, to: Path) -> None:
        """Copies the disk without the images; the node must be without power."""
        to.mkdir(parents=True)
        run(["cp", "-a", "--sparse=always", self.directory / UPPER, self.directory / KUBELET, to])

    def load(self, saved: Path) -> None:
        """Puts the disk back to what `save` kept; the node must be without power."""
        self.unmount()
        for name in (UPPER, KUBELET):
            shutil.rmtree(self.directory / name, ignore_errors=True)
        run(["cp", "-a", "--sparse=always", saved / UPPER, saved / KUBELET, self.directory])
        self.mount()

    # Power

    @property
    def pid(self) -> int | None:
        """The node's systemd, nothing where the node has no power."""
        try:
            process = json.loads((self.directory / "systemd.json").read_text())
        except FileNotFoundError:
            return None
        return int(process[0]) if alive(process) else None

    def running(self) -> int:
        if pid := self.pid:
            return pid
        raise LabError(f"{self.name} has no power")

    def power_on(self, shares: Mapping[str, str]) -> None:
        """Boots the node and waits until containers can run; whatever else starts may take its time, or fail."""
        if self.pid:
            return
        self.power_off()
        self.mount()
        self.plug_in()
        self.start(shares)
        wait_until(f"boot of {self.name}", self.booted, 60)

    def start(self, shares: Mapping[str, str]) -> None:
        base = self.lower[-1]
        libraries = base / "usr/lib" / f"{os.uname().machine}-linux-gnu"
        nspawn: list[str | Path] = [
            *(next(base.glob("lib64/ld-linux*")), "--library-path", f"{libraries}:{libraries}/systemd", base / "usr/bin/systemd-nspawn"),
            *(f"--directory={self.root}", f"--machine={self.netns}", f"--hostname={self.name}", "--boot", "--console=pipe"),
            *("--register=no", "--keep-unit", f"--network-namespace-path=/run/netns/{self.netns}"),
            *("--capability=all", "--private-users=no", "--system-call-filter=add_key keyctl bpf"),
            *("--link-journal=no", "--resolv-conf=off", "--timezone=off"),
            *(f"{'--bind-ro' if mode == 'ro' else '--bind'}={path}" for path, mode in shares.items()),
        ]
        # The container's cgroups are those of the process that starts it.
        process = self.group.spawn(nspawn, self.directory / "console.log", {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1"})

        def started() -> bool:
            if process.poll() is not None:
                said = (self.directory / "console.log").read_text(errors="replace").splitlines()[-3:]
                raise LabError(f"{self.name} did not start: {' / '.join(said)}")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            systemd = next((identify(int(child)) for child in children if is_init(int(child))), None)
            if systemd:
                (self.directory / "systemd.json").write_text(json.dumps(systemd))
            return systemd is not None

        wait_until(f"start of {self.name}", started, 20)

    def booted(self) -> bool:
        try:
            self.run("systemctl", "is-active", "--quiet", "containerd.service")
        except LabError:
            return False
        return True

    def power_off(self) -> None:
        """Pulls the plug: whatever runs in the node is killed at once. The file tree stays visible."""
        self.unplug()
        self.group.end()
        (self.directory / "systemd.json").unlink(missing_ok=True)
        shutil.rmtree(Path("/run/systemd/nspawn/propagate") / self.netns, ignore_errors=True)
        if Path("/run/netns", self.netns).exists():
            run(["ip", "netns", "delete", self.netns])

    # Network

    def plug_in(self) -> None:
        """A node without power must not answer, not even with a reset: its interface comes and goes with the power."""
        run(["ip", "netns", "add", self.netns])
        inside = ["ip", "-n", self.netns]
        run(["ip", "-n", self.bridge_netns, "link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.netns])
        run(["ip", "-n", self.bridge_netns, "link", "set", self.name, "master", "lab", "up"])
        run([*inside, "addr", "add", f"{self.ip}/24", "dev", "eth0"])
        run([*inside, "link", "set", "eth0", "up"])
        run([*inside, "link", "set", "lo", "up"])
        run([*inside, "route", "add", "default", "via", f"{self.ip.rpartition('.')[0]}.1"])

    def unplug(self) -> None:
        if Path("/run/netns", self.netns).exists() and "eth0@" in run(["ip", "-n", self.netns, "-brief", "link"]):
            run(["ip", "-n", self.netns, "link", "delete", "eth0"])

    # Processes

    def inside(self) -> list[str]:
        """What a command is prefixed with to run in the node."""
        return [
            *("nsenter", "--target", str(self.running()), "--all", "--"),
            *("env", "--ignore-environment", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", f"TERM={os.environ.get('TERM', 'dumb')}"),
        ]

    def run(self, *command: str, timeout: float = 120, stdin: IO[bytes] | int = subprocess.DEVNULL) -> str:
        return run([*self.inside(), *command], timeout=timeout, stdin=stdin)

    def exec(self, command: Sequence[str]) -> None:
        """Becomes the command."""
        prefixed = [*self.inside(), *command]
        os.execvp(prefixed[0], prefixed)

    def in_network(self, *command: str | Path, timeout: float = 120) -> str:
        """Runs a program of this machine in the node's network."""
        return run(["nsenter", f"--net=/run/netns/{self.netns}", *command], timeout=timeout)

def is_init(pid: int) -> bool:
    """Whether this is the first process of a namespace and has become systemd already."""
    try:
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return False
    fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    return fields["Name"] == "systemd" and fields["NSpid"].split()[-1] == "1"
