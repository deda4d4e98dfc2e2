//! A control-plane node as kubeadm 1.34 leaves it, in memory.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::crypto::{self, CryptoError, Signer};
use crate::drill::layout::{
    ADDRESS, At, Authority, KUBECONFIG, KUBELET, LEAVES, Leaf, NODE, PKI, SERVER, TEXTS,
};
use crate::drill::tree::Tree;
use crate::drill::{Dates, DrillError, TEN_YEARS, YEAR};
use crate::issue;
use crate::pki::cert::Cert;
use crate::pki::digest::hex;
use crate::pki::key::{KeyAlgorithm, KeyForm, PrivateKey};
use crate::pki::name::{Attribute, Name};
use crate::pki::pem;
use crate::pki::san::San;
use crate::pki::utc::Utc;
use crate::template::fill;

/// Makes the whole tree. `certified` is the address that certificates name.
pub(super) fn tree(
    algorithm: &KeyAlgorithm,
    dates: Dates,
    certified: &str,
) -> Result<Tree, DrillError> {
    // For the kubelet two, the authorities three, the service accounts one.
    let mut keys = keys(algorithm, 6 + LEAVES.len())?.into_iter();
    let mut key = || keys.next().ok_or(CryptoError::Random);
    let mut tree = Tree::default();
    texts(&mut tree, dates.installed)?;
    kubelet_serving(&mut tree, [key()?, key()?], dates.kubelet)?;
    service_accounts(&mut tree, &key()?, dates.installed)?;
    let mut authorities = Vec::new();
    for which in [Authority::Cluster, Authority::Etcd, Authority::FrontProxy] {
        let key = key()?;
        pair(&mut tree, which.file(), &key, dates.installed);
        let made = authority(which, &key, dates.installed)?;
        certificate(&mut tree, which.file(), &made.cert, dates.installed);
        authorities.push(made);
    }
    for leaf in &LEAVES {
        let (key, signer) = (key()?, &authorities[leaf.signer as usize]);
        let at = match leaf.at {
            At::Kubelet => dates.kubelet,
            At::Kubeconfig(_) | At::Pair(_) => dates.leaves,
        };
        let cert = issued(leaf, signer, &key, at, certified)?;
        place(&mut tree, leaf, &cert, &key, &authorities[0].cert, at);
    }
    kubelet_conf(&mut tree, &authorities[0].cert, dates.installed);
    Ok(tree)
}

/// Makes an authority with this key, as kubeadm does at `at`.
pub(super) fn authority(
    which: Authority,
    key: &PrivateKey,
    at: Utc,
) -> Result<issue::Authority, DrillError> {
    let subject = subject(which.name(), None)?;
    let cert = issue::new_authority(&subject, key, at.backdated(), at.plus(TEN_YEARS), None)?;
    Ok(issue::Authority::load(cert, Vec::new(), key)?)
}

/// Generating an RSA key takes longer than all the rest, so it is done on every core.
fn keys(algorithm: &KeyAlgorithm, count: usize) -> Result<Vec<PrivateKey>, CryptoError> {
    let next = AtomicUsize::new(0);
    let made: Vec<OnceLock<_>> = (0..count).map(|_| OnceLock::new()).collect();
    let work = || {
        while let Some(slot) = made.get(next.fetch_add(1, Ordering::Relaxed)) {
            // No other thread has drawn this number.
            let _ = slot.set(crypto::generate(algorithm, KeyForm::Sec1));
        }
    };
    thread::scope(|scope| {
        for _ in 1..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
        work();
    });
    made.into_iter()
        .map(|slot| slot.into_inner().unwrap_or(Err(CryptoError::Random)))
        .collect()
}

fn issued(
    leaf: &Leaf,
    signer: &issue::Authority,
    key: &PrivateKey,
    at: Utc,
    certified: &str,
) -> Result<Cert, DrillError> {
    let holes = [("node", NODE), ("address", certified)];
    let names: Vec<San> = leaf
        .names
        .iter()
        .filter_map(|name| San::parse(&fill(name, &holes)))
        .collect();
    let template = issue::prototype(&subject(leaf.cn, leaf.o)?, leaf.usages, &names)?;
    let key = Signer::load(key)?;
    let (begin, end) = (at.backdated(), at.plus(YEAR));
    Ok(issue::reissue(
        &template,
        signer,
        key.spki(),
        begin,
        end,
        None,
        &[],
    )?)
}

