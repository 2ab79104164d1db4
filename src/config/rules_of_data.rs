//! The rules that data, tokenizer and the lengths of text obey, beside those of `rules`.

use super::rules::{Verdict, require, size};
use super::{ArithmeticConfig, DataConfig, Experiment, HeldOut, OperatorShares, TextConfig, TextSource, TokenizerConfig};

/// Padding, begin, end and unknown, which every tokenizer that is made here has beside its characters (`tokenizer::SPECIAL_TOKENS`).
const NUM_SPECIAL_TOKENS: usize = 4;
/// Those and the 256 bytes, which byte pairs are made of.
const FEWEST_BYTE_PAIR_TOKENS: usize = 260;

pub(super) fn data(experiment: &Experiment) -> Verdict {
    match &experiment.data {
        DataConfig::Arithmetic(arithmetic) => {
            let is_fine = experiment.tokenizer == TokenizerConfig::Characters;
            require(is_fine, "tokenizer", "something else", "the arithmetic task is written in characters", "--set tokenizer=characters")?;
            problems(arithmetic)
        }
        DataConfig::Text(text) => documents(text),
    }
}

fn problems(arithmetic: &ArithmeticConfig) -> Verdict {
    let (operand, percent) = (arithmetic.largest_operand, arithmetic.held_out_percent);
    let rule = "operands are 0 to this, and 1 to 999 is supported";
    require((1..=999).contains(&operand), "data.arithmetic.largest_operand", operand, rule, "99 gives two digits")?;
    let rule = "a share in percent, 1 to 90: something must be left to train on and to test on";
    require((1..=90).contains(&percent), "data.arithmetic.held_out_percent", percent, rule, "10 is usual")?;
    operators(&arithmetic.operators)?;
    let rule = format!("with largest_operand = {operand} no operand pair would be held out");
    require(arithmetic.num_held_out() > 0, "data.arithmetic.held_out_percent", percent, rule, "take larger operands or a larger share")
}

fn operators(shares: &OperatorShares) -> Verdict {
    let named = [
        ("data.arithmetic.operators.add", shares.add),
        ("data.arithmetic.operators.subtract", shares.subtract),
        ("data.arithmetic.operators.multiply", shares.multiply),
        ("data.arithmetic.operators.divide", shares.divide),
    ];
    for (key, share) in named {
        require((0.0..=1e6).contains(&share), key, share, "a share is 0 or more, and at most 1000000", "0 leaves the operator out")?;
    }
    let total: f64 = named.iter().map(|(_, share)| share).sum();
    require(total > 0.0, "data.arithmetic.operators", "all zero", "no problem could be asked", "give at least one operator a share")
}

fn documents(text: &TextConfig) -> Verdict {
    let (key, value, is_some) = match &text.source {
        TextSource::Files(files) => ("data.text.source.files", "an empty list", !files.is_empty()),
        TextSource::Hub(hub) => ("data.text.source.hub.files", "an empty list", !hub.files.is_empty()),
    };
    require(is_some, key, value, "there would be nothing to read", "name a file or more")?;
    if let TextSource::Hub(hub) = &text.source {
        let is_name = hub.repository.split('/').count() == 2 && hub.repository.split('/').all(|part| !part.is_empty());
        let cure = "such as roneneldan/TinyStories";
        require(is_name, "data.text.source.hub.repository", format!("{:?}", hub.repository), "it is an owner and a name", cure)?;
    }
    let is_fine = text.document_separator.as_ref().is_none_or(|separator| !separator.is_empty());
    require(
        is_fine,
        "data.text.document_separator",
        "empty",
        "every character would be a document",
        "--set data.text.document_separator=null where a file is one document",
    )?;
    let is_key = !text.text_field.is_empty();
    require(is_key, "data.text.text_field", "empty", "it is the key of the text in a record", "the usual one is text")?;
    let key = match text.held_out {
        HeldOut::DocumentsPercent(_) => "data.text.held_out.documents_percent",
        HeldOut::EndOfEachDocumentPercent(_) => "data.text.held_out.end_of_each_document_percent",
    };
    let percent = text.held_out.percent();
    let rule = "it must be above 0 and below 100: something must be left to train on and to measure on";
    require(percent > 0.0 && percent < 100.0, key, percent, rule, "1 is usual for a large corpus, 10 for a small one")
}

