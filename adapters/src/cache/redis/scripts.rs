//! The scripts: what [`cell`](crate::cache::cell) says, where the keys are.

use std::sync::LazyLock;

use redis::{Cmd, Script};

macro_rules! script {
    ($($name:ident = $file:literal),+ $(,)?) => {
        $(pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(include_str!("cells.lua"), "\n", include_str!($file))));)+

        /// All of them, as commands that a server is told them by.
        pub(super) fn load_all() -> Vec<Cmd> {
            vec![$({
                let mut command = redis::cmd("SCRIPT");
                command.arg("LOAD").arg(concat!(include_str!("cells.lua"), "\n", include_str!($file)));
                command
            }),+]
        }
    };
}

script! {
    LEASE = "lease.lua",
    TOUCH = "touch.lua",
    FILL = "fill.lua",
    UPDATE = "update.lua",
    LEASE_LIST = "lease_list.lua",
    FILL_LIST = "fill_list.lua",
    ADD = "add.lua",
}

/// A call of a script on a key.
pub(super) fn call(script: &Script, key: &str) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(script.get_hash()).arg(1).arg(key);
    command
}
