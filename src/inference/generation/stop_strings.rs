//! Text that ends a generation wherever it appears, tokens' borders notwithstanding: what may be its beginning is held back until more
//! text has come.

/// Looks for stop strings in text that comes piece by piece.
#[derive(Debug, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
}

impl StopStrings {
    /// Looks for any of `stops`; empty ones are ignored.
    pub fn new(stops: impl IntoIterator<Item = String>) -> Self {
        Self { stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(), held: String::new() }
    }

    /// The text that may be shown now that `text` has come, and whether a stop string was found: then it is the text before it, and
    /// nothing may follow.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        let may_hold = |stop: &&String| stop.len() <= self.held.len(); // a long one is not gone through for each short text
        if let Some(at) = self.stops.iter().filter(may_hold).filter_map(|stop| self.held.find(stop)).min() {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let may_begin = |at: usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[at..]));
        let safe = self.held.char_indices().map(|(at, _)| at).find(|&at| may_begin(at)).unwrap_or(self.held.len());
        let rest = self.held.split_off(safe);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// The text that was held back, now that nothing follows.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut search = StopStrings::new(stops.iter().map(|stop| (*stop).to_owned()));
        let mut shown = String::new();
        for piece in pieces {
            let (text, is_found) = search.push(piece);
            shown += &text;
            if is_found {
                return (shown, true);
            }
        }
        (shown + &search.finish(), false)
    }

    #[test]
    fn a_stop_string_is_found_across_pieces_and_nothing_of_it_is_shown() {
        assert_eq!(run(&["\n\nUser:"], &["Hi", " there\n", "\nUs", "er", ": more"]), ("Hi there".into(), true));
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), ("a".into(), true));
        assert_eq!(run(&["é!"], &["caf", "é", "!"]), ("caf".into(), true));
        assert_eq!(run(&["abcd", "bc"], &["ab", "c"]), ("a".into(), true));
    }

    #[test]
    fn what_only_begins_like_a_stop_string_is_shown_in_the_end() {
        assert_eq!(run(&["END"], &["the EN", "d EN"]), ("the ENd EN".into(), false));
        assert_eq!(run(&["", "x"], &["all", " of it"]), ("all of it".into(), false));
        let mut search = StopStrings::new(["END".to_owned()]);
        assert_eq!(search.push("the EN"), ("the ".into(), false));
        assert_eq!(search.push("d"), ("ENd".into(), false));
    }

    #[test]
    fn how_a_text_is_cut_changes_nothing() {
        let mut random = Random::derive(5, "stop strings", 0);
        for _ in 0..2000 {
            let letters: Vec<char> = (0..30).map(|_| ['a', 'b', 'é'][random.below(3) as usize]).collect();
            let text: String = letters.iter().collect();
            let pieces: Vec<String> = letters.chunks(1 + random.below(5) as usize).map(|piece| piece.iter().collect()).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let stop = ["aab", "béa", "éé", "bab"][random.below(4) as usize];
            let expected = text.find(stop).map_or((text.clone(), false), |at| (text[..at].to_owned(), true));
            assert_eq!(run(&[stop], &pieces), expected, "{text} {stop}");
        }
    }
}
