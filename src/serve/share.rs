//! How the tokens of a pass are shared among the texts that have some to read: a long prompt never keeps others from going on.

/// The part of a pass that prompts may take while texts are generated, so that those do not wait long for each token.
const PROMPT_PART: usize = 4;

/// How many of its `unread` tokens each text reads in the next pass of at most `most` tokens, which are at least as many as texts. A text
/// that has one token left is taken for one that is generated.
pub(super) fn share(unread: &[usize], most: usize) -> Vec<usize> {
    let num_single = unread.iter().filter(|&&count| count == 1).count();
    let num_reading = unread.len() - num_single;
    let for_prompts = match num_single {
        0 => most,
        _ => (most / PROMPT_PART).max(num_reading).min(most - num_single),
    };
    divide(unread, num_single + for_prompts)
}

/// Fair shares of `rest`: whoever needs less than an equal share leaves the remainder to the others; the first go first.
fn divide(unread: &[usize], mut rest: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..unread.len()).collect();
    order.sort_by_key(|&index| unread[index]);
    let mut shares = vec![0; unread.len()];
    for (place, &index) in order.iter().enumerate() {
        shares[index] = unread[index].min(rest.div_ceil(order.len() - place));
        rest -= shares[index];
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn a_long_prompt_takes_a_part_of_the_pass_and_everybody_goes_on() {
        assert_eq!(share(&[5000], 256), [256]);
        assert_eq!(share(&[1, 5000, 1], 256), [1, 64, 1]);
        assert_eq!(share(&[5000, 10, 3000], 256), [123, 10, 123]);
        assert_eq!(share(&[1, 1, 100, 100], 4), [1, 1, 1, 1]);
        assert_eq!(share(&[7, 7], 3), [2, 1], "the first goes first");
    }

    #[test]
    fn no_pass_is_too_large_and_nobody_is_left_out() {
        let mut random = Random::derive(3, "shares", 0);
        for _ in 0..5000 {
            let unread: Vec<usize> = (0..1 + random.below(20)).map(|_| 1 + random.below(4).pow(4) as usize).collect();
            let most = unread.len() + random.below(60) as usize;
            let shares = share(&unread, most);
            assert!(shares.iter().sum::<usize>() <= most, "{unread:?} {most}: {shares:?}");
            assert!(shares.iter().zip(&unread).all(|(&share, &unread)| (1..=unread).contains(&share)), "{unread:?} {most}: {shares:?}");
            let mut by_need: Vec<_> = unread.iter().zip(&shares).collect();
            by_need.sort();
            assert!(by_need.windows(2).all(|pair| *pair[0].1 <= pair[1].1 + 1), "who needs more gets no less: {by_need:?}");
        }
    }
}
