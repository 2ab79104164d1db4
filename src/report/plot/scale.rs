//! From values to places along an axis, and the round values that get a label.

use crate::report::units::count;

/// How an axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Linear,
    /// Linear, and only whole numbers get a label.
    Whole,
    Logarithmic,
}

/// An axis from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) kind: Kind,
}

/// A labelled value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

impl Scale {
    /// From 0 to the largest of `values`, in whole numbers; a single value stands in the middle.
    pub(super) fn counting(values: impl Iterator<Item = f64>) -> Self {
        let usable = values.filter(|value| value.is_finite());
        let (low, high) = usable.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
        let high = if low == high { 2.0 * high } else { high };
        Self { low: 0.0, high: high.max(1.0), kind: Kind::Whole }
    }

    /// From 0 to a little above the largest of `values`.
    pub(super) fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        let high = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        Self { low: 0.0, high: if high > 0.0 { 1.05 * high } else { 1.0 }, kind: Kind::Linear }
    }

    /// Around `values` with a little air; a single value gets some room. On a logarithmic axis only what is above 0 counts.
    pub(super) fn around(values: impl Iterator<Item = f64>, is_log: bool) -> Self {
        let usable = values.filter(|value| value.is_finite() && (!is_log || *value > 0.0));
        let (low, high) = usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        match (low > high, is_log) {
            (true, true) => Self { low: 0.1, high: 10.0, kind: Kind::Logarithmic },
            (true, false) => Self { low: 0.0, high: 1.0, kind: Kind::Linear },
            (false, true) => Self { low: low / air(high / low), high: high * air(high / low), kind: Kind::Logarithmic },
            (false, false) => Self::with_margin(low, high),
        }
    }

    fn with_margin(low: f64, high: f64) -> Self {
        let is_single = high - low <= 1e-9 * high.abs();
        let margin = if is_single { (0.1 * high.abs()).max(1e-3) } else { 0.05 * (high - low) };
        let floor = if low >= 0.0 && low - margin < 0.0 { 0.0 } else { low - margin };
        Self { low: floor, high: high + margin, kind: Kind::Linear }
    }

    /// 0 at `low`, 1 at `high`; a value outside is brought to the nearer end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = if self.kind == Kind::Logarithmic {
            (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        place.clamp(0.0, 1.0)
    }

    /// Round values, about `wanted` of them.
    pub(super) fn ticks(&self, wanted: usize) -> Vec<Tick> {
        if self.kind == Kind::Logarithmic && self.high / self.low > 8.0 {
            return self.logarithmic_ticks();
        }
        let step = round_step((self.high - self.low) / wanted.max(1) as f64);
        let step = if self.kind == Kind::Whole { step.max(1.0) } else { step };
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|index| index as f64 * step).map(|value| Tick { value, label: label(value, step) }).collect()
    }

    /// 1, 2, 5 of each decade, or the decades alone when there are many.
    fn logarithmic_ticks(&self) -> Vec<Tick> {
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let factors: &[f64] = if decades.clone().count() > 5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let values = decades.flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)));
        let inside = values.filter(|value| (self.low..=self.high).contains(value));
        inside.map(|value| Tick { value, label: label(value, value) }).collect()
    }
}

/// The factor left free above and below on a logarithmic axis.
fn air(ratio: f64) -> f64 {
    ratio.powf(0.05).max(1.05)
}

/// The next of 1, 2, 5, 10, 20 ... that is not smaller.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| step <= factor * power * (1.0 + 1e-9)).unwrap_or(10.0);
    factor * power
}

/// As many decimals as tell neighbours `step` apart; millions and more are shortened.
fn label(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    match value.abs() {
        1e9.. => format!("{}B", rounded(value / 1e9)),
        1e6.. => format!("{}M", rounded(value / 1e6)),
        size if decimals == 0 && size >= 1000.0 => format!("{}{}", if value < 0.0 { "-" } else { "" }, count(size.round() as u64)),
        _ if decimals > 4 && value != 0.0 => format!("{value:.1e}"),
        _ if value == 0.0 => "0".to_owned(),
        _ => format!("{value:.decimals$}"),
    }
}

/// Without the digits that division leaves.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, wanted: usize) -> Vec<String> {
        scale.ticks(wanted).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(labels(Scale { low: 0.0, high: 2400.0, kind: Kind::Linear }, 6), ["0", "500", "1,000", "1,500", "2,000"]);
        assert_eq!(labels(Scale { low: 0.13, high: 0.37, kind: Kind::Linear }, 5), ["0.15", "0.20", "0.25", "0.30", "0.35"]);
        assert_eq!(labels(Scale { low: 0.0, high: 2e-3, kind: Kind::Linear }, 4), ["0", "0.0005", "0.0010", "0.0015", "0.0020"]);
        assert_eq!(labels(Scale { low: 0.0, high: 3e6, kind: Kind::Linear }, 3), ["0", "1M", "2M", "3M"]);
    }

    #[test]
    fn a_logarithmic_axis_labels_one_two_five() {
        assert_eq!(labels(Scale { low: 0.09, high: 4.0, kind: Kind::Logarithmic }, 6), ["0.1", "0.2", "0.5", "1", "2"]);
    }

    #[test]
    fn a_constant_gets_room_above_and_below() {
        let scale = Scale::around([2.0, 2.0].into_iter(), false);
        assert!(scale.low < 2.0 && scale.high > 2.0 && (scale.place(2.0) - 0.5).abs() < 1e-9, "{scale:?}");
    }

    #[test]
    fn a_single_step_stands_in_the_middle_of_whole_numbers() {
        let scale = Scale::counting([1.0].into_iter());
        assert_eq!((scale.place(1.0), labels(scale, 7)), (0.5, vec!["0".to_owned(), "1".to_owned(), "2".to_owned()]));
    }

    #[test]
    fn no_values_still_make_an_axis() {
        for is_log in [false, true] {
            assert!(!Scale::around([f64::NAN].into_iter(), is_log).ticks(5).is_empty());
        }
        assert_eq!((Scale::from_zero(std::iter::empty()).high, Scale::counting(std::iter::empty()).high), (1.0, 1.0));
    }

    #[test]
    fn a_loss_of_zero_or_below_does_not_break_a_logarithmic_axis() {
        let scale = Scale::around([0.0, -1.0, 0.5, 2.0].into_iter(), true);
        assert!(scale.low > 0.0 && scale.place(0.0) == 0.0 && scale.place(-1.0) == 0.0, "{scale:?}");
    }
}
