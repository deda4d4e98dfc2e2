//! The container runtime, over CRI v1: what runs, and stopping it.
//!
//! containerd since 1.6 and CRI-O since 1.20 speak it; the kubelet does not have to be up.

mod grpc;
mod proto;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prost::Message;

use grpc::Broken;

/// Labels that the kubelet gives containers (`pkg/kubelet/types/labels.go`).
const CONTAINER: &str = "io.kubernetes.container.name";
const POD: &str = "io.kubernetes.pod.name";
const NAMESPACE: &str = "io.kubernetes.pod.namespace";

/// Why the runtime did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CriError {
    /// Nothing takes connections at the socket.
    #[error("cannot connect to {}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// No whole answer came in time.
    #[error("{} did not answer {call} within {} s", socket.display(), within.as_secs_f32())]
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// The call.
        call: &'static str,
        /// The time it was given.
        within: Duration,
    },
    /// The answer is no gRPC, or has another message than CRI has.
    #[error("{} does not answer {call} as a container runtime: {why}", socket.display())]
    Protocol {
        /// The socket.
        socket: PathBuf,
        /// The call.
        call: &'static str,
        /// What is wrong, at most a kilobyte.
        why: String,
    },
    /// The runtime answered with an error.
    #[error("{} refused {call}: {code}: {message}", socket.display())]
    Status {
        /// The socket.
        socket: PathBuf,
        /// The call.
        call: &'static str,
        /// The error's kind.
        code: Code,
        /// The runtime's words, at most a kilobyte.
        message: String,
    },
}

/// A gRPC status code (`grpc/doc/statuscodes.md`), displayed by its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Code(pub u32);

impl Code {
    /// There is no such object.
    pub const NOT_FOUND: Self = Self(5);
    /// The runtime does not know the call: it is older than CRI v1.
    pub const UNIMPLEMENTED: Self = Self(12);
}

const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = usize::try_from(self.0).ok().and_then(|at| CODES.get(at));
        match name {
            Some(name) => f.write_str(name),
            None => write!(f, "code {}", self.0),
        }
    }
}

/// Which runtime it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuntimeVersion {
    /// Its name, as `containerd`.
    pub name: String,
    /// Its version, as `1.7.2`.
    pub version: String,
}

/// A pod's sandbox: what holds its network and its containers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sandbox {
    /// The runtime's identifier.
    pub id: String,
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's UID: for a static pod the digest of its manifest.
    pub uid: String,
    /// Whether it runs.
    pub ready: bool,
    /// When it was made, in nanoseconds since the Unix epoch.
    pub created_ns: i64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What a container does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ContainerState {
    /// It has not been started.
    Created,
    /// It runs.
    Running,
    /// It has ended.
    Exited,
    /// The runtime does not know.
    Unknown,
}

/// A container, as in a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Container {
    /// The runtime's identifier.
    pub id: String,
    /// The identifier of its sandbox.
    pub sandbox: String,
    /// Its name in the pod.
    pub name: String,
    /// The pod's name; empty if the kubelet did not make it.
    pub pod: String,
    /// The pod's namespace; empty if the kubelet did not make it.
    pub namespace: String,
    /// How often its predecessors in the same sandbox were restarted.
    pub attempt: u32,
    /// The image: as in the manifest where the runtime knows, else its identifier.
    pub image: String,
    /// What it does.
    pub state: ContainerState,
    /// When it was made, in nanoseconds since the Unix epoch.
    pub created_ns: i64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A directory or file of the host that a container sees.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mount {
    /// Where the container sees it.
    pub container_path: String,
    /// Where it lies on the host.
    pub host_path: String,
    /// Whether the container may only read it.
    pub readonly: bool,
}

/// A container in detail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContainerDetail {
    /// The runtime's identifier.
    pub id: String,
    /// What it does.
    pub state: ContainerState,
    /// When it was started, in nanoseconds since the Unix epoch; 0 if never.
    pub started_ns: i64,
    /// When it ended, in nanoseconds since the Unix epoch; 0 if it has not.
    pub finished_ns: i64,
    /// Its exit code, once it has ended.
    pub exit_code: i32,
    /// Why it ended, in a word of the runtime: `Error`, `OOMKilled`, ...
    pub reason: String,
    /// What it sees of the host.
    pub mounts: Vec<Mount>,
    /// The file that its output goes to.
    pub log_path: String,
    /// Its first process, in the host's numbering, where the runtime says so.
    pub pid: Option<u32>,
}

