//! What arrives is what was sent, over HTTP/1.1 and HTTP/2 alike.

use hyper::StatusCode;
use model::{
    plan::Revision,
    route::{RouteTable, Weights},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use traffic::proxy::Settings;

use crate::{mirror::*, support::*};

/// One request, and what an instance must and must not see of it.
struct Case {
    name: &'static str,
    send: Sent,
    arrives: &'static [&'static str],
    absent: &'static [&'static str],
}

fn cases() -> Vec<Case> {
    let get = Sent::get("/a?b=c%20d");
    let post = Sent { method: "POST", ..Sent::get("/orders") };
    vec![
        Case {
            name: "method, target, host and fields",
            send: Sent { fields: &[("x-one", "1"), ("x-one", "2")], ..get },
            arrives: &["GET /a?b=c%20d", "host: shop.test", "x-one: 1", "x-one: 2"],
            absent: &["transfer-encoding", "content-length"],
        },
        Case {
            name: "a body with a length",
            send: Sent { body: Sending::Whole("hello"), ..post },
            arrives: &["POST /orders", "content-length: 5", "> hello"],
            absent: &["transfer-encoding"],
        },
        Case {
            name: "a body without a length",
            send: Sent { body: Sending::Stream("hello"), ..post },
            arrives: &["transfer-encoding: chunked", "> hello"],
            absent: &["content-length"],
        },
        Case {
            name: "GET with a body without a length",
            send: Sent { body: Sending::Stream("{\"query\":\"x\"}"), ..get },
            arrives: &["GET /a?b=c%20d", "transfer-encoding: chunked", "> {\"query\":\"x\"}"],
            absent: &[],
        },
        Case {
            name: "GET with a body with a length",
            send: Sent { body: Sending::Whole("q"), ..get },
            arrives: &["content-length: 1", "> q"],
            absent: &[],
        },
        Case {
            name: "DELETE with a body",
            send: Sent { method: "DELETE", body: Sending::Stream("why"), ..get },
            arrives: &["DELETE /a?b=c%20d", "> why"],
            absent: &[],
        },
        Case {
            name: "POST without a body says so",
            send: post,
            arrives: &["content-length: 0", "> "],
            absent: &["transfer-encoding"],
        },
        Case {
            name: "trailers of a request",
            send: Sent {
                fields: &[("trailer", "x-sum")],
                body: Sending::Trailed("hello", ("x-sum", "abc")),
                ..post
            },
            arrives: &["trailer: x-sum", "> hello", "trailing x-sum: abc"],
            absent: &["content-length"],
        },
        Case {
            name: "readiness for trailers",
            send: Sent { fields: &[("te", "trailers")], ..get },
            arrives: &["te: trailers", "connection: te"],
            absent: &[],
        },
        Case {
            name: "lines of X-Forwarded-For",
            send: Sent {
                fields: &[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "198.51.100.7")],
                ..get
            },
            arrives: &["x-forwarded-for: 203.0.113.9, 198.51.100.7, 127.0.0.1"],
            absent: &["x-forwarded-for: 203.0.113.9\n", "forwarded: "],
        },
        Case {
            name: "lines of Forwarded, and what is neither begun nor changed",
            send: Sent {
                fields: &[
                    ("forwarded", "for=203.0.113.9;proto=https"),
                    ("forwarded", "for=\"[2001:db8::7]\""),
                    ("x-forwarded-proto", "https"),
                    ("x-forwarded-host", "www.shop.test"),
                ],
                ..get
            },
            arrives: &[
                "forwarded: for=203.0.113.9;proto=https, for=\"[2001:db8::7]\", for=127.0.0.1",
                "x-forwarded-for: 127.0.0.1",
                "x-forwarded-proto: https",
                "x-forwarded-host: www.shop.test",
            ],
            absent: &[],
        },
        Case {
            name: "cookies in several lines",
            send: Sent { fields: &[("cookie", "a=1"), ("cookie", "b=2; c=3")], ..get },
            arrives: &["cookie: a=1; b=2; c=3"],
            absent: &[],
        },
        Case {
            name: "Max-Forwards counts down for OPTIONS",
            send: Sent { method: "OPTIONS", fields: &[("max-forwards", "3")], ..get },
            arrives: &["OPTIONS /a?b=c%20d", "max-forwards: 2"],
            absent: &[],
        },
        Case {
            name: "Max-Forwards means nothing for GET",
            send: Sent { fields: &[("max-forwards", "0")], ..get },
            arrives: &["max-forwards: 0"],
            absent: &[],
        },
        Case {
            name: "an expectation that only the instance knows",
            send: Sent { fields: &[("expect", "the-best")], ..get },
            arrives: &["expect: the-best"],
            absent: &[],
        },
        Case {
            name: "a path that is encoded stays as it is",
            send: Sent::get("/a%2Fb/../c//d?x=%zz&y=%C3%A9"),
            arrives: &["GET /a%2Fb/../c//d?x=%zz&y=%C3%A9"],
            absent: &[],
        },
    ]
}

