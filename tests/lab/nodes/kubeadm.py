"""The layout of kubeadm: static pods below the kubelet."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import common_layer, enable, install, write
from .host import NETWORK, LabError, phase, run
from .images import archive

if TYPE_CHECKING:
    from .cluster import Cluster
    from .node import Node

NAME = "kubeadm"
COMPONENTS = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"]
PROGRAMS = [*COMPONENTS, "kubeadm", "kubelet", "kubectl", "etcd", "etcdctl", "etcdutl", "pause"]
ADMIN = "/etc/kubernetes/admin.conf"
TOKEN, CERTIFICATE_KEY = "rescue.0123456789abcdef", "5e" * 32
RUNTIME = "unix:///run/containerd/containerd.sock"
ENDPOINT, BALANCER = "api.lab", f"{NETWORK}.1"

# The unit and its drop-in are those of the packages of kubernetes.io.
KUBELET = """\
[Unit]
Description=kubelet: The Kubernetes Node Agent
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
"""

DROP_IN = """\
# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
# This is a file that "kubeadm init" and "kubeadm join" generates at runtime, populating the KUBELET_KUBEADM_ARGS variable dynamically
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
# This is a file that the user can use for overrides of the kubelet args as a last resort. Preferably, the user should use
# the .NodeRegistration.KubeletExtraArgs object in the configuration files instead. KUBELET_EXTRA_ARGS should be sourced from this file.
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
"""

# A kubelet that is faster than containerd exits, and systemd waits for 10 s before it tries again.
ORDER = """\
[Unit]
After=containerd.service
"""

# Without a network for pods a node is never ready. Nothing runs on a worker, so the plugin need not exist.
POD_NETWORK = {"cniVersion": "1.0.0", "name": "lab", "plugins": [{"type": "none"}]}

# An image that the kubelet collects could not be had again, so a full disk must not make it do so.
KUBELET_CONFIGURATION = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "cgroupDriver": "cgroupfs",
    "failSwapOn": False,
    "imageGCHighThresholdPercent": 100,
    "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%"},
}


def images(programs: Path, release: str) -> dict[str, list[str]]:
    """The images that this release wants, by name, and the programs in them."""
    names = run([programs / "kubeadm", "config", "images", "list", f"--kubernetes-version=v{release}"]).split()
    content = {"etcd": ["etcd", "etcdctl"], "pause": ["pause"], **{name: [name] for name in COMPONENTS}}
    return {name: content[short] for name in names if (short := name.rpartition("/")[2].partition(":")[0]) in content}


def layer(into: Path, programs: Path, release: str) -> None:
    pause = next(name for name in images(programs, release) if "/pause:" in name)
    common_layer(into, pause)
    install(into, programs, ["kubeadm", "kubelet", "kubectl"], "usr/bin")
    install(into, programs, ["etcdctl", "etcdutl"], "opt/lab/bin")
    write(into / "usr/lib/systemd/system/kubelet.service", KUBELET)
    write(into / "usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", DROP_IN)
    write(into / "etc/systemd/system/kubelet.service.d/20-containerd.conf", ORDER)
    enable(into, "kubelet.service")
    kube = into / "root/.kube"
    kube.mkdir(parents=True)
    (kube / "config").symlink_to(ADMIN)


def personalize_worker(upper: Path) -> None:
    write(upper / "etc/cni/net.d/10-lab.conflist", json.dumps(POD_NETWORK) + "\n")


def make(cluster: "Cluster") -> None:
    """Makes a control plane and its workers on nodes that have power and nothing else."""
    import_images(cluster)
    first, *others = cluster.control_plane
    with phase("kubeadm init"):
        write(first.root / "root/kubeadm.yaml", documents(*init_configuration(cluster)))
        uploads = ["--upload-certs"] if others else []
        kubeadm(first, "init", "--skip-phases=addon/coredns,addon/kube-proxy", *uploads)
    for node in others:
        with phase(f"kubeadm join of {node.name}"):
            write(node.root / "root/kubeadm.yaml", documents(join_configuration(node)))
            kubeadm(node, "join")
        # kubeadm refuses to add a member to etcd while the one before has not started.
        cluster.wait(nodes=[node])
    if cluster.workers:
        with phase("kubeadm join of workers"), ThreadPoolExecutor() as pool:
            pinned = ca_hash(first)
            list(pool.map(lambda node: node.run(*join_command(node, endpoint(cluster), TOKEN, pinned), timeout=600), cluster.workers))


def import_images(cluster: "Cluster") -> None:
    """A worker needs none of the control plane's images."""
    programs, release = cluster.programs, cluster.kubernetes
    wanted = images(programs, release)
    pause = {name: content for name, content in wanted.items() if content == ["pause"]}
    workers = [*cluster.workers, *cluster.spares]
    whole = archive(release, wanted, programs)
    small = archive(f"{release}-pause", pause, programs) if workers else whole
    loads = [*((node, whole) for node in cluster.control_plane), *((node, small) for node in workers)]
    with phase("import of images"), ThreadPoolExecutor() as pool:
        list(pool.map(lambda load: load_images(*load), loads))


