//! Power cuts and kills at random moments of a training run's writes: nothing that was acknowledged is ever lost, and no step of the
//! protocol can be left out. The file system is the forgetful double; the protocol is the one that trainers use.

#[path = "power_loss/damage.rs"]
mod damage;
#[path = "power_loss/history.rs"]
mod history;
#[path = "power_loss/mutation.rs"]
mod mutation;
#[path = "power_loss/trial.rs"]
mod trial;

use mutation::Mutation;
use trial::Loss;

/// Trials of a mutation end at the first loss, which most show within a dozen and the rarest within a few hundred.
const MAX_MUTATED_TRIALS: u64 = 20_000;
const NUM_CUTS: u64 = 10_000;
const NUM_THREADS: u64 = 4;

#[test]
fn ten_thousand_power_cuts_lose_nothing() {
    std::thread::scope(|scope| {
        for thread in 0..NUM_THREADS {
            scope.spawn(move || cut_power_often(thread, NUM_CUTS / NUM_THREADS));
        }
    });
}

/// Trials of every `NUM_THREADS`th seed until they have seen so many cuts.
fn cut_power_often(first_seed: u64, mut num_cuts: u64) {
    for seed in (first_seed..).step_by(NUM_THREADS as usize) {
        let outcome = trial::run(seed, Mutation::None);
        assert_eq!(outcome.loss, None, "seed {seed}");
        num_cuts = num_cuts.saturating_sub(outcome.num_cuts);
        if num_cuts == 0 {
            return;
        }
    }
}

#[track_caller]
fn assert_caught(mutation: Mutation, is_expected: impl Fn(&Loss) -> bool) {
    let caught = (0..MAX_MUTATED_TRIALS).filter_map(|seed| trial::run(seed, mutation).loss).find(|loss| is_expected(loss));
    assert!(caught.is_some(), "{mutation:?} went unnoticed");
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
