//! The documents of a corpus, file after file. Owns the order, the passing over of bad records and of blank documents, and that nothing
//! is read behind an error.

use super::BadRecords;
use super::document::{Document, DocumentSettings, Flaw, MAX_DOCUMENT_BYTES, Records, Skipped, check_settings};
use super::json::{JsonElements, JsonLines};
use super::opened::Opened;
use super::sources::{Format, SourceFile, Sources, kind_of};
use super::text::TextDocuments;
use crate::Result;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The documents of a corpus, in the order of its files. Documents of nothing but white space are left out. After an error there is
/// nothing more.
pub struct Documents {
    files: std::vec::IntoIter<SourceFile>,
    settings: DocumentSettings,
    limit: usize,
    current: Option<Box<dyn Records>>,
    skipped: Skipped,
    bytes_read: Arc<AtomicU64>,
}

impl Documents {
    /// The documents of `sources`. No file is opened yet.
    ///
    /// # Errors
    /// Settings that cannot be meant.
    pub fn new(sources: &Sources, settings: &DocumentSettings) -> Result<Self> {
        check_settings(settings)?;
        Ok(Self {
            files: sources.files().to_vec().into_iter(),
            settings: settings.clone(),
            limit: MAX_DOCUMENT_BYTES,
            current: None,
            skipped: Skipped::default(),
            bytes_read: Arc::default(),
        })
    }

    /// The same with another limit than [`MAX_DOCUMENT_BYTES`], so that a test needs no such file.
    #[cfg(test)]
    pub(super) fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The records that were passed over so far.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// Bytes taken from the disk so far; comparable with [`Sources::num_bytes`].
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    fn open(&self, file: &SourceFile) -> Result<Box<dyn Records>> {
        let path: Arc<Path> = Arc::from(file.path.as_path());
        let kind = kind_of(&path)?;
        if kind.format == Format::Parquet {
            return self.open_parquet(&path);
        }
        let opened = Opened::new(&path, kind.compression, &self.bytes_read)?;
        Ok(match kind.format {
            Format::Text => Box::new(TextDocuments::new(opened, &self.settings, self.limit)),
            Format::Json => Box::new(JsonElements::new(opened, &self.settings, self.limit)?),
            Format::JsonLines | Format::Parquet => Box::new(JsonLines::new(opened, &self.settings, self.limit)),
        })
    }

    fn open_parquet(&self, path: &Arc<Path>) -> Result<Box<dyn Records>> {
        Ok(Box::new(super::parquet::ParquetRows::open(path, &self.settings, self.limit, &self.bytes_read)?))
    }

    /// The next document, blank ones too; none at the end of the corpus.
    fn next_record(&mut self) -> std::result::Result<Option<Document>, Flaw> {
        loop {
            if let Some(records) = &mut self.current {
                if let Some(document) = records.next_document()? {
                    return Ok(Some(document));
                }
                self.current = None;
            }
            let Some(file) = self.files.next() else { return Ok(None) };
            self.current = Some(self.open(&file)?);
        }
    }

    fn stop(&mut self) {
        self.current = None;
        self.files = Vec::new().into_iter();
    }
}

impl Iterator for Documents {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_record() {
                Ok(Some(document)) if document.text.trim().is_empty() => {}
                Ok(document) => return document.map(Ok),
                Err(Flaw::Record(error)) if self.settings.bad_records == BadRecords::Skip => self.skipped.add(&error),
                Err(Flaw::NoField(error, fields)) if self.settings.bad_records == BadRecords::Skip => {
                    self.skipped.add_without_field(&error, fields);
                }
                Err(Flaw::Record(error) | Flaw::NoField(error, _) | Flaw::File(error)) => {
                    self.stop();
                    return Some(Err(error));
                }
            }
        }
    }
}
