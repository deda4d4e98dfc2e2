//! The binary: nothing but the shell's exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(rescue_kit::cli::main(std::env::args_os().collect()))
}
