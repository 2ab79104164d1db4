//! The corpus of an experiment: from its config to a prepared directory. Owns where that is and which tokenizer it is prepared with;
//! files that are elsewhere than on this machine are the caller's business.

use super::Prepared;
use super::documents::{DocumentSettings, Documents, Sources};
use super::prepare::{Event, Outcome, PrepareSettings, Survey, UNIT_BYTES, prepare, survey};
use crate::config::{DataConfig, Experiment, HeldOut, TextConfig, TextSource, TokenizerConfig};
use crate::error::counted;
use crate::folder::{TOKENIZER, read_text};
use crate::storage::content_hash;
use crate::tokenizer::{BytePairOptions, Tokenizer};
use crate::{Context, Error, Fault, Result};
use std::path::{Path, PathBuf};

/// Pairs that are there once say nothing about other text.
const MIN_FREQUENCY: u64 = 2;
const MEGABYTE: u64 = 1_000_000;

/// The text of an experiment, and what reads it.
#[derive(Debug, Clone)]
pub struct Corpus {
    name: String,
    text: TextConfig,
    tokenizer: TokenizerConfig,
}

/// Files on this machine that stand for what a config names elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Fetched {
    /// The documents; none where the config names files of this machine.
    pub documents: Option<Vec<PathBuf>>,
    /// The `tokenizer.json`; none where the config names none on a hub.
    pub tokenizer: Option<PathBuf>,
}

impl Corpus {
    /// That of `experiment`.
    ///
    /// # Errors
    /// The user's: an experiment that makes its data itself.
    pub fn of(experiment: &Experiment) -> Result<Self> {
        let DataConfig::Text(text) = &experiment.data else {
            let message = format!("{} makes its problems itself: there is no text to prepare", experiment.experiment);
            return Err(Error::input(message).hint("tinystories, shakespeare and baseline-95m have a corpus"));
        };
        Ok(Self { name: experiment.experiment.clone(), text: text.clone(), tokenizer: experiment.tokenizer.clone() })
    }

    /// Where its documents come from.
    pub fn source(&self) -> &TextSource {
        &self.text.source
    }

    /// Where its tokenizer comes from.
    pub fn tokenizer(&self) -> &TokenizerConfig {
        &self.tokenizer
    }

    /// Where it is prepared: a directory for each combination of source, tokenizer and settings.
    ///
    /// # Errors
    /// Ours, if the config cannot be written.
    pub fn directory(&self) -> Result<PathBuf> {
        let decisive = serde_json::to_vec(&(&self.text, &self.tokenizer))?;
        let hash = content_hash(&decisive);
        Ok(Path::new(&self.text.prepared_in).join(format!("{}-{}", self.name, &hash[..8])))
    }

    /// What was prepared.
    ///
    /// # Errors
    /// The user's: it was not yet.
    pub fn open(&self) -> Result<Prepared> {
        let directory = self.directory()?;
        if !directory.join(super::prepared::MANIFEST).is_file() {
            let message = format!("the corpus of {} is not prepared: {} is not there", self.name, directory.display());
            return Err(Error::input(message).hint(format!("just prepare-data {}, with the same --data, --tokenizer and --set", self.name)));
        }
        Prepared::open(&directory)
    }

    /// What was prepared, if it is of use: files of this machine, a tokenizer's too, have to be as they were; what came from the hub is
    /// taken as it is. Every shard is read and has to be what was written; none, too, when `stop` says so before the end.
    ///
    /// # Errors
    /// The user's: a file of this machine that is missing.
    pub fn up_to_date(&self, stop: &dyn Fn() -> bool) -> Result<Option<Prepared>> {
        let Ok(prepared) = self.open() else { return Ok(None) };
        let manifest = prepared.manifest();
        let is_same_text = match &self.text.source {
            TextSource::Files(_) => self.sources(&Fetched::default())? == manifest.sources,
            TextSource::Hub(_) => true,
        };
        let is_same_tokenizer = match &self.tokenizer {
            TokenizerConfig::File(path) => {
                content_hash(read_tokenizer(Path::new(path))?.to_json()?.as_bytes()) == manifest.tokenizer.blake3
            }
            TokenizerConfig::Characters | TokenizerConfig::BytePair(_) | TokenizerConfig::Hub(_) => true,
        };
        if !is_same_text || !is_same_tokenizer {
            return Ok(None);
        }
        match prepared.verify(stop) {
            Ok(is_whole) => Ok(is_whole.then_some(prepared)),
            Err(error) if error.fault() == Fault::Input => Ok(None), // a preparation finds it again, says so and repairs it
            Err(error) => Err(error),
        }
    }

