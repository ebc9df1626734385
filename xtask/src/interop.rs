//! Tests against real servers: what is missing is installed where that is possible.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    steps::{Outcome, Report, cargo, execute, find, output, root, target},
    test::counted,
};

/// Why something is not here.
pub(crate) enum Missing {
    /// Nobody could have installed it here: no rights, no installer, no network.
    LeftOut(String),
    /// It should have worked.
    Failed(String),
}

pub(crate) type Found = Result<(), Missing>;

pub(crate) fn run() -> Outcome {
    let folder = target().join("interop");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let debian = Debian::default();
    // By the names which `httpcore_servers::Kind` and `Front` have for them.
    let servers = [
        ("nginx", debian.has("nginx", &["nginx-light"])),
        ("http.server", debian.has("python3", &["python3"])),
        ("httpbin", python(&debian, &folder)),
        ("node", debian.has("node", &["nodejs"])),
        ("apache", debian.has("apache2", &["apache2-bin"])),
        ("openssl", debian.has("openssl", &["openssl"])),
        ("haproxy", debian.has("haproxy", &["haproxy"])),
        ("h2o", debian.has("h2o", &["h2o"])),
        ("caddy", debian.has("caddy", &["caddy"])),
        ("nghttpd", debian.has("nghttpd", &["nghttp2-server"])),
        ("squid", debian.has("squid", &["squid"])),
        ("tinyproxy", debian.has("tinyproxy", &["tinyproxy-bin"])),
        ("dante", debian.has("danted", &["dante-server"])),
        ("microsocks", debian.has("microsocks", &["microsocks"])),
        ("privoxy", debian.has("privoxy", &["privoxy"])),
        ("stunnel", debian.has("stunnel4", &["stunnel4"])),
        // In the same environment as httpbin, and so only asked whether it is there by now.
        ("hypercorn", python(&debian, &folder)),
        ("uvicorn", python(&debian, &folder)),
        ("websockets", python(&debian, &folder)),
        ("ws", node_packages(&debian, &folder)),
        ("autobahn", autobahn(&folder)),
    ];
    let mut missing = Vec::new();
    let mut report = Report::default();
    for (name, found) in servers {
        match found {
            Ok(()) => println!("    {name}: here"),
            Err(Missing::LeftOut(why)) => {
                report.leave_out(format!("{name}: {why}"));
                missing.push(name);
            }
            Err(Missing::Failed(why)) => return Err(format!("{name}: {why}")),
        }
    }
    let mut command = cargo();
    command
        .args(["test", "--locked", "--no-fail-fast"])
        .args(["-p", "httpcore-servers"])
        .env("HTTPCORE_INTEROP", &folder)
        .env("HTTPCORE_LEFT_OUT", missing.join(","));
    let tests = counted(&mut [command])?;
    report.note = tests.note;
    report.left_out.extend(tests.left_out);
    Ok(report)
}

/// Debian's packages, if this is Debian and we are root.
#[derive(Default)]
pub(crate) struct Debian {
    is_updated: std::cell::Cell<bool>,
}

impl Debian {
    /// Whether `program` is here, or is after installing `packages`.
    pub(crate) fn has(&self, program: &str, packages: &[&str]) -> Found {
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

    fn install(&self, packages: &[&str]) -> Found {
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
                // Another installation is waited for.
                .args(["-o", "DPkg::Lock::Timeout=300"])
                .args(packages)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        );
        drop(guard);
        installed.map_err(Missing::Failed)
    }
}

/// While this lives, installing a server does not start it, unless that was so before.
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
            eprintln!("    a server that is installed now may start itself");
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

/// gunicorn, httpbin, Hypercorn, uvicorn and websockets, in a virtual environment which is made anew when its list has
/// changed.
fn python(debian: &Debian, folder: &Path) -> Found {
    debian.has("python3", &["python3", "python3-venv"])?;
    let failed = |what: &dyn std::fmt::Display| Missing::Failed(what.to_string());
    let list = root().join("tests/servers/requirements.txt");
    let wanted = fs::read(&list).map_err(|error| failed(&error))?;
    let venv = folder.join("venv");
    let stamp = venv.join("requirements.txt");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let make = || {
        execute(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&venv),
        )
    };
    if make().is_err() {
        // Debian's python3 comes without.
        debian.install(&["python3-venv"])?;
        make().map_err(Missing::Failed)?;
    }
    pip(&venv, &list)?;
    fs::write(&stamp, wanted).map_err(|error| failed(&error))
}

