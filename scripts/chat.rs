//! `chat`: a talk with a model by the packed engine, without libtorch. Owns the command line, and what a person or a pipe sees.

#[path = "chat/conversation.rs"]
mod conversation;
#[path = "chat/line.rs"]
mod line;

use bitnet::cli::{ModelArguments, SamplingArguments, TemplateArguments, run_program};
use bitnet::inference::{Ending, Summary};
use bitnet::report::{Emphasis, Styled, stderr_has_colour, without_controls};
use bitnet::{Context, Error, Fault, Result};
use clap::Parser;
use conversation::{Answer, Conversation};
use line::Lines;
use signal_hook::consts::SIGINT;
use std::io::{BufRead, ErrorKind, IsTerminal, Write, stderr, stdin, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const EXAMPLES: &str = "\
Examples:
  chat                                    the newest run
  chat mine                               a run by id, unique prefix or path
  chat runs/mine/checkpoints/step-002000  one checkpoint, or any other Hugging Face folder
  chat microsoft/bitnet-b1.58-2B-4T       a model on the Hugging Face hub
  chat model.gguf --template chatml       a file, and how it wants chats written
  echo '25 + 17 =' | chat mine --temperature 0    a prompt a line, an answer a line
  chat mine --temperature 0.5 --top-p 0.95 --seed 7

A model with a chat template answers; one without continues what is typed. /help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves.";

const COMMANDS: &str = "\
/reset        forget what was said
/set NAME N   temperature, top-p, top-k, min-p, repetition-penalty, seed or max-new-tokens of the answers to come
/system TEXT  what the model is told before all else; nothing when TEXT is absent
/save FILE    write what was said, as JSON
/quit         leave; so does Ctrl-D
A line that ends in \\ goes on in the next one. Ctrl-C stops an answer.";

/// Tokens of an answer where nothing else is said: to a prompt that is continued, and in a chat.
const MAX_CONTINUATION: usize = 32;
const MAX_ANSWER: usize = 1024;

/// Talks with a model
#[derive(Debug, Parser)]
#[command(name = "chat", version, after_help = EXAMPLES)]
struct Arguments {
    /// A model folder or file, a checkpoint, a run's id, a unique prefix of it or its path, or an id on the Hugging Face hub; the newest run
    /// when absent
    model: Option<String>,
    /// At most so many tokens are added; 1024 with a chat template and 32 without when absent
    #[arg(long, value_name = "N")]
    max_new_tokens: Option<usize>,
    #[command(flatten)]
    template: TemplateArguments,
    #[command(flatten)]
    sampling: SamplingArguments,
    #[command(flatten)]
    loading: ModelArguments,
}

fn main() -> ExitCode {
    run_program(|arguments| chat(&arguments))
}

fn chat(arguments: &Arguments) -> Result<ExitCode> {
    arguments.sampling.validate()?;
    let (path, mut engine) = arguments.loading.load(arguments.model.as_deref())?;
    arguments.template.apply(&mut engine, &path)?;
    let usual = if engine.template.is_some() { MAX_ANSWER } else { MAX_CONTINUATION };
    let options = arguments.sampling.options(arguments.max_new_tokens.unwrap_or(usual), &engine.sampling)?;
    let conversation = Conversation::new(engine, options)?;
    if stdin().is_terminal() {
        talk(conversation, &path)?;
        return Ok(ExitCode::SUCCESS);
    }
    answer_lines(conversation)
}

/// Each line of standard input is a prompt or a turn; nothing but the answers is said on standard output. A line that cannot be answered is
/// reported, and the others are answered: exit status 2 says so in the end.
fn answer_lines(mut conversation: Conversation) -> Result<ExitCode> {
    let mut status = ExitCode::SUCCESS;
    for (index, line) in stdin().lock().lines().enumerate() {
        let answered = match line {
            Err(error) if error.kind() != ErrorKind::InvalidData => return Err(error).context(|| "reading the prompts"),
            Err(error) => Err(Error::input(error)),
            Ok(line) => match line.trim_end_matches('\r') {
                "" => Ok(()),
                text => write_answer(&mut conversation, text, &|| false).map(drop),
            },
        };
        match answered {
            Err(error) if error.fault() == Fault::Input => {
                report(&error.context(format!("line {}", index + 1)))?;
                status = ExitCode::from(2);
            }
            answered => answered?,
        }
    }
    Ok(status)
}

fn report(error: &Error) -> Result<()> {
    Ok(writeln!(stderr(), "error: {}", without_controls(&error.to_string()))?)
}

/// A person at a terminal.
fn talk(mut conversation: Conversation, path: &Path) -> Result<()> {
    let interrupt = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGINT, interrupt.clone()).context(|| "listening for Ctrl-C")?;
    let does = if conversation.has_turns() { "answers" } else { "has no chat template and continues what is typed" };
    let (path, temperature) = (without_controls(&path.display().to_string()), conversation.temperature());
    writeln!(stderr(), "{path} {does}, at temperature {temperature}; /help lists the commands, Ctrl-D leaves")?;
    let mut lines = Lines::open()?;
    while let Some(line) = lines.read()? {
        let done = match line.strip_prefix('/') {
            Some("quit") => return Ok(()),
            Some(command) => obey(&mut conversation, command),
            None if line.trim().is_empty() => Ok(()),
            None => {
                interrupt.store(false, Ordering::Relaxed);
                write_answer(&mut conversation, &line, &|| interrupt.load(Ordering::Relaxed)).and_then(|answer| write_note(&answer))
            }
        };
        match done {
            Err(error) if error.io_kind() != Some(ErrorKind::BrokenPipe) => report(&error)?,
            done => done?,
        }
    }
    Ok(())
}

