//! Arguments: the one definition of the command line. Help, completions, man pages and answers files come from it; its
//! examples are in `examples.txt`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Brings back a Kubernetes control plane whose certificates expired, offline.
#[derive(Debug, Parser)]
#[command(
    name = "rescue-kit",
    version,
    max_term_width = 100,
    infer_subcommands = false
)]
pub struct Arguments {
    /// What every command takes.
    #[command(flatten, next_help_heading = "Options of every command")]
    pub global: Global,
    /// The command; without one, on a terminal, the guided rescue.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What every command takes.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// The root of the node's files: another disk or a copy
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/",
        env = "RESCUE_KIT_ROOT"
    )]
    pub root: PathBuf,
    /// The layout: a built-in name or a TOML file; detected if not given
    #[arg(
        long,
        global = true,
        value_name = "NAME|FILE",
        env = "RESCUE_KIT_PROFILE"
    )]
    pub profile: Option<String>,
    /// The form of the data on stdout
    #[arg(
        long,
        global = true,
        value_name = "FORM",
        default_value = "human",
        env = "RESCUE_KIT_OUTPUT"
    )]
    pub output: Output,
    /// Do it without asking
    #[arg(long, short = 'y', global = true, env = "RESCUE_KIT_YES", value_parser = FalseyValueParser::new())]
    pub yes: bool,
    /// Never ask; a question is a usage error
    #[arg(long, global = true, env = "RESCUE_KIT_NO_INPUT", value_parser = FalseyValueParser::new())]
    pub no_input: bool,
    /// Plan and report, change nothing
    #[arg(long, global = true, env = "RESCUE_KIT_CHECK", value_parser = FalseyValueParser::new())]
    pub check: bool,
    /// Show what differs, before and after
    #[arg(long, global = true, env = "RESCUE_KIT_DIFF", value_parser = FalseyValueParser::new())]
    pub diff: bool,
    /// Say only what is asked for
    #[arg(long, short, global = true, env = "RESCUE_KIT_QUIET", value_parser = FalseyValueParser::new())]
    pub quiet: bool,
    /// Say more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to colour
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        env = "RESCUE_KIT_COLOR"
    )]
    pub color: Color,
    /// The true time, if the clock cannot be trusted
    #[arg(long, global = true, value_name = "RFC3339", env = "RESCUE_KIT_NOW")]
    pub now: Option<String>,
    /// Who is doing this, for the audit
    #[arg(long, global = true, value_name = "NAME", env = "RESCUE_KIT_OPERATOR")]
    pub operator: Option<String>,
    /// The ticket that allows it, for the audit
    #[arg(long, global = true, value_name = "ID", env = "RESCUE_KIT_TICKET")]
    pub ticket: Option<String>,
    /// The reason, for the audit
    #[arg(long, global = true, value_name = "TEXT", env = "RESCUE_KIT_REASON")]
    pub reason: Option<String>,
    /// The form of progress on stderr
    #[arg(long, global = true, value_name = "FORM", env = "RESCUE_KIT_PROGRESS")]
    pub progress: Option<ProgressForm>,
    /// Where runs, backups and audits are kept; a relative path lies under the root
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "var/lib/rescue-kit",
        env = "RESCUE_KIT_STATE_DIR"
    )]
    pub state_dir: PathBuf,
    /// Finish, or stop safely, within this time
    #[arg(
        long,
        global = true,
        value_name = "DURATION",
        env = "RESCUE_KIT_DEADLINE"
    )]
    pub deadline: Option<String>,
    /// A TOML file with values for any of these flags
    #[arg(long, global = true, value_name = "FILE", env = "RESCUE_KIT_ANSWERS")]
    pub answers: Option<PathBuf>,
}

/// The form of the data on stdout.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Output {
    /// Text of 80 columns.
    Human,
    /// Exactly one JSON object.
    Json,
    /// One page for people, which needs nothing beside itself (inspect only).
    Html,
    /// Metrics for node exporter's textfile collector (inspect only).
    Prometheus,
}

/// When to colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Color {
    /// Always.
    Always,
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Never.
    Never,
}

