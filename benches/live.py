"""Measures rescues of real control planes beside the hand-made floor and kubeadm's documented procedure."""

import json
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CLUSTER = REPOSITORY / "tests/lab/cluster"
FILES = "/etc/kubernetes /var/lib/kubelet/pki"
# What kubernetes.io documents: https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/
DOCUMENTED = """kubeadm certs renew all >/dev/null
mkdir /root/aside; mv /etc/kubernetes/manifests/*.yaml /root/aside/; sleep 20; mv /root/aside/*.yaml /etc/kubernetes/manifests/"""

Row = tuple[str, str, str, bool]


class Lab:
    """A cluster of the lab, and a meter beside it."""

    def __init__(self, name: str, nodes: int) -> None:
        self.name = name
        self.call("up", "--nodes", str(nodes))
        self.info = json.loads(self.call("info"))
        self.nodes = [node["name"] for node in self.info["nodes"]]
        self.endpoints = [f"https://{node['ip']}:6443" for node in self.info["nodes"]]

    def call(self, verb: str, *rest: str) -> str:
        words = [CLUSTER, verb, self.name, *rest]
        ran = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if ran.returncode:
            sys.exit(f"bench: {verb} {self.name} {' '.join(rest)}: {ran.returncode}: {ran.stderr.strip()}")
        return ran.stdout

    def shell(self, node: str, line: str) -> str:
        return self.call("exec", node, "--", "sh", "-euc", line)

    def until(self, node: str, line: str, seconds: float = 60) -> None:
        """Waits until a line of shell succeeds in a node."""
        end = time.monotonic() + seconds
        words = [CLUSTER, "exec", self.name, node, "--", "sh", "-c", line]
        while subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True).returncode:
            if time.monotonic() > end:
                sys.exit(f"bench: {node}: not within {seconds} s: {line}")

    @contextmanager
    def meter(self, node: str):
        """Measures with the administrator's kubeconfig of a node; the report is there after the block."""
        root = self.call("root", node).strip()
        words = [CLUSTER, "net", self.name, "--", f"{self.info['tools']}/meter", "-watch-leases", f"-kubeconfig={root}/etc/kubernetes/admin.conf"]
        words += [f"-endpoint={endpoint}" for endpoint in self.endpoints]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        report: dict = {}
        try:
            yield report
        finally:
            process.send_signal(signal.SIGTERM)
            report.update(json.loads(process.communicate(timeout=30)[0]))


def measure(binary: Path, rounds: int) -> list[Row]:
    """Every patient in turn, each beside its floor, `rounds` times."""
    rows: list[Row] = []
    one = Lab("one", 1)
    rows += due(one, binary, rounds)
    rows += power_cycled(one, binary, rounds)
    rows += restarted(one, binary, rounds)
    one.call("down")
    three = Lab("three", 3)
    rows += quorum_lost(three, binary, rounds)
    rows += rolling(three, binary, rounds)
    three.call("down")
    return rows