/// Packages for Node, installed anew when their list has changed.
fn node_packages(debian: &Debian, folder: &Path) -> Found {
    debian.has("node", &["nodejs"])?;
    debian.has("npm", &["npm"])?;
    let failed = |what: &dyn std::fmt::Display| Missing::Failed(what.to_string());
    let wanted = fs::read(root().join("tests/servers/package.json"));
    let wanted = wanted.map_err(|error| failed(&error))?;
    let packages = folder.join("node");
    let stamp = packages.join("installed.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    fs::create_dir_all(&packages).map_err(|error| failed(&error))?;
    fs::write(packages.join("package.json"), &wanted).map_err(|error| failed(&error))?;
    let output = Command::new("npm")
        .args([
            "install",
            "--no-fund",
            "--no-audit",
            "--no-package-lock",
            "--ignore-scripts",
        ])
        .current_dir(&packages)
        .output()
        .map_err(|error| failed(&error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        eprintln!("{said}");
        let last = said.lines().rfind(|line| !line.is_empty()).unwrap_or("");
        let last = format!("npm: {last}");
        let unreachable = ["ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN"];
        return Err(if unreachable.iter().any(|sign| said.contains(sign)) {
            Missing::LeftOut(last)
        } else {
            Missing::Failed(last)
        });
    }
    fs::write(&stamp, wanted).map_err(|error| failed(&error))
}

/// The Autobahn test suite, which runs on Python 2.7 alone. That is found where pyenv has it, and
/// installed by nobody.
fn autobahn(folder: &Path) -> Found {
    const SUITE: &str = "autobahntestsuite==0.8.2";
    let failed = |error: &dyn std::fmt::Display| Missing::Failed(error.to_string());
    let mut where_is = Command::new("python2.7");
    where_is.args(["-c", "import sys; print(sys.executable)"]);
    if find("pyenv").is_some() {
        let versions = output(Command::new("pyenv").args(["versions", "--bare"]));
        let versions = versions.unwrap_or_default();
        if let Some(version) = versions.lines().find(|version| version.starts_with("2.7")) {
            where_is.env("PYENV_VERSION", version.trim());
        }
    }
    let interpreter = output(&mut where_is)
        .map_err(|_| Missing::LeftOut("there is no Python 2.7 for it".to_owned()))?;
    let packages = folder.join("autobahn");
    let stamp = packages.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == SUITE) {
        return Ok(());
    }
    let said = Command::new(interpreter.trim())
        .args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"])
        .args([packages.as_os_str(), SUITE.as_ref()])
        .output()
        .map_err(|error| failed(&error))?;
    if !said.status.success() {
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        let last = said.lines().rfind(|line| !line.is_empty()).unwrap_or("");
        // Nobody can be expected to keep wheels for it much longer.
        return Err(Missing::LeftOut(format!("pip: {last}")));
    }
    // Outside of its own folder, this interpreter takes no folder for a package without one.
    fs::write(packages.join("zope/__init__.py"), "").map_err(|error| failed(&error))?;
    let link = folder.join("python2.7");
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(interpreter.trim(), link).map_err(|error| failed(&error))?;
    fs::write(&stamp, SUITE).map_err(|error| failed(&error))
}

fn pip(venv: &Path, list: &Path) -> Found {
    let program: PathBuf = venv.join("bin/pip");
    let output = Command::new(program)
        .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(list)
        .output()
        .map_err(|error| Missing::Failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    eprintln!("{said}");
    let last = said.lines().rfind(|line| !line.is_empty()).unwrap_or("");
    let last = format!("pip: {last}");
    Err(if is_unreachable(&said) {
        Missing::LeftOut(last)
    } else {
        Missing::Failed(last)
    })
}

/// Whether what pip says is that there is no network, rather than that there is no such package.
fn is_unreachable(said: &str) -> bool {
    [
        "NewConnectionError",
        "NameResolutionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ProxyError",
        "Connection refused",
    ]
    .iter()
    .any(|sign| said.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_network_is_told_from_a_missing_package() {
        assert!(is_unreachable(
            "WARNING: Retrying after connection broken by 'NewConnectionError(…)'\n\
             ERROR: Could not find a version that satisfies the requirement httpbin"
        ));
        assert!(!is_unreachable(
            "ERROR: Could not find a version that satisfies the requirement httpbin==99"
        ));
    }
}