/// The form of progress.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ProgressForm {
    /// One JSON object a line on stderr.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what is broken, first cause first
    Inspect {
        /// What counts as due
        #[arg(
            long,
            value_name = "DURATION",
            default_value = "30d",
            env = "RESCUE_KIT_RENEW_BEFORE"
        )]
        renew_before: String,
    },
    /// Show what would be done, in order, and why
    Plan {
        /// What is wanted.
        #[command(flatten)]
        policy: PolicyArgs,
        /// Save the plan for `apply`
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Rescue: backup, issue, replace, verify, audit
    Run {
        /// What is wanted.
        #[command(flatten)]
        policy: PolicyArgs,
        /// How it is kept and signed.
        #[command(flatten)]
        keeping: Keeping,
    },
    /// Apply a saved plan, if nothing has changed since
    Apply {
        /// The plan
        plan: PathBuf,
        /// How it is kept and signed.
        #[command(flatten)]
        keeping: Keeping,
    },
    /// Finish a run that stopped half-way
    Resume {
        /// The run; by default the newest that changed something
        run: Option<String>,
        /// How it is kept and signed.
        #[command(flatten)]
        keeping: Keeping,
    },
    /// Put back exactly what was there before a run
    Rollback {
        /// The run; by default the newest that changed something
        run: Option<String>,
        /// How it is kept and signed.
        #[command(flatten)]
        keeping: Keeping,
    },
    /// List runs, or remove what only an undo needs
    #[command(subcommand)]
    Runs(Runs),
    /// Prove files and names, what is served, health, requests
    Verify {
        /// Ask whether the node would come back after a power cut, without touching what runs
        #[arg(long, env = "RESCUE_KIT_COLD_START", value_parser = FalseyValueParser::new())]
        cold_start: bool,
    },
    /// Make, list, check and restore backups
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Renew a CA with its own key, carry it to other nodes, begin a new one, bundle two
    #[command(subcommand)]
    Ca(CaCommand),
    /// Rotate the key pair that signs service-account tokens
    #[command(subcommand)]
    Sa(SaCommand),
    /// Have certificates signed elsewhere: make requests, sign them, install the answers
    #[command(subcommand)]
    Csr(Csr),
    /// Show, check and export the evidence
    #[command(subcommand)]
    Audit(Audit),
    /// List, refresh and make kubeconfigs, and break the glass
    #[command(subcommand)]
    Kubeconfig(KubeconfigCommand),
    /// Show, detect and check layouts
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Rehearse: make the files of an expired control plane and rescue them
    Drill(Drill),
    /// Explain a code, or an error of kubectl, kubelet, etcd and others
    Explain {
        /// Codes, or the error as it was said; `-` reads it from stdin
        #[arg(required = true, value_name = "CODE|TEXT")]
        words: Vec<String>,
    },
    /// Write what comes next: alerts, timers, calendars, settings
    Handover(Handover),
    /// Show the runbook: what there is, or the pages of one space
    Runbook {
        /// The space
        space: Option<String>,
    },
    /// Fill a stick with everything that a rescue needs, and check it
    #[command(subcommand)]
    Kit(Kit),
    /// Print what a shell needs to complete commands and flags
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What is wanted of a plan.
#[derive(Args, Clone, Debug)]
pub struct PolicyArgs {
    /// Which certificates, and how they are to be.
    #[command(flatten)]
    pub selection: Selection,
    /// Leave CAs alone, or renew those that are due with their own keys: same name, same key, a later end
    #[arg(
        long,
        value_name = "CHOICE",
        default_value = "keep",
        env = "RESCUE_KIT_CA"
    )]
    pub ca: CaChoice,
    /// Validity of a renewed CA [default: as long as before]
    #[arg(long, value_name = "DURATION", env = "RESCUE_KIT_CA_VALIDITY")]
    pub ca_validity: Option<String>,
    /// A directory with CA certificates that were renewed elsewhere, as `ca export` writes it: ca.crt, etcd-ca.crt, ...
    #[arg(long, value_name = "DIR", env = "RESCUE_KIT_CA_FROM")]
    pub ca_from: Option<PathBuf>,
    /// What is done to processes.
    #[command(flatten)]
    pub restarts: Restarts,
}

