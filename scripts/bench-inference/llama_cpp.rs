//! llama.cpp beside the engine: a Python process with llama.cpp's bindings that answers one question at a time.

use bitnet::{Context, Error, Result};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What the process runs.
const PROGRAM: &str = include_str!("../../benches/llama_cpp_reference.py");

/// Where there is none.
const CURE: &str = "run scripts/setup-llama-cpp, or name another with --python";

/// A GGUF file in llama.cpp.
pub struct LlamaCpp {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl LlamaCpp {
    /// Refuses a `python` without llama.cpp, before anything is made or fetched for it.
    ///
    /// # Errors
    /// The user's: it is not there, or has no llama.cpp.
    pub fn require(python: &Path) -> Result<()> {
        match Command::new(python).args(["-c", "import llama_cpp"]).output() {
            Ok(output) if output.status.success() => Ok(()),
            _ => Err(Error::input(format!("{} is no python with llama_cpp", python.display())).hint(CURE)),
        }
    }

    /// Loads `file` with room for `context` tokens.
    ///
    /// # Errors
    /// The user's: `python` is not there or has no llama.cpp, or that cannot load the file.
    pub fn load(python: &Path, file: &Path, context: usize) -> Result<Self> {
        let mut command = Command::new(python);
        command.args(["-c", PROGRAM]).arg(file).arg(context.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let spawned = command.spawn().context(|| format!("starting {}", python.display()));
        let mut process = spawned.map_err(|error| Error::blame_input(error).hint(CURE))?;
        let (questions, answers) = (process.stdin.take(), process.stdout.take());
        let answers = BufReader::new(answers.ok_or_else(|| Error::ours("llama.cpp has no output"))?);
        let mut llama = Self { process, questions, answers };
        match llama.line()?.as_str() {
            "ready" => Ok(llama),
            other => Err(Error::ours(format!("llama.cpp said {other:?}"))),
        }
    }

    /// Seconds for reading a prompt of `count` tokens.
    pub fn read_prompt(&mut self, count: usize, threads: u64) -> Result<f64> {
        self.ask(&format!("prompt {count} {threads}"))
    }

    /// Seconds for `count` tokens, one after the other.
    pub fn generate(&mut self, count: usize, threads: u64) -> Result<f64> {
        self.ask(&format!("generate {count} {threads}"))
    }

    fn ask(&mut self, question: &str) -> Result<f64> {
        if let Some(questions) = &mut self.questions {
            // One that has ended is noticed below.
            let _ = writeln!(questions, "{question}");
        }
        let answer = self.line()?;
        answer.parse().context(|| format!("llama.cpp said {answer:?}"))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line).context(|| "reading from llama.cpp")? {
            0 => Err(Error::input("llama.cpp ended; what it said is above")),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

impl Drop for LlamaCpp {
    fn drop(&mut self) {
        // The end of its questions is the end of the process.
        drop(self.questions.take());
        let _ = self.process.wait();
    }
}