/// What only HTTP/1.1 has: fields that mean one connection, offers of other protocols, and other forms of the target.
fn older_cases() -> Vec<Case> {
    let post = Sent { method: "POST", ..Sent::get("/orders") };
    vec![
        Case {
            name: "what means one connection",
            send: Sent {
                fields: &[
                    ("connection", "x-mine, keep-alive, caf\u{e9}, x-ours"),
                    ("keep-alive", "timeout=5"),
                    ("proxy-connection", "keep-alive"),
                    ("te", "gzip"),
                    ("x-mine", "1"),
                    ("x-ours", "1"),
                    ("x-stays", "1"),
                ],
                ..Sent::get("/")
            },
            arrives: &["x-stays: 1"],
            absent: &["x-mine", "x-ours", "keep-alive", "proxy-connection", "te: ", "connection"],
        },
        Case {
            name: "an offer of HTTP/2 with a body",
            send: Sent {
                fields: &[
                    ("connection", "Upgrade, HTTP2-Settings"),
                    ("upgrade", "h2c"),
                    ("http2-settings", "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"),
                ],
                body: Sending::Whole("hello world"),
                ..post
            },
            arrives: &["POST /orders", "content-length: 11", "> hello world"],
            absent: &["upgrade", "http2-settings", "connection"],
        },
        Case {
            name: "an offer of HTTP/2 that Connection does not name",
            send: Sent {
                fields: &[("upgrade", "h2c"), ("http2-settings", "AAMAAABk")],
                body: Sending::Stream("hello"),
                ..post
            },
            arrives: &["transfer-encoding: chunked", "> hello"],
            absent: &["upgrade", "http2-settings"],
        },
        Case {
            name: "an upgrade that the instance ignores, with a body in chunks",
            send: Sent {
                fields: &[("connection", "upgrade"), ("upgrade", "h2c, websocket, HTTP/3.0")],
                body: Sending::Stream("hello"),
                ..post
            },
            arrives: &["upgrade: websocket", "connection: upgrade", "> hello"],
            absent: &["h2c"],
        },
        Case {
            name: "an upgrade that the instance ignores, with a body with a length",
            send: Sent {
                fields: &[("connection", "upgrade"), ("upgrade", "shout/1")],
                body: Sending::Whole("hello"),
                ..post
            },
            arrives: &["upgrade: shout/1", "content-length: 5", "> hello"],
            absent: &[],
        },
        Case {
            name: "a whole URI, whose host rules",
            send: Sent::get("http://other.test:81/x?y"),
            arrives: &["GET /x?y", "host: other.test:81"],
            absent: &["shop.test"],
        },
        Case {
            name: "OPTIONS of the server",
            send: Sent { method: "OPTIONS", ..Sent::get("*") },
            arrives: &["OPTIONS *"],
            absent: &[],
        },
    ]
}