/// Which certificates are renewed, and how the new ones are to be.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// What counts as due
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30d",
        env = "RESCUE_KIT_RENEW_BEFORE"
    )]
    pub renew_before: String,
    /// Renew everything
    #[arg(long, env = "RESCUE_KIT_ALL", value_parser = FalseyValueParser::new())]
    pub all: bool,
    /// Validity of new certificates [default: 365d]
    #[arg(long, value_name = "DURATION", env = "RESCUE_KIT_VALIDITY")]
    pub validity: Option<String>,
    /// Make new keys or keep the old ones
    #[arg(
        long,
        value_name = "CHOICE",
        default_value = "new",
        env = "RESCUE_KIT_KEY"
    )]
    pub key: KeyChoice,
    /// Algorithm of new keys: rsa-2048, rsa-3072, rsa-4096, ecdsa-p256, ecdsa-p384, ed25519 [default: as before]
    #[arg(long, value_name = "NAME", env = "RESCUE_KIT_KEY_ALGORITHM")]
    pub key_algorithm: Option<String>,
    /// Add a name to every serving certificate, or to one
    #[arg(
        long,
        value_name = "[ID=]IP|DNS",
        value_delimiter = ',',
        env = "RESCUE_KIT_SAN"
    )]
    pub san: Vec<String>,
    /// Only these certificates
    #[arg(
        long,
        value_name = "ID",
        value_delimiter = ',',
        env = "RESCUE_KIT_ONLY"
    )]
    pub only: Vec<String>,
    /// Not these certificates
    #[arg(
        long,
        value_name = "ID",
        value_delimiter = ',',
        env = "RESCUE_KIT_SKIP"
    )]
    pub skip: Vec<String>,
    /// Take names, usages, expiry and key of one certificate from a CSR profile template
    #[arg(
        long,
        value_name = "ID=FILE",
        env = "RESCUE_KIT_TEMPLATE",
        value_delimiter = ','
    )]
    pub template: Vec<String>,
}

/// What is done to processes.
#[derive(Args, Clone, Debug)]
pub struct Restarts {
    /// Restart those processes that do not read the new files by themselves, all, or none
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        env = "RESCUE_KIT_RESTART"
    )]
    pub restart: RestartChoice,
    /// Keep the controllers back until every kubelet reports, so that they evict no pods of nodes that are only late
    #[arg(long, env = "RESCUE_KIT_HOLD_CONTROLLERS", value_parser = FalseyValueParser::new())]
    pub hold_controllers: bool,
    /// Stop processes although another member of etcd does not answer
    #[arg(long, env = "RESCUE_KIT_DESPITE_PEERS", value_parser = FalseyValueParser::new())]
    pub despite_peers: bool,
}

/// What is done to CAs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum CaChoice {
    /// Nothing.
    Keep,
    /// Those that are due get a new certificate.
    Renew,
}

/// Which processes are restarted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum RestartChoice {
    /// Those that do not read the new files by themselves.
    Auto,
    /// All.
    Always,
    /// None.
    Never,
}

/// New keys or old ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum KeyChoice {
    /// New ones.
    New,
    /// The old ones, where they can be read and fit.
    Reuse,
}

/// How a run is kept and signed.
#[derive(Args, Clone, Debug)]
pub struct Keeping {
    /// A directory that gets a second copy of the backup, without the CA keys
    #[arg(long, value_name = "DIR", env = "RESCUE_KIT_BACKUP_TO")]
    pub backup_to: Option<PathBuf>,
    /// The Ed25519 key that signs the audit: OpenSSH or PKCS#8; without it a key is made and forgotten
    #[arg(long, value_name = "FILE", env = "RESCUE_KIT_SIGN_KEY")]
    pub sign_key: Option<PathBuf>,
}

/// Commands on runs.
#[derive(Debug, Subcommand)]
pub enum Runs {
    /// List all runs
    List,
    /// Remove undo data and backups of finished runs; journals and audits stay
    Prune {
        /// How many of the newest runs keep theirs
        #[arg(long, value_name = "N", default_value_t = 3)]
        keep: usize,
    },
}

