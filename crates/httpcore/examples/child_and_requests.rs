//! One thread, one loop: reads URLs from a child process, and requests each as soon as its line arrives.
//!
//! ```sh
//! cargo run -p httpcore --example child_and_requests
//! ```

use std::{
    io::{PipeReader, Read},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use httpcore::{ConnectionPool, EventLoop};
use httpcore_net_epoll::{AsyncFd, Direction, LocalSet};
use httpcore_origin::Origin;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let origin = Origin::start()?;
    // Stands for any program that writes a line now and then.
    let script = format!(
        "for n in 1 2 3; do echo {}; sleep 0.05; done",
        origin.url("/hello")
    );
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("the child has no output")?;

    let epoll = EventLoop::new()?;
    let pool = ConnectionPool::new(epoll.backend());
    let pipe = PipeReader::from(OwnedFd::from(output));
    fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
    let pipe = AsyncFd::new(&epoll.handle(), pipe)?;

    let local = LocalSet::new();
    epoll.block_on(local.run_until(async {
        let mut requests = Vec::new();
        let (mut text, mut buf) = (Vec::new(), [0; 4096]);
        loop {
            let read = pipe.async_io(Direction::Read, |mut pipe| pipe.read(&mut buf));
            let read = read.await?;
            if read == 0 {
                break;
            }
            text.extend_from_slice(&buf[..read]);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let url = String::from_utf8_lossy(&line).trim_end().to_owned();
                println!("the child wrote {url}");
                let pool = pool.clone();
                requests.push(local.spawn_local(async move {
                    let response = pool.get(url).await?;
                    let status = response.status();
                    let body = response.into_body().bytes(64 * 1024).await?;
                    println!("{status}, {} bytes", body.len());
                    Ok::<_, httpcore::Error>(())
                }));
            }
        }
        for request in requests {
            request.await?;
        }
        Ok::<_, Error>(())
    }))?;
    child.wait()?;
    Ok(())
}
