//! `check-status`: Shows where a run stands. Owns the command line; the work is the library's.

fn main() -> std::process::ExitCode {
    eprintln!("error: check-status is not written yet");
    std::process::ExitCode::from(1)
}
