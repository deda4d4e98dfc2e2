//! What would keep the node from coming back, or is no certificate's fault: looked for before anything is stopped.

use std::path::{Path, PathBuf};

use crate::access::{Access, with_causes};
use crate::cri::Cri;
use crate::inventory::Placement;
use crate::live::{Obstacle, ObstacleKind};
use crate::manifest::{self, Needs};
use crate::place::{Blob, Kind, Observed, Place};
use crate::systemd;

/// Bytes that etcd and the kubelet need to go on writing at all.
const ROOM: u64 = 32 << 20;
/// Units of other tools that renew certificates by themselves: kubespray's, DKP's, and common hand-made ones.
const RIVALS: [&str; 4] = [
    "k8s-certs-renew",
    "renew-certs",
    "kubeadm-certs-renew",
    "kubeadm-renew-certs",
];

/// Looks for all of them but those that the processes themselves show.
pub(super) fn look(access: &Access, cri: Option<&mut Cri>, obstacles: &mut Vec<Obstacle>) {
    disks(access, obstacles);
    let pods = pods(access, obstacles);
    if let Some(cri) = cri {
        readiness(cri, obstacles);
        images(access, &pods, cri, obstacles);
    }
    for (component, needs) in &pods {
        mounts(access, component, needs, obstacles);
    }
    rivals(obstacles);
    signer(access, obstacles);
}

fn push(
    obstacles: &mut Vec<Obstacle>,
    kind: ObstacleKind,
    subject: &str,
    text: String,
    hint: impl Into<String>,
) {
    obstacles.push(Obstacle {
        kind,
        subject: subject.to_owned(),
        text,
        hint: hint.into(),
    });
}

/// Two certificates in the signer's file, or no key, kill the controller manager just after it took its lease
/// (kubernetes/kubernetes, `pkg/controller/certificates/signer/ca_provider.go`); one that runs already goes on.
fn signer(access: &Access, obstacles: &mut Vec<Obstacle>) {
    let told = |flag: &str| {
        let key = format!("flag:kube-controller-manager:cluster-signing-{flag}-file");
        access.inventory.facts.first(&key).map(|fact| &fact.value)
    };
    let (path, key) = (told("cert"), told("key"));
    if let Some(key) = key
        && matches!(access.disk.kind(Path::new(key)), Ok(Observed::Absent))
    {
        let text = format!(
            "{key} is missing: kube-controller-manager is told to sign with it, and ends as soon as it leads"
        );
        let hint = "where the CA's key is elsewhere by policy, take --cluster-signing-cert-file and --cluster-signing-key-file out of its manifest, as kubeadm does";
        push(obstacles, ObstacleKind::Signer, key, text, hint);
    }
    let Some(Ok(certs)) = path.map(|path| access.certs(Path::new(path))) else {
        return;
    };
    if let (Some(path), true) = (path, certs.len() > 1) {
        let text = format!(
            "{path} holds {} certificates: kube-controller-manager signs with it, and ends as soon as it leads",
            certs.len()
        );
        let hint =
            "leave the signing certificate alone in it; a bundle belongs into files of its own";
        push(obstacles, ObstacleKind::Signer, path, text, hint);
    }
}

fn disks(access: &Access, obstacles: &mut Vec<Obstacle>) {
    let data = access.inventory.facts.first("flag:etcd:data-dir");
    let data = data.map(|fact| PathBuf::from(&fact.value));
    let kubelet = Path::new("/var/lib/kubelet");
    let anchor = access.profile.anchor.as_path();
    let mut directories: Vec<&Path> = vec![anchor, kubelet];
    directories.extend(data.as_deref());
    for directory in directories {
        // A directory that cannot be asked is found by whoever reads files in it.
        let Ok(free) = access.disk.free_bytes(directory) else {
            continue;
        };
        let name = directory.display().to_string();
        if free < ROOM {
            let text = format!(
                "the file system of {name} is full: {} KiB are free",
                free >> 10
            );
            let hint = format!("free some space: df -h {name}; journalctl --vacuum-size=100M");
            push(obstacles, ObstacleKind::Disk, &name, text, hint);
        } else if let Err(error) = access.disk.writable(directory) {
            let text = format!("{name} cannot be written: {}", with_causes(&error));
            let hint = format!("mount it writable: mount -o remount,rw {name}");
            push(obstacles, ObstacleKind::Disk, &name, text, hint);
        }
    }
}