fn place(tree: &mut Tree, leaf: &Leaf, cert: &Cert, key: &PrivateKey, ca: &Cert, at: Utc) {
    match leaf.at {
        At::Kubeconfig(name) => {
            let embedded = [
                ("cert-field", "client-certificate-data"),
                ("cert", &STANDARD.encode(cert.to_pem())),
                ("key-field", "client-key-data"),
                (
                    "key",
                    &Zeroizing::new(STANDARD.encode(key.to_pem().as_bytes())),
                ),
            ];
            kubeconfig(tree, name, leaf.cn, &embedded, ca, at);
        },
        At::Kubelet => {
            let name = format!("{KUBELET}/kubelet-client-{}.pem", at.kubelet_stamp());
            let text = Zeroizing::new([cert.to_pem().as_bytes(), key.to_pem().as_bytes()].concat());
            tree.file(&name, 0o600, at, &text);
            tree.link(
                &format!("{KUBELET}/kubelet-client-current.pem"),
                &format!("/{name}"),
            );
        },
        At::Pair(name) => {
            pair(tree, name, key, at);
            certificate(tree, name, cert, at);
        },
    }
}

/// Refers to the kubelet's own file, as kubeadm's phase `kubelet-finalize` leaves it.
fn kubelet_conf(tree: &mut Tree, ca: &Cert, at: Utc) {
    let own = format!("/{KUBELET}/kubelet-client-current.pem");
    let referenced = [
        ("cert-field", "client-certificate"),
        ("cert", &own),
        ("key-field", "client-key"),
        ("key", &own),
    ];
    kubeconfig(tree, "kubelet.conf", "system:node:cp1", &referenced, ca, at);
}

fn kubeconfig(
    tree: &mut Tree,
    name: &str,
    user: &str,
    credential: &[(&str, &str)],
    ca: &Cert,
    at: Utc,
) {
    let ca = STANDARD.encode(ca.to_pem());
    let mut holes = vec![("address", ADDRESS), ("ca", &ca), ("user", user)];
    holes.extend(credential);
    tree.file(
        &format!("etc/kubernetes/{name}"),
        0o600,
        at,
        fill(KUBECONFIG, &holes).as_bytes(),
    );
}

fn pair(tree: &mut Tree, name: &str, key: &PrivateKey, at: Utc) {
    tree.file(
        &format!("{PKI}/{name}.key"),
        0o600,
        at,
        key.to_pem().as_bytes(),
    );
}

fn certificate(tree: &mut Tree, name: &str, cert: &Cert, at: Utc) {
    tree.file(
        &format!("{PKI}/{name}.crt"),
        0o644,
        at,
        cert.to_pem().as_bytes(),
    );
}

/// Both halves go through kubeadm's writer of keys, hence the mode of `sa.pub`.
fn service_accounts(tree: &mut Tree, key: &PrivateKey, at: Utc) -> Result<(), DrillError> {
    pair(tree, "sa", key, at);
    let public = pem::encode("PUBLIC KEY", Signer::load(key)?.spki());
    tree.file(&format!("{PKI}/sa.pub"), 0o600, at, public.as_bytes());
    Ok(())
}

/// The kubelet makes its serving pair itself (client-go `util/cert`, `GenerateSelfSignedCertKey`): below an authority
/// whose key it forgets. A real one is always RSA; here it is as quick to make as the rest.
fn kubelet_serving(
    tree: &mut Tree,
    [authority_key, key]: [PrivateKey; 2],
    at: Utc,
) -> Result<(), DrillError> {
    let (begin, end) = (at.plus(-3600), at.plus(YEAR));
    let root = subject(&format!("{NODE}-ca@{}", at.unix()), None)?;
    let root = issue::new_authority(&root, &authority_key, begin, end, None)?;
    let root = issue::Authority::load(root, Vec::new(), &authority_key)?;
    let own = subject(&format!("{NODE}@{}", at.unix()), None)?;
    let template = issue::prototype(&own, SERVER, &[San::Dns(NODE.to_owned())])?;
    let spki = Signer::load(&key)?.spki().to_vec();
    let cert = issue::reissue(&template, &root, &spki, begin, end, None, &[])?;
    let text = [cert.to_pem(), root.cert.to_pem()].concat();
    tree.file(
        &format!("{KUBELET}/kubelet.crt"),
        0o644,
        at,
        text.as_bytes(),
    );
    tree.file(
        &format!("{KUBELET}/kubelet.key"),
        0o600,
        at,
        key.to_pem().as_bytes(),
    );
    Ok(())
}

fn texts(tree: &mut Tree, at: Utc) -> Result<(), CryptoError> {
    tree.directory("etc/kubernetes/manifests", 0o700);
    tree.directory("var/lib/etcd", 0o700);
    for (path, mode, text) in TEXTS {
        let text = fill(text, &[("node", NODE), ("address", ADDRESS)]);
        tree.file(path, mode, at, text.as_bytes());
    }
    let mut machine = [0; 16];
    crypto::random(&mut machine)?;
    tree.file(
        "etc/machine-id",
        0o444,
        at,
        format!("{}\n", hex(&machine)).as_bytes(),
    );
    Ok(())
}

fn subject(cn: &str, o: Option<&str>) -> Result<Name, DrillError> {
    let mut attributes = vec![(Attribute::CommonName, cn.to_owned())];
    attributes.extend(o.map(|o| (Attribute::Organization, o.to_owned())));
    Ok(Name::build(&attributes)?)
}
