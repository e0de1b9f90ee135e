//! Passwords in addresses: `scheme://user:password@host`.

use crate::{blocks::floor, value};

const WHAT: &str = "password in an address";
/// Longest part before the host that is looked at, in bytes.
const LONGEST: usize = 1024;

/// Every password that stands before a host. The password may hold `@`, `/`, `?` and `#`, which should be escaped and
/// often are not: what is a port and a path (`host:8080/path@v2`) is told from it by the digits.
pub(crate) fn find(text: &str) -> Vec<(usize, usize, &'static str)> {
    let mut found = Vec::new();
    for (mark, _) in text.match_indices("://") {
        let scheme = text[..mark].bytes().next_back().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let start = mark + 3;
        let rest = &text[start..floor(text, start + LONGEST)];
        let rest = &rest[..rest.find(ends).unwrap_or(rest.len())];
        // An address ends where the scheme of the next one begins: what stands there is not this one's host.
        let rest = &rest[..rest.find("://").unwrap_or(rest.len())];
        if let Some((from, to)) = password(rest).filter(|_| scheme)
            && !value::is_reference(&rest[from..to])
            && !value::is_placeholder(&rest[from..to])
        {
            found.push((start + from, start + to, WHAT));
        }
    }
    found
}

fn ends(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '"' | '\'' | '`' | '<' | '>' | '\\' | '|')
}

/// Where the password lies in what follows `://`.
fn password(rest: &str) -> Option<(usize, usize)> {
    let proper = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some(colon) = rest.find(':').filter(|colon| *colon < proper) else {
        // A token alone before the host.
        let at = rest[..proper].rfind('@')?;
        return (at >= 20 && value::is_random(&rest[..at])).then_some((0, at));
    };
    // `[::1]:80/@x` and `user@host:80/x@v2` have their host before the colon.
    if rest[..colon].contains(['@', '[', '/', '?', '#']) {
        return None;
    }
    if let Some(at) = rest[..proper].rfind('@') {
        return (at > colon + 1).then_some((colon + 1, at));
    }
    // No `@` before the path, so either a port or a password with a slash in it.
    let port = &rest[colon + 1..proper];
    if port.bytes().all(|byte| byte.is_ascii_digit()) || port.starts_with(['{', '$', '%']) {
        return None;
    }
    let at = rest
        .rfind('@')
        .filter(|at| rest[at + 1..].starts_with(|host: char| host.is_alphanumeric() || host == '['))?;
    Some((colon + 1, at))
}
