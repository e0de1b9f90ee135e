//! Tokens that must not be taken, by name. Each is a good token with one thing wrong.

use access::{BadToken, Issuer};
use model::Timestamp;
use serde_json::{Value, json};

use crate::forge::{Keys, changed, encode, hmac_with};

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://code.example";

fn now() -> Timestamp {
    Timestamp(NOW * 1000)
}

fn issuer(keys: &Keys) -> Issuer {
    let mut issuer = Issuer::new(ISSUER, AUDIENCE, ["JWT".to_owned()]);
    issuer.add_key(&keys.jwk("ed", "ed-1"), "EdDSA").unwrap();
    issuer.add_key(&keys.jwk("ec", "ec-1"), "ES256").unwrap();
    issuer.add_key(&keys.jwk("rsa", "rs-1"), "RS256").unwrap();
    issuer.add_key(&keys.jwk("rsa", "ps-1"), "PS256").unwrap();
    issuer
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "repo:acme/shop:ref:refs/heads/main", "iat": NOW - 10, "nbf": NOW - 10,
        "exp": NOW + 300, "repository": "acme/shop",
    })
}

const ED: &str = r#"{"alg":"EdDSA","typ":"JWT","kid":"ed-1"}"#;
const EC: &str = r#"{"alg":"ES256","typ":"JWT","kid":"ec-1"}"#;
const RS: &str = r#"{"alg":"RS256","typ":"JWT","kid":"rs-1"}"#;
const PS: &str = r#"{"alg":"PS256","typ":"JWT","kid":"ps-1"}"#;

#[test]
fn a_good_token_of_each_algorithm_is_taken() {
    let keys = Keys::new();
    let issuer = issuer(&keys);
    for (kind, header) in [("ed", ED), ("ec", EC), ("rsa", RS), ("pss", PS)] {
        let token = keys.sign(kind, header, &claims().to_string());
        let known = issuer.authenticate(&token, now()).unwrap();

        assert_eq!(
            (known.issuer.as_str(), known.subject.as_str()),
            (ISSUER, "repo:acme/shop:ref:refs/heads/main")
        );
        assert_eq!(known.claims["repository"], "acme/shop");
    }
    let one = keys.sign("ed", ED, &changed(claims(), json!({"aud": [AUDIENCE]})));
    assert!(issuer.authenticate(&one, now()).is_ok(), "a list of nobody but us");
    let with_thumbprint = RS.replace("\"typ\"", "\"x5t\":\"abc\",\"typ\"");
    assert!(issuer.authenticate(&keys.sign("rsa", &with_thumbprint, &claims().to_string()), now()).is_ok());
}

