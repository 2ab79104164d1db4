//! Claims about generation: what is shown, where it ends, and that a seed repeats it.

use crate::inference::test_folder::{random_tensors, small, write_folder};
use crate::inference::{Ending, Engine, GenerationOptions, LoadOptions, Memory, Piece, SamplingOptions, Summary, generate};
use crate::tokenizer::Tokenizer;
use std::cell::Cell;
use std::fs;
use std::sync::LazyLock;

const GREEDY: GenerationOptions =
    GenerationOptions { max_new_tokens: 20, stop: Vec::new(), sampling: SamplingOptions::GREEDY, num_log_probabilities: None };

/// A model that says letters: the tokens that say none are never the likeliest.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| engine("[2, 36]"));

fn engine(endings: &str) -> Engine {
    let mut tensors = random_tensors(&small(), 11);
    let (_, embedding) = tensors.get_mut("model.embed_tokens.weight").unwrap();
    [0, 1, 2, 3, 36].into_iter().for_each(|token| embedding[token * 48..][..48].fill(0.0));
    let dir = write_folder(&small(), &tensors);
    let tokenizer = Tokenizer::characters("abcdefghijklmnopqrstuvwxyzäöü é☺.", 37).unwrap();
    fs::write(dir.path().join("tokenizer.json"), tokenizer.to_json().unwrap()).unwrap();
    fs::write(dir.path().join("generation_config.json"), format!(r#"{{"eos_token_id": {endings}}}"#)).unwrap();
    Engine::load(dir.path(), &LoadOptions { num_threads: 1, ..LoadOptions::default() }).unwrap()
}

fn run(prompt: &str, options: GenerationOptions) -> (String, Vec<Piece>, Summary) {
    run_on(&ENGINE, prompt, options)
}

fn run_on(engine: &Engine, prompt: &str, options: GenerationOptions) -> (String, Vec<Piece>, Summary) {
    let mut pieces = Vec::new();
    let ids = engine.encode_prompt(prompt).unwrap();
    let mut workspace = engine.model.new_workspace(4);
    let keep = |piece: &Piece| {
        pieces.push(piece.clone());
        Ok(())
    };
    let summary = generate(engine, &ids, options, &mut workspace, &|| false, keep).unwrap();
    (pieces.iter().map(|piece| piece.text.as_str()).collect(), pieces, summary)
}

/// Without a token that ends texts, so that there is something to cut.
fn long_text() -> String {
    let (text, _, summary) = run("hello wörld", GREEDY);
    assert_eq!(summary.ending, Ending::MaxNewTokens, "{text}");
    text
}

#[test]
fn greedy_tokens_are_the_likeliest_of_the_whole_text_each_time() {
    let (_, pieces, summary) = run("hello wörld", GREEDY);
    let mut ids = ENGINE.encode_prompt("hello wörld").unwrap();
    for piece in &pieces {
        let (mut cache, mut workspace) = (ENGINE.model.new_cache(64).unwrap(), ENGINE.model.new_workspace(64));
        let logits = ENGINE.model.read(&ids, &mut cache, &mut workspace).unwrap();
        let likeliest = (0..logits.len()).max_by(|&left, &right| logits[left].total_cmp(&logits[right])).unwrap();
        assert_eq!(piece.token as usize, likeliest);
        ids.push(piece.token);
    }
    assert_eq!((summary.num_prompt_tokens, summary.num_tokens), (11, 20));
    assert_eq!(ENGINE.endings, [2, 36]);
}

#[test]
fn a_token_that_ends_texts_ends_this_one_and_is_not_shown() {
    let (whole, pieces, _) = run("hello wörld", GREEDY);
    let ending = pieces[7].token;
    let first = pieces.iter().position(|piece| piece.token == ending).unwrap();
    let (text, pieces, summary) = run_on(&engine(&ending.to_string()), "hello wörld", GREEDY);
    assert_eq!((text, pieces.len()), (whole.chars().take(first).collect(), first + 1));
    assert_eq!((summary.ending, summary.num_tokens), (Ending::EndToken, first + 1));
}

#[test]
fn a_stop_string_ends_the_text_before_it() {
    let whole = long_text();
    let characters: Vec<char> = whole.chars().collect();
    for (start, end) in [(3, 4), (4, 7), (0, 2), (10, 19)] {
        let stop: String = characters[start..end].iter().collect();
        let (text, _, summary) = run("hello wörld", GenerationOptions { stop: vec!["never".into(), stop.clone()], ..GREEDY });
        assert_eq!(text, whole[..whole.find(&stop).unwrap()], "{stop:?}");
        assert_eq!(summary.ending, Ending::StopString);
    }
    let (text, ..) = run("hello wörld", GenerationOptions { stop: vec![format!("{whole}and more")], ..GREEDY });
    assert_eq!(text, whole, "what was held back is shown in the end");
}

#[test]
fn a_text_ends_where_the_context_does() {
    let prompt = "a".repeat(60);
    let options =
        GenerationOptions { max_new_tokens: 100, sampling: SamplingOptions { temperature: 1.0, ..SamplingOptions::GREEDY }, ..GREEDY };
    let (_, pieces, summary) = run(&prompt, options.clone());
    assert!(summary.ending == Ending::Context && pieces.len() == 5 || summary.ending == Ending::EndToken, "{summary:?}");
    let ids = ENGINE.encode_prompt(&"a".repeat(65)).unwrap();
    let error = generate(&ENGINE, &ids, options.clone(), &mut ENGINE.model.new_workspace(8), &|| false, |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("65 tokens, more than the model's context of 64"), "{error}");
    let error = generate(&ENGINE, &[], options, &mut ENGINE.model.new_workspace(8), &|| false, |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("the prompt is empty"), "{error}");
}

#[test]
fn no_new_tokens_are_none() {
    let (text, pieces, summary) = run("hello", GenerationOptions { max_new_tokens: 0, ..GREEDY });
    assert_eq!((text.as_str(), pieces.len(), summary.ending), ("", 0, Ending::MaxNewTokens));
}

#[test]
fn an_interrupt_ends_the_text_with_what_was_held_back() {
    let whole = long_text();
    let (looks, mut text) = (Cell::new(0), String::new());
    let is_interrupted = || {
        looks.set(looks.get() + 1);
        looks.get() > 9
    };
    let ids = ENGINE.encode_prompt("hello wörld").unwrap();
    let options = GenerationOptions { stop: vec![format!("{whole}!")], ..GREEDY };
    let show = |piece: &Piece| {
        text += &piece.text;
        Ok(())
    };
    let summary = generate(&ENGINE, &ids, options, &mut ENGINE.model.new_workspace(64), &is_interrupted, show).unwrap();
    assert_eq!((summary.ending, summary.num_tokens), (Ending::Interrupted, 9));
    assert_eq!(text, whole.chars().take(text.chars().count()).collect::<String>());
    assert!(!text.is_empty());
}

#[test]
fn a_seed_repeats_a_text_and_another_makes_another() {
    let said = |seed| {
        let sampling = SamplingOptions { temperature: 1.5, top_p: 0.98, seed, ..SamplingOptions::GREEDY };
        run("hello", GenerationOptions { sampling, ..GREEDY }).0
    };
    assert_eq!(said(1), said(1));
    assert_ne!(said(1), said(2));
}

#[test]
fn log_probabilities_come_with_each_token_when_asked_for() {
    let (_, pieces, _) = run("hello", GenerationOptions { num_log_probabilities: Some(3), ..GREEDY });
    for piece in pieces {
        let found = piece.log_probabilities.unwrap();
        assert_eq!((found.top.len(), found.top[0].token), (3, piece.token));
        assert!(found.chosen == found.top[0].log_probability && found.chosen < 0.0);
    }
}

#[test]
fn a_memory_reads_only_what_is_new_and_says_what_a_fresh_one_says() {
    let mut memory = Memory::new(&ENGINE, 64).unwrap();
    let mut workspace = ENGINE.model.new_workspace(4);
    let mut remembering = |prompt: &str| {
        let (ids, mut text) = (ENGINE.encode_prompt(prompt).unwrap(), String::new());
        let keep = |piece: &Piece| {
            text += &piece.text;
            Ok(())
        };
        let summary = memory.generate(&ENGINE, &ids, GREEDY, &mut workspace, &|| false, keep).unwrap();
        (text, summary.num_prompt_tokens)
    };
    let answer = run("hello", GREEDY).0;
    assert_eq!(remembering("hello"), (answer.clone(), 5));
    // The last token of an answer was chosen, but never read.
    let next = format!("{hello}{answer} you", hello = "hello");
    assert_eq!(remembering(&next), (run(&next, GREEDY).0, 5));
    for (prompt, num_new) in [("help me", 4), ("help me", 1), ("hel", 1), ("other", 5)] {
        assert_eq!(remembering(prompt), (run(prompt, GREEDY).0, num_new), "{prompt}");
    }
}
