//! `plot-loss`: Draws the loss of runs. Owns the command line; the work is the library's.

fn main() -> std::process::ExitCode {
    eprintln!("error: plot-loss is not written yet");
    std::process::ExitCode::from(1)
}