/// A runtime that has answered once. Each call connects anew: a runtime that restarts in between does not matter.
#[derive(Clone, Debug)]
pub struct Cri {
    socket: PathBuf,
    timeout: Duration,
}

impl Cri {
    /// Takes the socket's path and asks for the version. `timeout` is for each call as a whole.
    ///
    /// # Errors
    ///
    /// Those of [`Self::version`].
    pub fn connect(socket: &Path, timeout: Duration) -> Result<Self, CriError> {
        let mut cri = Self {
            socket: socket.to_owned(),
            timeout,
        };
        cri.version().map(|_| cri)
    }

    /// Which runtime it is.
    ///
    /// # Errors
    ///
    /// As all calls: any [`CriError`], with the name of the call.
    pub fn version(&mut self) -> Result<RuntimeVersion, CriError> {
        let answer: proto::VersionResponse =
            self.runtime("Version", &proto::VersionRequest {}, self.timeout)?;
        Ok(RuntimeVersion {
            name: answer.runtime_name,
            version: answer.runtime_version,
        })
    }

    /// The conditions `RuntimeReady` and `NetworkReady`, and what others there are: whether each holds, and why not.
    pub fn status(&mut self) -> Result<Vec<(String, bool, String)>, CriError> {
        let answer: proto::StatusResponse =
            self.runtime("Status", &proto::StatusRequest::default(), self.timeout)?;
        let conditions = answer.status.unwrap_or_default().conditions;
        let row = |found: proto::RuntimeCondition| {
            let why = [found.reason, found.message];
            let why: Vec<String> = why.into_iter().filter(|part| !part.is_empty()).collect();
            (found.kind, found.status, why.join(": "))
        };
        Ok(conditions.into_iter().map(row).collect())
    }

    /// The image that every sandbox is made of, if the runtime tells (containerd does).
    pub fn sandbox_image(&mut self) -> Result<Option<String>, CriError> {
        let question = proto::StatusRequest { verbose: true };
        let answer: proto::StatusResponse = self.runtime("Status", &question, self.timeout)?;
        let config = answer.info.get("config");
        let config: Option<serde_json::Value> =
            config.and_then(|text| serde_json::from_str(text).ok());
        let image = config.and_then(|config| config["sandboxImage"].as_str().map(str::to_owned));
        Ok(image.filter(|image| !image.is_empty()))
    }

    /// All sandboxes, also those that do not run.
    pub fn sandboxes(&mut self) -> Result<Vec<Sandbox>, CriError> {
        let question = proto::ListPodSandboxRequest {};
        let answer: proto::ListPodSandboxResponse =
            self.runtime("ListPodSandbox", &question, self.timeout)?;
        Ok(answer.items.into_iter().map(Sandbox::from).collect())
    }

    /// All containers, also those that do not run.
    pub fn containers(&mut self) -> Result<Vec<Container>, CriError> {
        let question = proto::ListContainersRequest {};
        let answer: proto::ListContainersResponse =
            self.runtime("ListContainers", &question, self.timeout)?;
        Ok(answer.containers.into_iter().map(Container::from).collect())
    }

