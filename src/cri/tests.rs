//! A runtime that is none: over HTTP/2 on a socket of its own, and things at a socket that speak nothing of the kind.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::{fs, thread};

use bytes::Bytes;
use h2::server;
use http::{HeaderMap, Response};
use tokio::runtime;

use super::*;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

/// What the runtime is to answer: the body as it goes over the wire, then status and text.
#[derive(Clone)]
struct Reply {
    body: Vec<u8>,
    status: u32,
    message: &'static str,
}

fn reply(message: &impl Message) -> Reply {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    Reply {
        body: [&[0][..], &length, &bytes].concat(),
        status: 0,
        message: "",
    }
}

fn error(status: u32, message: &'static str) -> Reply {
    Reply {
        body: Vec::new(),
        status,
        message,
    }
}

/// Paths and messages that were sent.
type Asked = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

struct Fake {
    dir: tempfile::TempDir,
    asked: Asked,
}

impl Fake {
    /// Answers every call with what `answer` makes of its path; without one, never.
    fn start(answer: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("cri.sock")).unwrap();
        let asked = Asked::default();
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, seen) = (stream.unwrap(), Arc::clone(&seen));
                let answer = Arc::clone(&answer);
                thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Self { dir, asked }
    }

    fn cri(&self) -> Cri {
        Cri {
            socket: self.dir.path().join("cri.sock"),
            timeout: LONG,
        }
    }

    fn said(&self, error: &CriError) -> String {
        let dir = self.dir.path().to_str().unwrap();
        error.to_string().replace(dir, "DIR")
    }

    /// The last message that was sent and its path.
    fn last<M: Message + Default>(&self) -> (String, M) {
        let (path, bytes) = self.asked.lock().unwrap().last().unwrap().clone();
        (path, M::decode(&bytes[5..]).unwrap())
    }
}

fn serve(stream: UnixStream, asked: &Asked, answer: &dyn Fn(&str) -> Option<Reply>) {
    let runtime = runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_io().enable_time().build().unwrap();
    runtime.block_on(async {
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(stream).unwrap();
        let mut connection = server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let path = request.uri().path().to_owned();
            assert_eq!(request.headers()["content-type"], "application/grpc");
            assert_eq!(request.headers()["te"], "trailers");
            let reply = answer(&path);
            let mut body = request.into_body();
            let asked = Arc::clone(asked);
            tokio::spawn(async move {
                let mut sent = Vec::new();
                while let Some(part) = body.data().await {
                    sent.extend_from_slice(&part.unwrap());
                }
                asked.lock().unwrap().push((path, sent));
                let Some(reply) = reply else {
                    return std::future::pending().await;
                };
                let mut status = HeaderMap::new();
                status.insert("grpc-status", reply.status.to_string().parse().unwrap());
                status.insert("grpc-message", reply.message.parse().unwrap());
                if reply.body.is_empty() {
                    let mut response = Response::new(());
                    *response.headers_mut() = status;
                    respond.send_response(response, true).unwrap();
                    return;
                }
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(Bytes::from(reply.body), false).unwrap();
                stream.send_trailers(status).unwrap();
            });
        }
    });
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// One that is ready, one that is not.
fn sandboxes(labels: BTreeMap<String, String>) -> Reply {
    let one = proto::PodSandbox {
        id: "s1".into(),
        metadata: Some(proto::PodSandboxMetadata {
            name: "etcd-n".into(),
            uid: "u".into(),
            namespace: "kube-system".into(),
        }),
        state: 0,
        created_at: 7,
        labels,
    };
    let dead = proto::PodSandbox {
        state: 1,
        metadata: None,
        ..one.clone()
    };
    reply(&proto::ListPodSandboxResponse {
        items: vec![one, dead],
    })
}

