//! Heads of requests and answers on their way through.

use hyper::{
    HeaderMap, Method, Uri, Version,
    header::{self, HeaderName, HeaderValue},
    http::request,
};

use super::{body::RequestBody, check, forwarded};
use crate::route::{cookie_text, mix};

/// The revision that answered.
pub const REVISION: HeaderName = HeaderName::from_static("x-code-revision");
/// On a request: the engine asks who answers at this port. Such a request is carried like any other, is not counted, and
/// its answer says [`ROUTE`] and, when an instance answered, [`INSTANCE`].
pub const DOOR: HeaderName = HeaderName::from_static("x-code-door");
/// The table that the request followed: its key and version, `dev--process--shop.web@12`.
pub const ROUTE: HeaderName = HeaderName::from_static("x-code-route");
/// The instance that answered.
pub const INSTANCE: HeaderName = HeaderName::from_static("x-code-instance");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that mean one connection only (RFC 9110 section 7.6.1, and those that are older than it).
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "te",
    "transfer-encoding",
    "upgrade",
];

fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(&name.as_str())
}

/// Removes what means one connection only, also what `Connection` names. Most heads have none of it.
pub(crate) fn strip(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    // Collecting nothing allocates nothing, and that is what `keep-alive` and `close` come to.
    let named: Vec<HeaderName> = tokens(headers, header::CONNECTION)
        .filter(|name| !name.eq_ignore_ascii_case(b"keep-alive") && !name.eq_ignore_ascii_case(b"close"))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        // Naming these would change what the message means rather than the connection.
        .filter(|name| *name != header::CONTENT_LENGTH && *name != header::HOST)
        .collect();
    for name in &named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The members of a header that is a list of tokens, over all of its lines. What is not ASCII is nobody's token and
/// hides none of its neighbours.
pub(crate) fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// Makes a client's head one that an instance can be sent, and gives the request's id.
pub(crate) fn prepare(head: &mut request::Parts, client: &HeaderValue, random: u64) -> HeaderValue {
    let trailers = tokens(&head.headers, header::TE).any(|token| token.eq_ignore_ascii_case(b"trailers"));
    strip(&mut head.headers);
    if trailers {
        // We pass trailers on, so the client's readiness for them is ours (RFC 9110 section 10.1.4).
        head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if head.version == Version::HTTP_10 {
        // What HTTP/1.0 expects is to be ignored (RFC 9110 section 10.1.1).
        head.headers.remove(header::EXPECT);
    }
    if head.headers.get_all(header::COOKIE).iter().nth(1).is_some()
        && let Some(cookies) = forwarded::joined(&head.headers, &header::COOKIE, b"; ", b"")
    {
        // HTTP/2 may send one cookie a line, HTTP/1.1 may not (RFC 9113 section 8.2.3).
        head.headers.insert(header::COOKIE, cookies);
    }
    check::take_hop(&head.method, &mut head.headers);
    if let Some(authority) = head.uri.authority() {
        if let Ok(host) = HeaderValue::try_from(authority.as_str()) {
            head.headers.insert(header::HOST, host);
        }
        let path = head.uri.path_and_query().cloned();
        head.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
    if head.version == Version::HTTP_10 && !head.headers.contains_key(header::HOST) {
        // HTTP/1.0 may go without, what we send may not.
        head.headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    }
    head.version = Version::HTTP_11;
    forwarded::append(&mut head.headers, client);
    match head.headers.get(REQUEST_ID) {
        Some(id) => id.clone(),
        None => {
            let id = request_id(random);
            head.headers.insert(REQUEST_ID, id.clone());
            id
        }
    }
}

/// Says how an instance is to find the end of the body, where hyper would take none for granted: it sends no body of
/// unknown length with GET and HEAD unless told to.
pub(crate) fn frame(head: &mut request::Parts, body: &RequestBody) {
    let has_length = head.headers.contains_key(header::CONTENT_LENGTH);
    match body {
        // Trailers come in chunks only.
        RequestBody::Streamed { .. } if !has_length || head.headers.contains_key(header::TRAILER) => {
            head.headers.remove(header::CONTENT_LENGTH);
            head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        // HTTP/2 need not say so, HTTP/1.1 should (RFC 9110 section 8.6), and some servers ask for it.
        RequestBody::Empty
            if !has_length && matches!(head.method, Method::POST | Method::PUT | Method::PATCH) =>
        {
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        RequestBody::Streamed { .. } | RequestBody::Empty => {}
    }
}

/// The client wants to be asked before it sends its body.
pub(crate) fn expects_continue(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .is_some_and(|expected| expected.as_bytes().trim_ascii().eq_ignore_ascii_case(b"100-continue"))
}

/// 32 hex digits.
fn request_id(random: u64) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let number = (u128::from(mix(random)) << 64) | u128::from(mix(!random));
    let mut text = [0; 32];
    for (at, place) in text.iter_mut().enumerate() {
        *place = DIGITS[(number >> (124 - 4 * at)) as usize & 15];
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("none"))
}

/// Marks an instance's head with what the client may want to know.
pub(crate) fn finish(
    headers: &mut HeaderMap,
    revision: &HeaderValue,
    id: HeaderValue,
    cookie: Option<(&str, u64)>,
) {
    headers.insert(REVISION, revision.clone());
    headers.insert(REQUEST_ID, id);
    if let Some((name, value)) = cookie {
        let line = format!("{name}={}; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax", cookie_text(value));
        if let Ok(line) = HeaderValue::try_from(line) {
            headers.append(header::SET_COOKIE, line);
        }
    }
}

/// Sending it twice does the same as sending it once (RFC 9110 section 9.2.2).
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn what_means_one_connection_is_removed_and_the_rest_stays() {
        let mut found = headers(&[
            ("connection", "close, x-mine, content-length"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("accept", "*/*"),
        ]);

        strip(&mut found);

        assert_eq!(found, headers(&[("content-length", "5"), ("accept", "*/*")]));
    }

    #[test]
    fn a_name_beside_one_that_is_not_ascii_is_removed_too() {
        let mut found = headers(&[("accept", "*/*"), ("x-mine", "1")]);
        found.insert(header::CONNECTION, HeaderValue::from_bytes(b"caf\xe9, x-mine").unwrap());

        strip(&mut found);

        assert_eq!(found, headers(&[("accept", "*/*")]));
    }

    #[test]
    fn the_client_is_appended_to_who_it_forwards_for_and_a_given_id_is_kept() {
        let request = hyper::Request::builder()
            .uri("http://shop.example/a?b=c")
            .header("x-forwarded-for", "192.0.2.1")
            .header("x-request-id", "mine");
        let (mut head, ()) = request.body(()).unwrap().into_parts();

        let id = prepare(&mut head, &HeaderValue::from_static("192.0.2.2"), 7);

        assert_eq!(id, "mine");
        assert_eq!(head.headers["x-forwarded-for"], "192.0.2.1, 192.0.2.2");
        assert_eq!(
            (head.uri.to_string().as_str(), &head.headers["host"]),
            ("/a?b=c", &HeaderValue::from_static("shop.example"))
        );
    }

    #[test]
    fn ids_of_requests_are_32_digits_and_differ() {
        assert_eq!(request_id(1).len(), 32);
        assert_ne!(request_id(1), request_id(2));
    }
}