/// Commands on certificate authorities.
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Renew CAs with their own keys, and what is due besides: as `run --ca renew`
    Renew {
        /// These CAs, whether they are due or not [default: those that are due]
        ids: Vec<String>,
        /// What is wanted.
        #[command(flatten)]
        policy: Box<PolicyArgs>,
        /// How it is kept and signed.
        #[command(flatten)]
        keeping: Keeping,
    },
    /// Write the CA certificates to a directory, for other nodes and workers: `run --ca-from DIR`
    Export {
        /// The directory; it is made
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Make a new CA, which nobody trusts yet, where nothing is
    Init(CaInit),
    /// Put the certificates of several CAs into one trust bundle
    Bundle(CaBundle),
    /// Give way to CAs with other keys, in phases over days; without a phase: where this node stands
    Rotate {
        /// The phase.
        #[command(subcommand)]
        phase: Option<CaRotate>,
    },
}

/// Phases in which CAs give way to others.
#[derive(Debug, Subcommand)]
pub enum CaRotate {
    /// Make the new CAs, once, in a directory that every node gets: ID.crt, and ID.key for control planes alone
    Begin(CaBegin),
    /// First, on every node: trust the new CAs besides the present ones
    Trust(RotateArgs),
    /// Then, on every control plane: let the new CAs sign, and issue anew what the former ones signed
    Sign(RotateArgs),
    /// Last, on every node: trust the former CAs no more
    Drop(RotateArgs),
}

/// New CAs.
#[derive(Args, Debug)]
pub struct CaBegin {
    /// These CAs [default: all whose keys are kept on control planes]
    pub ids: Vec<String>,
    /// The directory of the new files; it is made
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Algorithm of the new keys [default: as before]
    #[arg(long, value_name = "NAME")]
    pub key_algorithm: Option<String>,
    /// Validity [default: as long as before]
    #[arg(long, value_name = "DURATION")]
    pub validity: Option<String>,
}

/// One phase on one node.
#[derive(Args, Debug)]
pub struct RotateArgs {
    /// These alone [default: all that the directory has; without one all that there are]
    pub ids: Vec<String>,
    /// The directory of the new ones, as `begin` or somebody else made it
    #[arg(long, value_name = "DIR", env = "RESCUE_KIT_ROTATE_FROM")]
    pub from: Option<PathBuf>,
    /// Validity of certificates that are issued anew [default: 365d]
    #[arg(long, value_name = "DURATION", env = "RESCUE_KIT_VALIDITY")]
    pub validity: Option<String>,
    /// Let the new CA sign although a copy of CAs in the API does not hold it, or cannot be seen
    #[arg(long, env = "RESCUE_KIT_DESPITE_COPIES", value_parser = FalseyValueParser::new())]
    pub despite_copies: bool,
    /// What is done to processes.
    #[command(flatten)]
    pub restarts: Restarts,
    /// How it is kept and signed.
    #[command(flatten)]
    pub keeping: Keeping,
}

/// Commands on the key pair that signs service-account tokens.
#[derive(Debug, Subcommand)]
pub enum SaCommand {
    /// Give way to a pair with another key, in phases over days; without a phase: where this node stands
    Rotate {
        /// The phase.
        #[command(subcommand)]
        phase: Option<SaRotate>,
    },
}

/// Phases in which a key pair gives way to another.
#[derive(Debug, Subcommand)]
pub enum SaRotate {
    /// Make the new pair, once, in a directory that every control plane gets: sa.pub, sa.key
    Begin {
        /// The directory of the new files; it is made
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Algorithm of the new key [default: as before]
        #[arg(long, value_name = "NAME")]
        key_algorithm: Option<String>,
    },
    /// First, on every control plane: believe the tokens of both keys
    Trust(RotateArgs),
    /// Then, on every control plane: let the new key sign
    Sign(RotateArgs),
    /// Last, on every control plane: believe the former key's tokens no more
    Drop(RotateArgs),
}

/// A new CA.
#[derive(Args, Debug)]
pub struct CaInit {
    /// Its names, key and expiry: a CSR profile template (cfssl's JSON)
    #[arg(long, value_name = "FILE")]
    pub template: PathBuf,
    /// The directory of its two files; it is made
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The name of its files: NAME.crt, NAME.key
    #[arg(long, value_name = "NAME", default_value = "ca")]
    pub name: String,
    /// Validity [default: the template's, else ten years]
    #[arg(long, value_name = "DURATION")]
    pub validity: Option<String>,
}