/// One of the kubelet's, and one that says little.
fn containers(labels: BTreeMap<String, String>) -> Reply {
    let one = proto::Container {
        id: "c1".into(),
        pod_sandbox_id: "s1".into(),
        metadata: Some(proto::ContainerMetadata {
            name: "etcd".into(),
            attempt: 3,
        }),
        image: Some(proto::ImageSpec {
            image: "sha256:1".into(),
            user_specified_image: "etcd:3".into(),
        }),
        image_ref: "ref".into(),
        state: 1,
        created_at: 8,
        labels,
    };
    let bare = proto::Container {
        image: None,
        labels: BTreeMap::new(),
        state: 9,
        ..one.clone()
    };
    reply(&proto::ListContainersResponse {
        containers: vec![one, bare],
    })
}

#[test]
fn reads_what_a_runtime_answers() {
    let pod = labels(&[
        (CONTAINER, "etcd"),
        (POD, "etcd-n"),
        (NAMESPACE, "kube-system"),
    ]);
    let their_labels = pod.clone();
    let fake = Fake::start(move |path| {
        let labels = their_labels.clone();
        Some(match path {
            "/runtime.v1.RuntimeService/Version" => reply(&proto::VersionResponse {
                runtime_name: "fake".into(),
                runtime_version: "1.2".into(),
            }),
            "/runtime.v1.RuntimeService/Status" => {
                let condition =
                    |kind: &str, status, reason: &str, message: &str| proto::RuntimeCondition {
                        kind: kind.into(),
                        status,
                        reason: reason.into(),
                        message: message.into(),
                    };
                reply(&proto::StatusResponse {
                    info: BTreeMap::new(),
                    status: Some(proto::RuntimeStatus {
                        conditions: vec![
                            condition("RuntimeReady", true, "", ""),
                            condition("NetworkReady", false, "NotReady", "no cni"),
                        ],
                    }),
                })
            },
            "/runtime.v1.RuntimeService/ListPodSandbox" => sandboxes(labels),
            "/runtime.v1.RuntimeService/ListContainers" => containers(labels),
            other => panic!("{other}"),
        })
    });
    let mut cri = Cri::connect(&fake.dir.path().join("cri.sock"), LONG).unwrap();
    let version = cri.version().unwrap();
    assert_eq!(
        (version.name.as_str(), version.version.as_str()),
        ("fake", "1.2")
    );
    let want = [
        ("RuntimeReady".to_owned(), true, String::new()),
        (
            "NetworkReady".to_owned(),
            false,
            "NotReady: no cni".to_owned(),
        ),
    ];
    assert_eq!(cri.status().unwrap(), want);
    let sandboxes = cri.sandboxes().unwrap();
    let want = Sandbox {
        id: "s1".into(),
        name: "etcd-n".into(),
        namespace: "kube-system".into(),
        uid: "u".into(),
        ready: true,
        created_ns: 7,
        labels: pod.clone(),
    };
    assert_eq!(sandboxes[0], want);
    assert!(!sandboxes[1].ready);
    let containers = cri.containers().unwrap();
    let want = Container {
        id: "c1".into(),
        sandbox: "s1".into(),
        name: "etcd".into(),
        pod: "etcd-n".into(),
        namespace: "kube-system".into(),
        attempt: 3,
        image: "etcd:3".into(),
        state: ContainerState::Running,
        created_ns: 8,
        labels: pod,
    };
    assert_eq!(containers[0], want);
    let bare = &containers[1];
    assert_eq!(
        (bare.name.as_str(), bare.pod.as_str(), bare.image.as_str()),
        ("etcd", "", "ref")
    );
    assert_eq!(bare.state, ContainerState::Unknown);
}

