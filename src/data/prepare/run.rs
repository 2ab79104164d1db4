//! A preparation from start to end: what is there is taken up or removed, documents go by rounds through the tokenizer into shards, and
//! the manifest comes last.

use super::encode::{Encoder, Queue};
use super::plan::{Plan, remove_units};
use super::records::{Encoded, Round, UnitRecord, UnitSplit};
use super::rounds::{Cutter, Step};
use super::survey::nothing_on_a_side;
use super::units::UnitWriter;
use super::{Encode, Event, Outcome, PrepareSettings, Progress};
use crate::data::documents::{Documents, Sources};
use crate::data::prepared::{FORMAT, MANIFEST, Manifest, Prepared, SplitRecord, TOKENIZER, TokenizerRecord};
use crate::storage::{FileSystem, content_hash, remove_temporaries, write_atomically};
use crate::{Fault, Result};
use std::path::Path;

/// Text of a round for each thread, and at least and at most in all.
const ROUND_BYTES_PER_THREAD: u64 = 1 << 20;
const ROUND_BYTES: std::ops::RangeInclusive<u64> = 4 << 20..=32 << 20;

/// Everything that a preparation is told.
pub(super) struct Preparation<'a> {
    pub fs: &'a dyn FileSystem,
    pub settings: &'a PrepareSettings,
    pub sources: &'a Sources,
    pub tokenizer: &'a dyn Encode,
    pub dir: &'a Path,
    pub threads: usize,
}

/// Who is told, and asked.
struct Watcher<'a> {
    progress: &'a mut dyn FnMut(Event),
    stop: &'a (dyn Fn() -> bool + Sync),
}

/// How far it is.
struct Tally<'a> {
    fs: &'a dyn FileSystem,
    dir: &'a Path,
    vocab_size: usize,
    writer: Option<UnitWriter<'a>>,
    train: SplitRecord,
    validation: SplitRecord,
    progress: Progress,
}

enum Attempt {
    Ended(Box<Manifest>),
    Stopped,
    /// A unit that is done is of other documents than there are.
    Changed,
}

impl Preparation<'_> {
    /// Prepares the directory, which is there and locked.
    pub fn run(&self, progress: &mut dyn FnMut(Event), stop: &(dyn Fn() -> bool + Sync)) -> Result<Outcome> {
        self.settings.check(self.tokenizer.vocab_size())?;
        let tokenizer_json = self.tokenizer.to_json()?;
        let plan = Plan::new(self.settings.hash(self.tokenizer.vocab_size(), &tokenizer_json)?, self.sources);
        remove_temporaries(self.fs, self.dir)?;
        let mut watcher = Watcher { progress, stop };
        if let Some(prepared) = self.take_up(&plan, &mut watcher)? {
            remove_units(self.fs, self.dir);
            return Ok(Outcome::Finished(Box::new(prepared)));
        }
        loop {
            match self.attempt(&plan, &tokenizer_json, &mut watcher)? {
                Attempt::Ended(manifest) => return self.seal(*manifest, &tokenizer_json),
                Attempt::Stopped => return Ok(Outcome::Stopped),
                Attempt::Changed => self.start_over(&plan, "the documents are not those of the units that are done", &mut watcher)?,
            }
        }
    }

    /// Looks at what is there: a directory that is prepared as planned is given back, units of the same plan stay, all else goes.
    fn take_up(&self, plan: &Plan, watcher: &mut Watcher<'_>) -> Result<Option<Prepared>> {
        if self.fs.exists(&self.dir.join(MANIFEST))? {
            let whole = Prepared::open_on(self.fs, self.dir).and_then(|prepared| prepared.verify_on(self.fs, &|| false).map(|_| prepared));
            let there = match whole {
                Ok(prepared) => plan.difference(&Plan::of(prepared.manifest())).map_or(Ok(prepared), |reason| Err(reason.to_owned())),
                Err(error) if error.fault() == Fault::Input => Err(error.message()),
                Err(error) => return Err(error), // A disk that fails is no reason to remove anything.
            };
            return match there {
                Ok(prepared) => Ok(Some(prepared)),
                Err(reason) => self.start_over(plan, &reason, watcher).map(|()| None),
            };
        }
        match Plan::read(self.fs, self.dir)?.map(|there| plan.difference(&there)) {
            Some(None) => {}
            Some(Some(reason)) => self.start_over(plan, reason, watcher)?,
            None => plan.begin(self.fs, self.dir)?,
        }
        Ok(None)
    }

    fn start_over(&self, plan: &Plan, reason: &str, watcher: &mut Watcher<'_>) -> Result<()> {
        plan.begin(self.fs, self.dir)?;
        (watcher.progress)(Event::StartedOver { reason: reason.to_owned() });
        Ok(())
    }

    /// Goes through all documents once. While threads encode a round, this one reads the next.
    fn attempt(&self, plan: &Plan, tokenizer_json: &str, watcher: &mut Watcher<'_>) -> Result<Attempt> {
        let documents = Documents::new(self.sources, &self.settings.documents)?;
        let round_bytes = (ROUND_BYTES_PER_THREAD * self.threads as u64).clamp(*ROUND_BYTES.start(), *ROUND_BYTES.end());
        let mut cutter = Cutter::new(documents, self.settings.unit_bytes, round_bytes)?;
        let mut tally = Tally::new(self);
        let mut step = self.next_step(&mut cutter, watcher)?;
        loop {
            step = match step {
                Step::Encode(round) => {
                    let (encoded, next) = self.encode_and_read_on(&round, &mut cutter, watcher);
                    let Some(encoded) = encoded? else { return Ok(Attempt::Stopped) };
                    tally.add(round, &encoded)?;
                    next?
                }
                Step::Kept(record) => {
                    tally.keep(record);
                    self.next_step(&mut cutter, watcher)?
                }
                Step::Changed => return Ok(Attempt::Changed),
                Step::Stopped => return Ok(Attempt::Stopped),
                Step::End => break,
            };
            tally.progress.bytes_read = cutter.documents().bytes_read();
            (watcher.progress)(Event::Advanced(tally.progress));
        }
        let manifest = tally.manifest(plan, self.settings, tokenizer_json, cutter.documents());
        self.check_splits(&manifest)?;
        Ok(Attempt::Ended(Box::new(manifest)))
    }

    fn next_step(&self, cutter: &mut Cutter, watcher: &Watcher<'_>) -> Result<Step> {
        cutter.next_step(&|unit| UnitRecord::of_done(self.fs, self.dir, unit), watcher.stop)
    }

    fn encode_and_read_on(
        &self,
        round: &Round,
        cutter: &mut Cutter,
        watcher: &Watcher<'_>,
    ) -> (Result<Option<Vec<Encoded>>>, Result<Step>) {
        let encoder = Encoder { settings: self.settings, tokenizer: self.tokenizer, stop: watcher.stop };
        let queue = Queue::new(encoder, round);
        std::thread::scope(|scope| {
            let threads = queue.start(scope, self.threads);
            let next = self.next_step(cutter, watcher);
            (queue.collect(threads), next)
        })
    }

    fn check_splits(&self, manifest: &Manifest) -> Result<()> {
        let (train, validation, held_out) = (manifest.train.documents, manifest.validation.documents, self.settings.held_out);
        if train + validation == 0 {
            return Err(manifest.skipped.no_documents());
        }
        match train == 0 || validation == 0 && held_out.percent() > 0.0 {
            true => Err(nothing_on_a_side(held_out, train)),
            false => Ok(()),
        }
    }

    /// Puts tokenizer and manifest in place; from then on the directory is prepared.
    fn seal(&self, manifest: Manifest, tokenizer_json: &str) -> Result<Outcome> {
        write_atomically(self.fs, &self.dir.join(TOKENIZER), tokenizer_json.as_bytes())?;
        manifest.write(self.fs, self.dir)?;
        remove_units(self.fs, self.dir);
        Prepared::open_on(self.fs, self.dir).map(|prepared| Outcome::Finished(Box::new(prepared)))
    }
}

