//! Held-out questions: the loss of the right answers, and how often the model gives them.

use super::step::token_losses;
use crate::Result;
use crate::data::IGNORED_TARGET;
use crate::model::Decoder;
use crate::run::EvaluationRow;
use crate::tasks::Question;
use crate::tokenizer::Tokenizer;
use std::collections::BTreeMap;
use tch::{Kind, Tensor, no_grad};

/// Questions in one forward pass.
const BATCH_SIZE: usize = 256;

/// Tokens of a question with its answer, and where the answer begins.
struct Encoded {
    ids: Vec<u32>,
    answer_start: usize,
}

#[derive(Default)]
struct Tally {
    questions: f64,
    correct: f64,
}

/// `loss`: mean loss of an answer's tokens in nats. `exact_match/<group>`: the share of a group's questions whose greedy
/// continuation is the answer to the last token. `exact_match`: of all questions.
///
/// All tokens of the answer are given at once: greedy decoding reproduces it exactly when every one of its tokens is the likeliest
/// after those before it.
pub fn evaluate_questions(decoder: &Decoder, questions: &[Question], tokenizer: &Tokenizer, step: u64) -> Result<Vec<EvaluationRow>> {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let (mut loss_sum, mut num_tokens) = (0.0, 0.0);
    for batch in questions.chunks(BATCH_SIZE) {
        let encoded = batch.iter().map(|question| encode(question, tokenizer)).collect::<Result<Vec<_>>>()?;
        let scores = score(decoder, &encoded, tokenizer.pad_id())?;
        loss_sum += scores.loss_sum;
        num_tokens += scores.num_tokens;
        for (question, is_correct) in batch.iter().zip(scores.is_correct) {
            let tally = tallies.entry(question.group.to_string()).or_default();
            tally.questions += 1.0;
            tally.correct += f64::from(u8::from(is_correct));
        }
    }
    let total = tallies
        .values()
        .fold(Tally::default(), |sum, tally| Tally { questions: sum.questions + tally.questions, correct: sum.correct + tally.correct });
    let row = |metric: String, value| EvaluationRow { step, metric, value };
    let mut rows = vec![row("loss".into(), loss_sum / num_tokens), row("exact_match".into(), total.correct / total.questions)];
    rows.extend(tallies.into_iter().map(|(group, tally)| row(format!("exact_match/{group}"), tally.correct / tally.questions)));
    Ok(rows)
}

struct Scores {
    loss_sum: f64,
    num_tokens: f64,
    is_correct: Vec<bool>,
}

fn encode(question: &Question, tokenizer: &Tokenizer) -> Result<Encoded> {
    let answer_start = tokenizer.encode(&question.prompt)?.len();
    Ok(Encoded { ids: tokenizer.encode(&format!("{}{}", question.prompt, question.completion))?, answer_start })
}

fn score(decoder: &Decoder, encoded: &[Encoded], pad_id: u32) -> Result<Scores> {
    let length = encoded.iter().map(|one| one.ids.len() - 1).max().unwrap_or(1);
    let (mut inputs, mut targets) = (Vec::new(), Vec::new()); // [questions, length]
    for Encoded { ids, answer_start } in encoded {
        let padded = |index: usize| ids.get(index).map_or(i64::from(pad_id), |&id| i64::from(id));
        inputs.extend((0..length).map(padded));
        let is_answer = |index: &usize| *index >= *answer_start && *index < ids.len();
        targets.extend((1..=length).map(|index| if is_answer(&index) { padded(index) } else { IGNORED_TARGET }));
    }
    let shape = [encoded.len() as i64, length as i64];
    let tensor = |values: &[i64]| Tensor::from_slice(values).view(shape).to_device(decoder.device());
    let (inputs, targets) = (tensor(&inputs), tensor(&targets));
    let (losses, likeliest) = no_grad(|| token_losses(decoder, &inputs, &targets));
    let is_ignored = targets.eq(IGNORED_TARGET);
    let is_right = likeliest.eq_tensor(&targets).logical_or(&is_ignored).all_dim(1, false);
    Ok(Scores {
        loss_sum: losses.sum(Kind::Double).f_double_value(&[])?,
        num_tokens: is_ignored.logical_not().sum(Kind::Double).f_double_value(&[])?,
        is_correct: Vec::<bool>::try_from(is_right)?,
    })
}
