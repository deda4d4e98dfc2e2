"""A cluster by its name: its state, its network and what can be done with it."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

from . import kubeadm, systemd
from .base import base, write
from .group import Group
from .host import CHECKOUT, NETWORK, LabError, build, cache, digest, locked, phase, run, say, stamps
from .node import CONTROL_PLANE, SPARE, WORKER, Node

LAYOUTS: dict[str, ModuleType] = {module.NAME: module for module in (kubeadm, systemd)}
TOOLS = ["balance", "expire", "meter", "probe"]
FRESH = "fresh"
HALF_A_YEAR = 180 * 24 * 3600


@dataclasses.dataclass
class Size:
    """How many nodes of each kind a cluster has."""

    nodes: int
    workers: int
    spares: int


@dataclasses.dataclass
class State:
    """What has to be known about a cluster to use it; `made` is when it was complete, 0 before that."""

    inputs: str
    kubernetes: str
    layout: str
    programs: str
    base: str
    shares: dict[str, str]
    nodes: int
    workers: int = 0
    spares: int = 0
    made: float = 0


class Cluster:
    """Everything about a cluster lies in one directory, and nothing is remembered elsewhere."""

    def __init__(self, name: str) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", name):
            raise LabError(f"{name!r} is no name for a cluster: small letters, digits and dashes, 20 at most")
        self.name = name
        self.directory = cache() / "clusters" / name
        # Two caches may have clusters of the same name.
        self.id = f"rk-{hashlib.sha256(str(self.directory).encode()).hexdigest()[:6]}-{name}"
        self.balancer = Group(self.id, "balancer")

    # State

    def locked(self) -> AbstractContextManager[None]:
        return locked(cache() / "clusters" / f".{self.name}.lock")

    def saved_state(self) -> State | None:
        file = self.directory / "cluster.json"
        if not file.exists():
            return None
        known = {field.name for field in dataclasses.fields(State)}
        # Another version of this program may have written more.
        return State(**{name: value for name, value in json.loads(file.read_text()).items() if name in known})

    @property
    def state(self) -> State:
        if state := self.saved_state():
            return state
        raise LabError(f"there is no cluster {self.name}: tests/lab/cluster up {self.name}")

    def save(self, state: State) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        new = self.directory / "cluster.json.new"
        new.write_text(json.dumps(dataclasses.asdict(state), indent=2) + "\n")
        new.rename(self.directory / "cluster.json")

    @property
    def kubernetes(self) -> str:
        return self.state.kubernetes

    @property
    def layout(self) -> ModuleType:
        return LAYOUTS[self.state.layout]

    @property
    def programs(self) -> Path:
        return Path(self.state.programs)

    @property
    def nodes(self) -> list[Node]:
        return [*self.control_plane, *self.workers, *self.spares]

    @property
    def control_plane(self) -> list[Node]:
        return self.numbered(CONTROL_PLANE, "cp", 10, self.state.nodes)

    @property
    def workers(self) -> list[Node]:
        return self.numbered(WORKER, "w", 20, self.state.workers)

    @property
    def spares(self) -> list[Node]:
        """Machines that no cluster knows until they are joined."""
        return self.numbered(SPARE, "s", 30, self.state.spares)

    def numbered(self, role: str, prefix: str, offset: int, count: int) -> list[Node]:
        lower = [self.directory / "layer", Path(self.state.base)]
        names = [(f"{prefix}{number}", f"{NETWORK}.{offset + number}") for number in range(1, count + 1)]
        return [Node(self.id, role, name, ip, self.directory / name, lower) for name, ip in names]

    def node(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise LabError(f"{self.name} has no node {name}, but {names(self.nodes)}")

    def chosen(self, wanted: Sequence[str]) -> list[Node]:
        return [self.node(name) for name in wanted] if wanted else self.nodes

    # Up and down

    def up(self, size: Size, kubernetes: str, layout: str, shares: Mapping[str, str]) -> None:
        """Makes the cluster where that has not been done from the same inputs, and boots it where it is down."""
        module = LAYOUTS[layout]
        if module is not kubeadm and (size.workers or size.spares):
            raise LabError("only kubeadm joins workers: --layout kubeadm")
        build(TOOLS)
        programs = build(module.PROGRAMS, kubernetes)
        root = base()
        inputs = digest(str(size), kubernetes, layout, str(root), *stamps(programs, module.PROGRAMS), *sources(module))
        state = self.saved_state()
        if not state or FRESH not in self.labels() or state.inputs != inputs or time.time() - state.made > HALF_A_YEAR:
            self.destroy()
            self.make(State(inputs, kubernetes, layout, str(programs), str(root), dict(shares), **dataclasses.asdict(size)))
        elif not all(node.pid for node in self.nodes):
            self.save(dataclasses.replace(state, shares=dict(shares)))
            self.restore(FRESH)
        elif not shares.items() <= state.shares.items():
            say("another directory to share: the nodes have to boot")
            self.save(dataclasses.replace(state, shares={**state.shares, **shares}))
            self.power_cycle(self.nodes)
            self.wait()

    def make(self, state: State) -> None:
        self.save(state)
        self.layout.layer(self.directory / "layer", self.programs, self.kubernetes)
        for node in self.nodes:
            self.personalize(node)
        self.power_on(self.nodes)
        self.layout.make(self)
        self.wait(300)
        self.snapshot(FRESH)
        self.save(dataclasses.replace(self.state, made=time.time()))

    def personalize(self, node: Node) -> None:
        upper = node.directory / "upper"
        write(upper / "etc/hostname", f"{node.name}\n")
        write(upper / "etc/machine-id", hashlib.sha256(f"{self.name} {node.name}".encode()).hexdigest()[:32] + "\n", 0o444)
        hosts = "".join(f"{other.ip} {other.name}\n" for other in self.nodes)
        write(upper / "etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n{hosts}{kubeadm.BALANCER} {kubeadm.ENDPOINT}\n")
        if node.role != CONTROL_PLANE:
            kubeadm.personalize_worker(upper)

    def down(self) -> None:
        """Stops everything that was started and unmounts what was mounted; the state stays."""
        if not self.saved_state():
            return
        self.power_off(self.nodes)
        for node in self.nodes:
            node.unmount()
        self.network_down()

    def destroy(self) -> None:
        self.down()
        shutil.rmtree(self.directory, ignore_errors=True)

    # Network

    def network_up(self) -> None:
        """A bridge in a network namespace of its own, which no packet can leave."""
        if not Path("/run/netns", self.id).exists():
            run(["ip", "netns", "add", self.id])
            run(["ip", "-n", self.id, "link", "set", "lo", "up"])
            run(["ip", "-n", self.id, "link", "add", "lab", "type", "bridge"])
            run(["ip", "-n", self.id, "addr", "add", f"{kubeadm.BALANCER}/24", "dev", "lab"])
            run(["ip", "-n", self.id, "link", "set", "lab", "up"])
        if len(self.control_plane) > 1 and not self.balancer.members():
            # It is outside of the nodes, as a load balancer should be.
            backends = [f"{node.ip}:6443" for node in self.control_plane]
            command: list[str | Path] = ["nsenter", f"--net=/run/netns/{self.id}", "--", tool("balance"), f"{kubeadm.BALANCER}:6443", *backends]
            self.balancer.spawn(command, self.directory / "balance.log", {})

    def network_down(self) -> None:
        Group(self.id).end()
        if Path("/run/netns", self.id).exists():
            run(["ip", "netns", "delete", self.id])

    def exec(self, command: Sequence[str]) -> None:
        """Becomes the command, beside the nodes."""
        if not Path("/run/netns", self.id).exists():
            raise LabError(f"{self.name} is down")
        os.execvp("nsenter", ["nsenter", f"--net=/run/netns/{self.id}", "--", *command])

    # Power

    def power_on(self, nodes: Sequence[Node]) -> None:
        self.network_up()
        shares = self.state.shares
        with phase(f"boot of {names(nodes)}"):
            each(nodes, lambda node: node.power_on(shares))

    def power_off(self, nodes: Sequence[Node]) -> None:
        each(nodes, lambda node: node.power_off())

    def power_cycle(self, nodes: Sequence[Node]) -> None:
        self.power_off(nodes)
        self.power_on(nodes)

    def wait(self, timeout: float = 120, nodes: Sequence[Node] = ()) -> None:
        """Waits until every node's part of the control plane serves, the two leases are held by somebody alive, and every
        worker that has joined is ready."""
        nodes = [node for node in nodes or self.nodes if node.role == CONTROL_PLANE or kubeadm.joined(node)]

        def ask(node: Node) -> None:
            try:
                said = node.in_network(tool("probe"), f"-timeout={timeout}s", *self.questions(node), timeout=timeout + 30)
            except LabError as error:
                raise LabError(f"{node.name}: {str(error).partition('probe: ')[2] or error}") from error
            (node.directory / "probe.log").write_text(said)

        for node in nodes:
            node.running()
        with phase(f"wait for {names(nodes)}"):
            each(nodes, ask)

    def questions(self, node: Node) -> list[str]:
        """What `probe` is asked about this node."""
        if node.role == CONTROL_PLANE:
            return list(self.layout.probe(node))
        return kubeadm.probe_worker(self.control_plane[0], node)

    # Workers

    def join(self, name: str, ca_hash: str | None) -> None:
        """Joins a spare machine with a token that was made for it, and waits until it is ready."""
        node, first = self.node(name), self.control_plane[0]
        if node.role == CONTROL_PLANE or kubeadm.joined(node):
            raise LabError(f"{name} is a node of the cluster already")
        endpoint = kubeadm.endpoint(self)
        token = first.run("kubeadm", "token", "create").strip()
        command = kubeadm.join_command(node, endpoint, token, ca_hash or kubeadm.ca_hash(first))
        # What kubeadm says is for whoever asked.
        ended = subprocess.run([*node.inside(), *command], stdin=subprocess.DEVNULL, check=False).returncode
        if ended:
            raise LabError(f"kubeadm join of {name} ended with {ended}")
        self.wait(nodes=[node])

    # Snapshots

    def saved(self, label: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", label):
            raise LabError(f"{label!r} is no label for a snapshot")
        return self.directory / "snapshots" / label

    def snapshot(self, label: str) -> None:
        """Keeps the nodes' disks. A copy of running etcd members would be torn, so the power goes off meanwhile."""
        saved = self.saved(label)
        new = saved.with_name(f"{label}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        had_power = [node for node in self.nodes if node.pid]
        works = self.working(had_power)
        self.power_off(had_power)
        with phase(f"snapshot {label}"):
            each(self.nodes, lambda node: node.save(new / node.name))
            # Nobody should wait for what did not work.
            (new / "works.json").write_text(json.dumps(works))
            shutil.rmtree(saved, ignore_errors=True)
            new.rename(saved)
        if had_power:
            self.power_on(had_power)
        self.wait_for(works)

    def restore(self, label: str, start: bool = True) -> None:
        """Puts the nodes' disks back, whatever state the nodes are in."""
        saved = self.saved(label)
        if not (saved / "works.json").exists():
            raise LabError(f"{self.name} has no snapshot {label}, but {', '.join(self.labels()) or 'none'}")
        self.power_off(self.nodes)
        with phase(f"restore of {label}"):
            each(self.nodes, lambda node: node.load(saved / node.name))
        if start:
            self.power_on(self.nodes)
            self.wait_for(json.loads((saved / "works.json").read_text()))

    def wait_for(self, works: Sequence[str]) -> None:
        if works:
            self.wait(nodes=[self.node(name) for name in works])

    def labels(self) -> list[str]:
        return sorted(path.parent.name for path in self.directory.glob("snapshots/*/works.json") if path.parent.suffix != ".new")

    def working(self, had_power: Sequence[Node]) -> list[str]:
        """Who works, by name: the control plane's nodes, whose leases are released, and the workers that are ready."""
        control_plane = [node for node in had_power if node.role == CONTROL_PLANE]
        if not control_plane:
            return []
        ready = kubeadm.ready(control_plane[0]) if len(had_power) > len(control_plane) else []
        if not self.release_leases(control_plane):
            return []
        return [node.name for node in had_power if node.role == CONTROL_PLANE or node.name in ready]

    def release_leases(self, nodes: Sequence[Node]) -> bool:
        """Clears the holders of the leases, else whoever starts from the copy waits for a dead holder's lease to end.

        The holders are stopped first, or they would renew it; the power goes off right after that. Returns whether that
        was possible, which needs a control plane that works.
        """
        for node in nodes:
            for pid in node.group.members():
                if command(pid) in ("kube-controller", "kube-scheduler"):
                    os.kill(pid, signal.SIGSTOP)
        patch = ["patch", "--namespace=kube-system", "--type=merge", '--patch={"spec":{"holderIdentity":""}}', "--request-timeout=5s"]
        leases = ["lease/kube-controller-manager", "lease/kube-scheduler"]
        try:
            nodes[0].run("kubectl", f"--kubeconfig={self.layout.ADMIN}", *patch, *leases, timeout=30)
        except LabError as error:
            say(f"the control plane does not work, and the leases keep their holders: {error}")
            return False
        return True

    # Certificates

    def expire(self, nodes: Sequence[Node], flags: Sequence[str]) -> str:
        """Makes certificates expire in the nodes' files, whether they have power or not.

        The kubelet forgot the key that signed its serving certificate, so that one cannot be signed again.
        """
        if not all(node.root.is_mount() for node in nodes):
            raise LabError(f"{self.name} is down")
        fixed: list[str | Path] = [tool("expire"), f"-layout={self.layout.NAME}", "-skip=kubelet-serving"]

        def expire(node: Node) -> str:
            return run([*fixed, f"-root={node.root}", *self.signers(node), *flags])

        return "".join(expire(node) for node in nodes if node.role == CONTROL_PLANE or kubeadm.joined(node))

    def signers(self, node: Node) -> list[str]:
        """A worker does not have the key of the CA that signed its credential."""
        return [] if node.role == CONTROL_PLANE else [f"-signer={self.control_plane[0].root}/etc/kubernetes/pki/ca.crt"]

    def info(self) -> dict[str, object]:
        def about(node: Node) -> dict[str, object]:
            return {"name": node.name, "role": node.role, "ip": node.ip, "pid": node.pid, "netns": node.netns, "root": str(node.root)}

        state = self.state
        return {
            "name": self.name,
            "kubernetes": state.kubernetes,
            "layout": state.layout,
            "programs": state.programs,
            "tools": str(cache() / "bin"),
            "shares": list(state.shares),
            "snapshots": self.labels(),
            "netns": self.id,
            "balancer": f"https://{kubeadm.BALANCER}:6443" if state.nodes > 1 else None,
            "nodes": [about(node) for node in self.nodes],
        }


def sources(module: ModuleType) -> list[Path]:
    """The files that say what a new cluster looks like."""
    return [Path(__file__).with_name(f"{name}.py") for name in ("base", "images", "kubeadm", module.NAME)]


def tool(name: str) -> Path:
    """A program of the lab's own, which `up` built."""
    return cache() / "bin" / name


def default_shares() -> dict[str, str]:
    """The lab's programs and what is built in the checkout, both read-only."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or CHECKOUT / "target").resolve()
    target.mkdir(parents=True, exist_ok=True)
    return {str(cache() / "bin"): "ro", str(target): "ro"}


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
