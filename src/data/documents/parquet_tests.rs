//! Tables that writers make, and tables that lie.

use super::tests::{assert_refused, file, read, settings};
use super::*;
use crate::Result;
use crate::random::Random;
use ::parquet::basic::{Compression, Encoding, ZstdLevel};
use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use std::sync::Arc;
use tempfile::tempdir;

const SCHEMA: &str = "message m { required int64 id; optional binary text (UTF8); optional group meta { required binary title (UTF8); } }";

/// A table with the schema above; each group of rows has the texts of one element.
fn table(groups: &[Vec<Option<&str>>], properties: WriterPropertiesBuilder) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build())).unwrap();
    for texts in groups {
        let mut group = writer.next_row_group().unwrap();
        let ids: Vec<i64> = (0..texts.len() as i64).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&ids, None, None).unwrap();
        column.close().unwrap();
        let values: Vec<ByteArray> = texts.iter().flatten().map(|&text| text.into()).collect();
        let levels: Vec<i16> = texts.iter().map(|text| i16::from(text.is_some())).collect();
        let titles: Vec<ByteArray> = ids.iter().map(|id| format!("title {id}").as_str().into()).collect();
        for (values, levels) in [(values, levels), (titles, vec![1; ids.len()])] {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

fn plain() -> WriterPropertiesBuilder {
    WriterProperties::builder()
}

fn texts(content: &[u8], settings: &DocumentSettings) -> Result<Vec<String>> {
    let dir = tempdir().unwrap();
    read(&file(&dir, "a.parquet", content), settings)
}

#[test]
fn every_writer_gives_its_rows_in_order() {
    let rows: Vec<String> = (0..1000).map(|row| format!("row {} {}", row % 300, "é".repeat(row % 50))).collect();
    let groups: Vec<Vec<Option<&str>>> = rows.chunks(300).map(|rows| rows.iter().map(|row| Some(row.as_str())).collect()).collect();
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let gzip = Compression::GZIP(Default::default());
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd, gzip, Compression::LZ4_RAW] {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for (has_dictionary, encoding) in [
                (true, Encoding::PLAIN),
                (false, Encoding::PLAIN),
                (false, Encoding::DELTA_LENGTH_BYTE_ARRAY),
                (false, Encoding::DELTA_BYTE_ARRAY),
            ] {
                let properties = plain().set_compression(compression).set_writer_version(version).set_dictionary_enabled(has_dictionary);
                let properties =
                    properties.set_column_encoding("text".into(), encoding).set_data_page_row_count_limit(70).set_write_batch_size(16);
                let read = texts(&table(&groups, properties), &settings()).unwrap();
                assert!(read == rows, "{compression} {version:?} {encoding} dictionary {has_dictionary}");
            }
        }
    }
}

#[test]
fn a_dot_reaches_into_groups_and_an_empty_table_has_no_documents() {
    let nested = DocumentSettings { text_field: "meta.title".to_owned(), ..settings() };
    let table_of_two = table(&[vec![None, Some("x")]], plain());
    assert_eq!(texts(&table_of_two, &nested).unwrap(), ["title 0", "title 1"]);
    assert!(texts(&table(&[], plain()), &settings()).unwrap().is_empty());
}

#[test]
fn a_row_without_text_is_a_bad_record_named_by_its_number() {
    let content = table(&[vec![Some("one"), Some("two")], vec![Some("three"), None, Some("five")]], plain());
    assert_refused(texts(&content, &settings()), &["a.parquet, row 4", "null", "--set data.text.bad_records=skip"]);
    let skipping = DocumentSettings { bad_records: BadRecords::Skip, ..settings() };
    assert_eq!(texts(&content, &skipping).unwrap(), ["one", "two", "three", "five"]);
}

#[test]
fn a_column_that_is_not_there_or_is_no_text_is_named_with_those_that_are() {
    let content = table(&[vec![Some("one")]], plain());
    let column = |text_field: &str| texts(&content, &DocumentSettings { text_field: text_field.to_owned(), ..settings() });
    assert_refused(column("body"), &["a.parquet", "no column \"body\"", "\"id\", \"text\", \"meta.title\""]);
    assert_refused(column("id"), &["a.parquet", "\"id\" is of type INT64, not text"]);
    assert_refused(column("meta"), &["no column \"meta\""]);
}

