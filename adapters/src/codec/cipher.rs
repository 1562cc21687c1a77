//! Boxes: XChaCha20-Poly1305 with a random nonce, which is long enough never to be drawn twice.

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::StoreError;
use crate::secrets::SecretKey;

/// First byte of every box. Boxes are kept for ever: another layout gets another number, and this one stays readable.
const LAYOUT: u8 = 1;
const NONCE: usize = 24;

/// Closes `plaintext`: layout, nonce, ciphertext with its tag. It opens with the same `context` only.
pub(super) fn close(key: &SecretKey, context: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut nonce = [0; NONCE];
    rand::fill(&mut nonce);
    let ciphertext = cipher(key)
        .encrypt(&XNonce::from(nonce), Payload { msg: plaintext, aad: context })
        .map_err(|_| StoreError::Damaged("a text is too long to be sealed".to_owned()))?;
    let mut sealed = Vec::with_capacity(1 + NONCE + ciphertext.len());
    sealed.push(LAYOUT);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

/// What is in a box; `None` if it was closed with another key or context, or not by [`close`].
pub(super) fn open(key: &SecretKey, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let sealed = sealed.strip_prefix(&[LAYOUT])?;
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE>()?;
    let payload = Payload { msg: ciphertext, aad: context };
    cipher(key).decrypt(&XNonce::from(*nonce), payload).ok().map(Zeroizing::new)
}

fn cipher(key: &SecretKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.as_bytes().into())
}
