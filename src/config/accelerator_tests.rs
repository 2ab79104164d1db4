//! Time and price by hand, and the names of GPUs.

use super::*;
use crate::config::Kernels;
use crate::config::example::experiment;

#[test]
fn time_and_price_follow_from_operations_peak_and_share() {
    let mut experiment = experiment();
    experiment.train.num_steps = 1000;
    let estimate = experiment.estimate_for(Kernels::Gpu);
    // 64 x 64 tokens a step; 6 x 5,129,472 + 12 x 6 x 256 x 64 operations a token; half of 25.5e12 a second.
    let seconds = 4_096_000.0 * 31_956_480.0 / 12.75e12;
    let budget = Accelerator::named("rtx3060").unwrap().budget(&estimate, Precision::Bfloat16, 0.5, Some(3.6));
    assert!((budget.seconds - seconds).abs() < 1e-9, "{budget:?}");
    assert!((budget.tokens_per_second - 4_096_000.0 / seconds).abs() < 1e-3);
    assert!((budget.usd - seconds / 1000.0).abs() < 1e-12);
    assert!(budget.fits);
    let float32 = Accelerator::named("rtx3060").unwrap().budget(&estimate, Precision::Float32, 0.5, None);
    assert!((float32.seconds / seconds - 25.5 / 12.7).abs() < 1e-9);
    assert!((float32.usd - float32.seconds / 3600.0 * 0.08).abs() < 1e-12);
}

#[test]
fn a_model_that_is_too_large_does_not_fit() {
    let mut experiment = experiment();
    experiment.train.batch_size = 4096;
    let estimate = experiment.estimate_for(Kernels::Gpu);
    let fits = |name| Accelerator::named(name).unwrap().budget(&estimate, Precision::Bfloat16, 0.4, None).fits;
    assert!(!fits("rtx3060") && fits("h200"), "{}", estimate.memory_bytes);
}

#[test]
fn names_are_taken_as_people_write_them() {
    for written in ["RTX 3060", "rtx-3060", "rtx3060"] {
        assert_eq!(Accelerator::named(written).unwrap().name, "rtx3060");
    }
}

#[test]
fn an_unknown_gpu_is_the_users_error_and_the_nearest_is_named() {
    let error = Accelerator::named("rtx3061").unwrap_err();
    assert_eq!(error.exit_status(), 2);
    assert_eq!(error.to_string(), "no GPU called \"rtx3061\" is known\nhint: did you mean rtx3060? --gpu list shows all");
    assert!(Accelerator::named("abacus9").unwrap_err().to_string().contains("known are `t4`, `rtx3060`"));
}

#[test]
fn names_are_unique_and_figures_are_there() {
    for (index, gpu) in ACCELERATORS.iter().enumerate() {
        assert!(ACCELERATORS[..index].iter().all(|other| other.name != gpu.name), "{}", gpu.name);
        assert!(gpu.memory_gib > 0 && gpu.bfloat16_teraflops >= gpu.float32_teraflops && gpu.usd_per_hour > 0.0, "{gpu:?}");
    }
}

#[test]
fn a_gpu_is_known_by_what_its_driver_calls_it() {
    let known = [
        ("NVIDIA H200", "h200"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("Tesla T4", "t4"),
        ("NVIDIA GeForce RTX 3060", "rtx3060"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
    ];
    for (name, wanted) in known {
        assert_eq!(Accelerator::of_driver_name(name).map(|gpu| gpu.name), Some(wanted), "{name}");
    }
    for other in [
        "NVIDIA A10",
        "NVIDIA L40",
        "NVIDIA GeForce RTX 3060 Ti",
        "NVIDIA GeForce RTX 3060 Laptop GPU",
        "NVIDIA H100 PCIe",
        "NVIDIA H200 MIG 1g.18gb",
        "NVIDIA GeForce GTX 3060",
        "",
    ] {
        assert_eq!(Accelerator::of_driver_name(other), None, "{other}");
    }
}
