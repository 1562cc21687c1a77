//! Cursors: opaque to clients, and bound to the list that they were given out for.
//!
//! A cursor is a value and a keyed digest of list and value, so that one that was made up, or that belongs to another
//! list or another person's list, is recognised instead of misread.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::problem::{Code, Problem};
use crate::secrets::Secrets;

/// Bytes of the digest that travel: enough that nobody hits one by trying.
const DIGEST: usize = 12;
/// Longest value. A feed's stream position names partitions and posts; others are a few bytes.
const LONGEST: usize = 4096;

/// Gives out cursors and reads them back.
#[derive(Clone, Debug)]
pub struct Cursors {
    /// Has taken the key in, and is copied for each digest.
    mac: Hmac<Sha256>,
}

impl Cursors {
    /// With a key that follows from the server's secrets, so that cursors outlast restarts.
    pub fn new(secrets: &Secrets) -> Self {
        // A key shorter than the hash's block stands for itself filled up with zeros.
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(&secrets.digest("cursors", &[]));
        Self { mac: Hmac::new((&*block).into()) }
    }

    /// A cursor of the list `scope` (its kind and whose it is, for example `home:<user>`) at `value`, at most 4096 bytes.
    pub fn seal(&self, scope: &str, value: &[u8]) -> String {
        debug_assert!(value.len() <= LONGEST, "a cursor of {} bytes would not be read back", value.len());
        let mut bytes = value.to_vec();
        bytes.extend_from_slice(&self.digest(scope, value));
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The value of a cursor that [`Self::seal`] made for this list.
    ///
    /// # Errors
    /// [`Code::InvalidCursor`]
    pub fn open(&self, scope: &str, cursor: &str) -> Result<Vec<u8>, Problem> {
        let invalid = || Problem::from(Code::InvalidCursor);
        if cursor.len() > (LONGEST + DIGEST) * 2 {
            return Err(invalid());
        }
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
        let length = bytes.len().checked_sub(DIGEST).filter(|length| *length <= LONGEST).ok_or_else(invalid)?;
        let (value, digest) = bytes.split_at(length);
        if !bool::from(self.digest(scope, value).ct_eq(digest)) {
            return Err(invalid());
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn digest(&self, scope: &str, value: &[u8]) -> [u8; DIGEST] {
        let mut mac = self.mac.clone();
        // With its length, so that scope and value cannot lend each other bytes.
        mac.update(&(scope.len() as u64).to_be_bytes());
        mac.update(scope.as_bytes());
        mac.update(value);
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        let mut digest = [0; DIGEST];
        digest.copy_from_slice(&whole[..DIGEST]);
        digest
    }
}