/// A trust bundle.
#[derive(Args, Debug)]
pub struct CaBundle {
    /// Files with CA certificates: the primary first, then the standby
    #[arg(required = true, value_name = "FILE")]
    pub certs: Vec<PathBuf>,
    /// Write it there, where nothing is, instead of printing it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// As a manifest of a `ConfigMap` of this name
    #[arg(long, value_name = "NAME")]
    pub config_map: Option<String>,
    /// The namespace of the `ConfigMap`
    #[arg(long, value_name = "NAME", default_value = "kube-system")]
    pub namespace: String,
}

/// Commands on backups.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Make a backup and read it back
    Create {
        /// Write it there, without the CA keys, instead of below the state directory
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
    /// List the backups of this node
    List,
    /// Check a backup against itself
    Verify {
        /// The archive
        archive: PathBuf,
    },
    /// Put back what a backup holds, journaled like any run
    Restore {
        /// The archive
        archive: PathBuf,
        /// How it is kept and signed.
        #[command(flatten)]
        keeping: Keeping,
    },
}

/// Commands on certificate requests.
#[derive(Debug, Subcommand)]
pub enum Csr {
    /// On the node: write requests for what is due into a folder; the keys stay here
    Generate {
        /// The folder: it is made, or must not hold requests yet
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// What is wanted.
        #[command(flatten)]
        selection: Selection,
    },
    /// Where the CA's key is: sign the requests of a folder, or of each folder in it
    Sign(Sign),
    /// On the node: check the answers in a folder and put them in place
    Install {
        /// The folder
        folder: PathBuf,
        /// Only these certificates
        #[arg(
            long,
            value_name = "ID",
            value_delimiter = ',',
            env = "RESCUE_KIT_ONLY"
        )]
        only: Vec<String>,
        /// In the same run renew what else is due and can be signed on this node: a dead node needs both to come back
        #[arg(long, conflicts_with = "only", env = "RESCUE_KIT_WITH_DUE", value_parser = FalseyValueParser::new())]
        with_due: bool,
        /// What is done to processes.
        #[command(flatten)]
        restarts: Restarts,
        /// How it is kept and signed.
        #[command(flatten)]
        keeping: Keeping,
    },
}

/// How requests are signed.
#[derive(Args, Debug)]
pub struct Sign {
    /// The folder
    pub folder: PathBuf,
    /// The CA's certificate; intermediates above it may follow
    #[arg(long, value_name = "FILE", env = "RESCUE_KIT_CA_CERT")]
    pub ca_cert: PathBuf,
    /// The CA's key, encrypted or not; `-` reads it from stdin
    #[arg(long, value_name = "FILE", env = "RESCUE_KIT_CA_KEY")]
    pub ca_key: PathBuf,
    /// A file with the passphrase of the key, such as /dev/fd/3 [default: asked for]
    #[arg(long, value_name = "FILE", env = "RESCUE_KIT_PASSPHRASE_FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// The longest validity
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "398d",
        env = "RESCUE_KIT_MAX_VALIDITY"
    )]
    pub max_validity: String,
    /// Names that may be signed, `*` standing for any text: common names, groups, alternative names [default: all]
    #[arg(
        long,
        value_name = "PATTERN",
        value_delimiter = ',',
        env = "RESCUE_KIT_ALLOW_NAME"
    )]
    pub allow_name: Vec<String>,
    /// A usage that may be signed besides those of the layout, such as 'client auth'
    #[arg(
        long,
        value_name = "USAGE",
        value_delimiter = ',',
        env = "RESCUE_KIT_ALLOW_USAGE"
    )]
    pub allow_usage: Vec<String>,
    /// Only these certificates
    #[arg(
        long,
        value_name = "ID",
        value_delimiter = ',',
        env = "RESCUE_KIT_ONLY"
    )]
    pub only: Vec<String>,
    /// Sign again what has an answer
    #[arg(long, env = "RESCUE_KIT_AGAIN", value_parser = FalseyValueParser::new())]
    pub again: bool,
    /// Sign what can be signed of a folder, although something in it is refused
    #[arg(long, env = "RESCUE_KIT_PARTIAL", value_parser = FalseyValueParser::new())]
    pub partial: bool,
}

