//! How deep a template nests, before it is parsed: the parser, the compiler and the end of the tree go down one call a level, and a chain of
//! operators is as many levels as it has operators.

use super::budget::Result;
use minijinja::machinery::{Token, WhitespaceConfig, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error, ErrorKind};

/// Operators and brackets of one tag; those in use have some dozens.
const MOST_IN_A_TAG: usize = 500;
/// `elif` in a template: each is a level within the one before.
const MOST_ELIFS: usize = 500;
/// Words that are operators.
const OPERATORS: [&str; 7] = ["not", "and", "or", "is", "in", "if", "else"];

/// Refuses a template that nests too deep.
pub(super) fn check(source: &str, name: &'static str) -> Result<()> {
    let (mut in_tag, mut num_elifs, mut is_first) = (0, 0, false);
    for token in tokenize(source, false, SyntaxConfig, WhitespaceConfig::default()) {
        let Ok((token, span)) = token else { return Ok(()) }; // the parser says what is wrong with it
        match token {
            Token::VariableStart | Token::BlockStart => (in_tag, is_first) = (0, true),
            _ => {
                num_elifs += usize::from(is_first && matches!(token, Token::Ident("elif")));
                in_tag += usize::from(nests(&token));
                is_first = false;
            }
        }
        let what = match (in_tag > MOST_IN_A_TAG, num_elifs > MOST_ELIFS) {
            (true, _) => format!("more than {MOST_IN_A_TAG} operators and brackets in one tag"),
            (_, true) => format!("more than {MOST_ELIFS} elif"),
            _ => continue,
        };
        return Err(Error::new(ErrorKind::SyntaxError, format!("{name}:{}: {what}", span.start_line)));
    }
    Ok(())
}

fn nests(token: &Token<'_>) -> bool {
    match token {
        Token::Ident(word) => OPERATORS.contains(word),
        Token::TemplateData(_) | Token::Str(_) | Token::String(_) | Token::Int(_) | Token::Int128(_) | Token::Float(_) => false,
        Token::Comma | Token::Colon | Token::BracketClose | Token::ParenClose | Token::BraceClose => false,
        _ => true,
    }
}
