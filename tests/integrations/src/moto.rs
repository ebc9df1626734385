//! `moto`, a server of the AWS APIs in Python.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// A server, which ends with its standard input.
const SCRIPT: &str = "
import sys
import boto3
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
_, port = server.get_host_and_port()
client = boto3.client('s3', endpoint_url=f'http://127.0.0.1:{port}', region_name='us-east-1',
                      aws_access_key_id='key', aws_secret_access_key='secret')
client.create_bucket(Bucket=sys.argv[1])
print(port, flush=True)
sys.stdin.read()
server.stop()
";

/// A running `moto`.
pub struct Moto {
    process: Child,
    port: u16,
}

impl Moto {
    /// Starts a server with an empty bucket. `HTTPCORE_MOTO` is a Python that has `moto`: without it
    /// the test is left out, and says so.
    pub fn start(bucket: &str) -> Option<Moto> {
        let Some(python) = std::env::var_os("HTTPCORE_MOTO") else {
            println!("LEFT OUT: HTTPCORE_MOTO does not name a Python with moto");
            return None;
        };
        let mut process = Command::new(python)
            .args(["-c", SCRIPT, bucket])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("a pipe");
        let read = BufReader::new(output).read_line(&mut line);
        read.expect("a line");
        let port = line.trim().parse().expect("moto says its port");
        Some(Moto { process, port })
    }

    /// Returns `http://ADDRESS`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
