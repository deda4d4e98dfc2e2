"""A layout without kubeadm: every component is a unit, and certificates lie in one directory, made by cfssl."""

import base64
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from .base import common_layer, install, write
from .host import phase, run
from .images import archive
from .kubeadm import BALANCER, ENDPOINT, KUBELET_CONFIGURATION, load_images

if TYPE_CHECKING:
    from .cluster import Cluster
    from .node import Node

NAME = "systemd"
UNITS = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"]
PROGRAMS = [*UNITS, "kubectl", "etcdctl", "etcdutl", "pause", "cfssl", "cfssljson"]
ADMIN = "/etc/kubernetes/admin.kubeconfig"
SSL = "/etc/kubernetes/ssl"
PAUSE = "registry.k8s.io/pause:3.10.1"
SERVICE_IP = "10.32.0.1"

CFSSL = {
    "signing": {
        "default": {"expiry": "8760h"},
        "profiles": {"kubernetes": {"usages": ["signing", "key encipherment", "server auth", "client auth"], "expiry": "8760h"}},
    }
}

UNIT = """\
[Unit]
Description={description}
After={after}

[Service]
Type={kind}
ExecStart={command}
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
"""


def layer(into: Path, programs: Path, release: str) -> None:
    common_layer(into, PAUSE)
    install(into, programs, [*UNITS, "kubectl"], "usr/local/bin")
    install(into, programs, ["etcdctl", "etcdutl"], "opt/lab/bin")
    kube = into / "root/.kube"
    kube.mkdir(parents=True)
    (kube / "config").symlink_to(ADMIN)


def make(cluster: "Cluster") -> None:
    """Makes a control plane on nodes that have power and nothing else."""
    file = archive("pause", {PAUSE: ["pause"]}, cluster.programs)
    with phase("import of images"), ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: load_images(node, file), cluster.nodes))
    with phase("certificates"):
        authority = cluster.directory / "authority"
        authority.mkdir(parents=True)
        for name, common_name in (("ca", "kubernetes"), ("front-proxy-ca", "front-proxy")):
            request(authority, name, {"CN": common_name, "key": {"algo": "rsa", "size": 2048}, "ca": {"expiry": "87600h"}})
            cfssl(cluster, authority, name, "-initca")
        # All API servers must accept each other's tokens.
        sign(cluster, authority, "service-account", {"CN": "service-accounts", "O": "Kubernetes"})
        for node in cluster.nodes:
            certificates(cluster, node, authority)
    with phase("units"):
        for node in cluster.nodes:
            units(cluster, node)
            node.run("systemctl", "daemon-reload")
            node.run("systemctl", "enable", "--now", "--no-block", *UNITS)


def certificates(cluster: "Cluster", node: "Node", authority: Path) -> None:
    """Every certificate of a node, and its kubeconfigs: the kubelet's names files, the others hold the data."""
    ssl = node.root / SSL[1:]
    shutil.copytree(authority, ssl)
    here = ["127.0.0.1", "localhost", node.name, node.ip]
    services = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    for name, subject, hosts in (
        ("etcd", {"CN": "etcd"}, here),
        ("apiserver", {"CN": "kube-apiserver"}, [*here, SERVICE_IP, BALANCER, ENDPOINT, *services]),
        ("apiserver-kubelet-client", {"CN": "kube-apiserver-kubelet-client", "O": "system:masters"}, []),
        ("kubelet", {"CN": f"system:node:{node.name}", "O": "system:nodes"}, [node.name, node.ip]),
        ("controller-manager", {"CN": "system:kube-controller-manager"}, []),
        ("scheduler", {"CN": "system:kube-scheduler"}, []),
        ("admin", {"CN": "admin", "O": "system:masters"}, []),
    ):
        sign(cluster, ssl, name, subject, hosts)
    sign(cluster, ssl, "front-proxy-client", {"CN": "front-proxy-client"}, ca="front-proxy-ca")
    server = f"https://{ENDPOINT if len(cluster.nodes) > 1 else node.ip}:6443"
    for name, address in (("admin", server), ("controller-manager", "https://127.0.0.1:6443"), ("scheduler", "https://127.0.0.1:6443")):
        data = [base64.b64encode((ssl / file).read_bytes()).decode() for file in ("ca.pem", f"{name}.pem", f"{name}-key.pem")]
        keys = ("certificate-authority-data", "client-certificate-data", "client-key-data")
        kubeconfig(node, name, address, dict(zip(keys, data, strict=True)))
    files = [f"{SSL}/{file}" for file in ("ca.pem", "kubelet.pem", "kubelet-key.pem")]
    kubeconfig(node, "kubelet", server, dict(zip(("certificate-authority", "client-certificate", "client-key"), files, strict=True)))


