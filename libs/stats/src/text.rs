//! Numbers as people read them.

/// Four significant digits without trailing zeros: `0.01234`, `1234`, `12.5`.
pub fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{}", value + 0.0);
    }
    let magnitude = value.abs().log10().floor() as i32;
    let decimals = usize::try_from(3 - magnitude).unwrap_or(0).min(12);
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A share as percent: `0.0123` is `1.23 %`.
pub fn percent(share: f64) -> String {
    format!("{} %", short(share * 100.0))
}

/// `1 error`, `2 errors`.
pub fn counted(count: u32, one: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {one}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_significant_digits() {
        let shown: Vec<String> =
            [0.1 + 0.2, 0.000012345, 123_456.7, 12.5, 0.0, -0.0, f64::NAN].map(short).to_vec();

        assert_eq!(shown, ["0.3", "0.00001234", "123457", "12.5", "0", "0", "NaN"]);
        assert_eq!(percent(0.0123), "1.23 %");
    }
}
