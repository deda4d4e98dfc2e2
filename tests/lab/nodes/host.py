"""What the lab needs from the machine it runs on."""

import contextlib
import fcntl
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

LAB = Path(__file__).resolve().parent.parent
CHECKOUT = LAB.parent.parent

# Each cluster has this network for itself.
NETWORK = "10.88.0"


class LabError(Exception):
    """One sentence for the user."""


def cache() -> Path:
    """The directory that keeps what is made once."""
    own = os.environ.get("RESCUE_KIT_CACHE")
    general = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(own) if own else general / "rescue-kit").resolve() / "lab"


def say(text: str) -> None:
    print(f"cluster: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Says how long something took."""
    started = time.monotonic()
    yield
    say(f"{name}: {time.monotonic() - started:.1f} s")


def run(command: Sequence[str | Path], *, timeout: float = 120, stdin: IO[bytes] | int = subprocess.DEVNULL, cwd: Path | None = None) -> str:
    """Runs a command and returns its stdout; its failure becomes one sentence that ends with what it said last."""
    try:
        done = subprocess.run(command, stdin=stdin, capture_output=True, timeout=timeout, cwd=cwd, check=False)
    except FileNotFoundError as error:
        raise LabError(f"no program {command[0]} on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{shown(command)} took more than {timeout:.0f} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace").splitlines()
        raise LabError(f"{shown(command)} ended with {done.returncode}: {' / '.join(said[-5:])}")
    return done.stdout.decode(errors="replace")


def shown(command: Sequence[str | Path]) -> str:
    """A command short enough for a message."""
    text = " ".join(str(word) for word in command)
    return text if len(text) <= 160 else text[:157] + "..."


def wait_until(what: str, condition: Callable[[], bool], timeout: float, interval: float = 0.05) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {timeout:.0f} s")
        time.sleep(interval)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One at a time; the lock goes with the process that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest(*parts: str | Path) -> str:
    """A short digest of texts and of files' contents."""
    total = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode()
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:16]


def releases() -> list[str]:
    """The releases of Kubernetes that can be built; the first one is the default."""
    pinned = re.search(r"k8s\.io/kubernetes v([0-9.]+)", (LAB / "kubernetes/go.mod").read_text())
    if not pinned:
        raise LabError("tests/lab/kubernetes/go.mod names no release")
    return [pinned[1], *sorted(module.name.partition("-")[2] for module in LAB.glob("kubernetes-*"))]


def build(programs: Sequence[str], kubernetes: str = "") -> Path:
    """Builds programs of the lab where that is due and returns the directory that they are in."""
    command = [str(LAB / "build"), *programs]
    environment = {**os.environ, "RESCUE_KIT_KUBERNETES": kubernetes}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    for line in done.stderr.splitlines():
        if not line.endswith("up to date"):
            say(line)
    if done.returncode:
        raise LabError(f"{shown(command)} ended with {done.returncode}: {' / '.join(done.stderr.splitlines()[-3:])}")
    return Path(done.stdout.splitlines()[-1])


def stamps(programs: Path, names: Sequence[str]) -> list[Path]:
    """The files that say what these programs were built from."""
    return [programs.parent / "stamps" / name for name in names]


def alive(process: Sequence[int]) -> bool:
    """Whether a process recorded by `identify` still runs: a number alone may belong to another one by now."""
    return identify(process[0]) == list(process)


def identify(pid: int) -> list[int] | None:
    """The number and the start time of a process, nothing for one that ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else [pid, int(fields[19])]


def mounted(path: Path) -> bool:
    target = str(path).replace(" ", "\\040")
    return any(line.split()[4] == target for line in Path("/proc/self/mountinfo").read_text().splitlines())


def mount(path: Path, *arguments: str | Path) -> None:
    if not mounted(path):
        run(["mount", *arguments, path])


def unmount(path: Path) -> None:
    while mounted(path):
        run(["umount", path])