#[test]
fn reads_a_container_in_detail() {
    let fake = Fake::start(|_| {
        Some(reply(&proto::ContainerStatusResponse {
            status: Some(proto::ContainerStatus {
                id: "c1".into(),
                state: 2,
                started_at: 1,
                finished_at: 2,
                exit_code: -1,
                reason: "Error".into(),
                mounts: vec![proto::Mount {
                    container_path: "/pki".into(),
                    host_path: "/etc/kubernetes/pki".into(),
                    readonly: true,
                }],
                log_path: "/log".into(),
            }),
            info: labels(&[("info", "{\"pid\": 42}")]),
        }))
    });
    let detail = fake.cri().container("c1").unwrap().unwrap();
    let want = ContainerDetail {
        id: "c1".into(),
        state: ContainerState::Exited,
        started_ns: 1,
        finished_ns: 2,
        exit_code: -1,
        reason: "Error".into(),
        mounts: vec![Mount {
            container_path: "/pki".into(),
            host_path: "/etc/kubernetes/pki".into(),
            readonly: true,
        }],
        log_path: "/log".into(),
        pid: Some(42),
    };
    assert_eq!(detail, want);
    let (path, asked): (_, proto::ContainerStatusRequest) = fake.last();
    assert_eq!(path, "/runtime.v1.RuntimeService/ContainerStatus");
    assert_eq!((asked.container_id.as_str(), asked.verbose), ("c1", true));
    for none in [
        "",
        "[]",
        "{\"pid\": 0}",
        "{\"pid\": -1}",
        "{\"pid\": \"7\"}",
        "{\"pid\": 5e9}",
    ] {
        assert_eq!(pid(&labels(&[("info", none)])), None, "{none}");
    }
    assert_eq!(pid(&labels(&[])), None);
}

#[test]
fn stops_and_removes() {
    let fake = Fake::start(|_| Some(reply(&proto::Empty {})));
    let mut cri = fake.cri();
    cri.stop_container("c1", Duration::from_secs(30)).unwrap();
    let (path, asked): (_, proto::StopContainerRequest) = fake.last();
    assert_eq!(path, "/runtime.v1.RuntimeService/StopContainer");
    assert_eq!((asked.container_id.as_str(), asked.timeout), ("c1", 30));
    cri.stop_sandbox("s1").unwrap();
    let (path, asked): (_, proto::PodSandboxRequest) = fake.last();
    assert_eq!(
        (path.as_str(), asked.pod_sandbox_id.as_str()),
        ("/runtime.v1.RuntimeService/StopPodSandbox", "s1")
    );
    cri.remove_sandbox("s2").unwrap();
    let (path, asked): (_, proto::PodSandboxRequest) = fake.last();
    assert_eq!(
        (path.as_str(), asked.pod_sandbox_id.as_str()),
        ("/runtime.v1.RuntimeService/RemovePodSandbox", "s2")
    );
    assert!(!cri.has_image("etcd:3").unwrap());
    let (path, asked): (_, proto::ImageStatusRequest) = fake.last();
    assert_eq!(path, "/runtime.v1.ImageService/ImageStatus");
    assert_eq!(asked.image.unwrap().image, "etcd:3");
    let fake = Fake::start(|_| {
        Some(reply(&proto::ImageStatusResponse {
            image: Some(proto::Image { id: "i".into() }),
        }))
    });
    assert!(fake.cri().has_image("etcd:3").unwrap());
}

#[test]
fn what_is_gone_is_no_error() {
    let fake = Fake::start(|_| Some(error(5, "gone")));
    let mut cri = fake.cri();
    cri.stop_container("c", SHORT).unwrap();
    cri.stop_sandbox("s").unwrap();
    cri.remove_sandbox("s").unwrap();
    assert_eq!(cri.container("c").unwrap(), None);
    assert!(!cri.has_image("i").unwrap());
    assert!(matches!(
        cri.version(),
        Err(CriError::Status {
            code: Code::NOT_FOUND,
            ..
        })
    ));
}

