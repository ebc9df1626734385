//! Tests against real servers. Missing servers are installed where that is possible.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use xtask::{
    debian::{Debian, Found, Missing},
    steps::{Outcome, Report, cargo, execute, find, output, root, target},
};

use crate::test::counted;

pub(crate) fn run() -> Outcome {
    let folder = target().join("interop");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let debian = Debian::default();
    // Names as in `httpcore_servers::Kind` and `Front`.
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
        ("nghttpx", debian.has("nghttpx", &["nghttp2-proxy"])),
        ("mitmproxy", mitmproxy(&debian, &folder)),
        // Installed in the same environment as httpbin.
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
            Ok(()) => println!("    {name}: available"),
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

/// Installs gunicorn, httpbin, Hypercorn, uvicorn and websockets in a virtual environment.
fn python(debian: &Debian, folder: &Path) -> Found {
    environment(debian, &folder.join("venv"), "requirements.txt")
}

/// Installs mitmproxy in an environment of its own: it demands versions that the other packages do not have.
fn mitmproxy(debian: &Debian, folder: &Path) -> Found {
    let list = "requirements-mitmproxy.txt";
    environment(debian, &folder.join("mitmproxy"), list)
}

/// Installs the packages of a list in a virtual environment, which is created again when the list has changed.
fn environment(debian: &Debian, venv: &Path, list: &str) -> Found {
    debian.has("python3", &["python3", "python3-venv"])?;
    let failed = |what: &dyn std::fmt::Display| Missing::Failed(what.to_string());
    let list = root().join("tests/servers").join(list);
    let wanted = fs::read(&list).map_err(|error| failed(&error))?;
    let stamp = venv.join("requirements.txt");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let make = || {
        execute(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(venv),
        )
    };
    if make().is_err() {
        // Debian's python3 does not include venv.
        debian.install(&["python3-venv"])?;
        make().map_err(Missing::Failed)?;
    }
    pip(venv, &list)?;
    fs::write(&stamp, wanted).map_err(|error| failed(&error))
}

/// Installs packages for Node, again when the list of packages has changed.
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
        let stderr = String::from_utf8_lossy(&output.stderr);
        eprintln!("{stderr}");
        let last = stderr.lines().rfind(|line| !line.is_empty()).unwrap_or("");
        let last = format!("npm: {last}");
        let unreachable = ["ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN"];
        return Err(if unreachable.iter().any(|sign| stderr.contains(sign)) {
            Missing::LeftOut(last)
        } else {
            Missing::Failed(last)
        });
    }
    fs::write(&stamp, wanted).map_err(|error| failed(&error))
}

/// Installs the Autobahn test suite, which requires Python 2.7. The interpreter itself is not installed:
/// it is used if it is in the path or among pyenv's versions.
fn autobahn(folder: &Path) -> Found {
    const SUITE: &str = "autobahntestsuite==0.8.2";
    let failed = |error: &dyn std::fmt::Display| Missing::Failed(error.to_string());
    let mut locate = Command::new("python2.7");
    locate.args(["-c", "import sys; print(sys.executable)"]);
    if find("pyenv").is_some() {
        let versions = output(Command::new("pyenv").args(["versions", "--bare"]));
        let versions = versions.unwrap_or_default();
        if let Some(version) = versions.lines().find(|version| version.starts_with("2.7")) {
            locate.env("PYENV_VERSION", version.trim());
        }
    }
    let interpreter = output(&mut locate)
        .map_err(|_| Missing::LeftOut("it needs Python 2.7, which is not installed".to_owned()))?;
    let packages = folder.join("autobahn");
    let stamp = packages.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == SUITE) {
        return Ok(());
    }
    let output = Command::new(interpreter.trim())
        .args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"])
        .args([packages.as_os_str(), SUITE.as_ref()])
        .output()
        .map_err(|error| failed(&error))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = stderr.lines().rfind(|line| !line.is_empty()).unwrap_or("");
        // An unmaintained package: a failure to install it is expected at some time.
        return Err(Missing::LeftOut(format!("pip: {last}")));
    }
    // Outside its own folder, this interpreter accepts no package without this file.
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
    let stderr = String::from_utf8_lossy(&output.stderr);
    eprintln!("{stderr}");
    let last = stderr.lines().rfind(|line| !line.is_empty()).unwrap_or("");
    let last = format!("pip: {last}");
    Err(if is_unreachable(&stderr) {
        Missing::LeftOut(last)
    } else {
        Missing::Failed(last)
    })
}

/// Whether pip's output means that the network is unreachable, not that the package does not exist.
fn is_unreachable(stderr: &str) -> bool {
    [
        "NewConnectionError",
        "NameResolutionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ProxyError",
        "Connection refused",
    ]
    .iter()
    .any(|sign| stderr.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreachable_network_is_distinguished_from_unknown_package() {
        assert!(is_unreachable(
            "WARNING: Retrying after connection broken by 'NewConnectionError(…)'\n\
             ERROR: Could not find a version that satisfies the requirement httpbin"
        ));
        assert!(!is_unreachable(
            "ERROR: Could not find a version that satisfies the requirement httpbin==99"
        ));
    }
}