fn check(case: &Case, version: &str, answer: &Answer) {
    let Answer { status, text, .. } = answer;
    assert_eq!(*status, 200, "{} over {version}: {text}", case.name);
    for line in case.arrives {
        assert!(
            text.lines().any(|found| found == *line),
            "{} over {version}: no {line:?} in\n{text}",
            case.name
        );
    }
    for part in case.absent {
        assert!(!text.contains(part), "{} over {version}: {part:?} is in\n{text}", case.name);
    }
}

#[tokio::test]
async fn what_a_client_sends_arrives_the_same_over_both_versions() {
    let mirror = Mirror::start().await;
    let (plane, caller) = plane_with(routed_to(&mirror)).await;

    for case in cases() {
        check(&case, "HTTP/1.1", &over_1(caller.address, &case.send).await);
        check(&case, "HTTP/2", &over_2(caller.address, &case.send).await);
    }
    for case in older_cases() {
        check(&case, "HTTP/1.1", &over_1(caller.address, &case.send).await);
    }

    assert_eq!(count_of(&plane, "r1").errors, 0);
}

#[tokio::test]
async fn a_connection_on_which_an_upgrade_was_ignored_goes_on() {
    let mirror = Mirror::start().await;
    let (_plane, caller) = plane_with(routed_to(&mirror)).await;
    let mut stream = TcpStream::connect(caller.address).await.unwrap();
    let offer = Sent {
        method: "POST",
        fields: &[("connection", "upgrade"), ("upgrade", "websocket")],
        body: Sending::Whole("first"),
        ..Sent::get("/")
    };

    let first = ask(&mut stream, &offer).await;
    let second = ask(&mut stream, &Sent { fields: &[], body: Sending::Stream("second"), ..offer }).await;

    assert!(first.text.contains("> first") && second.text.contains("> second"), "{first:?} {second:?}");
}

#[tokio::test]
async fn one_limit_in_bytes_holds_for_heads_over_both_versions_and_is_nobodys_fault() {
    let mirror = Mirror::start().await;
    let settings = Settings { max_head: 16_384, ..Settings::default() };
    let (plane, caller) = plane_of(settings, routed_to(&mirror)).await;
    // The measure of RFC 9113 section 6.5.2: name, value and 32 of each field, `:method` and the like among them.
    let fixed: usize = [(":method", "GET"), (":scheme", "http"), (":authority", "shop.test"), (":path", "/")]
        .iter()
        .map(|(name, value)| name.len() + value.len() + 32)
        .sum();
    let many: Vec<(String, String)> = (0..300).map(|at| (format!("x-{at:03}"), "v".repeat(7))).collect();
    let rest = 16_384 - fixed - many.len() * (5 + 7 + 32);
    let one = vec![("x-fill".to_owned(), "v".repeat(rest - 6 - 32))];
    let fits: Vec<(String, String)> = many.iter().cloned().chain(one).collect();
    let mut larger = fits.clone();
    larger[300].1.push('v');

    for (fields, status) in [(&fits, 200), (&larger, 431)] {
        let older = over_1_with(caller.address, fields).await;
        let newer = over_2_with(caller.address, fields).await;
        assert_eq!((older.status, newer.status), (status, status), "{} {}", older.text, newer.text);
        assert_eq!(older.text.contains("16385 bytes, 16384 are allowed"), status == 431, "{}", older.text);
        assert_eq!(older.text == newer.text, status == 431, "{} {}", older.text, newer.text);
    }

    let count = count_of(&plane, "r1");
    assert_eq!((count.requests, count.errors), (2, 0));
}

