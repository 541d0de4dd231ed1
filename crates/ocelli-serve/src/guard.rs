//! Who may ask: requests of other web pages are refused, and those without the token where there is one.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, StatusCode};

use crate::options::ListenOptions;
use crate::refusal::Refusal;

/// Checks the headers of each request.
pub(crate) struct Guard {
    /// The digest of the token: digests are compared in constant time, and have one length.
    token: Option<blake3::Hash>,
    /// In small letters.
    names: Vec<String>,
    /// Paths that need no token.
    open: &'static [&'static str],
}

impl Guard {
    pub(crate) fn new(options: &ListenOptions, open: &'static [&'static str]) -> Self {
        let mut names: Vec<String> = options.names.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.push("localhost".to_owned());
        Self { token: options.token.as_ref().map(|token| blake3::hash(token.as_bytes())), names, open }
    }

    pub(crate) fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = one(headers, &HOST)?
            .ok_or_else(|| Refusal::bad_request("the request has no Host header"))?
            .to_ascii_lowercase();
        let name = name_of(&host);
        // An address is no name that someone else could have resolved to this machine.
        if name.parse::<IpAddr>().is_err() && !self.names.iter().any(|known| known == name) {
            let message = "this server is not known by the name in the Host header; if it is to be, start it with that name \
                           as --allow-host";
            return Err(Refusal::new(StatusCode::FORBIDDEN, message));
        }
        if let Some(origin) = one(headers, &ORIGIN)? {
            let of = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            if of.is_none_or(|of| !of.eq_ignore_ascii_case(&host)) {
                let message = "requests of other web pages are refused (Origin header)";
                return Err(Refusal::new(StatusCode::FORBIDDEN, message));
            }
        }
        match &self.token {
            Some(token) if !self.open.contains(&path) => {
                let given = one(headers, &AUTHORIZATION)?.unwrap_or_default();
                let given = given.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
                match given {
                    Some((_, given)) if blake3::hash(given.trim().as_bytes()) == *token => Ok(()),
                    _ => {
                        let message =
                            "the token is missing or wrong; send the header Authorization: Bearer TOKEN";
                        Err(Refusal::new(StatusCode::UNAUTHORIZED, message))
                    }
                }
            }
            _ => Ok(()),
        }
    }
}

/// The value of a header, which must stand there once at most.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Refusal::bad_request(format!("the request has the header {name} twice")));
    }
    let text = first.map(|value| {
        value.to_str().map_err(|_| Refusal::bad_request(format!("the header {name} is not ASCII text")))
    });
    text.transpose()
}

/// The name or address in `name:port`, `[::1]:port`.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(guard: &Guard, path: &str, headers: &[(&'static str, &str)]) -> u16 {
        let pairs =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let mut map = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            map.append(name, value);
        });
        guard.check(path, &map).map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    #[test]
    fn names_of_others_are_refused() {
        let names = vec!["Photos.Example".to_owned()];
        let guard = Guard::new(&ListenOptions { names, ..ListenOptions::default() }, &[]);
        for (host, expected) in [
            ("localhost", 200),
            ("LOCALHOST:9000", 200),
            ("127.0.0.1:80", 200),
            ("[::1]:80", 200),
            ("192.168.0.7", 200),
            ("photos.example:8000", 200),
            ("evil.example", 403),
            ("localhost.evil.example:8000", 403),
            ("evil.example:127.0.0.1", 403),
            ("", 403),
        ] {
            assert_eq!(status(&guard, "/predict", &[("host", host)]), expected, "{host}");
        }
        assert_eq!(status(&guard, "/predict", &[]), 400);
        assert_eq!(status(&guard, "/predict", &[("host", "localhost"), ("host", "localhost")]), 400);
        let host = ("host", "127.0.0.1:8000");
        for (origin, expected) in [
            ("http://127.0.0.1:8000", 200),
            ("http://127.0.0.1:8001", 403),
            ("http://127.0.0.1:8000.evil.example", 403),
            ("https://evil.example", 403),
            ("null", 403),
        ] {
            assert_eq!(status(&guard, "/predict", &[host, ("origin", origin)]), expected, "{origin}");
        }
    }

    #[test]
    fn the_token_is_asked_for() {
        let token = Some("s3cret".to_owned());
        let guard = Guard::new(&ListenOptions { token, ..ListenOptions::default() }, &["/health"]);
        let with = |path, value: Option<&str>| {
            let host = [("host", "localhost")];
            let token: Vec<(&'static str, &str)> =
                value.map(|value| ("authorization", value)).into_iter().collect();
            status(&guard, path, &[&host[..], &token].concat())
        };
        assert_eq!(with("/predict", Some("Bearer s3cret")), 200);
        assert_eq!(with("/predict", Some("bearer  s3cret")), 200);
        for wrong in [
            None,
            Some("Bearer s3cre"),
            Some("Bearer s3cret1"),
            Some("Basic s3cret"),
            Some("s3cret"),
            Some("Bearer"),
        ] {
            assert_eq!(with("/predict", wrong), 401, "{wrong:?}");
            assert_eq!(with("/models/a/predict", wrong), 401, "{wrong:?}");
            assert_eq!(with("/health", wrong), 200, "{wrong:?}");
        }
    }
}
