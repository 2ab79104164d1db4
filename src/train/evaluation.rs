//! Held-out questions: the loss of the right answers, and how often the model gives them.

use super::step::token_losses;
use crate::Result;
use crate::data::IGNORED_TARGET;
use crate::model::Decoder;
use crate::run::EvaluationRow;
use crate::tasks::Question;
use crate::tokenizer::Tokenizer;
use tch::{Kind, Tensor, no_grad};

/// Questions in one forward pass.
const BATCH_SIZE: usize = 256;

/// Tokens of a question with its answer.
struct Encoded {
    ids: Vec<u32>,
    /// Where the model goes on from the prompt.
    completion_start: usize,
    /// Where the answer begins, behind the space.
    answer_start: usize,
}

/// What was counted of a group of questions.
struct Tally {
    group: &'static str,
    questions: usize,
    correct: usize,
}

/// `loss`: mean loss of an answer's tokens in nats, without the space before it, which is no feat. `exact_match/<group>`: the share
/// of a group's questions whose greedy continuation is the answer to the last token. `exact_match`: of all questions.
///
/// All tokens of the answer are given at once: greedy decoding reproduces it exactly when every one of its tokens is the likeliest
/// after those before it.
pub fn evaluate_questions(decoder: &Decoder, questions: &[Question], tokenizer: &Tokenizer, step: u64) -> Result<Vec<EvaluationRow>> {
    let mut tallies: Vec<Tally> = Vec::new(); // in the order of the questions
    let (mut loss_sum, mut num_tokens) = (0.0, 0.0);
    for batch in questions.chunks(BATCH_SIZE) {
        let encoded = batch.iter().map(|question| encode(question, tokenizer)).collect::<Result<Vec<_>>>()?;
        let scores = score(decoder, &encoded, tokenizer.filler_id())?;
        loss_sum += scores.loss_sum;
        num_tokens += scores.num_tokens;
        for (question, is_correct) in batch.iter().zip(scores.is_correct) {
            count(&mut tallies, question.group, is_correct);
        }
    }
    let correct: usize = tallies.iter().map(|tally| tally.correct).sum();
    let row = |metric: String, value| EvaluationRow { step, metric, value };
    let share = |correct: usize, questions: usize| correct as f64 / questions as f64;
    let mut rows = vec![row("loss".into(), loss_sum / num_tokens), row("exact_match".into(), share(correct, questions.len()))];
    rows.extend(tallies.iter().map(|tally| row(format!("exact_match/{}", tally.group), share(tally.correct, tally.questions))));
    Ok(rows)
}

fn count(tallies: &mut Vec<Tally>, group: &'static str, is_correct: bool) {
    let index = tallies.iter().position(|tally| tally.group == group).unwrap_or(tallies.len());
    if index == tallies.len() {
        tallies.push(Tally { group, questions: 0, correct: 0 });
    }
    tallies[index].questions += 1;
    tallies[index].correct += usize::from(is_correct);
}

struct Scores {
    loss_sum: f64,
    num_tokens: f64,
    is_correct: Vec<bool>,
}

fn encode(question: &Question, tokenizer: &Tokenizer) -> Result<Encoded> {
    let Question { prompt, completion, .. } = question;
    let spaces = &completion[..completion.len() - completion.trim_start_matches(' ').len()];
    let length = |text: &str| tokenizer.encode(text).map(|ids| ids.len());
    let (completion_start, answer_start) = (length(prompt)?, length(&format!("{prompt}{spaces}"))?);
    Ok(Encoded { ids: tokenizer.encode(&format!("{prompt}{completion}"))?, completion_start, answer_start })
}

fn score(decoder: &Decoder, encoded: &[Encoded], filler_id: u32) -> Result<Scores> {
    let length = encoded.iter().map(|one| one.ids.len() - 1).max().unwrap_or(1);
    let (mut inputs, mut targets, mut in_answer) = (Vec::new(), Vec::new(), Vec::new()); // [questions, length]
    for Encoded { ids, completion_start, answer_start } in encoded {
        let padded = |index: usize| ids.get(index).map_or(i64::from(filler_id), |&id| i64::from(id));
        let in_text_from = |start: usize| move |index: usize| index >= start && index < ids.len();
        let (in_completion, in_loss) = (in_text_from(*completion_start), in_text_from(*answer_start));
        inputs.extend((0..length).map(padded));
        targets.extend((1..=length).map(|index| if in_completion(index) { padded(index) } else { IGNORED_TARGET }));
        in_answer.extend((1..=length).map(in_loss));
    }
    let shape = [encoded.len() as i64, length as i64];
    let tensor = |values: &[i64]| Tensor::from_slice(values).view(shape).to_device(decoder.device());
    let (inputs, targets) = (tensor(&inputs), tensor(&targets));
    let (losses, likeliest) = no_grad(|| token_losses(decoder, &inputs, &targets));
    let in_answer = Tensor::from_slice(&in_answer).view(shape).to_device(decoder.device());
    let is_ignored = targets.eq(IGNORED_TARGET);
    let is_right = likeliest.eq_tensor(&targets).logical_or(&is_ignored).all_dim(1, false);
    Ok(Scores {
        loss_sum: (losses * &in_answer).sum(Kind::Double).f_double_value(&[])?,
        num_tokens: in_answer.sum(Kind::Double).f_double_value(&[])?,
        is_correct: Vec::<bool>::try_from(is_right)?,
    })
}
