//! Who a request is forwarded for: lists to which every proxy appends the side that it was asked by.
//!
//! Only the last entry is ours and known; what stands before it is what the client said. `X-Forwarded-For` is always
//! written. `Forwarded` (RFC 7239) is continued where a client or a proxy before us began it, and never begun: an
//! application that finds it may prefer it, and would lose what other headers tell it of the first proxy.
//! `X-Forwarded-Proto`, `-Host` and the like pass as they are, because we change neither.

use hyper::{
    HeaderMap,
    header::{FORWARDED, HeaderName, HeaderValue},
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Appends the client's address to the lists. Several lines of a list become one, in their order.
pub(crate) fn append(headers: &mut HeaderMap, client: &HeaderValue) {
    let list = joined(headers, &FORWARDED_FOR, b", ", client.as_bytes());
    headers.insert(FORWARDED_FOR, list.unwrap_or_else(|| client.clone()));
    if headers.contains_key(FORWARDED) {
        let ours = node(client.as_bytes());
        let whole = headers.get_all(FORWARDED).iter().all(|line| is_closed(line.as_bytes()));
        // Behind a quote that is never closed our entry would be read as part of theirs.
        if !whole {
            headers.remove(FORWARDED);
        }
        if let Some(list) = joined(headers, &FORWARDED, b", ", &ours) {
            headers.insert(FORWARDED, list);
        }
    }
}

/// `for=192.0.2.1`, or `for="[2001:db8::7]"`.
fn node(client: &[u8]) -> Vec<u8> {
    if client.contains(&b':') { [b"for=\"[", client, b"]\""].concat() } else { [b"for=", client].concat() }
}

/// All lines of a header in their order, those that are empty left out, then `last`.
pub(crate) fn joined(
    headers: &HeaderMap,
    name: &HeaderName,
    between: &[u8],
    last: &[u8],
) -> Option<HeaderValue> {
    let lines = headers.get_all(name).iter().map(|line| line.as_bytes().trim_ascii());
    let all: Vec<&[u8]> = lines.chain([last]).filter(|line| !line.is_empty()).collect();
    HeaderValue::from_bytes(&all.join(between)).ok()
}

/// Every quoted string ends.
fn is_closed(line: &[u8]) -> bool {
    let (mut quoted, mut bytes) = (false, line.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => drop(bytes.next()),
            _ => {}
        }
    }
    !quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[(&'static str, &'static str)], client: &'static str) -> Vec<(String, String)> {
        let mut headers: HeaderMap = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        append(&mut headers, &HeaderValue::from_static(client));
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        headers.iter().map(line).collect()
    }

    #[test]
    fn several_lines_become_one_list_with_the_client_last() {
        let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "198.51.100.7, 192.0.2.1")];
        let list = after(&lines, "192.0.2.2");

        let wanted = "203.0.113.9, 198.51.100.7, 192.0.2.1, 192.0.2.2";
        assert_eq!(list, [("x-forwarded-for".to_owned(), wanted.to_owned())]);
    }

    #[test]
    fn forwarded_is_continued_where_it_was_begun_and_an_open_quote_hides_nothing() {
        let forwarded = |lines: &[(&'static str, &'static str)], client| {
            after(lines, client).into_iter().find(|(name, _)| name == "forwarded").map(|(_, value)| value)
        };

        assert_eq!(forwarded(&[], "192.0.2.2"), None);
        let one = [("forwarded", "for=203.0.113.9;proto=https"), ("forwarded", "for=\"a\\\"b\"")];
        let wanted = "for=203.0.113.9;proto=https, for=\"a\\\"b\", for=\"[2001:db8::7]\"";
        assert_eq!(forwarded(&one, "2001:db8::7").as_deref(), Some(wanted));
        assert_eq!(forwarded(&[("forwarded", "for=\"x")], "192.0.2.2").as_deref(), Some("for=192.0.2.2"));
    }
}