/// The attacks on what a token says about itself.
fn on_headers(keys: &Keys, other: &Keys) -> Vec<(String, String)> {
    let good = claims().to_string();
    let mut all: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, token: String| all.push((name.to_owned(), token));

    for none in ["none", "None", "NONE", "nOnE", ""] {
        let header = ED.replace("EdDSA", none);
        let message = format!("{}.{}", encode(&header), encode(&good));
        add(&format!("alg {none:?}, no signature"), format!("{message}."));
        add(&format!("alg {none:?}, signed"), keys.sign("ed", &header, &good));
    }
    let ed_public = encode(aws_lc_rs::signature::KeyPair::public_key(&keys.ed));
    for (name, secret) in [
        ("the public key's bytes", aws_lc_rs::signature::KeyPair::public_key(&keys.ed).as_ref().to_vec()),
        ("the public key's text", ed_public.into_bytes()),
        ("the RSA key as JWK", keys.jwk("rsa", "rs-1").into_bytes()),
        ("nothing", Vec::new()),
    ] {
        for header in [ED, RS] {
            let algorithm = if header == ED { "EdDSA" } else { "RS256" };
            add(
                &format!("HS256 with {name}"),
                hmac_with(&secret, &header.replace(algorithm, "HS256"), &good),
            );
        }
    }
    for (from, header) in [("ed", ED), ("ec", EC), ("rsa", RS), ("pss", PS)] {
        for (algorithm, kind) in
            [("EdDSA", "ed"), ("ES256", "ec"), ("RS256", "rsa"), ("PS256", "pss"), ("RS512", "rsa")]
        {
            if kind != from || algorithm == "RS512" {
                let start = header.find("\"typ\"").unwrap();
                let confused = format!("{{\"alg\":\"{algorithm}\",{}", &header[start..]);
                add(&format!("{algorithm} under the key for {from}"), keys.sign(kind, &confused, &good));
            }
        }
    }
    for (name, kid) in [
        ("a path", "../../../../dev/null"),
        ("SQL", "ed-1' UNION SELECT 'x"),
        ("an address", "https://evil.example/jwks.json"),
        ("a shell", "ed-1;id"),
        ("nothing", ""),
        ("another case", "ED-1"),
        ("a blank behind", "ed-1 "),
        ("a key that is not there", "ed-2"),
        ("a zero byte", "ed-1\\u0000"),
    ] {
        add(&format!("kid is {name}"), keys.sign("ed", &ED.replace("ed-1", kid), &good));
    }
    add("kid is a number", keys.sign("ed", &ED.replace("\"ed-1\"", "1"), &good));
    add("kid is a list", keys.sign("ed", &ED.replace("\"ed-1\"", "[\"ed-1\"]"), &good));
    add("no kid", keys.sign("ed", r#"{"alg":"EdDSA","typ":"JWT"}"#, &good));
    add("no alg", keys.sign("ed", r#"{"typ":"JWT","kid":"ed-1"}"#, &good));
    add("alg is a number", keys.sign("ed", &ED.replace("\"EdDSA\"", "0"), &good));
    let more = |field: &str| ED.replacen('{', &format!("{{{field},"), 1);
    for field in [
        r#""jku":"https://evil.example/jwks.json""#,
        r#""x5u":"https://evil.example/cert.pem""#,
        r#""x5c":["MIIB"]"#,
        r#""crit":["exp"]"#,
        r#""crit":["made-up"],"made-up":true"#,
        r#""b64":false,"crit":["b64"]"#,
        r#""cty":"JWT""#,
        r#""zip":"DEF""#,
        r#""enc":"A256GCM""#,
        r#""p2c":2147483647"#,
        r#""made-up":1"#,
    ] {
        add(&format!("header with {field}"), keys.sign("ed", &more(field), &good));
    }
    let own_key = format!("\"jwk\":{}", other.jwk("ed", "ed-1"));
    add("header with a key of its own", other.sign("ed", &more(&own_key), &good));
    add("alg twice", keys.sign("ed", &more("\"alg\":\"none\""), &good));
    add("kid twice", keys.sign("ed", &more("\"kid\":\"ec-1\""), &good));
    for kind in ["at+jwt", "jwt", "actor+jwt", "JOSE", ""] {
        add(&format!("typ {kind:?}"), keys.sign("ed", &ED.replace("\"JWT\"", &format!("\"{kind}\"")), &good));
    }
    add("no typ", keys.sign("ed", r#"{"alg":"EdDSA","kid":"ed-1"}"#, &good));
    add("header is a list", keys.sign("ed", "[]", &good));
    add("header is text behind text", keys.sign("ed", &format!("{ED}{ED}"), &good));
    all
}

/// The attacks on signatures and on the form.
fn on_forms(keys: &Keys, other: &Keys) -> Vec<(String, String)> {
    let good = claims().to_string();
    let token = keys.sign("ed", ED, &good);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let ec = keys.sign("ec", EC, &good);
    let (ec_message, ec_signature) = ec.rsplit_once('.').unwrap();
    let (head, rest) = token.split_once('.').unwrap();
    let flipped = format!("{message}.{}", encode([0xff; 64]));
    let padded = format!("{}=.{rest}", head);
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let shallow = format!("{}1{}", "[".repeat(20), "]".repeat(20));
    let named = [
        ("signed with a key of somebody else", other.sign("ed", ED, &good)),
        ("ES256 with a key of somebody else", other.sign("ec", EC, &good)),
        ("RS256 with a key of somebody else", other.sign("rsa", RS, &good)),
        ("no signature", format!("{message}.")),
        ("no third part", message.to_owned()),
        ("a short signature", format!("{message}.{}", &signature[..40])),
        ("a signature that is no base64", format!("{message}.!!!!")),
        ("a signature of ones", flipped),
        ("a signature of zeros", format!("{message}.{}", encode([0; 64]))),
        ("ES256 with r and s of zero", format!("{ec_message}.{}", encode([0; 64]))),
        ("ES256 in DER", format!("{ec_message}.{}", encode([0x30, 0x06, 2, 1, 1, 2, 1, 1]))),
        ("ES256 of EdDSA", format!("{message}.{ec_signature}")),
        (
            "other claims under the signature",
            format!("{head}.{}.{signature}", encode(changed(claims(), json!({"sub": "admin"})))),
        ),
        ("another header over the signature", format!("{}.{}", encode(EC), rest)),
        ("four parts", format!("{token}.x")),
        ("five parts, as if encrypted", format!("{token}.x.y")),
        ("two dots in the middle", token.replacen('.', "..", 1)),
        ("a blank before", format!(" {token}")),
        ("a line end behind", format!("{token}\n")),
        ("Bearer before", format!("Bearer {token}")),
        ("padding", padded),
        ("a blank within", token.replacen('.', ". ", 1)),
        ("the other base64", format!("{message}.+/{}", &signature[2..])),
        ("bits that say nothing in the last letter", {
            let last = signature.chars().last().unwrap();
            let next = if last == 'A' { 'B' } else { char::from(last as u8 ^ 1) };
            format!("{message}.{}{next}", &signature[..signature.len() - 1])
        }),
        ("more than 8 KiB", keys.sign("ed", ED, &changed(claims(), json!({"x": "x".repeat(8 * 1024)})))),
        ("nested 200 deep", keys.sign("ed", ED, &good.replacen('{', &format!("{{\"x\":{deep},"), 1))),
        ("nested 20 deep", keys.sign("ed", ED, &good.replacen('{', &format!("{{\"x\":{shallow},"), 1))),
        ("claims that are no UTF-8", {
            let message = format!("{}.{}", encode(ED), encode(b"{\"iss\":\"\xff\"}"));
            let signature = keys.ed.sign(message.as_bytes());
            format!("{message}.{}", encode(signature))
        }),
        ("claims that are a list", keys.sign("ed", ED, "[]")),
        ("claims that are null", keys.sign("ed", ED, "null")),
        ("claims behind claims", keys.sign("ed", ED, &format!("{good}{good}"))),
        ("a token in a token", keys.sign("ed", ED, &format!("\"{token}\""))),
        ("nothing", String::new()),
        ("null", "null".to_owned()),
        ("only dots", "..".to_owned()),
        ("a session cookie", "V2f7bX9".repeat(6)),
    ];
    named.into_iter().map(|(name, token)| (name.to_owned(), token)).collect()
}

/// The attacks on what is claimed, all with a good signature.
fn on_claims(keys: &Keys) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for changes in [
        json!({"exp": null}),
        json!({"exp": NOW}),
        json!({"exp": NOW - 1}),
        json!({"exp": 0}),
        json!({"exp": -1}),
        json!({"exp": (NOW + 300).to_string()}),
        json!({"exp": NOW as f64 + 300.5}),
        json!({"exp": 1e300}),
        json!({"exp": u64::MAX}),
        json!({"exp": i64::MAX}),
        json!({"exp": [NOW + 300]}),
        json!({"exp": true}),
        json!({"exp": NOW + 2 * 86_400}),
        json!({"exp": {"$gt": 0}}),
        json!({"iat": null}),
        json!({"iat": NOW + 31}),
        json!({"iat": "now"}),
        json!({"iat": NOW + 301, "exp": NOW + 300}),
        json!({"iat": NOW - 86_401}),
        json!({"nbf": NOW + 31}),
        json!({"nbf": "soon"}),
        json!({"nbf": 1.5}),
        json!({"iss": null}),
        json!({"iss": ""}),
        json!({"iss": "https://issuer.example/"}),
        json!({"iss": "https://issuer.example.evil"}),
        json!({"iss": "http://issuer.example"}),
        json!({"iss": "https://ISSUER.example"}),
        json!({"iss": [ISSUER]}),
        json!({"iss": [ISSUER, "https://evil.example"]}),
        json!({"iss": {"x": ISSUER}}),
        json!({"iss": " https://issuer.example"}),
        json!({"aud": null}),
        json!({"aud": ""}),
        json!({"aud": "https://code.example/"}),
        json!({"aud": "https://code.example.evil"}),
        json!({"aud": "https://code"}),
        json!({"aud": []}),
        json!({"aud": [AUDIENCE, "https://other.example"]}),
        json!({"aud": [[AUDIENCE]]}),
        json!({"aud": {"x": AUDIENCE}}),
        json!({"aud": true}),
        json!({"aud": "*"}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"sub": ["admin"]}),
        json!({"sub": {"x": "admin"}}),
    ] {
        all.push((changes.to_string(), keys.sign("ed", ED, &changed(claims(), changes))));
    }
    for twice in [
        "\"sub\":\"admin\",".to_owned(),
        format!("\"exp\":{},", NOW + 900),
        "\"iss\":\"https://evil.example\",".to_owned(),
        "\"s\\u0075b\":\"admin\",".to_owned(),
        "\"x\":{\"a\":1,\"a\":2},".to_owned(),
    ] {
        let text = claims().to_string().replacen('{', &format!("{{{twice}"), 1);
        all.push((format!("twice: {twice}"), keys.sign("ed", ED, &text)));
    }
    all
}

#[test]
fn no_token_with_one_thing_wrong_is_taken() {
    let (keys, other) = (Keys::new(), Keys::new());
    let issuer = issuer(&keys);
    let attacks = [on_headers(&keys, &other), on_forms(&keys, &other), on_claims(&keys)].concat();

    let taken: Vec<&String> = attacks
        .iter()
        .filter(|(_, token)| issuer.authenticate(token, now()).is_ok())
        .map(|(name, _)| name)
        .collect();

    assert!(attacks.len() > 120, "only {} attacks", attacks.len());
    assert!(taken.is_empty(), "taken: {taken:#?}");
}

#[test]
fn a_key_that_is_used_no_more_is_not_taken_nor_the_key_of_another_issuer() {
    let (keys, other) = (Keys::new(), Keys::new());
    let mut ours = issuer(&keys);
    let token = keys.sign("ed", ED, &claims().to_string());
    let theirs = issuer(&other);
    let of_theirs = other.sign("ed", ED, &claims().to_string());
    assert!(theirs.authenticate(&of_theirs, now()).is_ok());

    assert_eq!(ours.authenticate(&of_theirs, now()), Err(BadToken::Signature), "the same name of a key");
    ours.remove_key("ed-1");
    assert_eq!(ours.authenticate(&token, now()), Err(BadToken::Key));
}

#[test]
fn only_keys_for_signatures_that_fit_their_algorithm_are_taken() {
    let keys = Keys::new();
    let mut issuer = Issuer::new(ISSUER, AUDIENCE, []);

    for (jwk, algorithm) in [
        (keys.jwk("ed", "k"), "RS256"),
        (keys.jwk("rsa", "k"), "EdDSA"),
        (keys.jwk("rsa", "k"), "HS256"),
        (keys.jwk("rsa", "k"), "none"),
        (keys.jwk("ed", ""), "EdDSA"),
        (keys.jwk("ed", "k").replace("\"kid\":\"k\",", ""), "EdDSA"),
        (keys.jwk("ed", "k").replacen('{', "{\"use\":\"enc\",", 1), "EdDSA"),
        (r#"{"kty":"oct","kid":"k","k":"c2VjcmV0"}"#.to_owned(), "EdDSA"),
        ("{}".to_owned(), "EdDSA"),
    ] {
        assert!(issuer.add_key(&jwk, algorithm).is_err(), "{algorithm}: {jwk}");
    }
}

#[test]
fn clocks_may_differ_a_little_and_no_more() {
    let keys = Keys::new();
    let issuer = issuer(&keys);
    let at = |changes| issuer.authenticate(&keys.sign("ed", ED, &changed(claims(), changes)), now());

    assert!(at(json!({"iat": NOW + 30, "nbf": NOW + 30})).is_ok());
    assert_eq!(at(json!({"iat": NOW + 31})), Err(BadToken::Time("iat")));
    assert_eq!(at(json!({"nbf": NOW + 31})), Err(BadToken::Time("nbf")));
    assert!(at(json!({"exp": NOW + 1})).is_ok());
    assert_eq!(at(json!({"exp": NOW})), Err(BadToken::Time("exp")), "the end is not lengthened");
}