def due(lab: Lab, binary: Path, rounds: int) -> list[Row]:
    """Leaves that end in 20 days, while the cluster works."""
    soon = (datetime.now(UTC) + timedelta(days=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    gets, writes, gaps, documented = 0, 0, [], []
    for number in range(rounds):
        note("due", number, rounds)
        lab.call("restore", "fresh")
        lab.call("expire", "--", "-not-after", soon)
        with lab.meter("cp1") as seen:
            pause(3)
            lab.shell("cp1", f"{binary} run --yes >/root/said")
        gets += seen["endpoints"][0]["failures"]
        writes += seen["writes"]["failures"]
        gaps.append(max(lease["longest_gap_ms"] for lease in seen["leases"]) / 1000)
        lab.call("restore", "fresh")
        lab.call("expire", "--", "-not-after", soon)
        with lab.meter("cp1") as seen:
            pause(3)
            lab.shell("cp1", DOCUMENTED)
            lab.until("cp1", "kubectl get --raw /readyz")
            pause(3)
        documented.append(seen["endpoints"][0]["total_gap_ms"] / 1000)
    gap = statistics.median(gaps)
    return [
        ("due: failed reads with a client certificate", "0", str(gets), gets == 0),
        ("due: failed writes", "0", str(writes), writes == 0),
        ("due: longest time without a renewal of a lease", "<= 5 s", f"{gap:.1f} s", gap <= 5),
        ("due: kubeadm's documented procedure, time without the API", "-", f"{statistics.median(documented):.1f} s", True),
    ]


def power_cycled(lab: Lab, binary: Path, rounds: int) -> list[Row]:
    """Everything expired, the kubelet in its exit loop."""
    lab.call("restore", "fresh")
    lab.call("expire")
    lab.call("power-cycle")
    lab.call("snapshot", "ill")
    lab.shell("cp1", f"{binary} run --yes >/root/said; tar -C / -cf /root/right.tar {FILES}")
    right = Path(lab.call("root", "cp1").strip(), "root/right.tar").read_bytes()
    first, verified, floor_first, floor_verified = [], [], [], []
    for number in range(rounds):
        note("power-cycled", number, rounds)
        for writes, settled, line in (
            (first, verified, f"{binary} run --yes >/root/said"),
            (floor_first, floor_verified, "tar -C / -xf /root/right.tar; systemctl reset-failed kubelet; systemctl restart kubelet"),
        ):
            lab.call("restore", "ill")
            lab.until("cp1", "systemctl show -p NRestarts kubelet | grep -qv =0")
            Path(lab.call("root", "cp1").strip(), "root/right.tar").write_bytes(right)
            with lab.meter("cp1") as seen:
                began = time.time()
                lab.shell("cp1", line)
                ended = time.time()
                if settled is floor_verified:
                    pause(40)
            started = datetime.fromisoformat(seen["started"]).timestamp()
            writes.append(started + seen["writes"]["first_success_ms"] / 1000 - began)
            thirds = [lease["holders"][-1]["third_renewal_ms"] for lease in seen["leases"]]
            settled.append(ended - began if settled is verified else started + max(thirds) / 1000 - began)
    return [
        ratio("power-cycled: first authenticated write", 1.3, first, floor_first),
        ratio("power-cycled: all verified", 1.1, verified, floor_verified),
    ]


def restarted(lab: Lab, binary: Path, rounds: int) -> list[Row]:
    """A key pair that the API server reads only when it starts was touched; beside the removal of its sandbox by hand."""
    crictl = "/root/crictl --runtime-endpoint unix:///run/containerd/containerd.sock"
    by_hand = f"{crictl} rmp --force $({crictl} pods --quiet --name kube-apiserver-cp1)"
    built = Path(subprocess.run([REPOSITORY / "tests/lab/build", "crictl"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip(), "crictl")
    ours, floor = [], []
    for number in range(rounds):
        note("restarted", number, rounds)
        for times, line in (
            (ours, f"touch /etc/kubernetes/pki/sa.pub; {binary} run --yes >/root/said"),
            (floor, f"{by_hand}; until kubectl get --raw /readyz; do :; done"),
        ):
            lab.call("restore", "fresh")
            shutil.copy2(built, Path(lab.call("root", "cp1").strip(), "root/crictl"))
            with lab.meter("cp1") as seen:
                pause(3)
                lab.shell("cp1", line)
                pause(2)
            times.append(seen["endpoints"][0]["total_gap_ms"] / 1000)
    return [ratio("API server alone: time without the API", 1.25, ours, floor)]


def quorum_lost(lab: Lab, binary: Path, rounds: int) -> list[Row]:
    """Three dead nodes, one after another; beside three kubelets that are started at once with right files."""
    lab.call("restore", "fresh")
    lab.call("expire")
    lab.call("power-cycle")
    lab.call("snapshot", "ill")
    right = {}
    for node in lab.nodes:
        lab.shell(node, f"{binary} run --yes >/root/said; tar -C / -cf /root/right.tar {FILES}")
        right[node] = Path(lab.call("root", node).strip(), "root/right.tar").read_bytes()
    ours, floor = [], []
    for number in range(rounds):
        note("quorum lost", number, rounds)
        for times in (ours, floor):
            lab.call("restore", "ill")
            for node in lab.nodes:
                Path(lab.call("root", node).strip(), "root/right.tar").write_bytes(right[node])
            with lab.meter("cp1") as seen:
                began = time.time()
                if times is ours:
                    for node in lab.nodes:
                        lab.shell(node, f"{binary} run --yes >/root/said")
                else:
                    each = [subprocess.Popen([CLUSTER, "exec", lab.name, node, "--", "sh", "-c",
                                              "tar -C / -xf /root/right.tar; systemctl reset-failed kubelet; systemctl restart kubelet"])
                            for node in lab.nodes]
                    for process in each:
                        process.wait()
                    lab.until("cp1", "kubectl get --raw /readyz", 180)
                    pause(3)
            started = datetime.fromisoformat(seen["started"]).timestamp()
            times.append(started + seen["writes"]["first_success_ms"] / 1000 - began)
    return [ratio("three dead nodes: quorum's first authenticated write", 1.5, ours, floor)]


def rolling(lab: Lab, binary: Path, rounds: int) -> list[Row]:
    """Leaves that end in 20 days on three nodes, one after another, while somebody writes through all three."""
    soon = (datetime.now(UTC) + timedelta(days=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    lost, gaps = 0, []
    for number in range(rounds):
        note("rolling", number, rounds)
        lab.call("restore", "fresh")
        lab.call("expire", "--", "-not-after", soon)
        with lab.meter("cp1") as seen:
            pause(3)
            for node in lab.nodes:
                lab.shell(node, f"{binary} run --yes >/root/said")
        lost += seen["writes"]["lost"]
        gaps.append(max(endpoint["total_gap_ms"] for endpoint in seen["endpoints"]) / 1000)
    gap = statistics.median(gaps)
    return [
        ("rolling: lost writes", "0", str(lost), lost == 0),
        ("rolling: time without any one endpoint", "0 s", f"{gap:.1f} s", gap == 0),
    ]


def ratio(what: str, target: float, ours: list[float], floor: list[float]) -> Row:
    a, b = statistics.median(ours), statistics.median(floor)
    return (what, f"<= {target} x floor", f"{a / b:.2f} x ({a:.1f} s / {b:.1f} s)", a <= target * b)


def pause(seconds: float) -> None:
    """Lets the meter see an undisturbed cluster for a while."""
    time.sleep(seconds)


def note(what: str, number: int, rounds: int) -> None:
    print(f"{what}: round {number + 1} of {rounds}", file=sys.stderr)
