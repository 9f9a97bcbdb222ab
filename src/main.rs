//! The `kt-export` program. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    kt_export::cli::main()
}
