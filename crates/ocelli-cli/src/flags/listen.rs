//! Flags of verbs that answer over HTTP.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clap::Args;
use ocelli_serve::{Event, ListenOptions, Server, Site, random_token};

use crate::errors::Failure;
use crate::interrupt;
use crate::output::{eprintln, message, println, shown, unwritten};
use crate::text::counted;
use crate::values::{client_timeout, one_of, whole};

/// Where a server listens, and who may ask it.
#[derive(Debug, Args)]
pub struct ListenFlags {
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
    ///
    /// serve writes lines by default, the others none.
    #[arg(long, value_name = "FORMAT", hide_possible_values = true, value_parser = one_of::<Log>(Log::NAMES))]
    log: Option<Log>,
    /// Most connections; for more, idle ones are closed
    #[arg(hide_short_help = true, help_heading = "Limits")]
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = whole::<1, 10_000>)]
    max_connections: usize,
    /// Seconds for a request's headers, for its body, and for its client to take the answer
    #[arg(hide_short_help = true, help_heading = "Limits")]
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = client_timeout)]
    client_timeout: f64,
}

/// The format of the access log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Log {
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

/// How a server listens, and whether its token was made here.
pub struct Listening {
    pub options: ListenOptions,
    made: bool,
    log: Log,
}

impl ListenFlags {
    /// `log` is the access log where none is asked for.
    ///
    /// # Errors
    /// Where the token is none.
    pub fn listening(&self, log: Log) -> Result<Listening, Failure> {
        let (token, made) = self.token()?.unzip();
        let options = ListenOptions {
            host: self.host,
            // In its range, as it was parsed.
            port: self.port as u16,
            token,
            names: self.names.clone(),
            max_connections: self.max_connections,
            client_timeout: Duration::from_secs_f64(self.client_timeout),
        };
        Ok(Listening { options, made: made.unwrap_or(false), log: self.log.unwrap_or(log) })
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

impl Listening {
    /// Answers with this site until a signal, and prints where, with `what` it answers.
    pub fn run(self, site: impl Into<Site>, what: &str) -> Result<(), Failure> {
        let Self { options, made, log } = self;
        let server = Server::bind(site, &options, move |event| tell(event, log)).map_err(failure)?;
        let all = options.host.is_unspecified();
        let others = if all { "this machine".to_owned() } else { options.host.to_string() };
        if !options.host.is_loopback() {
            eprintln!(
                "warning: whoever reaches {others} and has the token can ask this server; what is sent is not encrypted"
            );
        }
        println!("{}   {what}", server.url());
        if let (Some(token), true) = (&options.token, made) {
            // All addresses are none that a browser could open.
            let here = server.url().replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]");
            let elsewhere = if all { "   elsewhere: by this machine's address" } else { "" };
            println!("token: {token}   page: {here}/#token={token}{elsewhere}");
        }
        std::io::stdout().flush().map_err(unwritten)?;
        interrupt::finish("the requests that have begun");
        Ok(server.run(interrupt::flag())?)
    }
}

/// Why a server does not start, in terms of the flags.
pub fn failure(error: ocelli_serve::Error) -> Failure {
    match error {
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
