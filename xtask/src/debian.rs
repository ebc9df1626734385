//! Debian packages that a step needs, installed where that is possible.

use std::{cell::Cell, fs, path::Path, process::Command};

use crate::steps::{execute, find, output};

/// Why a program could not be provided.
pub enum Missing {
    /// The machine does not allow it: no rights, no installer or no network.
    LeftOut(String),
    /// The installation was possible and failed.
    Failed(String),
}

/// Whether a program is available.
pub type Found = Result<(), Missing>;

/// The package manager of Debian. It installs only when run as root on Debian.
#[derive(Default)]
pub struct Debian {
    is_updated: Cell<bool>,
}

impl Debian {
    /// Ensures that `program` is available, by installing `packages` if needed.
    ///
    /// # Errors
    ///
    /// If the program is neither installed nor installable.
    pub fn has(&self, program: &str, packages: &[&str]) -> Found {
        if find(program).is_some() {
            return Ok(());
        }
        self.install(packages)?;
        match find(program) {
            Some(_) => Ok(()),
            None => Err(Missing::Failed(format!(
                "{packages:?} brought no {program}"
            ))),
        }
    }

    /// Installs `packages`.
    ///
    /// # Errors
    ///
    /// If this is not Debian, the user is not root, or the installation fails.
    pub fn install(&self, packages: &[&str]) -> Found {
        let is_root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
        if find("apt-get").is_none() || !is_root {
            let names = packages.join(", ");
            let why = format!("not installed, and only root on Debian can (package {names})");
            return Err(Missing::LeftOut(why));
        }
        if !self.is_updated.get() {
            execute(Command::new("apt-get").args(["update", "-qq"]))
                .map_err(|error| Missing::LeftOut(format!("no package lists: {error}")))?;
            self.is_updated.set(true);
        }
        let guard = NoDaemons::set();
        let installed = execute(
            Command::new("apt-get")
                .args(["install", "-y", "-qq", "--no-install-recommends"])
                // Wait for another installation to finish.
                .args(["-o", "DPkg::Lock::Timeout=300"])
                .args(packages)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        );
        drop(guard);
        installed.map_err(Missing::Failed)
    }
}

/// While this value exists, installing a server does not start it. A policy that was present before
/// is kept.
struct NoDaemons(Option<&'static Path>);

impl NoDaemons {
    fn set() -> Self {
        let policy = Path::new("/usr/sbin/policy-rc.d");
        if policy.exists() {
            return NoDaemons(None);
        }
        let is_set = fs::write(policy, "#!/bin/sh\nexit 101\n").is_ok()
            && execute(Command::new("chmod").arg("755").arg(policy)).is_ok();
        if !is_set {
            eprintln!("    a server that is installed now may start by itself");
        }
        NoDaemons(Some(policy))
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        if let Some(policy) = self.0 {
            let _ = fs::remove_file(policy);
        }
    }
}
