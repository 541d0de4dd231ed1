//! A server of the real command, asked over sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A process that serves; it is killed when it is dropped.
pub struct Server {
    pub process: Child,
    /// The lines of standard output up to that with the address, and as many as were asked for.
    pub printed: String,
    /// The address without `http://`.
    pub address: String,
    /// Standard error, where the command was told to pipe it.
    said: Option<BufReader<ChildStderr>>,
}

impl Server {
    /// Starts a command that prints its address, and reads at least so many lines of its standard output.
    pub fn start(command: &mut Command, lines: usize) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut said = process.stderr.take().map(BufReader::new);
        let mut printed = String::new();
        while !printed.contains("http://") || printed.lines().count() < lines {
            if out.read_line(&mut printed).unwrap() == 0 {
                if let Some(said) = &mut said {
                    said.read_to_string(&mut printed).unwrap();
                }
                panic!("it does not start: {printed}");
            }
        }
        let address = printed.split("http://").nth(1).unwrap().split_whitespace().next().unwrap();
        let address = address.replace("0.0.0.0", "127.0.0.1");
        // What is printed later has to go somewhere.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        Self { process, printed, address, said }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        // Where nothing comes, the test fails instead of waiting.
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream
    }

    /// Sends a request with these further headers.
    pub fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        let host = match headers.iter().any(|header| header.starts_with("Host:")) {
            true => String::new(),
            false => format!("Host: {}\r\n", self.address),
        };
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{host}{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        // A server that refuses may close before all is written.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        stream
    }

    /// Sends a request with these further headers, and gives the answer.
    pub fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        Answer::read(self.send(method, path, headers, body))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], &[])
    }

    /// What is answered with 200.
    pub fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Waits for a line of standard error that holds this.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        let mut line = String::new();
        while self.said.as_mut().unwrap().read_line(&mut line).unwrap() > 0 {
            if line.contains(text) {
                return line;
            }
            line.clear();
        }
        panic!("\"{text}\" never came");
    }

    pub fn signal(&self, name: &str) {
        let process = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &process]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An answer, whose connection is closed. The status is 0 where there was none.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn read(mut stream: TcpStream) -> Self {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let end = all.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(all.len(), |end| end + 4);
        let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head, body: all[end..].to_vec() }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}