    /// One container in detail; `None` if there is none with that identifier.
    pub fn container(&mut self, id: &str) -> Result<Option<ContainerDetail>, CriError> {
        let question = proto::ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: true,
        };
        let answer = self.runtime("ContainerStatus", &question, self.timeout);
        let answer: Option<proto::ContainerStatusResponse> = found(answer)?;
        Ok(answer.and_then(|answer| {
            let pid = pid(&answer.info);
            answer.status.map(|status| detail(status, pid))
        }))
    }

    /// Stops a container: asks it to end, and kills it after `grace` (whole seconds; 0 kills at once). One that is gone
    /// is stopped.
    pub fn stop_container(&mut self, id: &str, grace: Duration) -> Result<(), CriError> {
        let question = proto::StopContainerRequest {
            container_id: id.to_owned(),
            timeout: i64::try_from(grace.as_secs()).unwrap_or(i64::MAX),
        };
        let within = self.timeout.saturating_add(grace);
        let answer: Result<proto::Empty, _> = self.runtime("StopContainer", &question, within);
        found(answer).map(|_| ())
    }

    /// Stops a sandbox: kills its containers, takes its network away. One that is gone is stopped.
    pub fn stop_sandbox(&mut self, id: &str) -> Result<(), CriError> {
        self.sandbox("StopPodSandbox", id)
    }

    /// Removes a sandbox with its containers, running or not. One that is gone is removed.
    pub fn remove_sandbox(&mut self, id: &str) -> Result<(), CriError> {
        self.sandbox("RemovePodSandbox", id)
    }

    /// Whether an image is here, by name or identifier.
    pub fn has_image(&mut self, reference: &str) -> Result<bool, CriError> {
        let question = proto::ImageStatusRequest {
            image: Some(proto::ImageSpec {
                image: reference.to_owned(),
                user_specified_image: String::new(),
            }),
        };
        let path = "/runtime.v1.ImageService/ImageStatus";
        let answer = self.call("ImageStatus", path, &question, self.timeout);
        let answer: Option<proto::ImageStatusResponse> = found(answer)?;
        Ok(answer.is_some_and(|answer| answer.image.is_some()))
    }

    fn sandbox(&self, call: &'static str, id: &str) -> Result<(), CriError> {
        let question = proto::PodSandboxRequest {
            pod_sandbox_id: id.to_owned(),
        };
        let answer: Result<proto::Empty, _> = self.runtime(call, &question, self.timeout);
        found(answer).map(|_| ())
    }

    fn runtime<A: Message + Default>(
        &self,
        call: &'static str,
        question: &impl Message,
        within: Duration,
    ) -> Result<A, CriError> {
        let path = format!("/runtime.v1.RuntimeService/{call}");
        self.call(call, &path, question, within)
    }

    fn call<A: Message + Default>(
        &self,
        call: &'static str,
        path: &str,
        question: &impl Message,
        within: Duration,
    ) -> Result<A, CriError> {
        let socket = || self.socket.clone();
        grpc::call(&self.socket, path, question, within).map_err(|broken| match broken {
            Broken::Connect(source) => CriError::Connect {
                socket: socket(),
                source,
            },
            Broken::Protocol(why) => CriError::Protocol {
                socket: socket(),
                call,
                why,
            },
            Broken::Status { code, message } => CriError::Status {
                socket: socket(),
                call,
                code: Code(code),
                message,
            },
            Broken::TimedOut => CriError::TimedOut {
                socket: socket(),
                call,
                within,
            },
        })
    }
}

/// What is not there is no error.
fn found<A>(answer: Result<A, CriError>) -> Result<Option<A>, CriError> {
    match answer {
        Err(CriError::Status { code, .. }) if code == Code::NOT_FOUND => Ok(None),
        other => other.map(Some),
    }
}

impl From<proto::PodSandbox> for Sandbox {
    fn from(found: proto::PodSandbox) -> Self {
        let metadata = found.metadata.unwrap_or_default();
        Self {
            id: found.id,
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            ready: found.state == 0,
            created_ns: found.created_at,
            labels: found.labels,
        }
    }
}

impl From<proto::Container> for Container {
    fn from(found: proto::Container) -> Self {
        let label = |name| found.labels.get(name).cloned();
        let metadata = found.metadata.unwrap_or_default();
        let image = found.image.unwrap_or_default();
        let names = [image.user_specified_image, image.image, found.image_ref];
        Self {
            sandbox: found.pod_sandbox_id,
            name: label(CONTAINER).unwrap_or(metadata.name),
            pod: label(POD).unwrap_or_default(),
            namespace: label(NAMESPACE).unwrap_or_default(),
            attempt: metadata.attempt,
            image: names
                .into_iter()
                .find(|name| !name.is_empty())
                .unwrap_or_default(),
            state: state(found.state),
            created_ns: found.created_at,
            id: found.id,
            labels: found.labels,
        }
    }
}

fn detail(found: proto::ContainerStatus, pid: Option<u32>) -> ContainerDetail {
    let mounts = found.mounts.into_iter().map(|mount| Mount {
        container_path: mount.container_path,
        host_path: mount.host_path,
        readonly: mount.readonly,
    });
    ContainerDetail {
        id: found.id,
        state: state(found.state),
        started_ns: found.started_at,
        finished_ns: found.finished_at,
        exit_code: found.exit_code,
        reason: found.reason,
        mounts: mounts.collect(),
        log_path: found.log_path,
        pid,
    }
}

fn state(number: i32) -> ContainerState {
    match number {
        0 => ContainerState::Created,
        1 => ContainerState::Running,
        2 => ContainerState::Exited,
        _ => ContainerState::Unknown,
    }
}

/// containerd and CRI-O both put an object under `info` that has a `pid`; 0 once the process has ended.
fn pid(info: &BTreeMap<String, String>) -> Option<u32> {
    let object: serde_json::Value = serde_json::from_str(info.get("info")?).ok()?;
    let pid = object.get("pid")?.as_u64()?;
    u32::try_from(pid).ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests;