/// The static pods' manifests, by component; what is none is an obstacle.
fn pods(access: &Access, obstacles: &mut Vec<Obstacle>) -> Vec<(String, Needs)> {
    let mut pods = Vec::new();
    for (component, source) in &access.profile.component {
        let Some(path) = &source.manifest else {
            continue;
        };
        let Ok(Observed::Present((_, Blob::File(text)))) =
            access.disk.read(&Place::File(PathBuf::from(path)))
        else {
            continue;
        };
        match manifest::pod_needs(&text) {
            Ok(needs) => pods.push((component.clone(), needs)),
            Err(why) => {
                let text = format!("{path} {why}, so the kubelet starts no {component}");
                let hint = "mend it, or put a copy back: ls /etc/kubernetes/tmp";
                push(obstacles, ObstacleKind::Manifest, component, text, hint);
            },
        }
        doubles(access, Path::new(path), component, obstacles);
    }
    pods
}

/// A copy that lies beside a manifest is a second pod of the same name to the kubelet, unless its name begins with a dot.
fn doubles(access: &Access, manifest: &Path, component: &str, obstacles: &mut Vec<Obstacle>) {
    let Some(directory) = manifest.parent() else {
        return;
    };
    let listed = access.disk.list(directory).unwrap_or_default();
    let names = listed
        .into_iter()
        .filter_map(|(name, _)| name.into_string().ok());
    let own = manifest
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let copies = names.filter(|name| name.starts_with(own) && name != own);
    for name in copies {
        let path = directory.join(&name).display().to_string();
        let text = format!("{path} is a second manifest of {component} to the kubelet");
        let hint = format!("move it elsewhere: mv {path} /root/");
        push(obstacles, ObstacleKind::Rival, component, text, hint);
    }
}

fn readiness(cri: &mut Cri, obstacles: &mut Vec<Obstacle>) {
    let conditions = cri.status().unwrap_or_default();
    // Without a network plugin only pods in the node's own network run: the control plane does not mind.
    for (name, ready, why) in conditions {
        if name == "RuntimeReady" && !ready {
            let text = format!("the container runtime is not ready: {why}");
            let hint = "systemctl restart containerd (or crio)";
            push(
                obstacles,
                ObstacleKind::Runtime,
                "container runtime",
                text,
                hint,
            );
        }
    }
}

fn images(access: &Access, pods: &[(String, Needs)], cri: &mut Cri, obstacles: &mut Vec<Obstacle>) {
    let named = pods.iter().flat_map(|(component, needs)| {
        let images = needs.images.iter();
        images.map(move |image| (component.as_str(), image.clone()))
    });
    let pause = access
        .inventory
        .facts
        .first("flag:kubelet:pod-infra-container-image");
    let pause = pause.map(|fact| fact.value.clone());
    let pause = pause.or_else(|| cri.sandbox_image().ok().flatten());
    let all: Vec<(&str, String)> = named.chain(pause.map(|image| ("pause", image))).collect();
    for (component, image) in all {
        if matches!(cri.has_image(&image), Ok(false)) {
            let text = format!(
                "the image {image} is not on this node, so {component} could not start again"
            );
            let hint = "bring it: ctr -n k8s.io images import FILE";
            push(obstacles, ObstacleKind::Image, component, text, hint);
        }
    }
}

/// Files and directories that a pod mounts; those that a rescue makes are left to it.
fn mounts(access: &Access, component: &str, needs: &Needs, obstacles: &mut Vec<Obstacle>) {
    let files = needs.files.iter().map(|path| (path, Kind::File));
    let directories = needs.directories.iter().map(|path| (path, Kind::Directory));
    for (path, wanted) in files.chain(directories) {
        let real = access.disk.real_path(Path::new(path)).ok().flatten();
        let kind = real.and_then(|real| access.disk.kind(&real).ok()?.present().copied());
        if kind == Some(wanted) || is_issued(access, Path::new(path)) {
            continue;
        }
        let what = match kind {
            None => "does not exist",
            Some(_) if wanted == Kind::File => "is no file",
            Some(_) => "is no directory",
        };
        let text = format!("{path} {what}, and {component} mounts it");
        let hint = "put it back: rescue-kit backup list";
        push(obstacles, ObstacleKind::Mount, component, text, hint);
    }
}

/// Whether a path is one that a rescue makes anew.
fn is_issued(access: &Access, path: &Path) -> bool {
    access
        .inventory
        .credentials
        .iter()
        .any(|credential| match &credential.placement {
            Placement::Pair { cert, key } => cert == path || key == path,
            _ => credential.path() == path,
        })
}

fn rivals(obstacles: &mut Vec<Obstacle>) {
    if !systemd::is_running() {
        return;
    }
    for timer in systemd::timers().unwrap_or_default() {
        let name = timer.trim_end_matches(".timer");
        if RIVALS.contains(&name) {
            let text = format!("{timer} renews certificates by itself");
            let hint = format!("systemctl stop {timer}, for as long as the rescue takes");
            push(obstacles, ObstacleKind::Rival, &timer, text, hint);
        }
    }
}
