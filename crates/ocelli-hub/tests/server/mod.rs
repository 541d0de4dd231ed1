//! An HTTP server on loopback that misbehaves on request.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A server that runs until the process ends.
pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// The address as asked: a path, or a host where the server is used as a proxy.
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// How many requests came before.
    #[allow(dead_code)] // not every test counts
    pub number: usize,
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// What happens after the body: the connection ends, or stays silent for so long and then ends.
    pub silence: Duration,
    /// Silence before the first byte of the answer.
    pub delay: Duration,
}

impl Server {
    pub fn new(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (requests.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                // A client that goes away in the middle is no failure of the server's.
                std::thread::spawn(move || exchange(&stream, &seen, &*answer));
            }
        });
        Self { url, requests }
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The ranges that were asked for, "" for the whole.
    #[allow(dead_code)] // not every test looks at them
    pub fn ranges(&self) -> Vec<String> {
        let gets = self.requests().into_iter().filter(|request| request.method == "GET");
        gets.map(|request| request.headers.get("range").cloned().unwrap_or_default()).collect()
    }
}

impl Request {
    /// The first byte that is asked for.
    pub fn start(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

#[allow(dead_code)] // not every test needs every reply
impl Reply {
    pub fn status(status: &'static str) -> Self {
        Self { status, headers: vec![("Content-Length", "0".to_owned())], ..Self::default() }
    }

    /// The whole content, whatever part was asked for.
    pub fn whole(content: &[u8]) -> Self {
        let headers = vec![("Content-Length", content.len().to_string())];
        Self { status: "200 OK", headers, body: content.to_vec(), ..Self::default() }
    }

    /// The content from where it is asked for.
    pub fn part(content: &[u8], request: &Request) -> Self {
        match request.start() {
            None => Self::whole(content),
            Some(start) if start >= content.len() => {
                let range = format!("bytes */{}", content.len());
                Self::status("416 Range Not Satisfiable").with("Content-Range", range)
            }
            Some(start) => {
                let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
                let reply = Self { status: "206 Partial Content", ..Self::whole(&content[start..]) };
                reply.with("Content-Range", range)
            }
        }
    }

    pub fn redirect(to: impl Into<String>) -> Self {
        Self::status("302 Found").with("Location", to)
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Ends the connection after so many bytes of the body.
    pub fn cut(mut self, bytes: usize) -> Self {
        self.body.truncate(bytes);
        self
    }

    /// Says nothing for so long after the body.
    pub fn silent(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }
}

fn exchange(
    stream: &TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &dyn Fn(&Request) -> Reply,
) -> Option<()> {
    let mut input = BufReader::new(stream);
    let mut request = receive(&mut input, seen)?;
    let mut out = stream;
    if request.method == "CONNECT" {
        // Used as a proxy, the server is its own far end.
        out.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?;
        request = receive(&mut input, seen)?;
    }
    let reply = answer(&request);
    std::thread::sleep(reply.delay);
    let mut head = format!("HTTP/1.1 {}\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    out.write_all(head.as_bytes()).ok()?;
    out.write_all(b"\r\n").ok()?;
    if request.method != "HEAD" {
        out.write_all(&reply.body).ok()?;
        out.flush().ok()?;
        std::thread::sleep(reply.silence);
    }
    Some(())
}

fn receive(input: &mut impl BufRead, seen: &Mutex<Vec<Request>>) -> Option<Request> {
    let mut lines = input.lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut seen = seen.lock().unwrap();
    let number = seen.len();
    seen.push(Request { method, target, headers, number });
    seen.last().cloned()
}
