//! Amounts as Compose writes them, in our words.

use model::Span;

/// `0.5` processors as `500m`. At least a thousandth.
pub(super) fn cpu(text: &str) -> Option<String> {
    let cores: f64 = text.trim().parse().ok()?;
    if !(cores.is_finite() && (0.001..=1024.0).contains(&cores)) {
        return None;
    }
    let millis = (cores * 1000.0).round() as u64;
    Some(if millis.is_multiple_of(1000) { (millis / 1000).to_string() } else { format!("{millis}m") })
}

/// `512m`, `1gb` or plain bytes, as `512Mi` or `1Gi`. Docker's units are powers of 1024 whatever they are called.
pub(super) fn memory(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: f64 = match text[digits.len()..].trim_end_matches('b').trim_end_matches('i') {
        "" => 1.0,
        "k" => 1024.0,
        "m" => 1024.0 * 1024.0,
        "g" => 1024.0 * 1024.0 * 1024.0,
        "t" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = (digits.trim().parse::<f64>().ok()? * factor).round();
    if !(bytes.is_finite() && (1_048_576.0..=1_099_511_627_776.0).contains(&bytes)) {
        return None;
    }
    let bytes = bytes as u64;
    Some(match bytes {
        _ if bytes.is_multiple_of(1 << 30) => format!("{}Gi", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}Mi", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}Ki", bytes >> 10),
        _ => bytes.to_string(),
    })
}

/// `1m30s`, `500ms`, or a bare number of seconds.
pub(super) fn span(text: &str) -> Option<Span> {
    match text.trim().parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => {
            Some(Span::millis((seconds * 1000.0).round() as u64))
        }
        Ok(_) => None,
        Err(_) => text.trim().parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_their_meaning() {
        assert_eq!(cpu("0.50").as_deref(), Some("500m"));
        assert_eq!(cpu("2.0").as_deref(), Some("2"));
        assert_eq!(cpu("0"), None);
        for (text, ours) in [
            ("512M", "512Mi"),
            ("512MiB", "512Mi"),
            ("1gb", "1Gi"),
            ("1.5g", "1536Mi"),
            ("1048577", "1048577"),
            ("1025k", "1025Ki"),
        ] {
            assert_eq!(memory(text).as_deref(), Some(ours), "{text}");
        }
        for bad in ["", "5", "1x", "many", "-1m", "0"] {
            assert_eq!(memory(bad), None, "{bad}");
        }
        assert_eq!(span("1m30s"), Some(Span::seconds(90)));
        assert_eq!(span("5"), Some(Span::seconds(5)));
        assert_eq!(span("soon"), None);
    }
}
