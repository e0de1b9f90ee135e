//! What texts must look like. Small syntactic checks; whoever uses a text reads it properly.

use std::sync::LazyLock;

use regex::Regex;

fn regex(pattern: &str) -> Regex {
    #[allow(clippy::expect_used, reason = "a constant that a test compiles")]
    Regex::new(pattern).expect("a regular expression")
}

const NUMBER: &str = r"[-+]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?";

static CONDITION: LazyLock<Regex> = LazyLock::new(|| {
    regex(&format!(r"^\s*(?:(?:<=|>=|==|<|>)\s*({NUMBER})|in\s+({NUMBER})\s*\.\.\s*({NUMBER}))\s*$"))
});
static URL: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"^http://(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(?:[/?#]\S*)?$")
});
static IMAGE: LazyLock<Regex> = LazyLock::new(|| {
    let host = r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/";
    let name = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*";
    regex(&format!(
        r"^(?:{host})?{name}(?:/{name})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?$"
    ))
});

/// `< 0.05`, `<= 1`, `> 0`, `>= 2`, `== 3` or `in 1..5`, the lower bound not above the upper.
pub(super) fn is_condition(text: &str) -> bool {
    let Some(found) = CONDITION.captures(text) else { return false };
    let number = |group| found.get(group).and_then(|number| number.as_str().parse::<f64>().ok());
    match (number(1), number(2), number(3)) {
        (Some(limit), _, _) => limit.is_finite(),
        (None, Some(low), Some(high)) => low.is_finite() && high.is_finite() && low <= high,
        _ => false,
    }
}

/// A host name as Docker resolves it: with `_`, which the names of services may have.
pub(crate) fn is_host_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    (1..=253).contains(&text.len())
        && text.bytes().all(inner)
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// An address of the web, roughly: scheme, host, perhaps a port and a path. Only plain HTTP, which is all that the
/// agents speak.
pub(super) fn is_url(text: &str) -> bool {
    URL.captures(text)
        .is_some_and(|url| url.get(1).is_none_or(|port| port.as_str().parse::<u16>().is_ok_and(|p| p > 0)))
}

/// An image reference by the grammar of the distribution project: `host:port/name/name:tag@digest`.
pub(super) fn is_image(text: &str) -> bool {
    text.len() <= 512 && IMAGE.is_match(text)
}

/// A name an environment variable may have by POSIX.
pub(super) fn is_variable(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A variable's name as images also use it: `discovery.type`, `my-flag`.
pub(crate) fn is_loose_variable(text: &str) -> bool {
    is_variable(&text.replace(['.', '-'], "_"))
}

/// An absolute path that stays where it points.
pub(super) fn is_absolute(text: &str) -> bool {
    text.starts_with('/') && stays_below(text)
}

/// A path that never climbs.
pub(super) fn stays_below(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0') && text.split('/').all(|part| part != "..")
}

/// The path of a request: begins with `/`, holds no blanks or control characters.
pub(super) fn is_request_path(text: &str) -> bool {
    text.starts_with('/') && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_compare_with_a_number_or_a_range() {
        for good in
            ["< 0.05", "<=1", "> -3", ">= 2.5e3", "== 0", "in 1..5", "in 0.5 .. 1.5", " in -1..1 ", "in 1..1"]
        {
            assert!(is_condition(good), "{good}");
        }
        for bad in [
            "", "0.05", "< ", "=< 1", "!= 1", "< five", "in 5..1", "in 1..", "in ..5", "in 1...5", "< 1 2",
            "< nan",
        ] {
            assert!(!is_condition(bad), "{bad}");
        }
    }

    #[test]
    fn addresses_have_scheme_and_host() {
        for good in ["http://a", "http://prometheus:9090", "http://[::1]:80/x?y=z", "http://10.0.0.1/a"] {
            assert!(is_url(good), "{good}");
        }
        for bad in [
            "",
            "prometheus:9090",
            "https://prometheus:9090",
            "ftp://a",
            "http://",
            "http://a b",
            "http://a:99999",
            "http://a:0/x",
        ] {
            assert!(!is_url(bad), "{bad}");
        }
    }

    #[test]
    fn images_follow_the_grammar() {
        let pinned = format!("ghcr.io/o/app@sha256:{}", "a".repeat(64));
        for good in ["nginx", "nginx:1.27", "localhost:5000/team/app:v1", "a/b_c/d-e", &pinned] {
            assert!(is_image(good), "{good}");
        }
        for bad in ["", "Nginx", "nginx:", "a b", "app:${TAG}", "app@sha256:12", "/app", "app/"] {
            assert!(!is_image(bad), "{bad}");
        }
    }

    #[test]
    fn paths_do_not_climb() {
        assert!(is_absolute("/data/x"));
        for bad in ["data", "/data/../etc", "..", "/a\0b", ""] {
            assert!(!is_absolute(bad), "{bad}");
        }
    }
}
