"""The file system that all nodes start from, and what a layout lays over it."""

import os
import shutil
import tempfile
from pathlib import Path

from .host import LabError, cache, digest, locked, phase, run

SUITE = "bookworm"
PACKAGES = [
    *("ca-certificates", "conntrack", "containerd", "dbus", "ebtables", "ethtool", "iproute2", "iptables", "kmod", "mount"),
    *("openssh-server", "openssl", "procps", "runc", "socat", "systemd-container", "systemd-sysv"),
]

# systemd-nspawn mounts the cgroups read-only, and the kubelet wants to read the kernel's log.
PREPARE = """\
#!/bin/sh
set -e
for controller in /sys/fs/cgroup/*/; do
	mount -o remount,bind,rw "$controller"
done
[ -e /dev/kmsg ] || mknod /dev/kmsg c 1 11
mount --make-rshared /
"""

UNIT = """\
[Unit]
Description=What a node of the lab needs before anything runs on it
DefaultDependencies=no
After=local-fs.target
Before=containerd.service kubelet.service etcd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/lib/lab/prepare

[Install]
WantedBy=sysinit.target
"""

# The machine may lack CAP_SYS_RESOURCE, without which no score can be lowered.
CONTAINERD = """\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


def base() -> Path:
    """Debian with what a node needs; nothing of this machine is in it, and nothing is installed on this machine."""
    key = digest(SUITE, *PACKAGES)
    directory = cache() / f"base-{key}"
    with locked(cache() / "base.lock"):
        if not directory.is_dir():
            with phase("base file system"), tempfile.TemporaryDirectory(dir=cache(), prefix="base.new-") as new:
                # From wherever this machine has its packages.
                run([mmdebstrap(Path(new)), "--variant=essential", f"--include={','.join(PACKAGES)}", SUITE, f"{new}/root", *sources()],
                    timeout=900)
                Path(new, "root").rename(directory)
    return directory


def sources() -> list[Path]:
    """Where this machine's own packages come from, if it says so."""
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    return [place for place in places if place.suffix in (".list", ".sources") and place.is_file() and place.read_text().strip()]


def mmdebstrap(work: Path) -> str | Path:
    """The program that makes the base, taken out of its package where it is not installed."""
    if installed := shutil.which("mmdebstrap"):
        return installed
    run(["apt-get", "update"], timeout=300)
    # As root inside a directory that only root can enter, apt says so; that is no failure.
    run(["apt-get", "download", "mmdebstrap"], cwd=work)
    packages = list(work.glob("mmdebstrap_*.deb"))
    if not packages:
        raise LabError("apt-get download brought no mmdebstrap")
    run(["dpkg-deb", "--extract", packages[0], work / "mmdebstrap"])
    return work / "mmdebstrap/usr/bin/mmdebstrap"


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def enable(layer: Path, unit: str, target: str = "multi-user.target") -> None:
    """What `systemctl enable` does."""
    link = layer / f"etc/systemd/system/{target}.wants/{unit}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"/lib/systemd/system/{unit}")


def install(layer: Path, programs: Path, names: list[str], into: str) -> None:
    """Puts programs into the layer; the cache is one file system, so links do."""
    directory = layer / into
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        os.link(programs / name, directory / name)


def common_layer(layer: Path, pause: str) -> None:
    """What every node gets, whatever runs on it."""
    write(layer / "usr/local/lib/lab/prepare", PREPARE, 0o755)
    write(layer / "usr/lib/systemd/system/lab.service", UNIT)
    enable(layer, "lab.service", "sysinit.target")
    write(layer / "etc/containerd/config.toml", CONTAINERD.format(pause=pause))
    write(layer / "etc/sysctl.d/90-lab.conf", "net.ipv4.ip_forward = 1\n")
    write(layer / "etc/resolv.conf", "# There is no name server in the lab.\n")