    /// Prepares it with so many threads, unless it is [up to date](Self::up_to_date). Long work: the tokenizer is learned first,
    /// where the config says so, which `note` is told, as it is where the wanted share of documents would hold out too few; `stop` is
    /// asked between documents.
    ///
    /// # Errors
    /// Those of [`Sources::find`], [`survey`], [`Tokenizer::train_byte_pair`], [`prepare`].
    pub fn prepare(
        &self,
        fetched: &Fetched,
        threads: usize,
        note: &mut dyn FnMut(&str),
        progress: &mut dyn FnMut(Event),
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Outcome> {
        if let Some(prepared) = self.up_to_date(stop)? {
            return Ok(Outcome::Finished(Box::new(prepared)));
        }
        let (directory, sources) = (self.directory()?, self.sources(fetched)?);
        let surveyed = survey(&sources, &self.document_settings(), self.text.held_out, stop)?;
        let Some(Survey { held_out, reason }) = surveyed else { return Ok(Outcome::Stopped) };
        if let Some(reason) = reason {
            note(&format!("held out: {held_out}, not {}: {reason}", self.text.held_out));
        }
        let tokenizer = self.learned_or_read(fetched, &sources, note)?;
        prepare(&self.settings(&tokenizer, held_out)?, &sources, &tokenizer, &directory, threads, progress, stop)
    }

    fn sources(&self, fetched: &Fetched) -> Result<Sources> {
        match (&self.text.source, &fetched.documents) {
            (_, Some(files)) => Sources::find(files),
            (TextSource::Files(files), None) => Sources::find(&files.iter().map(PathBuf::from).collect::<Vec<_>>()),
            (TextSource::Hub(hub), None) => Err(Error::ours(format!("{} was not fetched", hub.repository))),
        }
    }

    fn document_settings(&self) -> DocumentSettings {
        let TextConfig { text_field, document_separator, bad_records, .. } = self.text.clone();
        DocumentSettings { text_field, document_separator, bad_records }
    }

    fn settings(&self, tokenizer: &Tokenizer, held_out: HeldOut) -> Result<PrepareSettings> {
        let special = |is_wanted: bool, id: Option<u32>, key: &str| match (is_wanted, id) {
            (true, None) => {
                let message = format!("`data.text.{key}` is true, but the tokenizer has no such token");
                Err(Error::input(message).hint(format!("--set data.text.{key}=false, or another tokenizer")))
            }
            (true, id) => Ok(id),
            (false, _) => Ok(None),
        };
        Ok(PrepareSettings {
            documents: self.document_settings(),
            held_out,
            begin_with: special(self.text.begin_with_bos, tokenizer.bos_id(), "begin_with_bos")?,
            end_with: special(self.text.end_with_eos, tokenizer.eos_id(), "end_with_eos")?,
            unit_bytes: UNIT_BYTES,
        })
    }

    fn learned_or_read(&self, fetched: &Fetched, sources: &Sources, note: &mut dyn FnMut(&str)) -> Result<Tokenizer> {
        let documents = || Ok::<_, Error>(Documents::new(sources, &self.document_settings())?.map(|document| Ok(document?.text)));
        match &self.tokenizer {
            TokenizerConfig::Characters => Tokenizer::characters_of(documents()?),
            TokenizerConfig::BytePair(pairs) => {
                note("learning byte pairs");
                let options = BytePairOptions {
                    vocab_size: pairs.vocab_size,
                    min_frequency: MIN_FREQUENCY,
                    special_tokens: Vec::new(),
                    largest_sample: pairs.sample_megabytes.saturating_mul(MEGABYTE),
                };
                let training = Tokenizer::train_byte_pair(documents()?, &options)?;
                if training.missing_tokens > 0 {
                    let (missing, bytes) = (counted(training.missing_tokens as u64, "token"), counted(training.text_bytes, "byte"));
                    note(&format!("warning: {bytes} of text are too few for the vocabulary: {missing} not found"));
                }
                Ok(training.tokenizer)
            }
            TokenizerConfig::File(path) => read_tokenizer(Path::new(path)),
            TokenizerConfig::Hub(name) => match &fetched.tokenizer {
                Some(path) => read_tokenizer(path),
                None => Err(Error::ours(format!("the tokenizer of {name} was not fetched"))),
            },
        }
    }
}

/// Reads a `tokenizer.json`, or that of a folder.
///
/// # Errors
/// The user's: a file that is missing or none.
pub fn read_tokenizer(path: &Path) -> Result<Tokenizer> {
    let path = if path.is_dir() { path.join(TOKENIZER) } else { path.to_owned() };
    Tokenizer::from_json(&read_text(&path)?).context(|| path.display().to_string())
}

#[cfg(test)]
#[path = "corpus_tests.rs"]
mod tests;