def load_images(node: "Node", file: Path) -> None:
    with file.open("rb") as content:
        node.run("ctr", "--namespace=k8s.io", "images", "import", "-", stdin=content, timeout=300)


def kubeadm(node: "Node", *command: str) -> None:
    node.run("kubeadm", *command, "--config=/root/kubeadm.yaml", "--ignore-preflight-errors=all", timeout=600)


def init_configuration(cluster: "Cluster") -> list[dict[str, object]]:
    first, *others = cluster.control_plane
    # By name in kubeconfigs; by address for who cannot resolve the name.
    balanced = {"controlPlaneEndpoint": endpoint(cluster), "apiServer": {"certSANs": [BALANCER]}} if others else {}
    return [
        {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "InitConfiguration",
            "bootstrapTokens": [{"token": TOKEN, "ttl": "24h0m0s", "groups": ["system:bootstrappers:kubeadm:default-node-token"]}],
            "localAPIEndpoint": {"advertiseAddress": first.ip, "bindPort": 6443},
            "certificateKey": CERTIFICATE_KEY,
            "nodeRegistration": registration(first),
        },
        {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "ClusterConfiguration",
            "kubernetesVersion": f"v{cluster.kubernetes}",
            "clusterName": "lab",
            **balanced,
        },
        KUBELET_CONFIGURATION,
    ]


def join_configuration(node: "Node") -> dict[str, object]:
    return {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "discovery": {"bootstrapToken": {"token": TOKEN, "apiServerEndpoint": f"{ENDPOINT}:6443", "unsafeSkipCAVerification": True}},
        "controlPlane": {"certificateKey": CERTIFICATE_KEY, "localAPIEndpoint": {"advertiseAddress": node.ip, "bindPort": 6443}},
        "nodeRegistration": registration(node),
    }


def endpoint(cluster: "Cluster") -> str:
    """Where clients find the API server, as `kubeadm join` takes it."""
    first, *others = cluster.control_plane
    return f"{ENDPOINT if others else first.ip}:6443"


def join_command(node: "Node", endpoint: str, token: str, pinned: str) -> list[str]:
    """How a machine becomes a worker."""
    return [
        *("kubeadm", "join", endpoint, "--token", token, "--discovery-token-ca-cert-hash", pinned),
        *("--node-name", node.name, "--cri-socket", RUNTIME, "--ignore-preflight-errors=all"),
    ]


def ca_hash(first: "Node") -> str:
    """The hash of the public key of the first certificate in `ca.crt`, by the command that kubeadm's manual gives."""
    pipeline = "openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | openssl pkey -pubin -outform der | openssl dgst -sha256 -r"
    return f"sha256:{first.run('sh', '-c', pipeline).split()[0]}"


def joined(node: "Node") -> bool:
    """Whether a worker belongs to a cluster."""
    return (node.root / "etc/kubernetes/kubelet.conf").exists()


def ready(first: "Node") -> list[str]:
    """The nodes that the API calls ready, none where it does not answer."""
    try:
        said = first.run("kubectl", f"--kubeconfig={ADMIN}", "get", "nodes", "--output=json", "--request-timeout=5s", timeout=30)
    except LabError:
        return []
    items = json.loads(said)["items"]
    return [item["metadata"]["name"] for item in items if ("Ready", "True") in conditions(item)]


def conditions(item: dict[str, Any]) -> list[tuple[str, str]]:
    return [(condition["type"], condition["status"]) for condition in item["status"]["conditions"]]


def registration(node: "Node") -> dict[str, object]:
    return {"name": node.name, "criSocket": RUNTIME}


def documents(*parts: object) -> str:
    """JSON is YAML."""
    return "---\n".join(json.dumps(part, indent=2) + "\n" for part in parts)


def probe(node: "Node") -> list[str]:
    """What `probe` is asked about this node; it sees the node's network and this machine's files."""
    pki = node.root / "etc/kubernetes/pki/etcd"
    return [
        f"-kubeconfig={node.root}{ADMIN}", f"-server=https://{node.ip}:6443",
        f"-etcd=https://{node.ip}:2379", f"-etcd-ca={pki}/ca.crt",
        f"-etcd-cert={pki}/healthcheck-client.crt", f"-etcd-key={pki}/healthcheck-client.key",
        "-healthz=https://127.0.0.1:10257/healthz", "-healthz=https://127.0.0.1:10259/healthz",
    ]


def probe_worker(first: "Node", node: "Node") -> list[str]:
    """What `probe` is asked about a worker: it has no key of its own that may ask for more than its node."""
    return [f"-kubeconfig={first.root}{ADMIN}", f"-server=https://{first.ip}:6443", f"-node={node.name}"]
