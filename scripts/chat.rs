//! `chat`: Talks to a run's newest checkpoint. Owns the command line; the work is the library's.

fn main() -> std::process::ExitCode {
    eprintln!("error: chat is not written yet");
    std::process::ExitCode::from(1)
}