/// Sequences, problems and samples fit the positions that the model knows.
pub(super) fn lengths(experiment: &Experiment) -> Verdict {
    let (sequence, positions) = (experiment.train.seq_len, experiment.model.max_position_embeddings);
    let rule = format!("the model has only model.max_position_embeddings = {positions}");
    let cure = format!("--seq-len {positions}, or --set model.max_position_embeddings={sequence}");
    require(sequence <= positions, "train.seq_len", sequence, rule, cure)?;
    match &experiment.data {
        DataConfig::Arithmetic(arithmetic) => problems_fit(experiment, arithmetic),
        DataConfig::Text(_) => Ok(()), // documents are put one behind the other, and samples forget what is too long ago
    }
}

fn problems_fit(experiment: &Experiment, arithmetic: &ArithmeticConfig) -> Verdict {
    let (sequence, positions) = (experiment.train.seq_len, experiment.model.max_position_embeddings);
    let problem = arithmetic.longest_problem();
    let rule = format!("one problem such as {problem:?} has {} tokens", problem.chars().count());
    require(problem.chars().count() <= sequence, "train.seq_len", sequence, rule, "take longer sequences or smaller operands")?;
    for prompt in &experiment.sampling.prompts {
        let length = prompt.chars().count().saturating_add(experiment.sampling.max_new_tokens);
        let rule = format!("with max_new_tokens it has {length} tokens, more than model.max_position_embeddings = {positions}");
        require(length <= positions, "sampling.prompts", format!("{prompt:?}"), rule, "shorten it, or take fewer new tokens")?;
    }
    Ok(())
}

/// The vocabulary holds the tokenizer's tokens, and prompts consist of them; as far as is known before the corpus was read.
pub(super) fn vocabulary(experiment: &Experiment) -> Verdict {
    let prompts = &experiment.sampling.prompts;
    let is_some = prompts.iter().all(|prompt| !prompt.is_empty());
    require(is_some, "sampling.prompts", "\"\"", "an empty prompt asks for nothing", "give it at least one character")?;
    let rows = experiment.model.vocab_size;
    match (&experiment.data, &experiment.tokenizer) {
        (DataConfig::Arithmetic(_), _) => alphabet(experiment),
        (DataConfig::Text(_), TokenizerConfig::BytePair(pairs)) => {
            let key = "tokenizer.byte_pair.vocab_size";
            let rule = format!("4 special tokens and 256 bytes make {FEWEST_BYTE_PAIR_TOKENS}");
            require(pairs.vocab_size >= FEWEST_BYTE_PAIR_TOKENS, key, pairs.vocab_size, rule, "2048 is little, 32000 usual")?;
            size("tokenizer.byte_pair.sample_megabytes", usize::try_from(pairs.sample_megabytes).unwrap_or(usize::MAX), 1 << 20)?;
            let rule = format!("the tokenizer has tokenizer.byte_pair.vocab_size = {}", pairs.vocab_size);
            require(rows >= pairs.vocab_size, "model.vocab_size", rows, rule, "take as many, or more")
        }
        (DataConfig::Text(_), _) => Ok(()),
    }
}

fn alphabet(experiment: &Experiment) -> Verdict {
    let alphabet = ArithmeticConfig::ALPHABET;
    let (rows, needed) = (experiment.model.vocab_size, alphabet.chars().count() + NUM_SPECIAL_TOKENS);
    let rule = format!("the tokenizer has {needed} tokens");
    require(rows >= needed, "model.vocab_size", rows, rule, format!("take {} or more", needed.next_power_of_two()))?;
    for prompt in &experiment.sampling.prompts {
        let Some(stranger) = prompt.chars().find(|character| !alphabet.contains(*character)) else { continue };
        let rule = format!("the tokenizer does not know {stranger:?}");
        require(false, "sampling.prompts", format!("{prompt:?}"), rule, "write it as problems are: \"25 + 17 =\"")?;
    }
    Ok(())
}