impl Plan {
    /// What a manifest is of.
    fn of(manifest: &Manifest) -> Self {
        Self { format: manifest.format, settings_hash: manifest.settings_hash.clone(), sources: manifest.sources.clone() }
    }
}

impl<'a> Tally<'a> {
    fn new(preparation: &Preparation<'a>) -> Self {
        let progress = Progress { bytes: preparation.sources.num_bytes(), ..Progress::default() };
        let (train, validation) = (SplitRecord::default(), SplitRecord::default());
        let vocab_size = preparation.tokenizer.vocab_size();
        Self { fs: preparation.fs, dir: preparation.dir, vocab_size, writer: None, train, validation, progress }
    }

    fn add(&mut self, round: Round, encoded: &[Encoded]) -> Result<()> {
        let writer = self.writer.get_or_insert_with(|| UnitWriter::new(self.fs, self.dir, self.vocab_size, round.unit));
        for encoded in encoded {
            writer.write(encoded)?;
            self.progress.tokens += encoded.train.documents.num_tokens() + encoded.validation.documents.num_tokens();
        }
        self.progress.documents += round.documents.len() as u64;
        let Some(end) = round.end else { return Ok(()) };
        if let Some(writer) = self.writer.take() {
            let record = writer.finish(end)?;
            self.count(record);
        }
        Ok(())
    }

    fn keep(&mut self, record: UnitRecord) {
        self.progress.kept_units += 1;
        self.progress.documents += record.end.documents;
        self.progress.tokens += record.num_tokens();
        self.count(record);
    }

    fn count(&mut self, record: UnitRecord) {
        self.progress.units += 1;
        count_split(&mut self.train, record.train);
        count_split(&mut self.validation, record.validation);
    }

    fn manifest(self, plan: &Plan, settings: &PrepareSettings, tokenizer_json: &str, documents: &Documents) -> Manifest {
        Manifest {
            format: FORMAT,
            settings_hash: plan.settings_hash.clone(),
            sources: plan.sources.clone(),
            held_out: Some(settings.held_out),
            tokenizer: TokenizerRecord { blake3: content_hash(tokenizer_json.as_bytes()), vocab_size: self.vocab_size },
            skipped: documents.skipped().clone(),
            train: self.train,
            validation: self.validation,
        }
    }
}

fn count_split(split: &mut SplitRecord, unit: Option<UnitSplit>) {
    if let Some(UnitSplit { shard, text_bytes }) = unit {
        split.documents += shard.documents;
        split.tokens += shard.tokens;
        split.text_bytes += text_bytes;
        split.shards.push(shard);
    }
}
