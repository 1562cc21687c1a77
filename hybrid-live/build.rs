//! Takes Swagger UI's two files out of the archive that its crate carries, for `serve::reference`.
//!
//! They stay compressed: an entry of a zip archive and a gzip file hold the same deflated bytes, so nothing here
//! unpacks or packs, and the binary is smaller by more than a megabyte.

use std::error::Error;
use std::io::{Cursor, Read as _};
use std::path::Path;

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::{CompressionMethod, ZipArchive};

/// What the reference page is made of.
const FILES: [&str; 2] = ["swagger-ui-bundle.js", "swagger-ui.css"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let directory = std::env::var_os("OUT_DIR").ok_or("cargo names a directory for what is built")?;
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    let mut missing = FILES.to_vec();
    for index in 0..archive.len() {
        let mut entry = archive.by_index_raw(index)?;
        let is_wanted = |file: &&str| entry.name_raw().ends_with(format!("/dist/{file}").as_bytes());
        let Some(found) = missing.iter().position(is_wanted) else { continue };
        let file = missing.swap_remove(found);
        if entry.compression() != CompressionMethod::DEFLATE {
            return Err(format!("{file} is not deflated").into());
        }
        // RFC 1952: no name, no time, the strongest compression, of no particular system.
        let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
        let (checksum, length) = (entry.crc32(), u32::try_from(entry.size())?);
        entry.read_to_end(&mut gzip)?;
        gzip.extend_from_slice(&checksum.to_le_bytes());
        gzip.extend_from_slice(&length.to_le_bytes());
        std::fs::write(Path::new(&directory).join(format!("{file}.gz")), gzip)?;
    }
    if missing.is_empty() { Ok(()) } else { Err(format!("the archive lacks {missing:?}").into()) }
}