#[test]
fn a_table_that_is_cut_anywhere_is_an_error_and_no_panic() {
    let content = table(&[vec![Some("one"), Some("two")], vec![Some("three")]], plain());
    for cut in 1..content.len() {
        assert_refused(texts(&content[..cut], &settings()), &["a.parquet", "cannot be read as parquet"]);
    }
    assert_refused(texts(&b"PAR1".repeat(3), &settings()), &["cannot be read as parquet"]);
    assert_refused(texts(b"PAR1\xFF\xFF\xFF\xFFPAR1", &settings()), &["promises metadata of 4294967295 bytes"]);
}

#[test]
fn changed_bytes_give_an_error_or_a_text_and_never_a_panic_or_a_huge_allocation() {
    let rows: Vec<String> = (0..60).map(|row| format!("row {row} {}", "ab".repeat(row))).collect();
    let rows: Vec<Option<&str>> = rows.iter().map(|row| Some(row.as_str())).collect();
    for encoding in [Encoding::PLAIN, Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY] {
        let properties = plain().set_dictionary_enabled(encoding == Encoding::PLAIN).set_column_encoding("text".into(), encoding);
        let content = table(std::slice::from_ref(&rows), properties);
        let dir = tempdir().unwrap();
        for at in (0..content.len()).step_by(7) {
            let mut random = Random::derive(at as u64, "hostile parquet", 0);
            let mut changed = content.clone();
            for offset in 0..1 + random.below(4) as usize {
                if let Some(byte) = changed.get_mut(at + offset) {
                    *byte = if random.below(2) == 0 { 0xFF } else { random.next_u64() as u8 };
                }
            }
            let _ = read(&file(&dir, "a.parquet", &changed), &settings());
        }
    }
}

/// A file that says of itself what `metadata` says.
fn with_metadata(metadata: &[u8]) -> Vec<u8> {
    [b"PAR1", metadata, &(metadata.len() as u32).to_le_bytes(), b"PAR1"].concat()
}

#[test]
fn a_schema_that_promises_two_billion_children_is_refused_before_memory_is_taken_for_them() {
    // Version 1; a list of one struct: name "m", 2^31 - 1 children; no rows; no groups of rows.
    let children = b"\x15\x02\x19\x1c\x48\x01m\x15\xfe\xff\xff\xff\x0f\x00\x16\x00\x19\x0c\x00";
    assert_refused(texts(&with_metadata(children), &settings()), &["a.parquet", "its metadata makes no sense"]);
}

#[test]
fn a_schema_of_ever_deeper_groups_is_refused_before_it_is_followed() {
    let group: &[u8] = b"\x35\x02\x18\x01m\x15\x02\x00"; // Optional, name "m", one child.
    let mut metadata = b"\x15\x02\x19\xfc\xd0\x86\x03".to_vec(); // A list of 50,000.
    metadata.extend(group.repeat(50_000));
    metadata.extend(b"\x16\x00\x19\x0c\x00");
    assert_refused(texts(&with_metadata(&metadata), &settings()), &["its metadata makes no sense"]);
}

#[test]
fn a_small_file_whose_page_unfolds_to_gigabytes_is_refused_by_its_header() {
    let zeros = "\0".repeat(160 << 20);
    let properties = plain().set_compression(Compression::ZSTD(ZstdLevel::default())).set_dictionary_enabled(false);
    let properties = properties.set_statistics_enabled(::parquet::file::properties::EnabledStatistics::None);
    let content = table(&[vec![Some(&zeros)]], properties);
    assert!(content.len() < 1 << 16, "{}", content.len());
    assert_refused(texts(&content, &settings()), &["a.parquet", "a page of 1677", "is the most that is read"]);
}

#[test]
fn a_value_that_a_small_dictionary_repeats_a_million_times_is_read_a_few_rows_at_a_time() {
    let value = "x".repeat(100_000);
    let rows = vec![Some(value.as_str()); 3000];
    let content = table(&[rows], plain());
    assert!(content.len() < 1 << 20, "{}", content.len());
    let dir = tempdir().unwrap();
    let sources = Sources::find(&[file(&dir, "a.parquet", &content)]).unwrap();
    let documents = Documents::new(&sources, &settings()).unwrap();
    assert!(documents.take(100).all(|document| document.unwrap().text.len() == 100_000));
}