/// Commands on evidence.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Show what a run did
    Show {
        /// The run; by default the newest
        run: Option<String>,
    },
    /// Check a tarball: checksums, signature, timeline
    Verify {
        /// The tarball
        tarball: PathBuf,
        /// The public key (PEM) that must have signed it
        #[arg(long, value_name = "FILE")]
        signer: Option<PathBuf>,
    },
    /// Write a run's report as HTML to stdout
    Report {
        /// The run; by default the newest
        run: Option<String>,
    },
    /// Build a run's tarball again; without a new key it is the same to the byte
    Pack {
        /// The run; by default the newest
        run: Option<String>,
        /// The Ed25519 key that signs it
        #[arg(long, value_name = "FILE", env = "RESCUE_KIT_SIGN_KEY")]
        sign_key: Option<PathBuf>,
    },
    /// Export the ledger of all runs
    Export {
        /// The format
        #[arg(long, value_name = "FORMAT", default_value = "csv")]
        format: LedgerFormat,
    },
}

/// Formats of the ledger.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LedgerFormat {
    /// RFC 4180.
    Csv,
    /// An array of objects.
    Json,
    /// A table and its rows.
    Sql,
}

/// Commands on kubeconfigs.
#[derive(Debug, Subcommand)]
pub enum KubeconfigCommand {
    /// Show every kubeconfig: user, groups, expiry, server, whether the API server takes it
    List {
        /// Kubeconfigs that lie elsewhere
        files: Vec<PathBuf>,
    },
    /// Give the copies in root's home and the sudo user's what the administrator's kubeconfig holds
    Refresh {
        /// Another user of the node whose copy is refreshed
        #[arg(
            long = "for",
            value_name = "USER",
            value_delimiter = ',',
            env = "RESCUE_KIT_FOR"
        )]
        users: Vec<String>,
        /// Where the dates go.
        #[command(flatten)]
        calendar: Calendar,
    },
    /// Make a kubeconfig for somebody, certified by the node's CA
    User(UserArgs),
    /// Get in while the cluster is fine and every administrator's kubeconfig has expired; access for an hour at most
    BreakGlass(BreakGlassArgs),
}

/// Where the dates go.
#[derive(Args, Clone, Debug)]
pub struct Calendar {
    /// Write a calendar entry for the new date there (iCalendar); never overwrites
    #[arg(long, value_name = "FILE", env = "RESCUE_KIT_ICS")]
    pub ics: Option<PathBuf>,
}

/// A kubeconfig for somebody.
#[derive(Args, Clone, Debug)]
pub struct UserArgs {
    /// The user's name
    #[arg(
        long,
        value_name = "CN",
        default_value = "kubernetes-admin",
        env = "RESCUE_KIT_CLIENT_NAME"
    )]
    pub client_name: String,
    /// A group; by default what kubeadm of the node's version gives to its own users, others have none
    #[arg(long, value_name = "O", value_delimiter = ',', env = "RESCUE_KIT_ORG")]
    pub org: Vec<String>,
    /// Validity; cut to the end of the CA
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "365d",
        env = "RESCUE_KIT_VALIDITY"
    )]
    pub validity: String,
    /// Write it there, for its owner only, instead of to stdout; never overwrites
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Where the dates go.
    #[command(flatten)]
    pub calendar: Calendar,
}

/// Access for whoever has none left.
#[derive(Args, Clone, Debug)]
pub struct BreakGlassArgs {
    /// The cluster role that is given
    #[arg(
        long,
        value_name = "NAME",
        default_value = "view",
        env = "RESCUE_KIT_ROLE"
    )]
    pub role: String,
    /// Validity, an hour at most
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub validity: String,
    /// Go by the access of this kubeconfig, not by the CA's key
    #[arg(long, value_name = "KUBECONFIG", env = "RESCUE_KIT_WITH")]
    pub with: Option<PathBuf>,
    /// Put the token into a Secret; it does not end by itself
    #[arg(long)]
    pub token_secret: bool,
    /// Print the manifest for somebody else to apply, and do nothing
    #[arg(long, conflicts_with_all = ["mint_token", "revoke"])]
    pub print: bool,
    /// The last way: sign a token of an existing service account with the cluster's own key
    #[arg(long, requires = "service_account", conflicts_with_all = ["with", "token_secret", "revoke"])]
    pub mint_token: bool,
    /// The service account whose token is signed
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "mint_token")]
    pub service_account: Option<String>,
    /// Its uid; read from etcd if not given
    #[arg(long, value_name = "UID", requires = "mint_token")]
    pub uid: Option<String>,
    /// Write the kubeconfig there, for its owner only, instead of into the run's directory; never overwrites
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Take back the access of a run, or all that was given
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "")]
    pub revoke: Option<String>,
    /// Where the dates go.
    #[command(flatten)]
    pub calendar: Calendar,
    /// The Ed25519 key that signs the audit: OpenSSH or PKCS#8; without it a key is made and forgotten
    #[arg(long, value_name = "FILE", env = "RESCUE_KIT_SIGN_KEY")]
    pub sign_key: Option<PathBuf>,
}