def request(directory: Path, name: str, content: dict[str, object]) -> None:
    write(directory / f"{name}-csr.json", json.dumps(content, indent=2) + "\n")


def sign(cluster: "Cluster", ssl: Path, name: str, subject: dict[str, str], hosts: list[str] | None = None, ca: str = "ca") -> None:
    """Makes a pair as cfssl's documentation does it: `NAME.pem`, `NAME-key.pem` and the request, `NAME.csr`."""
    write(ssl / "ca-config.json", json.dumps(CFSSL, indent=2) + "\n")
    names = {"names": [{"O": subject["O"]}]} if "O" in subject else {}
    request(ssl, name, {"CN": subject["CN"], "key": {"algo": "rsa", "size": 2048}, "hosts": hosts or [], **names})
    cfssl(cluster, ssl, name, f"-ca={ca}.pem", f"-ca-key={ca}-key.pem", "-config=ca-config.json", "-profile=kubernetes")


def cfssl(cluster: "Cluster", directory: Path, name: str, *flags: str) -> None:
    made = run([cluster.programs / "cfssl", "gencert", "-loglevel=3", *flags, f"{name}-csr.json"], cwd=directory)
    subprocess.run([cluster.programs / "cfssljson", "-bare", name], cwd=directory, input=made.encode(), check=True)


def kubeconfig(node: "Node", name: str, server: str, credentials: dict[str, str]) -> None:
    authority = {key: value for key, value in credentials.items() if key.startswith("certificate-authority")}
    user = {key: value for key, value in credentials.items() if key not in authority}
    content = [
        "apiVersion: v1", "kind: Config", "clusters:", "- name: lab", "  cluster:", f"    server: {server}",
        *(f"    {key}: {value}" for key, value in authority.items()),
        "users:", f"- name: {name}", "  user:",
        *(f"    {key}: {value}" for key, value in user.items()),
        "contexts:", "- name: default", "  context:", "    cluster: lab", f"    user: {name}", "current-context: default",
    ]
    write(node.root / f"etc/kubernetes/{name}.kubeconfig", "\n".join(content) + "\n", 0o600)


