//! What a step holds, against sums by hand and against peaks that were measured.

use super::*;
use crate::config::{NormPlacement, Overrides, example, load};

const MIB: u64 = 1 << 20;

fn memory(change: impl FnOnce(&mut Experiment), kernels: Kernels) -> StepMemory {
    let mut experiment = example::experiment();
    change(&mut experiment);
    experiment.step_memory(kernels)
}

/// 64 x 64 tokens, width 256, three times that inside, 6 blocks, 32 tokens in the vocabulary, bfloat16.
#[test]
fn codes_keep_a_byte_a_number() {
    let stream = 2 * 4 * 256;
    let codes = 3 * 256 + 768 + 4 * 12;
    let attention = 2 * (3 * 256) + 2 * 256; // q, k, v; what the norm of the output projection reads
    let gate = 2 * (2 * 768);
    let expected = StepMemory {
        operand_bytes: 5_111_808 * 3,
        activation_bytes: 4096 * (6 * (stream + codes + attention + gate) + 3 * 4 * 256),
        transient_bytes: 4096 * (2 * 4 * 256 + 5 * 2 * 768) + 4 * 32 * 256,
        program_bytes: 128 * MIB,
    };
    assert_eq!(memory(|_| (), Kernels::CpuCodes), expected);
    assert_eq!(memory(|it| it.train.accumulation_steps = 3, Kernels::CpuCodes), expected, "micro-batches follow each other");
}

#[test]
fn a_norm_in_every_projection_gives_each_its_own_codes() {
    let inside = memory(|it| it.model.bit_linear.norm = NormPlacement::Inside, Kernels::CpuCodes).activation_bytes;
    let outside = memory(|_| (), Kernels::CpuCodes).activation_bytes;
    assert_eq!(inside - outside, 4096 * 6 * (3 * 256 + 3 * 12));
}

#[test]
fn without_sub_norms_the_outcome_of_attention_is_not_read_again() {
    let without = memory(|it| it.model.sub_norms = false, Kernels::CpuCodes).activation_bytes;
    assert_eq!(memory(|_| (), Kernels::CpuCodes).activation_bytes - without, 4096 * 6 * 2 * 256);
}

#[test]
fn silu_keeps_what_it_makes_of_the_gate() {
    let silu = memory(|it| it.model.hidden_act = Activation::Silu, Kernels::CpuCodes).activation_bytes;
    assert_eq!(silu - memory(|_| (), Kernels::CpuCodes).activation_bytes, 4096 * 6 * 2 * (2 * 768));
}

#[test]
fn libtorchs_operations_keep_float32_around_every_norm() {
    let stream_and_norms = 4 * (2 * 256 + 2 * 256 + 2 * (256 + 768));
    let products = 2 * ((3 * 256 + 768) + (2 * 256 + 2 * 256));
    let gate = 3 * 4 * 768;
    let head = 2 * 4 * 256 + 2 * 256 + 4 * 32;
    let expected = StepMemory {
        operand_bytes: 5_111_808 * 2,
        activation_bytes: 4096 * (6 * (stream_and_norms + products + gate) + head),
        transient_bytes: 4096 * (2 * 4 * 256 + 5 * 2 * 768) + 4 * 32 * 256,
        program_bytes: 1024 * MIB,
    };
    assert_eq!(memory(|_| (), Kernels::Gpu), expected);
}

#[test]
fn a_large_vocabulary_is_held_a_few_logits_at_a_time_by_codes_and_whole_by_libtorch() {
    let large = |it: &mut Experiment| it.model.vocab_size = 128_256;
    let table = 128_256 * 256;
    let by_codes = memory(large, Kernels::CpuCodes).transient_bytes;
    assert_eq!(by_codes, 2 * (1 << 25) + 2 * 2 * table + 4 * table);
    assert_eq!(memory(large, Kernels::Gpu).transient_bytes, 2 * 4 * 4096 * 128_256 + 4 * table);
}

#[test]
fn the_device_and_the_quantizers_tell_the_kernels() {
    let kernels = |change: fn(&mut Experiment)| {
        let mut experiment = example::experiment();
        change(&mut experiment);
        experiment.likely_kernels()
    };
    assert_eq!(kernels(|it| it.device = DeviceChoice::Auto), Kernels::CpuCodes);
    assert_eq!(kernels(|it| it.model.bit_linear.weights = WeightQuantizer::None), Kernels::CpuPlain);
    assert_eq!(kernels(|it| it.device = DeviceChoice::Cuda), Kernels::Gpu);
}

/// Peaks of `train` over three steps on a CPU with AMX, in GiB (docs/performance.md).
#[test]
fn estimates_lie_near_measured_peaks() {
    for (name, measured) in [("arithmetic", 0.47), ("tinystories", 1.08), ("baseline", 3.28)] {
        let experiment = load(format!("benches/training/{name}.yaml"), &Overrides::default()).unwrap();
        let estimated = experiment.estimate().memory_bytes as f64 / 1024.0 / MIB as f64;
        assert!((estimated / measured - 1.0).abs() < 0.15, "{name}: {estimated} instead of {measured}");
    }
}
