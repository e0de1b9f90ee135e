//! Heads of requests and answers on their way through, and answers of our own.

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri, Version,
    header::{self, HeaderName, HeaderValue},
    http::request,
};
use model::Code;

use super::body::AnswerBody;
use crate::route::{cookie_text, mix};

/// The revision that answered.
pub const REVISION: HeaderName = HeaderName::from_static("x-code-revision");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

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
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.eq_ignore_ascii_case("keep-alive") && !name.eq_ignore_ascii_case("close"))
        .filter_map(|name| name.parse().ok())
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

/// Makes a client's head one that an instance can be sent, and gives the request's id.
pub(crate) fn prepare(head: &mut request::Parts, client: &HeaderValue, random: u64) -> HeaderValue {
    strip(&mut head.headers);
    // The server answers 100-continue itself when the body is asked for.
    if head.headers.contains_key(header::EXPECT) {
        head.headers.remove(header::EXPECT);
    }
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
    let forwarded = match head.headers.get(FORWARDED_FOR) {
        None => client.clone(),
        Some(before) => {
            let joined = [before.as_bytes(), b", ", client.as_bytes()].concat();
            HeaderValue::from_bytes(&joined).unwrap_or_else(|_| client.clone())
        }
    };
    head.headers.insert(FORWARDED_FOR, forwarded);
    match head.headers.get(REQUEST_ID) {
        Some(id) => id.clone(),
        None => {
            let id = request_id(random);
            head.headers.insert(REQUEST_ID, id.clone());
            id
        }
    }
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

/// Asks to speak another protocol on this connection.
pub(crate) fn wants_upgrade(head: &request::Parts) -> bool {
    head.version == Version::HTTP_11
        && head.headers.contains_key(header::UPGRADE)
        && head.headers.get_all(header::CONNECTION).iter().any(|value| {
            value
                .to_str()
                .is_ok_and(|value| value.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade")))
        })
}

/// What is wrong with a request before anything is known of where it goes.
pub(crate) fn refuse<B>(request: &Request<B>, max_body: u64) -> Option<Response<AnswerBody>> {
    if *request.method() == Method::CONNECT {
        let why = "this is no tunnel: CONNECT is not supported";
        return Some(own(StatusCode::NOT_IMPLEMENTED, Code::Invalid, why));
    }
    let headers = request.headers();
    let hosts = headers.get_all(header::HOST).iter().count();
    if request.version() == Version::HTTP_11 && hosts != 1 {
        return Some(own(
            StatusCode::BAD_REQUEST,
            Code::Invalid,
            &format!("expected one Host header, found {hosts}"),
        ));
    }
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(length) = length.filter(|length| *length > max_body) {
        return Some(too_large(&format!("the request has {length} bytes, {max_body} are allowed")));
    }
    None
}

pub(crate) fn too_large(why: &str) -> Response<AnswerBody> {
    own(StatusCode::PAYLOAD_TOO_LARGE, Code::Invalid, why)
}

/// An answer of our own: JSON with the code and the reason.
pub(crate) fn own(status: StatusCode, code: Code, reason: &str) -> Response<AnswerBody> {
    let text = serde_json::json!({ "code": code, "reason": reason }).to_string();
    let mut answer = Response::new(AnswerBody::own(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
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
    fn the_client_is_appended_to_who_it_forwards_for_and_a_given_id_is_kept() {
        let request = Request::builder()
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