def units(cluster: "Cluster", node: "Node") -> None:
    members = ",".join(f"{member.name}=https://{member.ip}:2380" for member in cluster.nodes)
    etcd_servers = ",".join(f"https://{member.ip}:2379" for member in cluster.nodes)
    config = {
        **KUBELET_CONFIGURATION,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": f"{SSL}/ca.pem"}},
        "authorization": {"mode": "Webhook"},
        "clusterDomain": "cluster.local",
        "tlsCertFile": f"{SSL}/kubelet.pem",
        "tlsPrivateKeyFile": f"{SSL}/kubelet-key.pem",
    }
    write(node.root / "var/lib/kubelet/config.yaml", json.dumps(config, indent=2) + "\n")
    unit(node, "etcd", "etcd", "network-online.target", "notify", {
        "name": node.name,
        "data-dir": "/var/lib/etcd",
        "cert-file": f"{SSL}/etcd.pem",
        "key-file": f"{SSL}/etcd-key.pem",
        "trusted-ca-file": f"{SSL}/ca.pem",
        "client-cert-auth": "true",
        "peer-cert-file": f"{SSL}/etcd.pem",
        "peer-key-file": f"{SSL}/etcd-key.pem",
        "peer-trusted-ca-file": f"{SSL}/ca.pem",
        "peer-client-cert-auth": "true",
        "listen-peer-urls": f"https://{node.ip}:2380",
        "listen-client-urls": f"https://{node.ip}:2379,https://127.0.0.1:2379",
        "advertise-client-urls": f"https://{node.ip}:2379",
        "initial-advertise-peer-urls": f"https://{node.ip}:2380",
        "initial-cluster": members,
        "initial-cluster-state": "new",
    })
    unit(node, "kube-apiserver", "Kubernetes API Server", "etcd.service", "notify", {
        "advertise-address": node.ip,
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "client-ca-file": f"{SSL}/ca.pem",
        "enable-admission-plugins": "NodeRestriction",
        "etcd-cafile": f"{SSL}/ca.pem",
        "etcd-certfile": f"{SSL}/apiserver.pem",
        "etcd-keyfile": f"{SSL}/apiserver-key.pem",
        "etcd-servers": etcd_servers,
        "kubelet-certificate-authority": f"{SSL}/ca.pem",
        "kubelet-client-certificate": f"{SSL}/apiserver-kubelet-client.pem",
        "kubelet-client-key": f"{SSL}/apiserver-kubelet-client-key.pem",
        "proxy-client-cert-file": f"{SSL}/front-proxy-client.pem",
        "proxy-client-key-file": f"{SSL}/front-proxy-client-key.pem",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-client-ca-file": f"{SSL}/front-proxy-ca.pem",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": f"{SSL}/service-account.pem",
        "service-account-signing-key-file": f"{SSL}/service-account-key.pem",
        "service-cluster-ip-range": "10.32.0.0/24",
        "tls-cert-file": f"{SSL}/apiserver.pem",
        "tls-private-key-file": f"{SSL}/apiserver-key.pem",
    })
    manager = "/etc/kubernetes/controller-manager.kubeconfig"
    unit(node, "kube-controller-manager", "Kubernetes Controller Manager", "kube-apiserver.service", "simple", {
        "authentication-kubeconfig": manager,
        "authorization-kubeconfig": manager,
        "bind-address": "127.0.0.1",
        "client-ca-file": f"{SSL}/ca.pem",
        "cluster-signing-cert-file": f"{SSL}/ca.pem",
        "cluster-signing-key-file": f"{SSL}/ca-key.pem",
        "kubeconfig": manager,
        "leader-elect": "true",
        "requestheader-client-ca-file": f"{SSL}/front-proxy-ca.pem",
        "root-ca-file": f"{SSL}/ca.pem",
        "service-account-private-key-file": f"{SSL}/service-account-key.pem",
        "use-service-account-credentials": "true",
    })
    scheduler = "/etc/kubernetes/scheduler.kubeconfig"
    unit(node, "kube-scheduler", "Kubernetes Scheduler", "kube-apiserver.service", "simple", {
        "authentication-kubeconfig": scheduler,
        "authorization-kubeconfig": scheduler,
        "bind-address": "127.0.0.1",
        "kubeconfig": scheduler,
        "leader-elect": "true",
    })
    unit(node, "kubelet", "Kubernetes Kubelet", "containerd.service", "simple", {
        "config": "/var/lib/kubelet/config.yaml",
        "kubeconfig": "/etc/kubernetes/kubelet.kubeconfig",
    })


def unit(node: "Node", name: str, description: str, after: str, kind: str, flags: dict[str, str]) -> None:
    command = " \\\n  ".join([f"/usr/local/bin/{name}", *(f"--{flag}={value}" for flag, value in flags.items())])
    write(node.root / f"etc/systemd/system/{name}.service", UNIT.format(description=description, after=after, kind=kind, command=command))


def probe(node: "Node") -> list[str]:
    """What `probe` is asked about this node; it sees the node's network and this machine's files."""
    ssl = node.root / SSL[1:]
    return [
        f"-kubeconfig={node.root}{ADMIN}", f"-server=https://{node.ip}:6443",
        f"-etcd=https://{node.ip}:2379", f"-etcd-ca={ssl}/ca.pem", f"-etcd-cert={ssl}/etcd.pem", f"-etcd-key={ssl}/etcd-key.pem",
        "-healthz=https://127.0.0.1:10257/healthz", "-healthz=https://127.0.0.1:10259/healthz",
    ]
