"""Container images of static programs, made without a registry and without a base image."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .host import cache, digest, phase, stamps

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def archive(release: str, images: Mapping[str, Sequence[str]], programs: Path) -> Path:
    """One file that `ctr images import` takes, with all images of a release: their names and the programs in them."""
    names = [name for content in images.values() for name in content]
    path = cache() / f"images-{release}-{digest(json.dumps(images), *stamps(programs, names))}.tar"
    if path.exists():
        return path
    with phase("images"):
        for old in cache().glob(f"images-{release}-*"):
            old.unlink()
        new = path.with_suffix(".tar.new")
        with tarfile.open(new, "w", format=tarfile.PAX_FORMAT) as tar:
            add(tar, "manifest.json", json.dumps([image(tar, tag, [programs / name for name in names]) for tag, names in images.items()]).encode())
        new.rename(path)
    return path


def image(tar: tarfile.TarFile, tag: str, files: Sequence[Path]) -> dict[str, object]:
    """Adds one image and returns its entry in the manifest."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as content:
        for file in files:
            add(content, f"usr/local/bin/{file.name}", file.read_bytes())
    data = layer.getvalue()
    layer_digest = hashlib.sha256(data).hexdigest()
    config = json.dumps({
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/bin"], "Entrypoint": [f"/usr/local/bin/{files[0].name}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
    }).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    add(tar, config_name, config)
    add(tar, f"{layer_digest}/layer.tar", data)
    return {"Config": config_name, "RepoTags": [tag], "Layers": [f"{layer_digest}/layer.tar"]}


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o755
    tar.addfile(entry, io.BytesIO(data))