#[tokio::test]
async fn answers_with_many_fields_pass_and_larger_ones_than_allowed_are_told_apart() {
    let mirror = Mirror::start().await;
    let (plane, caller) = plane_with(routed_to(&mirror)).await;

    for (path, status) in [("/fields/101", 200), ("/fields/1000", 200), ("/fields/3000", 502)] {
        for answer in
            [over_1(caller.address, &Sent::get(path)).await, over_2(caller.address, &Sent::get(path)).await]
        {
            assert_eq!(answer.status, status, "{path}: {}", answer.text);
            assert_eq!(
                answer.text.contains("65536 bytes are allowed"),
                status == 502,
                "{path}: {}",
                answer.text
            );
        }
    }

    assert_eq!(
        count_of(&plane, "r1").errors,
        2,
        "an answer that cannot be passed on is an error of the service"
    );
}

#[tokio::test]
async fn trailers_of_an_answer_reach_a_client_that_takes_them() {
    let mirror = Mirror::start().await;
    let (_plane, caller) = plane_with(routed_to(&mirror)).await;
    let takes = Sent { fields: &[("te", "trailers")], ..Sent::get("/trailers") };

    let older = over_1(caller.address, &takes).await;
    let newer = over_2(caller.address, &takes).await;
    let plain = over_1(caller.address, &Sent::get("/trailers")).await;

    for answer in [&older, &newer] {
        assert_eq!((answer.text.as_str(), answer.trailers.as_str()), ("body", "x-sum: abc"), "{answer:?}");
    }
    assert_eq!((plain.text.as_str(), plain.trailers.as_str()), ("body", ""), "who takes none gets none");
}

