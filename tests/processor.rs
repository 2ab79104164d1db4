//! The switches that ask for less than the processor has, as `just test --as` sets them together: each leads where its name says.

use bitnet::dense::Level;
use bitnet::ternary::kernels::Kernel;

fn asked(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

#[test]
fn every_part_computes_with_what_its_switch_names() {
    let (kernel, dense) = (Kernel::best().unwrap().to_string(), Level::best().to_string());
    println!("products of codes with {kernel}, of numbers with {dense}");
    assert_eq!(kernel, asked("BITNET_KERNEL").unwrap_or_else(|| Kernel::usable().last().unwrap().to_string()));
    assert_eq!(dense, asked("BITNET_DENSE").unwrap_or_else(|| Level::usable().last().unwrap().to_string()));
}

#[test]
#[cfg(feature = "torch")]
fn training_computes_integer_products_with_what_its_switch_names() {
    let found = bitnet::libtorch::integer_products();
    println!("integer products of training with {}", found.unwrap_or("nothing"));
    match asked("BITNET_MATMUL").as_deref() {
        Some("none") => assert_eq!(found, None),
        Some("avx512") => assert_ne!(found, Some("amx")),
        _ => {}
    }
}