/// What comes next.
#[derive(Args, Clone, Debug)]
pub struct Handover {
    /// The directory of the files; it is made [default: print the calendar]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Only these parts [default: all that fit the layout]
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub only: Vec<HandoverPart>,
    /// Where the binary lies on the node
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/usr/local/bin/rescue-kit",
        env = "RESCUE_KIT_BINARY"
    )]
    pub binary: String,
    /// The directory of node exporter's textfile collector
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/lib/prometheus/node-exporter",
        env = "RESCUE_KIT_TEXTFILES"
    )]
    pub textfiles: String,
}

/// Parts of a handover.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum HandoverPart {
    /// Rules of Prometheus, and their tests
    Alerts,
    /// What ends when, on one page
    Calendar,
    /// Manifests for cert-manager
    CertManager,
    /// Calendar entries with alarms
    Ics,
    /// Settings of kubeadm and Cluster API
    Kubeadm,
    /// A timer that renews leaves
    Renewal,
    /// A timer that refreshes the metrics
    Timer,
}

/// Commands on profiles.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// List the built-in layouts
    List,
    /// Print a layout
    Show {
        /// Its name
        name: String,
    },
    /// Say which layout is on the disk, and why
    Detect,
    /// Check a layout
    Validate {
        /// The TOML file
        file: PathBuf,
    },
}

/// The rehearsal.
#[derive(Args, Debug)]
pub struct Drill {
    /// What is broken [default: leaves-expired; with --guided, nobody knows]
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
    /// Practise: you are told what is seen, look, choose a way out, which is carried out, and get a score
    #[arg(long, conflicts_with = "list")]
    pub guided: bool,
    /// List the scenarios
    #[arg(long)]
    pub list: bool,
    /// Where the files are made; it must not exist or be empty [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Keep the files
    #[arg(long)]
    pub keep: bool,
    /// Algorithm of the keys
    #[arg(long, value_name = "NAME", default_value = "ecdsa-p256")]
    pub key_algorithm: String,
}

/// Commands on sticks.
#[derive(Debug, Subcommand)]
pub enum Kit {
    /// Fill a directory: binary, manual, runbook, layouts, templates, scripts, Ansible, checksums, signature
    Build(KitBuild),
    /// Check a kit: every checksum, nothing missing, the signature; what is there besides is told
    Verify {
        /// The kit [default: where this binary is]
        dir: Option<PathBuf>,
        /// The public key (PEM or OpenSSH) that must have signed it; without it the kit's own, which proves no origin
        #[arg(long, value_name = "FILE", env = "RESCUE_KIT_SIGNER")]
        signer: Option<PathBuf>,
    },
}

/// What a stick gets.
#[derive(Args, Debug)]
pub struct KitBuild {
    /// The directory; it is made, or must be empty
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The binary for the stick, such as one for another architecture [default: this one]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// The Ed25519 key that signs the checksums: OpenSSH or PKCS#8; without it the kit is not signed
    #[arg(long, value_name = "FILE", env = "RESCUE_KIT_SIGN_KEY")]
    pub sign_key: Option<PathBuf>,
    /// Replace a kit that is there, finished or not; what is no part of it stays
    #[arg(long, env = "RESCUE_KIT_AGAIN", value_parser = FalseyValueParser::new())]
    pub again: bool,
}

/// Shells whose completions there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Shell {
    /// bash.
    Bash,
    /// fish.
    Fish,
    /// zsh.
    Zsh,
}