#[tokio::test]
async fn targets_and_hosts_that_mean_nothing_are_refused_and_nobody_is_asked() {
    let mirror = Mirror::start().await;
    let (plane, caller) = plane_with(routed_to(&mirror)).await;
    let head = |line: &str, host: &str| format!("{line}\r\n{host}connection: close\r\n\r\n");
    let targets = ["GET x HTTP/1.1", "GET shop.test:80 HTTP/1.1", "GET * HTTP/1.1", "GET ftp://a/ HTTP/1.1"];
    let hosts = [
        "",
        "host: a\r\nhost: a\r\n",
        "host: \r\n",
        "host: a b\r\n",
        "host: a/b\r\n",
        "host: user@a\r\n",
        "host: a:b\r\n",
        "host: a:99999\r\n",
        "host: [::1\r\n",
        "host: <a>\r\n",
        "host: caf\u{e9}\r\n",
        "host: a%4\r\n",
    ];
    let heads = targets.iter().map(|line| head(line, "host: a\r\n"));
    let heads = heads.chain(hosts.iter().map(|host| head("GET / HTTP/1.1", host)));
    let heads = heads
        .chain([head("GET http://user@a/ HTTP/1.1", "host: a\r\n"), head("GET / HTTP/1.0", "host: a b\r\n")]);

    for head in heads {
        let mut stream = TcpStream::connect(caller.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.0 400"), "{head} {answer}");
    }
    let other = over_2(caller.address, &Sent { fields: &[("host", "other.test")], ..Sent::get("/") }).await;
    let last = Sent { method: "TRACE", fields: &[("max-forwards", "0")], ..Sent::get("/") };
    let last = over_2(caller.address, &last).await;

    assert_eq!((other.status, last.status), (400, 501), "{} {}", other.text, last.text);
    assert_eq!((mirror.requests(), count_of(&plane, "r1").requests), (0, 0));
}

#[tokio::test]
async fn a_request_without_a_host_is_fine_over_http_1_0() {
    let mirror = Mirror::start().await;
    let (_plane, caller) = plane_with(routed_to(&mirror)).await;
    let mut stream = TcpStream::connect(caller.address).await.unwrap();

    stream.write_all(b"GET /x HTTP/1.0\r\nexpect: 100-continue\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();

    assert!(answer.contains("GET /x") && answer.contains("host: localhost"), "{answer}");
    assert!(!answer.contains("expect"), "{answer}");
}

#[tokio::test]
async fn answers_that_have_no_body_have_none_and_keep_their_length() {
    let mirror = Mirror::start().await;
    let (_plane, caller) = plane_with(routed_to(&mirror)).await;

    for (method, path, status, length) in [
        ("HEAD", "/length/1234", 200, Some("1234")),
        ("HEAD", "/unknown", 200, None),
        ("GET", "/empty/204", 204, None),
        ("GET", "/empty/304", 304, None),
        ("GET", "/empty/200", 200, Some("0")),
    ] {
        let sent = Sent { method, ..Sent::get(path) };
        for answer in [over_1(caller.address, &sent).await, over_2(caller.address, &sent).await] {
            assert_eq!((answer.status, answer.text.as_str()), (status, ""), "{method} {path}");
            assert_eq!(answer.header("content-length"), length, "{method} {path}");
            assert_eq!(answer.header("x-code-revision"), Some("r1"));
        }
    }
}

#[tokio::test]
async fn an_instance_that_refuses_at_once_spares_the_client_the_sending() {
    let (address, _running) = script(&[(
        "\r\n\r\n",
        "HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno",
    )])
    .await;
    let (_plane, caller) = plane_with(with_endpoint(table(&[("r1", 100, &[])]), "r1", "i", address)).await;
    let mut stream = TcpStream::connect(caller.address).await.unwrap();

    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();

    assert!(answer.starts_with("HTTP/1.1 417"), "it was asked for the body: {answer}");
}

#[tokio::test]
async fn a_body_is_asked_for_when_the_instance_asks_for_it() {
    let (address, _running) = script(&[
        (
            "expect: 100-continue",
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
        ),
        ("hello", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone"),
    ])
    .await;
    let (_plane, caller) = plane_with(with_endpoint(table(&[("r1", 100, &[])]), "r1", "i", address)).await;
    let mut stream = TcpStream::connect(caller.address).await.unwrap();

    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();

    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
}

#[tokio::test]
async fn a_protocol_that_nobody_asked_for_is_no_answer() {
    const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: shout\r\n\r\n";
    let (address, _running) = script(&[("\r\n\r\n", SWITCH)]).await;
    let (_plane, caller) = plane_with(with_endpoint(table(&[("r1", 100, &[])]), "r1", "i", address)).await;

    let answer = over_1(caller.address, &Sent::get("/")).await;

    assert_eq!(answer.status, StatusCode::BAD_GATEWAY.as_u16());
    assert!(answer.text.contains("without being asked"), "{}", answer.text);
}

#[tokio::test]
async fn a_client_stays_on_its_revision_beside_cookies_of_any_kind() {
    let (a, b) = (Mirror::start().await, Mirror::start().await);
    let (one, two): (Revision, Revision) = (revision("r1"), revision("r2"));
    let routes = RouteTable {
        weights: Weights::split(one.clone(), 50, two.clone()),
        sticky_cookie: Some("lane".to_owned()),
        ..routed_to(&a)
    };
    let (_plane, caller) = plane_with(with_endpoint(routes, "r2", "b", b.address)).await;

    for cookie in [
        &[("cookie", "name=Jos\u{e9}; lane=0123456789abcdef")][..],
        &[("cookie", "name=Jos\u{e9}"), ("cookie", "lane=0123456789abcdef")],
        &[("cookie", "lane=\"0123456789abcdef\";x=\u{1f36a}")],
        &[("cookie", "nonsense; =; lane = 0123456789abcdef ;")],
    ] {
        let sent = Sent { fields: cookie, ..Sent::get("/") };
        for _ in 0..8 {
            for answer in [over_1(caller.address, &sent).await, over_2(caller.address, &sent).await] {
                assert_eq!(answer.header("set-cookie"), None, "{cookie:?} was dealt anew");
                assert_eq!(answer.header("x-code-revision"), Some("r2"), "{cookie:?}");
            }
        }
    }
}
