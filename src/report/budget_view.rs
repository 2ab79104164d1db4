//! Time, price and memory of an experiment on a machine, as lines for people; aligned with those of an estimate.

use super::units::{count, duration};
use crate::config::{ACCELERATORS, Budget, Estimate, Precision};

/// What `estimate` takes on a GPU. `usd_per_hour` is the price that was reckoned with.
pub fn budget_view(budget: &Budget, estimate: &Estimate, precision: Precision, usd_per_hour: f64) -> String {
    let gpu = &budget.accelerator;
    let (share, peak) = (100.0 * budget.utilization, gpu.peak_flops(precision) / 1e12);
    let needed = estimate.memory_bytes as f64 / (1u64 << 30) as f64;
    let fits = if budget.fits { "fits" } else { "does not fit" };
    [
        line("gpu", gpu.name, &format!("{fits}: needs {needed:.1} of {} GiB", gpu.memory_gib)),
        time_line(budget.seconds, budget.tokens_per_second, &format!(", {share:.0} % of {peak} TFLOPS")),
        cost_line(budget.usd, usd_per_hour),
    ]
    .join("\n")
}

/// What it takes where so many tokens a second were measured.
pub fn measured_view(seconds: f64, tokens_per_second: f64, usd_per_hour: Option<f64>) -> String {
    let time = time_line(seconds, tokens_per_second, ", as measured");
    usd_per_hour.map_or(time.clone(), |price| format!("{time}\n{}", cost_line(seconds / 3600.0 * price, price)))
}

/// The GPUs that have a name.
pub fn accelerator_table() -> String {
    let head = format!("{:<9}{:>10}{:>18}{:>17}{:>12}\n", "gpu", "memory", "bfloat16 TFLOPS", "float32 TFLOPS", "USD/hour");
    let rows = ACCELERATORS.iter().map(|gpu| {
        let memory = format!("{} GiB", gpu.memory_gib);
        let (bfloat16, float32) = (gpu.bfloat16_teraflops, gpu.float32_teraflops);
        format!("{:<9}{memory:>10}{bfloat16:>18.1}{float32:>17.1}{:>12.2}\n", gpu.name, gpu.usd_per_hour)
    });
    head + &rows.collect::<String>()
}

fn time_line(seconds: f64, tokens_per_second: f64, how: &str) -> String {
    line("time", &duration(seconds), &format!("{} tokens/s{how}", count(tokens_per_second.round() as u64)))
}

fn cost_line(usd: f64, usd_per_hour: f64) -> String {
    line("cost", &format!("${usd:.2}"), &format!("${usd_per_hour:.2} an hour"))
}

fn line(name: &str, value: &str, detail: &str) -> String {
    format!("{name:<12}{value:>14}  ({detail})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Accelerator, Experiment, Kernels};

    fn experiment() -> Experiment {
        Experiment::from_yaml(include_str!("../../tests/fixtures/example/config.yaml"), "config.yaml").unwrap()
    }

    /// 9,830,400 tokens of 31,956,480 operations: 3.14e14, at 40 % of 25.5e12 a second.
    #[test]
    fn a_budget_is_told_in_three_lines() {
        let estimate = experiment().estimate_for(Kernels::Gpu);
        let budget = Accelerator::named("rtx3060").unwrap().budget(&estimate, Precision::Bfloat16, 0.4, Some(36.0));
        let expected = "\
gpu                rtx3060  (fits: needs 1.7 of 12 GiB)
time                  31 s  (319,184 tokens/s, 40 % of 25.5 TFLOPS)
cost                 $0.31  ($36.00 an hour)";
        assert_eq!(budget_view(&budget, &estimate, Precision::Bfloat16, 36.0), expected);
    }

    #[test]
    fn a_measured_speed_gives_the_time_and_with_a_price_the_cost() {
        let time = "time            2 h 00 min  (1,000 tokens/s, as measured)";
        assert_eq!(measured_view(7200.0, 1000.0, None), time);
        assert_eq!(measured_view(7200.0, 1000.0, Some(0.5)), format!("{time}\ncost                 $1.00  ($0.50 an hour)"));
    }

    #[test]
    fn every_gpu_is_a_line_of_the_table() {
        let table = accelerator_table();
        assert_eq!(table.lines().count(), 1 + ACCELERATORS.len());
        let columns = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(columns(table.lines().nth(2).unwrap()), ["rtx3060", "12", "GiB", "25.5", "12.7", "0.08"]);
    }
}
