//! Checks from the machine that deploys.

use std::num::NonZeroU16;
use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::in_url;
use crate::{Address, Host};

/// How much of an answer is read to find its status.
const HEAD: u64 = 512;

async fn connect(host: &Host, port: NonZeroU16) -> Option<TcpStream> {
    let address = host.address().map_or("localhost", |address| address.as_str());
    TcpStream::connect((address, port.get())).await.ok()
}

pub(super) async fn accepts(host: &Host, port: NonZeroU16) -> bool {
    connect(host, port).await.is_some()
}

/// Returns the status of the answer to a request without a body, in plain HTTP.
pub(super) async fn http_status(host: &Host, port: NonZeroU16, path: &str) -> Option<u16> {
    let mut stream = connect(host, port).await?;
    let name = host.address().map_or("localhost", |address| address.as_str());
    let path: String = path.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: nixmox-deploy\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    stream.take(HEAD).read_to_end(&mut head).await.ok()?;
    status(&head)
}

/// Returns the status of the answer over TLS, when the certificate is one of that name and trusted here.
pub(super) async fn https_status(
    host: &Host,
    name: &Address,
    (port, path): (NonZeroU16, &str),
) -> Option<u16> {
    let address = host.address().map_or("localhost", |address| address.as_str());
    let mut curl = Command::new("curl");
    // No configuration of the user's, and no way round the host.
    curl.args(["-q", "--silent", "--noproxy", "*", "--proto", "=https", "--output", "/dev/null"]);
    curl.args(["--write-out", "%{http_code}", "--connect-to"]);
    curl.arg(format!("::{}:{port}", in_url(address)));
    curl.arg("--").arg(format!("https://{}:{port}{path}", in_url(name.as_str())));
    curl.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = curl.output().await.ok()?;
    let status = std::str::from_utf8(&output.stdout).ok()?.parse().ok();
    status.filter(|_| output.status.success())
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let version = words.next()?;
    version.starts_with("HTTP/1.").then(|| words.next()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_the_second_word_of_the_answer() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\nx: y\r\n"), Some(204));
        assert_eq!(status(b"SSH-2.0-OpenSSH_9.2\r\n"), None);
        assert_eq!(status(b"HTTP/1.1 abc\r\n"), None);
        assert_eq!(status(b""), None);
    }
}
