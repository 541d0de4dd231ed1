//! `ocelli serve`

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use ocelli::{DeviceName, Model, Precision};
use ocelli_serve::{Event, ServeOptions, Server, random_token};

use crate::errors::Failure;
use crate::flags::ComputeFlags;
use crate::interrupt;
use crate::output::{eprintln, message, println, shown, unwritten};
use crate::text::counted;
use crate::values::{client_timeout, one_of, pixels, whole};

/// Answer predictions over HTTP, with a page to try it
///
/// POST /predict takes an image as the body, or several as multipart/form-data, and answers as predict --json does.
/// GET / is a page for browsers; GET /openapi.json describes the rest. With several models the first is the default,
/// and each is at /models/NAME/predict, where NAME is that of its run's folder or of its file.
///
/// Nothing is written to disk. Ctrl-C or SIGTERM finishes the requests that have begun.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli serve runs/photos-1
  ocelli serve model.safetensors other.safetensors --port 9000 --log json
  curl --data-binary @garden.jpg http://127.0.0.1:8000/predict")]
pub struct Serve {
    /// Model files, or the folders of their runs
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,

    /// Address to listen at; 0.0.0.0: all of this machine
    ///
    /// By default only this machine reaches the server. Others do with another address: then a token is asked for.
    /// Requests and answers are not encrypted; for that put a reverse proxy before the server.
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::LOCALHOST.into())]
    host: IpAddr,
    /// Port; 0: a free one
    #[arg(long, default_value_t = 8000, value_parser = whole::<0, 65_535>)]
    port: usize,
    /// What clients send as Authorization: Bearer TOKEN
    ///
    /// Default: none on this machine alone; else $OCELLI_TOKEN, or one that is made and printed.
    #[arg(long)]
    token: Option<String>,
    /// Further names that clients know the server by (Host header)
    ///
    /// Addresses and localhost are known. Can be given several times.
    #[arg(long = "allow-host", value_name = "NAME")]
    names: Vec<String>,
    /// Access log on standard error: lines, json or none
    #[arg(long, value_name = "FORMAT", default_value = "lines", hide_possible_values = true)]
    #[arg(value_parser = one_of::<Log>(Log::NAMES))]
    log: Log,
    /// Load models again whose files are replaced
    ///
    /// Requests that have begun go on with the old model. Where the new file is damaged, that is said, and the old model
    /// goes on.
    #[arg(long)]
    watch: bool,
    /// Calibrate probabilities (temperature scaling)
    #[arg(long)]
    calibrated: bool,

    /// Longest body of a request, in megabytes
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "MB", default_value_t = 20, value_parser = whole::<1, 1000>)]
    max_body: usize,
    /// Most images in a request
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole::<1, 10_000>)]
    max_files: usize,
    /// Most images that wait or are computed; more: 503
    #[arg(help_heading = "Limits")]
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = whole::<1, 100_000>)]
    queue: usize,
    /// Most connections; for more, idle ones are closed
    #[arg(hide_short_help = true, help_heading = "Limits")]
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = whole::<1, 10_000>)]
    max_connections: usize,
    /// Seconds for a request's headers, for its body, and for its client to take the answer
    #[arg(hide_short_help = true, help_heading = "Limits")]
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = client_timeout)]
    client_timeout: f64,
    /// Largest image to read, in pixels [default: 178956970]
    #[arg(hide_short_help = true, help_heading = "Limits")]
    #[arg(long, value_name = "PIXELS", value_parser = pixels)]
    max_pixels: Option<u64>,
    #[command(flatten)]
    compute: ComputeFlags,
}

/// The format of the access log.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Log {
    Lines,
    Json,
    None,
}

impl Log {
    const NAMES: &[(&str, &str)] =
        &[("lines", "a line for people"), ("json", "a JSON object a line"), ("none", "nothing")];
}

impl std::str::FromStr for Log {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "lines" => Ok(Self::Lines),
            "json" => Ok(Self::Json),
            "none" => Ok(Self::None),
            _ => Err("expected lines, json or none".to_owned()),
        }
    }
}

/// How each model is loaded, now and again.
struct Loading {
    threads: usize,
    device: Option<ocelli::Device>,
    precision: Option<Precision>,
    max_pixels: Option<u64>,
    calibrated: bool,
}

