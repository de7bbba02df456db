use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use nixmox_deploy::{
    ActivationError, Address, Event, EventSink, Host, Outcome, Patience, Request, SshFiles,
    SshSettings, StorePath, Target, UserName, activate,
};
use nixmox_hostkey::HostPublicKey;
use nixmox_topology::NodeName;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{Bed, BedHost};

/// A deployer made of the library alone, with the keys of a bed.
pub struct Deployer<'a> {
    bed: &'a Bed,
    files: Arc<SshFiles>,
    targets: Vec<Target>,
    runtime: Runtime,
    events: Arc<Mutex<Vec<Event>>>,
    _directory: TempDir,
}

impl<'a> Deployer<'a> {
    /// Makes one that logs in as root.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn new(bed: &'a Bed) -> Self {
        Self::with(bed, "", |_| ())
    }

    /// Makes one with more settings of ssh, as a user may have them, and with changed targets.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn with(bed: &'a Bed, settings: &str, change: impl Fn(&mut Target)) -> Self {
        let directory = TempDir::new().unwrap();
        let include = directory.path().join("ssh");
        fs::write(&include, ssh_settings(&bed.client_key(), settings)).unwrap();
        let mut targets: Vec<_> = bed.hosts().map(target).collect();
        targets.iter_mut().for_each(change);
        let settings = SshSettings { include: vec![include], ..SshSettings::default() };
        let files = Arc::new(SshFiles::write(&targets, &settings).unwrap());
        let events = Arc::default();
        Self {
            bed,
            files,
            targets,
            runtime: Runtime::new().unwrap(),
            events,
            _directory: directory,
        }
    }

    /// Returns a host by its number, from 1; nothing is connected yet.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    pub fn host(&self, number: usize) -> Host {
        Host::ssh(self.targets.get(number - 1).unwrap(), Arc::clone(&self.files))
    }

    /// Copies the system to a host, and activates it there.
    ///
    /// # Errors
    ///
    /// Those of [`activate`].
    ///
    /// # Panics
    ///
    /// When it cannot be copied.
    #[track_caller]
    pub fn activate(&self, number: usize, request: &Request) -> Result<Outcome, ActivationError> {
        self.bed.host(number).copy(request.toplevel.as_str());
        self.activate_there(number, request)
    }

    /// Activates a system that is on the host.
    ///
    /// # Errors
    ///
    /// Those of [`activate`].
    pub fn activate_there(
        &self,
        number: usize,
        request: &Request,
    ) -> Result<Outcome, ActivationError> {
        let host = self.host(number);
        self.runtime.block_on(activate(&host, request, &self.sink()))
    }

    /// Copies a fleet's systems to the hosts and activates all of them at once.
    #[track_caller]
    pub fn activate_all(
        &self,
        systems: &BTreeMap<String, String>,
        change: impl Fn(usize, &mut Request),
    ) -> Vec<Result<Outcome, ActivationError>> {
        let all = self.bed.hosts().zip(1..).map(|(host, number)| {
            let mut request = switch(&systems[&host.name()]);
            change(number, &mut request);
            host.copy(request.toplevel.as_str());
            let (host, sink) = (self.host(number), self.sink());
            async move { activate(&host, &request, &sink).await }
        });
        self.block_on(join_all(all.collect::<Vec<_>>()))
    }

    /// Runs anything that waits.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Returns where this deployer's events go.
    pub fn sink(&self) -> EventSink {
        let events = Arc::clone(&self.events);
        EventSink::new(move |event| events.lock().unwrap().push(event))
    }

    /// Returns what happened so far.
    ///
    /// # Panics
    ///
    /// When a test panicked meanwhile.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// Returns the last activation of a host.
    ///
    /// # Panics
    ///
    /// When there was none, or the host cannot be asked.
    #[track_caller]
    pub fn last(&self, number: usize) -> nixmox_deploy::Last {
        let host = self.host(number);
        let probe = self.block_on(nixmox_deploy::probe(&host)).expect("the host answers");
        probe.last.expect("there was an activation")
    }
}

/// Demands that a host runs, names and boots this system, that nothing of an activation is left, and that it can be
/// logged in to.
///
/// # Panics
///
/// When it is not so.
#[track_caller]
pub fn is_settled(host: BedHost<'_>, system: &str) {
    let name = host.name();
    assert_eq!(host.current_system(), system, "{name} runs");
    assert_eq!(host.profile(), system, "{name} has in its profile");
    assert_eq!(host.boot_default(), system, "{name} boots");
    let left = "ls /run/nixmox /nix/var/nix/gcroots/nixmox | grep -v '^/\\|^$\\|guard-\\|mutex' || true; \
                systemctl list-units --no-legend --all 'nixmox-*'";
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while !host.sh(left).is_empty() && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(host.sh(left), "", "{name} has left");
    host.is_reached();
}

/// Returns where the last activation of a host stands, seen from its console.
#[track_caller]
pub fn phase(host: BedHost<'_>) -> String {
    host.sh("sed -n 's/^phase=//p' /var/lib/nixmox/last/state 2>/dev/null || true")
}

/// Waits until the last activation of a host stands there.
#[track_caller]
pub fn until(host: BedHost<'_>, expect: &str) {
    super::eventually(&format!("{} is {expect}", host.name()), || phase(host) == expect);
}

/// What a user of the bed has in a configuration of ssh.
fn ssh_settings(key: &Path, more: &str) -> String {
    let key = key.canonicalize().unwrap();
    format!("{more}\nIdentityFile {}\nIdentitiesOnly yes\n", key.display())
}

fn target(host: BedHost<'_>) -> Target {
    let node = NodeName::parse(&host.name()).unwrap();
    let mut target = Target::new(node, Address::parse(&host.address()).unwrap());
    target.user = Some(UserName::parse("root").unwrap());
    target.host_keys = vec![HostPublicKey::parse(&host.host_key()).unwrap()];
    target
}

/// Asks for a switch, with little patience.
///
/// # Panics
///
/// When the path is none.
pub fn switch(toplevel: &str) -> Request {
    Request { patience: patience(), ..Request::switch(StorePath::parse(toplevel).unwrap()) }
}

/// Returns little patience, so that tests that wait for its end do not take long.
pub fn patience() -> Patience {
    Patience {
        activation: Duration::from_secs(25),
        confirmation: Duration::from_secs(12),
        dwell: Duration::from_secs(1),
        commit: Duration::from_secs(30),
        rollback: Duration::from_secs(40),
        ..Patience::default()
    }
}
