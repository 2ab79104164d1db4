//! `evaluate`: Scores a run. Owns the command line; the work is the library's.

fn main() -> std::process::ExitCode {
    eprintln!("error: evaluate is not written yet");
    std::process::ExitCode::from(1)
}