fn obey(conversation: &mut Conversation, command: &str) -> Result<()> {
    let (name, rest) = command.split_once(' ').map_or((command, ""), |(name, rest)| (name, rest.trim()));
    let done = match name {
        "reset" => {
            conversation.reset();
            "what was said is forgotten".to_owned()
        }
        "system" if !conversation.has_turns() => {
            return Err(Error::input("the model has no chat template, so nothing can be told to it").hint("choose one: --template plain"));
        }
        "system" => {
            conversation.set_system(rest);
            "the model is told so from now on".to_owned()
        }
        "save" if rest.is_empty() => return Err(Error::input("/save needs a file").hint("/save chat.json")),
        "save" => {
            conversation.save(Path::new(rest))?;
            format!("saved {rest}")
        }
        "set" => {
            let (name, value) = rest.split_once([' ', '=']).unwrap_or((rest, ""));
            conversation.set(name, value.trim())?;
            format!("{name} is {} from now on", value.trim())
        }
        "help" => COMMANDS.to_owned(),
        _ => return Err(Error::input(format!("there is no command /{name}")).hint("/help lists the commands")),
    };
    Ok(writeln!(stderr(), "{done}")?)
}

/// Writes an answer as it comes, a continuation behind its prompt.
fn write_answer(conversation: &mut Conversation, text: &str, is_interrupted: &dyn Fn() -> bool) -> Result<Answer> {
    let is_terminal = stdout().is_terminal();
    let mut prompt = Some(text).filter(|_| !conversation.has_turns());
    let mut write_prompt = move || prompt.take().map_or(Ok(()), |prompt| write!(stdout(), "{prompt}"));
    let answered = conversation.answer(text, is_interrupted, |piece| {
        write_prompt()?;
        let shown = if is_terminal { without_controls(piece) } else { piece.to_owned() };
        write!(stdout(), "{shown}")?;
        Ok(stdout().flush()?)
    })?;
    write_prompt()?; // if nothing came
    writeln!(stdout())?;
    Ok(answered)
}

/// How fast the answer came, and what was not as usual.
fn write_note(answer: &Answer) -> Result<()> {
    let Summary { num_tokens, generation_time, ending, .. } = answer.summary;
    let seconds = generation_time.as_secs_f64();
    // The first token comes with the prompt.
    let speed = if seconds > 0.0 { num_tokens.saturating_sub(1) as f64 / seconds } else { 0.0 };
    let mut note = format!("{num_tokens} tokens, {speed:.1} a second");
    note += match ending {
        Ending::Interrupted => "; stopped",
        Ending::MaxNewTokens => "; cut off at --max-new-tokens",
        Ending::Context => "; the context is full",
        Ending::EndToken | Ending::StopString => "",
    };
    if answer.num_dropped > 0 {
        note += &format!("; turns forgotten that no longer fit: {}", answer.num_dropped);
    }
    let mut styled = Styled::default();
    styled.push(Emphasis::Faint, note).end_line();
    Ok(write!(stderr(), "{}", styled.render(stderr_has_colour()))?)
}
