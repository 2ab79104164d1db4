//! What was said, and the next answer: by the model's chat template, or as a mere continuation where there is none.

use bitnet::inference::{Engine, GenerationOptions, Memory, Piece, Summary, Workspace};
use bitnet::storage::{DISK, write_atomically};
use bitnet::tokenizer::Message;
use bitnet::{Error, Result};
use std::path::Path;

/// Tokens of a prompt that are read at a time; Ctrl-C is looked at in between.
const TOKENS_AT_A_TIME: usize = 256;
/// Tokens that are remembered, where the model's context is longer.
const LONGEST: usize = 1 << 15;
/// A quarter of the context is kept free for an answer, and one more once turns have to be forgotten: what is left is read anew, which
/// should not be at every turn.
const SHARES: usize = 4;

/// An engine and what was said to it.
pub struct Conversation {
    engine: Engine,
    memory: Memory,
    workspace: Workspace,
    options: GenerationOptions,
    system: Option<Message>,
    /// All that was said since the last reset.
    messages: Vec<Message>,
    /// The first of them that still fits.
    first: usize,
    room: usize,
}

/// An answer that was given.
pub struct Answer {
    pub summary: Summary,
    /// Turns at the beginning that no longer fit.
    pub num_dropped: usize,
}

impl Conversation {
    /// # Errors
    /// No memory for the cache.
    pub fn new(engine: Engine, mut options: GenerationOptions) -> Result<Self> {
        let room = engine.model.config().max_position_embeddings.min(LONGEST);
        options.stop.extend(engine.template.iter().flat_map(|template| template.stop_strings()));
        let (memory, workspace) = (Memory::new(&engine, room)?, engine.model.new_workspace(TOKENS_AT_A_TIME.min(room)));
        Ok(Self { engine, memory, workspace, options, system: None, messages: Vec::new(), first: 0, room })
    }

    /// Whether it takes turns; otherwise each prompt is continued for itself.
    pub fn has_turns(&self) -> bool {
        self.engine.template.is_some()
    }

    /// Answers `text`, giving the answer to `show` as it comes.
    ///
    /// # Errors
    /// A text that cannot be encoded or is too long; what `show` returns. What was said before stays.
    pub fn answer(&mut self, text: &str, is_interrupted: &dyn Fn() -> bool, mut show: impl FnMut(&str) -> Result<()>) -> Result<Answer> {
        self.messages.push(Message::new("user", text));
        let mut answer = String::new();
        let outcome = self.generate(is_interrupted, |piece| {
            answer += &piece.text;
            show(&piece.text)
        });
        match outcome {
            Ok(_) => self.messages.push(Message::new("assistant", answer)),
            Err(_) => drop(self.messages.pop()),
        }
        outcome
    }

    fn generate(&mut self, is_interrupted: &dyn Fn() -> bool, on_piece: impl FnMut(&Piece) -> Result<()>) -> Result<Answer> {
        let (prompt, num_dropped) = self.prompt()?;
        let mut options = self.options.clone();
        options.max_new_tokens = options.max_new_tokens.min((self.room + 1).saturating_sub(prompt.len()));
        let Self { engine, memory, workspace, .. } = self;
        let summary = memory.generate(engine, &prompt, options, workspace, is_interrupted, on_piece)?;
        Ok(Answer { summary, num_dropped })
    }

    /// Token ids up to the answer, after turns were forgotten that leave no room for it.
    fn prompt(&mut self) -> Result<(Vec<u32>, usize)> {
        if !self.has_turns() {
            let text = self.messages.last().map_or("", |message| &message.content);
            return Ok((self.engine.encode_prompt(text)?, 0));
        }
        let answer = self.options.max_new_tokens.min(self.room / SHARES);
        let (mut most, mut num_dropped) = (self.room, 0);
        loop {
            let kept: Vec<Message> = self.system.iter().chain(&self.messages[self.first..]).cloned().collect();
            let ids = self.engine.encode_chat(&kept)?;
            if ids.len() + answer <= most || !self.drop_oldest_turn() {
                return Ok((ids, num_dropped));
            }
            most = self.room - self.room / SHARES;
            num_dropped += 1;
        }
    }

    /// False: the oldest turn is the one to be answered.
    fn drop_oldest_turn(&mut self) -> bool {
        let next = (self.first + 1..self.messages.len()).find(|&at| self.messages[at].role == "user");
        self.first = next.unwrap_or(self.first);
        next.is_some()
    }

    /// Forgets what was said, but for what the system says.
    pub fn reset(&mut self) {
        self.messages.clear();
        self.first = 0;
    }

    /// What divides the logits; 0 takes the likeliest token always.
    pub fn temperature(&self) -> f64 {
        self.options.sampling.temperature
    }

    /// Changes how the answers to come are chosen, or how long they are.
    ///
    /// # Errors
    /// The user's: no such setting, or a value that it cannot have.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let (mut options, mut max_new_tokens) = (self.options.sampling, self.options.max_new_tokens);
        match name {
            "temperature" => options.temperature = number(name, value)?,
            "top-p" => options.top_p = number(name, value)?,
            "top-k" => options.top_k = number(name, value)?,
            "min-p" => options.min_p = number(name, value)?,
            "repetition-penalty" => options.repetition_penalty = number(name, value)?,
            "seed" => options.seed = number(name, value)?,
            "max-new-tokens" => max_new_tokens = number(name, value)?,
            _ => return Err(Error::input(format!("there is no setting {name:?}")).hint("/set temperature 0.5; /help lists the others")),
        }
        options.validate()?;
        (self.options.sampling, self.options.max_new_tokens) = (options, max_new_tokens);
        Ok(())
    }

    /// Puts `text` before all that is said, instead of what was there; nothing when it is empty.
    pub fn set_system(&mut self, text: &str) {
        self.system = Some(Message::new("system", text)).filter(|_| !text.is_empty());
    }

    /// Writes what was said, as a JSON list of messages.
    ///
    /// # Errors
    /// The user's: there is such a file already, or it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        if path.exists() {
            return Err(Error::input(format!("{} exists", path.display())).hint("choose another name"));
        }
        let mut json = serde_json::to_vec_pretty(&self.system.iter().chain(&self.messages).collect::<Vec<_>>())?;
        json.push(b'\n');
        write_atomically(&DISK, path, &json).map_err(Error::blame_input)
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T> {
    let wrong = || Error::input(format!("{name} cannot be {value:?}")).hint(format!("/set {name} and a number"));
    value.parse().map_err(|_| wrong())
}
