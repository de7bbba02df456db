use rustix::process::{Resource, Rlimit, setrlimit};

/// What the operating system agreed to; a program goes on without what it refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hardening {
    /// Other processes of the same person cannot read this one's memory.
    pub not_traceable: bool,
    /// A crash leaves no core file.
    pub no_core_file: bool,
    /// Memory is not written to swap space.
    pub locked_memory: bool,
}

/// Keeps this process's memory out of core files, debuggers and swap space, as far as the system allows.
///
/// Memory is locked only where the limit on locked memory is absent or can be lifted: under a limit a later
/// allocation would fail. Children inherit neither the lock nor the debugging protection.
pub fn harden() -> Hardening {
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    Hardening {
        not_traceable: forbid_tracing(),
        no_core_file: setrlimit(Resource::Core, nothing).is_ok(),
        locked_memory: lock_memory(),
    }
}

#[cfg(target_os = "linux")]
fn forbid_tracing() -> bool {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn forbid_tracing() -> bool {
    false
}

#[cfg(target_os = "linux")]
fn lock_memory() -> bool {
    use rustix::mm::{MlockAllFlags, mlockall};
    use rustix::process::getrlimit;
    let unlimited = Rlimit { current: None, maximum: None };
    let limit = getrlimit(Resource::Memlock);
    if limit.current.is_some() && setrlimit(Resource::Memlock, unlimited).is_err() {
        return false;
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn lock_memory() -> bool {
    false
}
