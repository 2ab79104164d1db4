//! Power cuts and kills at random moments of a training run's writes: nothing that was acknowledged is ever lost, and no step of the
//! protocol can be left out. The file system is the forgetful double; the protocol is the one that trainers use.

mod damage;
mod history;
mod mutation;
mod trial;

use mutation::Mutation;
use trial::Loss;

/// Trials for each mutation; the rarest loss shows up dozens of times in so many.
const NUM_MUTATED_TRIALS: u64 = 600;
const NUM_CUTS: u64 = 10_000;

#[test]
fn ten_thousand_power_cuts_lose_nothing() {
    let mut num_cuts = 0;
    let mut seed = 0;
    while num_cuts < NUM_CUTS {
        let outcome = trial::run(seed, Mutation::None);
        assert_eq!(outcome.loss, None, "seed {seed}");
        num_cuts += outcome.num_cuts;
        seed += 1;
    }
}

#[track_caller]
fn assert_caught(mutation: Mutation, is_expected: impl Fn(&Loss) -> bool) {
    let losses: Vec<Loss> = (0..NUM_MUTATED_TRIALS).filter_map(|seed| trial::run(seed, mutation).loss).collect();
    assert!(losses.iter().any(is_expected), "{mutation:?} went unnoticed: {losses:?}");
}

fn is_lost(loss: &Loss) -> bool {
    matches!(loss, Loss::NothingLeft { .. } | Loss::Older { .. })
}

#[test]
fn without_the_sync_of_the_weights_a_checkpoint_is_lost() {
    assert_caught(Mutation::SkipFileSync("model.safetensors"), is_lost);
}

#[test]
fn without_the_sync_of_the_optimizer_state_a_checkpoint_is_lost() {
    assert_caught(Mutation::SkipFileSync("optimizer.safetensors"), is_lost);
}

#[test]
fn without_the_sync_of_the_trainer_state_a_checkpoint_is_lost() {
    assert_caught(Mutation::SkipFileSync("trainer.json"), is_lost);
}

#[test]
fn without_the_sync_of_complete_a_checkpoint_is_lost() {
    assert_caught(Mutation::SkipFileSync("COMPLETE"), is_lost);
}

#[test]
fn without_the_sync_of_the_temporary_directory_a_checkpoint_is_lost() {
    assert_caught(Mutation::SkipTemporaryDirectorySync, is_lost);
}

#[test]
fn without_the_sync_after_the_rename_a_checkpoint_is_lost() {
    assert_caught(Mutation::SkipSyncAfter("step-"), is_lost);
}

#[test]
fn without_the_sync_of_the_run_directory_all_checkpoints_are_lost() {
    assert_caught(Mutation::SkipRunDirectorySync, is_lost);
}

#[test]
fn without_the_sync_before_the_removal_a_half_removed_checkpoint_looks_whole() {
    assert_caught(Mutation::SkipSyncAfter(".trash-"), |loss| matches!(loss, Loss::Damaged { .. }));
}

#[test]
fn without_the_sync_between_the_renames_of_a_replacement_a_checkpoint_is_lost() {
    assert_caught(Mutation::SkipSyncAfter(".replaced-"), |loss| is_lost(loss) || matches!(loss, Loss::WrongContent { .. }));
}

#[test]
fn without_the_sync_at_the_start_a_checkpoint_that_was_resumed_from_is_lost() {
    assert_caught(Mutation::SkipSyncAtStart, is_lost);
}

#[test]
fn without_writing_complete_last_a_checkpoint_is_lost() {
    assert_caught(Mutation::CompleteFirst, is_lost);
}

#[test]
fn without_the_temporary_name_a_half_written_checkpoint_looks_whole() {
    assert_caught(Mutation::WriteInPlace, |loss| matches!(loss, Loss::Damaged { .. }));
}

#[test]
fn without_the_sync_of_the_logs_rows_before_a_checkpoint_are_lost() {
    assert_caught(Mutation::SkipLogSync, |loss| matches!(loss, Loss::Rows { .. }));
}
