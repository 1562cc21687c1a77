//! Text that people wrote and personal data, closed with a key of the person's own before it enters the log.
//!
//! The log keeps everything for ever; erasing a person means destroying their key. So an event carries such data
//! only as [`Sealed`], and an open one *refuses to be serialised*: what was not sealed cannot reach the log.
//! The cipher is the codec's (`adapters::codec`); this module knows only that there is a box.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::ids::UserId;

/// Ciphertext and whose key opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBox {
    /// The person whose key closed it, and opens it for as long as that key exists.
    pub key: UserId,
    /// Nonce and authenticated ciphertext, as the codec laid them out.
    pub bytes: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BoxOnTheWire {
    key: UserId,
    #[serde(rename = "box")]
    bytes: String,
}

/// Either plain, as `decide` made it and as `content` keeps it, or closed, as the log carries it.
#[derive(Clone, PartialEq, Eq)]
pub enum Sealed<T> {
    /// Plain. Cannot be serialised.
    Open(T),
    /// Closed with a person's key.
    Closed(SealedBox),
}

impl<T> Sealed<T> {
    /// The plain value, if it is open.
    pub fn open(&self) -> Option<&T> {
        match self {
            Self::Open(value) => Some(value),
            Self::Closed(_) => None,
        }
    }
}

impl<T> std::fmt::Debug for Sealed<T> {
    // Never the text: events are debug-printed into logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "Sealed(open)",
            Self::Closed(_) => "Sealed(closed)",
        })
    }
}

impl<T> Serialize for Sealed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Open(_) => Err(ser::Error::custom("personal data must be sealed before it is serialised")),
            Self::Closed(sealed) => {
                BoxOnTheWire { key: sealed.key, bytes: BASE64_STANDARD.encode(&sealed.bytes) }.serialize(serializer)
            }
        }
    }
}

impl<'de, T> Deserialize<'de> for Sealed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = BoxOnTheWire::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(wire.bytes).map_err(|_| de::Error::custom("box is not base64"))?;
        if bytes.is_empty() {
            return Err(de::Error::custom("box is empty"));
        }
        Ok(Self::Closed(SealedBox { key: wire.key, bytes }))
    }
}

/// The one sealed part of an event, without its type: what the codec works on.
pub trait SealedPart {
    /// The plain value as JSON, if it is open.
    fn plaintext(&self) -> Option<Vec<u8>>;
    /// The box, if it is closed.
    fn sealed(&self) -> Option<&SealedBox>;
    /// Puts a box in place of the value.
    fn close(&mut self, sealed: SealedBox);
    /// Puts the value in place of the box.
    ///
    /// # Errors
    /// If `plaintext` is not the JSON of such a value. The message shows nothing of it.
    fn unseal(&mut self, plaintext: &[u8]) -> Result<(), serde_json::Error>;
}

impl<T: Serialize + DeserializeOwned> SealedPart for Sealed<T> {
    fn plaintext(&self) -> Option<Vec<u8>> {
        self.open().and_then(|value| serde_json::to_vec(value).ok())
    }

    fn sealed(&self) -> Option<&SealedBox> {
        match self {
            Self::Open(_) => None,
            Self::Closed(sealed) => Some(sealed),
        }
    }

    fn close(&mut self, sealed: SealedBox) {
        *self = Self::Closed(sealed);
    }

    fn unseal(&mut self, plaintext: &[u8]) -> Result<(), serde_json::Error> {
        // serde quotes what it refuses, and errors are logged: only the kind of error leaves this place.
        let refused = |error: serde_json::Error| {
            <serde_json::Error as de::Error>::custom(format!("not what the type wants ({:?} error)", error.classify()))
        };
        *self = Self::Open(serde_json::from_slice(plaintext).map_err(refused)?);
        Ok(())
    }
}
