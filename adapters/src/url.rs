//! Where a store on servers is: `scheme://user:password@host:port,host:port/name?option=value`.
//!
//! One text says where, as whom and how a store is reached, so that every setting of a connection has one place. What is
//! secret in it is never shown: [`StoreUrl`] prints without its password, and errors quote nothing but names of options.
//! An option that nobody asks for is an error, as an unknown setting is.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use zeroize::Zeroizing;

/// What would end an option's value, or be read as something else in it.
const IN_OPTIONS: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'&').add(b'#').add(b'+');

/// A parsed URL of a store.
pub struct StoreUrl {
    scheme: String,
    user: Option<String>,
    password: Option<Zeroizing<String>>,
    hosts: Vec<String>,
    name: String,
    options: BTreeMap<String, String>,
    /// Options that nobody has asked for yet.
    unread: Mutex<Vec<String>>,
}

/// What is wrong with a URL. Says nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

/// How a connection is encrypted, and how both ends prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Authorities to believe instead of the system's, as PEM.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its key, as PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// How connections are made, for whoever wonders why a server ends them: most do not say.
    pub fn manner(tls: Option<&Self>) -> &'static str {
        match tls.map(|tls| &tls.identity) {
            None => "without TLS",
            Some(None) => "with TLS, without a certificate of ours",
            Some(Some(_)) => "with TLS and a certificate of ours",
        }
    }
}

impl StoreUrl {
    /// Reads a URL. The option `password_file` names a file that the password is read from, without its last line
    /// break.
    ///
    /// # Errors
    /// Says what is missing or cannot be read.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| UrlError("it must begin like `scheme://host`".to_owned()))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // The last one: a password may hold what should have been encoded.
        let (credentials, rest) = rest.rsplit_once('@').map_or((None, rest), |(who, rest)| (Some(who), rest));
        let (hosts, name) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts: Vec<String> = hosts.split(',').map(str::to_owned).collect();
        if hosts.iter().any(String::is_empty) {
            return Err(UrlError("a host is missing".to_owned()));
        }
        let (user, password) = match credentials {
            None => (None, None),
            Some(who) => {
                let (user, password) = who.split_once(':').map_or((who, None), |(user, word)| (user, Some(word)));
                (Some(decoded(user)?), password.map(decoded).transpose()?)
            }
        };
        let mut options = BTreeMap::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            if options.insert(key.to_owned(), decoded(value)?).is_some() {
                return Err(UrlError(format!("the option `{key}` is there twice")));
            }
        }
        let password = match options.remove("password_file") {
            None => password,
            Some(_) if password.is_some() => {
                return Err(UrlError("it has both a password and a `password_file`".to_owned()));
            }
            Some(file) => Some(read_password(Path::new(&file))?),
        };
        let unread = Mutex::new(options.keys().cloned().collect());
        Ok(Self {
            scheme: scheme.to_owned(),
            user,
            password: password.map(Zeroizing::new),
            hosts,
            name: decoded(name)?,
            options,
            unread,
        })
    }

    /// Which kind of store.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// As whom.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// What proves it. For the driver alone.
    pub fn password(&self) -> Option<&str> {
        self.password.as_ref().map(|password| password.as_str())
    }

    /// `host` or `host:port`, one or more.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// What follows the hosts: the database, keyspace or prefix; empty where there is nothing.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An option's text.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.unread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).retain(|unread| unread != key);
        self.options.get(key).map(String::as_str)
    }

    /// An option that is a number, a truth value or the like.
    ///
    /// # Errors
    /// It is there and is none.
    pub fn parsed<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, UrlError> {
        let parse = |text: &str| text.parse().map_err(|_| UrlError(format!("the option `{key}` has no valid value")));
        self.option(key).map(parse).transpose()
    }

    /// An option that names a file.
    ///
    /// # Errors
    /// It cannot be read. Drivers do not all say which file that is.
    pub fn file(&self, key: &str) -> Result<Option<PathBuf>, UrlError> {
        let Some(file) = self.option(key) else { return Ok(None) };
        let opened = std::fs::File::open(file);
        opened.map_err(|error| UrlError(format!("`{key}` names {file}, which cannot be read: {error}")))?;
        Ok(Some(PathBuf::from(file)))
    }

    /// `tls=true`, with `tls_ca_file`, `tls_certificate_file` and `tls_key_file`. `None` where it is not asked for.
    ///
    /// # Errors
    /// The options do not go together, or a file cannot be read.
    pub fn tls(&self) -> Result<Option<Tls>, UrlError> {
        let wanted = self.parsed("tls")?.unwrap_or(false);
        let keys = ["tls_ca_file", "tls_certificate_file", "tls_key_file"];
        let given = keys.map(|key| self.option(key).is_some());
        if !wanted {
            return match given.contains(&true) {
                false => Ok(None),
                true => Err(UrlError("it names files for TLS, but `tls=true` is missing".to_owned())),
            };
        }
        if given[1] != given[2] {
            return Err(UrlError("`tls_certificate_file` and `tls_key_file` go together".to_owned()));
        }
        let [ca_file, certificate, key] = keys.map(|key| self.file(key));
        Ok(Some(Tls { ca_file: ca_file?, identity: certificate?.zip(key?) }))
    }

    /// The whole URL, password and all options included, for a driver that reads URLs itself and knows what is an
    /// option and what is not.
    pub fn for_driver(&self) -> Zeroizing<String> {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut text = format!("{}://", self.scheme);
        if let Some(user) = &self.user {
            text.push_str(&encoded(user));
            if let Some(password) = &self.password {
                text.push(':');
                text.push_str(&encoded(password));
            }
            text.push('@');
        }
        text.push_str(&self.hosts.join(","));
        text.push('/');
        text.push_str(&encoded(&self.name));
        for (index, (key, value)) in self.options.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            text.push_str(key);
            text.push('=');
            text.push_str(&utf8_percent_encode(value, IN_OPTIONS).to_string());
        }
        Zeroizing::new(text)
    }

    /// Refuses options that were not asked for. Called once all that are known have been.
    ///
    /// # Errors
    /// Names the first.
    pub fn finish(&self) -> Result<(), UrlError> {
        let unread = self.unread.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match unread.first() {
            None => Ok(()),
            Some(key) => Err(UrlError(format!("`{}` has no option `{key}`", self.scheme))),
        }
    }
}

