//! nghttp2's server.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crate::{Door, Server, folder, left_out, port, process::Process};

/// Starts nghttpd as [`Front::Nghttpd`](crate::Front::Nghttpd), with these arguments of its own, or
/// says that it is left out and returns `None`. Its log names every frame.
///
/// # Panics
///
/// If it does not start, and `HTTPCORE_LEFT_OUT` does not name it.
pub fn require_nghttpd(door: Door<'_>, more: &[&str]) -> Option<Server> {
    left_out::or_start("nghttpd", || start(door, more))
}

/// Starts it with these arguments beside what [`Front::Nghttpd`](crate::Front::Nghttpd) says.
pub(crate) fn start(door: Door<'_>, more: &[&str]) -> io::Result<Server> {
    let folder = folder()?;
    let files = folder.path().join("www");
    fs::create_dir_all(files.join("bytes"))?;
    fs::write(files.join("hello"), "Hello from nghttpd!\n")?;
    File::create(files.join("bytes/268435456"))?.set_len(256 << 20)?;
    let program = ["/usr/sbin/nghttpd", "/usr/bin/nghttpd"]
        .into_iter()
        .find(|program| Path::new(program).is_file())
        .unwrap_or("nghttpd");
    let files = files.to_string_lossy();
    let (process, addr) = port::on_a_free_one(|addr| {
        let port = addr.port().to_string();
        // Verbose, or it would not say when it listens.
        let mut arguments = vec!["-v", "-a", "127.0.0.1", "-d", &files, "--echo-upload"];
        arguments.extend(["--trailer", "x-checksum: 1234"]);
        arguments.extend(more);
        let files = match door {
            Door::Plain => {
                arguments.extend(["--no-tls", &port]);
                None
            }
            Door::Tls(authority) => Some((authority.key(), authority.certificate())),
        };
        let files =
            files.map(|(key, certificate)| (key.to_string_lossy(), certificate.to_string_lossy()));
        if let Some((key, certificate)) = &files {
            arguments.extend([port.as_str(), key, certificate]);
        }
        let process = Process::start(program, &arguments)?;
        process.wait_for(|line| line.contains("listen 127.0.0.1").then_some(()))?;
        Ok((process, addr))
    })?;
    Ok(Server::new(process, addr, folder))
}
