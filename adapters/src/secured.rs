//! For tests: servers that let nobody in without TLS, a certificate and a password, and the ways not to get in.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures::future::join_all;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::StoreError;
use crate::url::StoreUrl;

mod ear;

/// Whoever is let in is in, and whoever is not knows why, within this time, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One such server at a time is load enough beside the other tests: adapters wait for seconds only.
static TURN: Mutex<()> = Mutex::const_new(());

/// A server of a test's own, which `tests/services/up --secured` starts and which ends with this.
pub(crate) struct Secured {
    name: &'static str,
    /// `127.0.0.1` and its port.
    address: String,
    directory: TempDir,
    /// Of its users ada and bob. Random: wherever it turns up, it was leaked.
    pub(crate) password: String,
    /// Given up last.
    _turn: MutexGuard<'static, ()>,
}

/// How one comes to a server.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) address: String,
    /// Empty: nobody says who they are.
    pub(crate) user: &'static str,
    /// Spelled out in the URL; what is `None` is in a file.
    pub(crate) password: Option<String>,
    pub(crate) tls: bool,
    /// The file with the authority that the server's certificate must come from; empty: one of the system's.
    pub(crate) authority: &'static str,
    /// The files with our certificate and its key, without their endings; empty: there is none.
    pub(crate) identity: &'static str,
}

/// A way not to get in.
pub(crate) struct Refusal {
    /// What is wrong with it.
    wrong: &'static str,
    visit: Visit,
    /// How the error begins.
    kind: &'static str,
    /// What the error says of it.
    says: &'static str,
}

impl Refusal {
    /// Waiting does not help: an operator must mend it.
    pub(crate) fn unfit(wrong: &'static str, visit: Visit, says: &'static str) -> Self {
        Self { wrong, visit, kind: "Unfit", says }
    }

    /// Waiting might help.
    pub(crate) fn unavailable(wrong: &'static str, visit: Visit, says: &'static str) -> Self {
        Self { wrong, visit, kind: "Unavailable", says }
    }
}

impl Secured {
    /// Starts `kafka`, `mongodb`, `cassandra` or `redis`.
    pub(crate) async fn start(name: &'static str) -> Self {
        let turn = TURN.lock().await;
        let directory = place();
        let said = run("up", directory.path(), &["--secured", name]);
        let begin = format!("export HYBRID_LIVE_TEST_{}={name}://", name.to_ascii_uppercase());
        let address = said.lines().find_map(|line| line.strip_prefix(&begin));
        let address = address.unwrap_or_else(|| panic!("`up` does not say where {name} is:\n{said}")).to_owned();
        let password = std::fs::read_to_string(directory.path().join("certificates/password")).unwrap();
        let password = password.trim_end().to_owned();
        Self { name, address, directory, password, _turn: turn }
    }

    /// Begins to listen to what is logged.
    pub(crate) fn listen(&self) {
        ear::listen_for(&self.password);
    }

    /// The right way.
    pub(crate) fn visit(&self) -> Visit {
        Visit {
            address: self.address.clone(),
            user: "ada",
            password: None,
            tls: true,
            authority: "ca.pem",
            identity: "client",
        }
    }

