"""A cluster by its name: its state, its network and what can be done with it."""

import hashlib
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

from . import kubeadm, systemd
from .base import base, write
from .group import Group
from .host import CHECKOUT, NETWORK, LabError, alive, build, cache, digest, identify, locked, phase, run, say, stamps, wait_until
from .node import Node

DEFAULT_KUBERNETES = "1.34.4"
LAYOUTS: dict[str, ModuleType] = {module.NAME: module for module in (kubeadm, systemd)}
TOOLS = ["balance", "expire", "meter", "probe"]
FRESH = "fresh"
HALF_A_YEAR = 180 * 24 * 3600


class Cluster:
    """Everything about a cluster lies in one directory, and nothing is remembered elsewhere."""

    def __init__(self, name: str) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", name):
            raise LabError(f"{name!r} is no name for a cluster: small letters, digits and dashes, 20 at most")
        self.name = name
        self.directory = cache() / "clusters" / name
        # Two caches may have clusters of the same name.
        self.id = f"rk-{hashlib.sha256(str(self.directory).encode()).hexdigest()[:6]}-{name}"
        self.state: dict[str, object] = {}
        self.load_state()

    # State

    def load_state(self) -> None:
        file = self.directory / "cluster.json"
        self.state = json.loads(file.read_text()) if file.exists() else {}

    def save_state(self, **changes: object) -> None:
        self.state.update(changes)
        self.directory.mkdir(parents=True, exist_ok=True)
        new = self.directory / "cluster.json.new"
        new.write_text(json.dumps(self.state, indent=2) + "\n")
        new.rename(self.directory / "cluster.json")

    def existing(self) -> "Cluster":
        if not self.state:
            raise LabError(f"there is no cluster {self.name}: tests/lab/cluster up {self.name}")
        return self

    @property
    def kubernetes(self) -> str:
        return str(self.state["kubernetes"])

    @property
    def layout(self) -> ModuleType:
        return LAYOUTS[str(self.state["layout"])]

    @property
    def programs(self) -> Path:
        return Path(str(self.state["programs"]))

    @property
    def shares(self) -> list[str]:
        return list(self.state.get("shares", []))  # type: ignore[call-overload]

    @property
    def nodes(self) -> list[Node]:
        lower = [self.directory / "layer", Path(str(self.state["base"]))]
        count = int(str(self.state["nodes"]))
        names = [(f"cp{number}", f"{NETWORK}.{10 + number}") for number in range(1, count + 1)]
        return [Node(self.id, name, ip, self.directory / name, lower) for name, ip in names]

    def node(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise LabError(f"{self.name} has no node {name}, but {', '.join(node.name for node in self.nodes)}")

    def chosen(self, names: Sequence[str]) -> list[Node]:
        return [self.node(name) for name in names] if names else self.nodes

    def locked(self):  # type: ignore[no-untyped-def]
        return locked(cache() / "clusters" / f"{self.name}.lock")

    # Up and down

    def up(self, nodes: int, kubernetes: str, layout: str, shares: Sequence[str]) -> None:
        """Makes the cluster where that has not been done with the same inputs, and boots it where it is down."""
        module = LAYOUTS[layout]
        programs = build([*module.PROGRAMS, *TOOLS])
        root = base()
        inputs = digest(str(nodes), kubernetes, layout, str(root), *stamps(programs, module.PROGRAMS), *sources(module))
        fresh = self.state.get("made") and self.state["inputs"] == inputs and time.time() - float(str(self.state["made"])) < HALF_A_YEAR
        if not fresh:
            self.destroy()
            self.make(inputs, nodes, kubernetes, layout, programs, root, shares)
            return
        if all(node.pid for node in self.nodes):
            if set(shares) <= set(self.shares):
                return
            say("another directory to share: the nodes have to boot")
            self.save_state(shares=sorted({*self.shares, *shares}))
            self.power_cycle(self.nodes)
            self.wait()
            return
        self.save_state(shares=sorted(shares))
        self.restore(FRESH)

    def make(self, inputs: str, nodes: int, kubernetes: str, layout: str, programs: Path, root: Path, shares: Sequence[str]) -> None:
        self.save_state(inputs=inputs, nodes=nodes, kubernetes=kubernetes, layout=layout, programs=str(programs), base=str(root),
                        shares=sorted(shares))
        self.layout.layer(self.directory / "layer", programs, kubernetes)
        for node in self.nodes:
            self.personalize(node)
        self.power_on(self.nodes)
        self.layout.make(self)
        self.wait(300)
        self.snapshot(FRESH)
        self.save_state(made=time.time())

    def personalize(self, node: Node) -> None:
        upper = node.directory / "upper"
        write(upper / "etc/hostname", f"{node.name}\n")
        write(upper / "etc/machine-id", hashlib.sha256(f"{self.name} {node.name}".encode()).hexdigest()[:32] + "\n", 0o444)
        hosts = "".join(f"{other.ip} {other.name}\n" for other in self.nodes)
        write(upper / "etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n{hosts}{kubeadm.BALANCER} {kubeadm.ENDPOINT}\n")

    def down(self) -> None:
        """Stops everything that was started and unmounts what was mounted; the state stays."""
        if not self.state:
            return
        self.power_off(self.nodes)
        for node in self.nodes:
            node.unmount()
        self.network_down()

    def destroy(self) -> None:
        self.down()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.state = {}

    # Network

    def network_up(self) -> None:
        """A bridge in a network namespace of its own, which no packet can leave."""
        if not Path("/run/netns", self.id).exists():
            run(["ip", "netns", "add", self.id])
            run(["ip", "-n", self.id, "link", "set", "lo", "up"])
            run(["ip", "-n", self.id, "link", "add", "lab", "type", "bridge"])
            run(["ip", "-n", self.id, "addr", "add", f"{NETWORK}.1/24", "dev", "lab"])
            run(["ip", "-n", self.id, "link", "set", "lab", "up"])
        if len(self.nodes) > 1:
            self.balance()

    def balance(self) -> None:
        """Starts the load balancer, which is outside of the nodes as it should be."""
        if alive(self.state.get("balancer")):  # type: ignore[arg-type]
            return
        command = [tool("balance"), f"{kubeadm.BALANCER}:6443", *(f"{node.ip}:6443" for node in self.nodes)]
        process = self.balancer.spawn(["ip", "netns", "exec", self.id, *command], self.directory / "balance.log", {})
        self.save_state(balancer=identify(process.pid))

    @property
    def balancer(self) -> Group:
        return Group(self.id, "balancer")

    def network_down(self) -> None:
        balancer = self.state.get("balancer")
        if alive(balancer):  # type: ignore[arg-type]
            os.kill(balancer[0], signal.SIGKILL)  # type: ignore[index]
            wait_until("end of the load balancer", lambda: not alive(balancer), 10)  # type: ignore[arg-type]
        self.balancer.remove()
        if Path("/run/netns", self.id).exists():
            run(["ip", "netns", "delete", self.id])

    def exec(self, command: Sequence[str]) -> None:
        """Becomes the command."""
        if not Path("/run/netns", self.id).exists():
            raise LabError(f"{self.name} is down")
        os.execvp("nsenter", ["nsenter", f"--net=/run/netns/{self.id}", "--", *command])

    # Power

    def power_on(self, nodes: Sequence[Node]) -> None:
        self.network_up()
        with phase(f"boot of {names(nodes)}"):
            each(nodes, lambda node: node.power_on(self.shares))

    def power_off(self, nodes: Sequence[Node]) -> None:
        each(nodes, lambda node: node.power_off())

    def power_cycle(self, nodes: Sequence[Node]) -> None:
        self.power_off(nodes)
        self.power_on(nodes)

    def wait(self, timeout: float = 120) -> None:
        """Waits until every node's part of the control plane serves and the two leases are held by somebody alive."""
        probe = tool("probe")

        def ask(node: Node) -> None:
            try:
                said = node.in_network(probe, f"-timeout={timeout}s", *self.layout.probe(node), timeout=timeout + 30)
                (node.directory / "probe.log").write_text(said)
            except LabError as error:
                raise LabError(f"{node.name}: {str(error).partition('probe: ')[2] or error}") from error

        with phase("control plane"):
            each(self.nodes, ask)

    # Snapshots

    def saved(self, label: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", label):
            raise LabError(f"{label!r} is no label for a snapshot")
        return self.directory / "snapshots" / label

    def snapshot(self, label: str) -> None:
        """Keeps the nodes' disks. A copy of running etcd members would be torn, so the power goes off meanwhile."""
        saved = self.saved(label)
        new = saved.with_name(f"{label}.new")
        shutil.rmtree(new, ignore_errors=True)
        had_power = [node for node in self.nodes if node.pid]
        if had_power:
            self.release_leases()
            self.power_off(self.nodes)
        with phase(f"snapshot {label}"):
            each(self.nodes, lambda node: node.save(new / node.name))
            shutil.rmtree(saved, ignore_errors=True)
            new.rename(saved)
        if had_power:
            self.power_on(had_power)
            self.wait()

    def restore(self, label: str, start: bool = True) -> None:
        """Puts the nodes' disks back; the node may be in any state before."""
        saved = self.saved(label)
        if not saved.is_dir():
            known = ", ".join(sorted(path.name for path in saved.parent.glob("*")))
            raise LabError(f"{self.name} has no snapshot {label}, but {known}")
        self.power_off(self.nodes)
        with phase(f"restore of {label}"):
            each(self.nodes, lambda node: node.load(saved / node.name))
        if start:
            self.power_on(self.nodes)
            self.wait()

    def release_leases(self) -> None:
        """Clears the holders of the leases, else whoever starts from the copy waits for a dead holder's lease to end.

        The holders are stopped first, or they would renew it; the power goes off right after that.
        """
        for node in self.nodes:
            for pid in node.group.members():
                if command(pid) in ("kube-controller", "kube-scheduler"):
                    os.kill(pid, signal.SIGSTOP)
        patch = ["patch", "--namespace=kube-system", "--type=merge", '--patch={"spec":{"holderIdentity":""}}', "--request-timeout=5s"]
        kubectl = ["kubectl", f"--kubeconfig={self.layout.ADMIN}", *patch, "lease/kube-controller-manager", "lease/kube-scheduler"]
        try:
            next(node for node in self.nodes if node.pid).run(*kubectl, timeout=30)
        except LabError as error:
            say(f"the leases keep their holders, which makes each restore slower: {error}")

    # Certificates

    def expire(self, nodes: Sequence[Node], flags: Sequence[str]) -> str:
        """Makes certificates expire in the nodes' files, whether they have power or not.

        The kubelet forgot the key that signed its serving certificate, so that one cannot be signed again.
        """
        program = tool("expire")
        for node in nodes:
            if not node.root.is_mount():
                raise LabError(f"{self.name} is down")
        return "".join(run([program, f"-root={node.root}", f"-layout={self.layout.NAME}", "-skip=kubelet-serving", *flags]) for node in nodes)

    def info(self) -> dict[str, object]:
        def about(node: Node) -> dict[str, object]:
            return {"name": node.name, "ip": node.ip, "pid": node.pid, "netns": node.netns, "root": str(node.root)}

        return {
            "name": self.name,
            "kubernetes": self.kubernetes,
            "layout": self.layout.NAME,
            "programs": str(self.programs),
            "shares": [share.split(":")[1] for share in self.shares],
            "snapshots": sorted(path.name for path in (self.directory / "snapshots").glob("*") if path.suffix != ".new"),
            "netns": self.id,
            "nodes": [about(node) for node in self.nodes],
        }


def sources(module: ModuleType) -> list[Path]:
    """The files that say what a new cluster looks like."""
    return [Path(__file__).with_name(f"{name}.py") for name in ("base", "images", "kubeadm", module.NAME)]


def tool(name: str) -> Path:
    """A program of the lab's own, which `up` built."""
    return cache() / "bin" / name


def default_shares() -> list[str]:
    """Read-only, in the form that `Node.start` takes."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or CHECKOUT / "target").resolve()
    target.mkdir(parents=True, exist_ok=True)
    return [f"-ro:{target}", f"-ro:{cache() / 'bin'}"]


def each(nodes: Sequence[Node], action: Callable[[Node], object]) -> None:
    """At the same time on all nodes."""
    with ThreadPoolExecutor(max_workers=max(len(nodes), 1)) as pool:
        list(pool.map(action, nodes))


def names(nodes: Sequence[Node]) -> str:
    return ", ".join(node.name for node in nodes)


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