#[test]
fn errors_name_the_socket_the_call_and_the_code() {
    let fake = Fake::start(|path| {
        Some(match path.rsplit('/').next().unwrap() {
            "Version" => error(12, "unknown service %e4%BD%a0%2 %zz"),
            "Status" => error(99, ""),
            // A message, and an error after it.
            "ListContainers" => Reply {
                status: 13,
                ..reply(&proto::Empty {})
            },
            "ListPodSandbox" => Reply {
                body: vec![1, 0, 0, 0, 0],
                ..reply(&proto::Empty {})
            },
            "ContainerStatus" => Reply {
                body: vec![0, 0, 0, 0, 2, 0x0a, 0x7f],
                ..reply(&proto::Empty {})
            },
            "ImageStatus" => Reply {
                body: vec![0; (16 << 20) + 6],
                ..reply(&proto::Empty {})
            },
            _ => Reply {
                body: vec![0, 0, 0, 0, 2],
                ..reply(&proto::Empty {})
            },
        })
    });
    let mut cri = fake.cri();
    let said = |error| fake.said(&error);
    let socket = "DIR/cri.sock";
    assert_eq!(
        said(cri.version().unwrap_err()),
        format!("{socket} refused Version: Unimplemented: unknown service 你%2 %zz")
    );
    assert_eq!(
        said(cri.status().unwrap_err()),
        format!("{socket} refused Status: code 99: ")
    );
    assert_eq!(
        said(cri.containers().unwrap_err()),
        format!("{socket} refused ListContainers: Internal: ")
    );
    let plain = "as a container runtime: the answer is not one plain message";
    assert_eq!(
        said(cri.sandboxes().unwrap_err()),
        format!("{socket} does not answer ListPodSandbox {plain}")
    );
    assert_eq!(
        said(cri.stop_sandbox("s").unwrap_err()),
        format!("{socket} does not answer StopPodSandbox {plain}")
    );
    assert!(said(cri.container("c").unwrap_err()).contains("does not answer ContainerStatus as"));
    assert_eq!(
        said(cri.has_image("i").unwrap_err()),
        format!(
            "{socket} does not answer ImageStatus as a container runtime: the answer is too long"
        )
    );
}

#[test]
fn things_that_are_no_runtime_are_named_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let why = |name: &str| {
        let error = Cri::connect(&dir.path().join(name), SHORT).unwrap_err();
        let text = error
            .to_string()
            .replace(dir.path().to_str().unwrap(), "DIR");
        (error, text)
    };
    assert_eq!(why("absent").1, "cannot connect to DIR/absent");
    fs::write(dir.path().join("file"), "").unwrap();
    let (error, text) = why("file");
    assert_eq!(text, "cannot connect to DIR/file");
    assert!(
        matches!(error, CriError::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused)
    );
    let _hanging = UnixListener::bind(dir.path().join("hangs")).unwrap();
    assert_eq!(
        why("hangs").1,
        "DIR/hangs did not answer Version within 0.3 s"
    );
    for (name, greeting) in [
        ("http", "HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("nothing", ""),
    ] {
        let listener = UnixListener::bind(dir.path().join(name)).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(greeting.as_bytes()).unwrap();
            if !greeting.is_empty() {
                let _ = stream.read(&mut [0; 4096]);
            }
        });
        let (error, text) = why(name);
        assert!(matches!(error, CriError::Protocol { .. }), "{text}");
        assert!(
            text.starts_with(&format!("DIR/{name} does not answer Version as")),
            "{text}"
        );
    }
}

#[test]
fn a_call_that_hangs_ends_in_time_and_stopping_has_its_grace() {
    let fake = Fake::start(|_| None);
    let mut cri = fake.cri();
    cri.timeout = SHORT;
    let error = cri.version().unwrap_err();
    assert_eq!(
        fake.said(&error),
        "DIR/cri.sock did not answer Version within 0.3 s"
    );
    let before = std::time::Instant::now();
    let error = cri.stop_container("c", Duration::from_secs(1)).unwrap_err();
    assert_eq!(
        fake.said(&error),
        "DIR/cri.sock did not answer StopContainer within 1.3 s"
    );
    assert!(before.elapsed() >= Duration::from_secs(1));
}