impl UrlError {
    /// Something that an adapter finds wrong with a URL. `what` must hold nothing secret.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// Without password and options.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        write!(f, "{}", self.hosts.join(","))?;
        if self.name.is_empty() { Ok(()) } else { write!(f, "/{}", self.name) }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

/// A store's URL as it may be shown, whatever is wrong with it.
pub fn shown(url: &str) -> String {
    match (StoreUrl::parse(url), url.contains('@')) {
        (Ok(url), _) => url.to_string(),
        (Err(_), false) => url.split('?').next().unwrap_or_default().to_owned(),
        // Whatever stands before the @ may be a password.
        (Err(_), true) => format!("{}:…", url.split(':').next().unwrap_or_default()),
    }
}

fn decoded(text: &str) -> Result<String, UrlError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| UrlError("it is not UTF-8 once decoded".to_owned()))
}

fn read_password(file: &Path) -> Result<String, UrlError> {
    let text = std::fs::read_to_string(file);
    let text =
        text.map_err(|error| UrlError(format!("the password file {} cannot be read: {error}", file.display())))?;
    Ok(text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line)).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let url =
            StoreUrl::parse("kafka://ada:p%40ss:word@one:9092,two:9093/pre%2Dfix?tls=true&retries=3").expect("good");
        assert_eq!((url.scheme(), url.user(), url.password()), ("kafka", Some("ada"), Some("p@ss:word")));
        assert_eq!((url.hosts().join(" "), url.name()), ("one:9092 two:9093".to_owned(), "pre-fix"));
        assert_eq!(url.parsed::<u32>("retries"), Ok(Some(3)));
        assert_eq!(url.tls(), Ok(Some(Tls { ca_file: None, identity: None })));
        assert_eq!(url.finish(), Ok(()));
    }

    #[test]
    fn little_is_needed() {
        let url = StoreUrl::parse("redis://localhost").expect("good");
        assert_eq!((url.user(), url.password(), url.name(), url.hosts().len()), (None, None, "", 1));
        assert_eq!(url.tls(), Ok(None));
    }

    #[test]
    fn a_driver_gets_all_of_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("password");
        std::fs::write(&file, "p@ss/w").expect("written");
        let url = format!("mongodb://ada@one,two:2/db?tls=true&tlsCAFile=/etc/ca.pem&password_file={}", file.display());
        let url = StoreUrl::parse(&url).expect("good");
        assert_eq!(*url.for_driver(), "mongodb://ada:p%40ss%2Fw@one,two:2/db?tls=true&tlsCAFile=/etc/ca.pem");
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        let text = "kafka://ada:secret@one/x?tls_key_file=secret";
        let url = StoreUrl::parse(text).expect("good");
        assert_eq!(
            format!("{url} {url:?} {}", shown(text)),
            "kafka://ada@one/x StoreUrl(kafka://ada@one/x) kafka://ada@one/x"
        );
        for broken in
            ["kafka:ada:secret@one", "kafka://ada:secret@,/x", "kafka://ada:secret%FF@one", "kafka:one?p=secret"]
        {
            let error = StoreUrl::parse(broken).expect_err("broken").to_string();
            assert!(!error.contains("secret") && !shown(broken).contains("secret"), "{broken}: {error}");
        }
    }

    #[test]
    fn options_that_nobody_knows_are_named() {
        let url = StoreUrl::parse("redis://one?tls=true&spede=1").expect("good");
        url.tls().expect("good");
        assert_eq!(url.finish().expect_err("unknown").to_string(), "`redis` has no option `spede`");
        assert!(StoreUrl::parse("redis://one?a=1&a=2").is_err());
    }

    #[test]
    fn tls_is_asked_for_in_one_way() {
        let tls = |query: &str| StoreUrl::parse(&format!("redis://one?{query}")).expect("good").tls();
        assert!(tls("tls_ca_file=x").is_err());
        assert!(tls("tls=true&tls_key_file=x").is_err());
        let missing = tls("tls=true&tls_ca_file=/missing.pem").expect_err("missing").to_string();
        assert!(missing.contains("`tls_ca_file` names /missing.pem"), "{missing}");
        assert!(tls("tls=maybe").is_err());
        assert_eq!(tls("tls=false"), Ok(None));
    }

    #[test]
    fn a_password_may_be_in_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("password");
        std::fs::write(&file, "secret\n").expect("written");
        let url = format!("redis://ada@one?password_file={}", file.display());
        assert_eq!(StoreUrl::parse(&url).expect("good").password(), Some("secret"));
        assert!(StoreUrl::parse(&url.replace("ada", "ada:other")).is_err());
        std::fs::remove_file(&file).expect("removed");
        let missing = StoreUrl::parse(&url).expect_err("missing").to_string();
        assert!(missing.contains("password file"), "{missing}");
    }
}
