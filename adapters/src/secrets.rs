//! The server's own secrets: one file, apart from everything that it protects.
//!
//! Without the wrapping key nothing that people wrote can be read from the log again: the file is part of a backup,
//! and must not lie beside the data in it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use sha2::Sha256;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// 256 random bits that nobody gets to see: wiped when dropped, never printed.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    /// A new key.
    pub fn random() -> Self {
        let mut key = Self(Zeroizing::new([0; 32]));
        rand::fill(key.0.as_mut_slice());
        key
    }

    /// A key from its bytes; `None` if there are not 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Self(Zeroizing::new([0; 32]));
        (bytes.len() == key.0.len()).then(|| {
            key.0.copy_from_slice(bytes);
            key
        })
    }

    /// The bytes, for a cipher.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SecretKey {
    // Base64. The error says nothing of the text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = BASE64_STANDARD.decode(text.as_bytes()).map(Zeroizing::new).ok();
        bytes.and_then(|bytes| Self::from_slice(&bytes)).ok_or_else(|| D::Error::custom("a key is 32 bytes in base64"))
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

/// A key that signs tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKey {
    /// Travels in the tokens, so that one finds the key again.
    pub id: String,
    /// The key.
    pub key: SecretKey,
}

/// The keys that tokens are signed with. There is always a first.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Vec<SigningKey>")]
pub struct SigningKeys(Vec<SigningKey>);

impl TryFrom<Vec<SigningKey>> for SigningKeys {
    type Error = &'static str;

    fn try_from(keys: Vec<SigningKey>) -> Result<Self, Self::Error> {
        if keys.is_empty() { Err("there is no signing key") } else { Ok(Self(keys)) }
    }
}

impl SigningKeys {
    /// With `first` to sign and all to verify.
    pub fn new(first: SigningKey, others: impl IntoIterator<Item = SigningKey>) -> Self {
        Self(std::iter::once(first).chain(others).collect())
    }

    /// What signs.
    pub fn first(&self) -> &SigningKey {
        &self.0[0]
    }

    /// What verifies a token that names `id`.
    pub fn get(&self, id: &str) -> Option<&SigningKey> {
        self.0.iter().find(|key| key.id == id)
    }
}

/// All secrets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    wrapping_key: SecretKey,
    digest_key: SecretKey,
    signing_keys: SigningKeys,
}

/// Why there are no secrets.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file cannot be read or made.
    #[error("secrets file {path}: {error}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Others may read it. They may have done so already: whoever corrects the mode should think of new keys, too.
    #[error("secrets file {path} has mode {mode:04o}: nobody but its owner may read or write it (chmod 600 {path})")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It holds something else. Says what is wrong, never what is there.
    #[error("secrets file {path}: {wrong}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        wrong: String,
    },
}

impl Secrets {
    /// Reads the file at `path`, or makes one with new secrets, readable for its owner only.
    ///
    /// # Errors
    /// See [`SecretsError`].
    pub fn load_or_create(path: &Path) -> Result<Self, SecretsError> {
        if let Some(secrets) = Self::load(path)? {
            return Ok(secrets);
        }
        let file_error = |error| SecretsError::File { path: path.to_owned(), error };
        create(path).map_err(file_error)?;
        Self::read(path, File::open(path).map_err(file_error)?)
    }

    /// Reads the file at `path`; `None` where there is none.
    ///
    /// # Errors
    /// See [`SecretsError`].
    pub fn load(path: &Path) -> Result<Option<Self>, SecretsError> {
        match File::open(path) {
            Ok(file) => Self::read(path, file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SecretsError::File { path: path.to_owned(), error }),
        }
    }

    fn read(path: &Path, mut file: File) -> Result<Self, SecretsError> {
        let file_error = |error| SecretsError::File { path: path.to_owned(), error };
        // Of the open file and not of its name, which may stand for another file by now.
        let mode = file.metadata().map_err(file_error)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(SecretsError::Exposed { path: path.to_owned(), mode });
        }
        let mut text = Zeroizing::new(String::new());
        io::Read::read_to_string(&mut file, &mut text).map_err(file_error)?;
        Self::parse(&text).map_err(|wrong| SecretsError::Malformed { path: path.to_owned(), wrong })
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start].lines().count());
            // The parser's whole message would quote the line, and a value of the wrong type, and with them a key.
            let message = error.message();
            let harmless = if message.starts_with("invalid") { "not what belongs here" } else { message };
            format!("near line {line}: {harmless}")
        })
    }

    /// What people's keys are wrapped with.
    pub fn wrapping_key(&self) -> &SecretKey {
        &self.wrapping_key
    }

    /// What tokens are signed with.
    pub fn signing_keys(&self) -> &SigningKeys {
        &self.signing_keys
    }

    /// A keyed digest (HMAC-SHA-256) of `data`, part by part. Digests for one purpose say nothing about another's.
    pub fn digest(&self, purpose: &str, data: &[&[u8]]) -> [u8; 32] {
        let mut mac = mac(&self.digest_key);
        // Every part with its length: the same bytes divided otherwise are other data.
        for part in std::iter::once(purpose.as_bytes()).chain(data.iter().copied()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

fn mac(key: &SecretKey) -> Hmac<Sha256> {
    // A key shorter than the hash's block stands for itself filled up with zeros.
    let mut block = Zeroizing::new([0; 64]);
    block[..key.0.len()].copy_from_slice(key.as_bytes());
    Hmac::new((&*block).into())
}

/// Makes a file with new secrets, unless there is one by then.
fn create(path: &Path) -> io::Result<()> {
    let encode = |key: SecretKey| Zeroizing::new(BASE64_STANDARD.encode(key.as_bytes()));
    let text = Zeroizing::new(format!(
        "# The secrets of this server. Keep a copy, apart from the data: without them what people wrote is lost.\n\
         \n\
         # Wraps each person's key. Cannot be changed.\n\
         wrapping_key = \"{}\"\n\
         # Marks cursors and other things that come back from clients. A change makes those that are out invalid.\n\
         digest_key = \"{}\"\n\
         \n\
         # The first signs access tokens, all verify. To change it, put a new one before it; take the old one out\n\
         # once its tokens have expired.\n\
         [[signing_keys]]\n\
         id = \"{:08x}\"\n\
         key = \"{}\"\n",
        *encode(SecretKey::random()),
        *encode(SecretKey::random()),
        rand::random::<u32>(),
        *encode(SecretKey::random()),
    ));
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Whole and durable under another name first: nobody must ever read half a file, or use keys that a loss of power
    // takes away again.
    let draft = directory.join(format!(".secrets-{:016x}", rand::random::<u64>()));
    let written = write_draft(&draft, text.as_bytes()).and_then(|()| match std::fs::hard_link(&draft, path) {
        // Somebody else was first: theirs it is.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let removed = std::fs::remove_file(&draft);
    written?;
    removed?;
    File::open(directory)?.sync_all()
}

fn write_draft(draft: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    // The mode above is subject to the umask, which can only take away: the owner may need it back.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text)?;
    file.sync_all()
}
