//! The `sochdb` command. What it can do is in `cli/args.rs`, how it fails in `cli/failure.rs`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
