//! Damage done by hand to the files.

mod damage;
mod poison;