    /// The URL for a visit to the database, prefix or the like `name`.
    pub(crate) fn url(&self, visit: &Visit, name: &str, options: &str) -> StoreUrl {
        let file = |name: &str| self.directory.path().join("certificates").join(name).display().to_string();
        let Visit { address, user, password, tls, authority, identity } = visit;
        let mut options = vec![options.to_owned()];
        let who = match password {
            _ if user.is_empty() => String::new(),
            Some(password) => format!("{user}:{}@", utf8_percent_encode(password, NON_ALPHANUMERIC)),
            None => {
                options.push(format!("password_file={}", file("password")));
                format!("{user}@")
            }
        };
        if *tls {
            options.push("tls=true".to_owned());
            let of_mongodb = self.name == "mongodb";
            if !authority.is_empty() {
                let key = if of_mongodb { "tlsCAFile" } else { "tls_ca_file" };
                options.push(format!("{key}={}", file(authority)));
            }
            if !identity.is_empty() && of_mongodb {
                options.push(format!("tlsCertificateKeyFile={}", file(&format!("{identity}-both.pem"))));
            } else if !identity.is_empty() {
                options.push(format!("tls_certificate_file={}", file(&format!("{identity}.pem"))));
                options.push(format!("tls_key_file={}", file(&format!("{identity}.key"))));
            }
        }
        let url = format!("{}://{who}{address}/{name}?{}", self.name, options.join("&"));
        StoreUrl::parse(&url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// The same server at an address that its certificate does not name.
    pub(crate) async fn elsewhere(&self) -> String {
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let (elsewhere, server) = (listener.local_addr().unwrap().to_string(), self.address.clone());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(server).await {
                        // Either end may leave as it likes.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        elsewhere
    }

    /// This visit gets in, once the server is as ready as it says.
    pub(crate) async fn lets_in<T>(&self, url: &StoreUrl, open: impl AsyncFn(&StoreUrl) -> Result<T, StoreError>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            match open(url).await {
                Ok(opened) => return opened,
                Err(StoreError::Unavailable(why)) if Instant::now() < end => println!("not yet: {why}"),
                Err(error) => panic!("{url}: {error}"),
            }
        }
    }

    /// None of these visits ever gets in; each is told why, if not at once for the machine is slow, and nothing of the
    /// password.
    pub(crate) async fn refuses<T>(
        &self,
        name: &str,
        options: &str,
        refusals: Vec<Refusal>,
        open: impl AsyncFn(&StoreUrl) -> Result<T, StoreError>,
    ) {
        let told = refusals.into_iter().map(async |Refusal { wrong, visit, kind, says }| {
            let url = self.url(&visit, name, options);
            let end = Instant::now() + PATIENCE;
            loop {
                let outcome = tokio::time::timeout(PATIENCE, open(&url)).await.map(|opened| opened.map(|_| "let in"));
                let is_in = matches!(outcome, Ok(Ok(_)));
                let outcome = format!("{outcome:?}");
                self.is_kept_from(&format!("{outcome} {url} {url:?}"));
                println!("{wrong}: {outcome}");
                if outcome.starts_with(&format!("Ok(Err({kind}(")) && outcome.contains(says) {
                    return Ok(());
                }
                if is_in || Instant::now() > end {
                    return Err(format!("{wrong}: not {kind} with `{says}`, but {outcome}"));
                }
            }
        });
        let otherwise: Vec<String> = join_all(told).await.into_iter().filter_map(Result::err).collect();
        assert!(otherwise.is_empty(), "{otherwise:#?}");
    }

    /// The password is not in this text.
    pub(crate) fn is_kept_from(&self, text: &str) {
        assert!(!ear::says(&self.password, text), "the password is in: {text}");
    }

    /// The password was in nothing that this process has logged, at any level.
    pub(crate) fn is_kept_from_logs(&self) {
        let leaks = ear::heard(&self.password);
        assert!(leaks.is_empty(), "the password is in the logs: {leaks:#?}");
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A second panic would end the process; whoever ends the servers of all tests ends this one, too.
            let _ = Command::new(script("down")).arg("--dir").arg(self.directory.path()).output();
        } else {
            run("down", self.directory.path(), &[]);
        }
    }
}

/// Below the folder of the servers that all tests share: whoever ends those, ends what a test that died has left.
fn place() -> TempDir {
    let shared = std::env::var_os("HYBRID_LIVE_TEST_SERVICES_DIR").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| tests().join(".run/services"));
    std::fs::create_dir_all(&shared).unwrap();
    tempfile::Builder::new().prefix("secured-").tempdir_in(shared).unwrap()
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

fn script(name: &str) -> PathBuf {
    tests().join("services").join(name)
}

/// Runs a script; answers what it says to those who read it.
fn run(name: &str, directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new(script(name)).arg("--dir").arg(directory).args(arguments).output().unwrap();
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "tests/services/{name} {arguments:?}: {said}\n{error}");
    said.into_owned()
}
