//! The binary: nothing but the shell's exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<std::ffi::OsString> = std::env::args_os().collect();
    ExitCode::from(rescue_kit::cli::main(&words))
}
