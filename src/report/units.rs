//! Numbers for people: durations, counts, shares, and the few digits that a loss needs.

use crate::error::counted;

/// `1 h 02 min`, `3 min 07 s`, `12 s`, `3 d 04 h`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes:02} min"),
        (days, hours, ..) => format!("{days} d {hours:02} h"),
    }
}

/// `2026-11-30`, by the clock of this machine; none of a time that no calendar has.
pub fn date(unix_time: f64) -> Option<String> {
    let time = jiff::Timestamp::from_second(unix_time as i64).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d").to_string())
}

/// `2,400`.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// As many digits as a reader needs: `3.466`, `0.0512`, `12.5`, `1.30e-4`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        0.0 => "0".to_owned(),
        0.001..10.0 => format!(
            "{value:.*}",
            if size < 0.01 {
                5
            } else if size < 0.1 {
                4
            } else {
                3
            }
        ),
        10.0..10_000.0 => format!("{value:.1}"),
        _ => format!("{value:.2e}"),
    }
}

/// `820 bytes`, `1.66 MB`, `1.18 GB`.
pub fn bytes(bytes: u64) -> String {
    let size = bytes as f64;
    match bytes {
        0..1_000 => counted(bytes, "byte"),
        1_000..10_000 => format!("{} bytes", count(bytes)),
        10_000..1_000_000 => format!("{:.1} kB", size / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} MB", size / 1e6),
        _ => format!("{:.2} GB", size / 1e9),
    }
}

/// `97.3 %` of 0.973.
pub fn share(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_show_two_units() {
        let shown: Vec<_> = [0.4, 59.6, 187.0, 3720.0, 273_600.0, -5.0].into_iter().map(duration).collect();
        assert_eq!(shown, ["0 s", "1 min 00 s", "3 min 07 s", "1 h 02 min", "3 d 04 h", "0 s"]);
    }

    #[test]
    fn bytes_have_the_unit_that_suits_them() {
        assert_eq!([820, 34_560, 1_657_000, 1_182_000_000].map(bytes), ["820 bytes", "34.6 kB", "1.66 MB", "1.18 GB"]);
    }

    #[test]
    fn counts_have_a_comma_every_three_digits() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn numbers_keep_the_digits_that_matter() {
        assert_eq!(
            [0.0, 3.4657, 0.0512, 0.00123, 12.5, 1.3e-4, -0.5].map(number),
            ["0", "3.466", "0.0512", "0.00123", "12.5", "1.30e-4", "-0.500"]
        );
    }
}