impl Loading {
    fn load(&self, path: &Path) -> ocelli::Result<Model> {
        let mut model = Model::load(path)?.threads(self.threads);
        if let Some(precision) = self.precision {
            model = model.precision(precision);
        }
        if let Some(pixels) = self.max_pixels {
            model = model.max_pixels(pixels);
        }
        if let Some(device) = &self.device {
            model = model.to_device(device);
        }
        if self.calibrated { model.calibrated() } else { Ok(model) }
    }
}

impl Serve {
    pub fn run(&self) -> Result<(), Failure> {
        let threads = self.compute.threads.start()?;
        let is_default = self.compute.device == DeviceName::default();
        let loading = Loading {
            threads,
            device: if is_default { None } else { Some(self.compute.device.open()?) },
            precision: self.compute.precision,
            max_pixels: self.max_pixels,
            calibrated: self.calibrated,
        };
        let made = self.token()?;
        let options = ServeOptions {
            host: self.host,
            // In its range, as it was parsed.
            port: self.port as u16,
            token: made.as_ref().map(|(token, _)| token.clone()),
            names: self.names.clone(),
            max_body: self.max_body * 1_000_000,
            max_files: self.max_files,
            queue: self.queue.max(self.max_files),
            max_connections: self.max_connections,
            client_timeout: Duration::from_secs_f64(self.client_timeout),
            threads,
            watch: self.watch,
        };
        let log = self.log;
        let server = Server::bind(
            &self.models,
            move |path| loading.load(path),
            options,
            move |event| tell(event, log),
        );
        let server = server.map_err(|error| match error {
            ocelli_serve::Error::Model(error) => error.into(),
            ocelli_serve::Error::Listen { ref source, .. } => {
                let advice = match source.kind() {
                    ErrorKind::AddrInUse => "; choose another port with --port, or a free one with --port 0",
                    ErrorKind::PermissionDenied => "; choose a port from 1024 on with --port",
                    _ => "",
                };
                Failure::Error(format!("{error}{advice}"))
            }
            error => Failure::from(error),
        })?;
        let others =
            if self.host.is_unspecified() { "this machine".to_owned() } else { self.host.to_string() };
        if !self.host.is_loopback() {
            eprintln!(
                "warning: whoever reaches {others} and has the token can ask this server; what is sent is not encrypted"
            );
        }
        println!("{}   {}", server.url(), server.models().join(", "));
        if let Some((token, true)) = &made {
            // All addresses are none that a browser could open.
            let here = server.url().replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]");
            let elsewhere =
                if self.host.is_unspecified() { "   elsewhere: by this machine's address" } else { "" };
            println!("token: {token}   page: {here}/#token={token}{elsewhere}");
        }
        std::io::stdout().flush().map_err(unwritten)?;
        interrupt::finish("the requests that have begun");
        Ok(server.run(interrupt::flag())?)
    }

    /// The token, if one is to be asked for, and whether it was made here.
    fn token(&self) -> Result<Option<(String, bool)>, Failure> {
        let given = self.token.clone().or_else(|| std::env::var("OCELLI_TOKEN").ok());
        match given {
            Some(token) if token.len() < 8 || !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                let message =
                    "--token: expected at least 8 letters, digits or signs of ASCII, without blanks";
                Err(Failure::Error(message.to_owned()))
            }
            Some(token) => Ok(Some((token, false))),
            None if self.host.is_loopback() => Ok(None),
            None => Ok(Some((random_token()?, true))),
        }
    }
}

/// Prints what happens.
fn tell(event: Event, log: Log) {
    match event {
        Event::Access(access) => match log {
            Log::Lines => eprintln!("{access}"),
            Log::Json => eprintln!("{}", access.to_json()),
            Log::None => {}
        },
        Event::Reloaded { model } => {
            eprintln!("{}: its file was replaced, and is loaded again", shown(model))
        }
        Event::NotReloaded { model, reason } => {
            eprintln!(
                "{}: its file was replaced; the old model goes on, since: {}",
                shown(model),
                message(reason)
            );
        }
        Event::CutOff(requests) => eprintln!("{} cut off", counted(requests, "connection")),
        _ => {}
    }
}
