//! Hears all that this process logs, at every level, while there is a secret to listen for.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

/// Other tests in this process do not pay for it before there is something to hear.
static LISTENING: AtomicBool = AtomicBool::new(false);
static SECRETS: Mutex<Vec<Secret>> = Mutex::new(Vec::new());

struct Secret {
    text: String,
    leaks: Vec<String>,
}

/// Listens for a secret from now on.
pub(super) fn listen_for(secret: &str) {
    static BEGIN: Once = Once::new();
    BEGIN.call_once(|| {
        let filter = dynamic_filter_fn(|_, _| LISTENING.load(Ordering::Relaxed));
        let filter = filter.with_max_level_hint(LevelFilter::TRACE);
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Ear).with_filter(filter);
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
    });
    SECRETS.lock().unwrap().push(Secret { text: secret.to_owned(), leaks: Vec::new() });
    LISTENING.store(true, Ordering::Relaxed);
}

/// The lines that the secret was in since.
pub(super) fn heard(secret: &str) -> Vec<String> {
    let secrets = SECRETS.lock().unwrap();
    secrets.iter().find(|known| known.text == secret).expect("a secret that is listened for").leaks.clone()
}

/// Whether the secret is in a text, also if it is encoded as in a URL.
pub(super) fn says(secret: &str, text: &str) -> bool {
    text.contains(secret) || text.contains(&utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string())
}

/// Gets one line at a time.
struct Ear;

impl io::Write for Ear {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        for secret in SECRETS.lock().unwrap().iter_mut() {
            if says(&secret.text, &text) {
                secret.leaks.push(text.clone().into_owned());
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_told_is_heard() {
    listen_for("a/whisper");
    listen_for("a silence");
    tracing::trace!(url = "scheme://ada:a%2Fwhisper@one", "opened");
    tracing::error!("{:?}", Some("a/whisper"));
    assert_eq!(heard("a/whisper").len(), 2);
    assert_eq!(heard("a silence"), [""; 0]);
}
