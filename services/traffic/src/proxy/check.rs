//! What a request must be before anything is known of where it goes. The same for both versions of HTTP, and never a
//! revision's fault: what is refused here was sent to nobody and is counted for nobody.

use std::net::Ipv6Addr;

use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    header::{self, HeaderName},
};
use model::Code;

use super::{
    Settings,
    answer::{self, AnswerBody},
};

/// What a field counts beside its name and its value (RFC 9113 section 6.5.2).
pub(crate) const FIELD: usize = 32;
/// Names and the overhead of `:method`, `:scheme` with `http`, `:authority` and `:path`.
const PSEUDO: usize = 7 + 7 + 4 + 10 + 5 + 4 * FIELD;

/// The answer to a request that is not passed on.
pub(crate) fn refuse<B>(request: &Request<B>, settings: &Settings) -> Option<Response<AnswerBody>> {
    let invalid = |why: &str| Some(answer::own(StatusCode::BAD_REQUEST, Code::Invalid, why));
    if *request.method() == Method::CONNECT {
        let why = "this is no tunnel: CONNECT is not supported";
        return Some(answer::own(StatusCode::NOT_IMPLEMENTED, Code::Invalid, why));
    }
    let size = size(request);
    if size > settings.max_head {
        let why = format!("the head of the request has {size} bytes, {} are allowed", settings.max_head);
        return Some(answer::own(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Code::Invalid, &why));
    }
    if let Err(why) = target(request).and_then(|()| host(request)) {
        return invalid(&why);
    }
    if hops_left(request.method(), request.headers()) == Some(0) {
        let why = format!("Max-Forwards is 0, and the data plane answers no {} itself", request.method());
        return Some(answer::own(StatusCode::NOT_IMPLEMENTED, Code::Invalid, &why));
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(length) = length.filter(|length| *length > settings.max_body) {
        let why = format!("the request has {length} bytes, {} are allowed", settings.max_body);
        return Some(answer::too_large(&why));
    }
    None
}

/// The size of a request's head as HTTP/2 measures it, whatever it came over.
fn size<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let path = uri.path_and_query().map_or(1, |path| path.as_str().len());
    let (host, authority) = match (request.headers().get(header::HOST), uri.authority()) {
        // What HTTP/1.1 calls Host is `:authority`, and counts once.
        (Some(host), None) => (header::HOST.as_str().len() + host.len() + FIELD, host.len()),
        (Some(host), Some(authority)) if request.version() != Version::HTTP_2 => {
            (header::HOST.as_str().len() + host.len() + FIELD, authority.as_str().len())
        }
        (_, authority) => (0, authority.map_or(0, |authority| authority.as_str().len())),
    };
    let fields = fields(request.headers());
    PSEUDO + request.method().as_str().len() + path + authority + fields - host
}

/// The size of the head of an answer, by the same measure.
pub(crate) fn answer_size<B>(answer: &Response<B>) -> usize {
    fields(answer.headers())
}

fn fields(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum()
}

/// A path, a whole URI, or `*` for OPTIONS (RFC 9112 section 3.2).
fn target<B>(request: &Request<B>) -> Result<(), String> {
    let uri = request.uri();
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(_)) => Ok(()),
        (Some(scheme), _) => Err(format!("the scheme of the request target is {scheme:?}, not http")),
        (None, Some(_)) => {
            let text = uri.to_string();
            Err(format!("the request target {text:?} is neither a path that begins with / nor a URI"))
        }
        (None, None) if uri.path() == "*" && *request.method() != Method::OPTIONS => {
            Err(format!("the request target * is for OPTIONS, not for {}", request.method()))
        }
        (None, None) => Ok(()),
    }
}

/// One valid host, and the same one wherever it stands (RFC 9112 section 3.2, RFC 9113 section 8.3.1).
fn host<B>(request: &Request<B>) -> Result<(), String> {
    let hosts: Vec<&[u8]> =
        request.headers().get_all(header::HOST).iter().map(|host| host.as_bytes()).collect();
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let version = request.version();
    let missing = match version {
        Version::HTTP_2 => hosts.is_empty() && authority.is_none(),
        // HTTP/1.0 may go without.
        Version::HTTP_10 => false,
        _ => hosts.is_empty(),
    };
    if missing || hosts.len() > 1 {
        return Err(format!("expected one Host header, found {}", hosts.len()));
    }
    if let Some(wrong) = hosts.iter().copied().chain(authority).find(|host| !is_host(host)) {
        let shown = String::from_utf8_lossy(wrong);
        return Err(format!("the host {shown:?} is neither a name nor an address with an optional port"));
    }
    match (hosts.first(), authority) {
        // Over HTTP/1.1 the target rules and Host is ignored.
        (Some(host), Some(authority))
            if version == Version::HTTP_2 && !host.eq_ignore_ascii_case(authority) =>
        {
            Err("Host and :authority name different hosts".to_owned())
        }
        _ => Ok(()),
    }
}

/// `uri-host [ ":" port ]` of RFC 9110 section 7.2, and not empty.
fn is_host(host: &[u8]) -> bool {
    let (name, rest) = match host {
        [b'[', inner @ ..] => {
            let Some(end) = inner.iter().position(|byte| *byte == b']') else { return false };
            let address = std::str::from_utf8(&inner[..end]).ok().map(str::parse::<Ipv6Addr>);
            (address.is_some_and(|address| address.is_ok()), &inner[end + 1..])
        }
        _ => {
            let end = host.iter().position(|byte| *byte == b':').unwrap_or(host.len());
            (is_name(&host[..end]), &host[end..])
        }
    };
    let port = match rest {
        [] | [b':'] => true,
        [b':', port @ ..] => {
            std::str::from_utf8(port).is_ok_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
                && std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok())
        }
        _ => false,
    };
    name && port
}

/// A `reg-name` of RFC 3986 that is not empty; IPv4 addresses are such names.
fn is_name(name: &[u8]) -> bool {
    let mut rest = name;
    loop {
        rest = match rest {
            [] => return !name.is_empty(),
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        };
    }
}

const MAX_FORWARDS: HeaderName = HeaderName::from_static("max-forwards");

/// How many more proxies may pass the request on; only these two methods are so bounded (RFC 9110 section 7.6.2).
pub(crate) fn hops_left(method: &Method, headers: &HeaderMap) -> Option<u64> {
    if !matches!(*method, Method::OPTIONS | Method::TRACE) {
        return None;
    }
    headers.get(MAX_FORWARDS)?.to_str().ok()?.trim().parse().ok()
}

/// Takes the hop that we are from a request that is passed on.
pub(crate) fn take_hop(method: &Method, headers: &mut HeaderMap) {
    if let Some(left) = hops_left(method, headers) {
        headers.insert(MAX_FORWARDS, left.saturating_sub(1).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_an_optional_port() {
        for good in
            ["a", "shop.example", "127.0.0.1:80", "[::1]", "[2001:db8::7]:8080", "a_b", "a:", "%41b", "a,b"]
        {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a b",
            "a/b",
            "user@a",
            "a:80:90",
            "a:x",
            "a:99999",
            "a:+1",
            "[::1",
            "[::g]",
            "::1",
            "a%4",
            "a%zz",
            "<a>",
            "a\"b",
            "caf\u{e9}",
            "a?b",
            "a#b",
            "a\\b",
            "a\tb",
            "[::1]x",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_head_has_the_same_size_over_both_versions() {
        let plain = Request::get("/a?b").header("host", "shop.example").header("x-one", "1");
        let plain = size(&plain.body(()).unwrap());
        let newer = Request::get("http://shop.example/a?b").version(Version::HTTP_2).header("x-one", "1");
        let newer = size(&newer.body(()).unwrap());

        // As nghttp2 and Envoy count it: four pseudo-headers and one field.
        let wanted = [(":method", "GET"), (":scheme", "http"), (":path", "/a?b"), ("x-one", "1")];
        let wanted: usize = wanted.iter().map(|(name, value)| name.len() + value.len() + FIELD).sum();
        assert_eq!((plain, newer), (wanted + 10 + 12 + FIELD, wanted + 10 + 12 + FIELD));
    }
}
