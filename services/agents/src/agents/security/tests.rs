use scrub::suspicious;

use super::*;

fn spec(target: &str, module: &str) -> DeploymentSpec {
    let text =
        format!(r#"{{"apiVersion":"code/v1","name":"shop","target":"{target}","modules":[{module}]}}"#);
    serde_json::from_str(&text).unwrap()
}

/// Texts of known shapes are written in two parts, so that no scanner takes this file for a leak.
const SECRETS: &[(&str, &[&str])] = &[
    ("AWS_KEY", &["AK", "IAUJZDE8GXD6NCF10E"]),
    ("KEY", &["AS", "IAPF91DHODZDOC9IS0"]),
    ("GH", &["gh", "p_jIhKtJ0RlgLKOmxgJTeKdNnFRIBXuDL7Dxtp"]),
    ("X", &["github_", "pat_YlSXpfKtHF4vUCsMehGAkWvj7FAc9QeWJKY40uvSwMFLZDe1f8rESQedUStP"]),
    ("X", &["glp", "at-KR0CsTy4Qwb8DwkNhFdn"]),
    ("SLACK", &["xo", "xb-123456789012-XsiVpzz63FfkCzJr4i0B3JrT"]),
    ("HOOK", &["https://hooks.sla", "ck.com/services/T0AB12CD3/B0AB12CD3/AwR4y9ojfljoQoaF1LlqsajA"]),
    ("MAPS", &["AI", "zaIxNKu8iS2G8NPRVdD53X83RZJzzzzgEOzdm"]),
    ("PAY", &["sk_", "live_enCkhvMdgaKjIg8xNbe3nNyj"]),
    ("LLM", &["sk-", "ant-Oq9wMxEhh2FDEEtfjgVvVqE1SkHbn88HxjSI6bWH"]),
    ("LLM", &["sk-", "proj-tP3fS2qHx6kwXoIIXGvOoNZYW2mZp0zVZomHFwUb"]),
    ("NPM", &["np", "m_bYrEqmSM9wCZ7Uw9xfogoEmvnEN5N1aE6PwZ"]),
    ("PYPI", &["py", "pi-Pf1Qh6yYTWmE4lBYOvfZ8UzDzV8fUkkibjL5DZPjN0MEQ7wjJJibaZUPgHV7"]),
    ("MAIL", &["S", "G.iB3m03nbqnsGpWLuqIA1id.6Vw5DQL05HA064GiIjHGb3CXlMaXZjljENUhJduRHHJ"]),
    ("VAULT", &["hv", "s.EYXg4JdpmrcXgGCJbW56eCuNGMGmSr"]),
    ("PEM", &["-----BEGIN RSA PRIV", "ATE KEY-----"]),
    ("PEM", &["-----BEGIN PRIV", "ATE KEY-----"]),
    (
        "JWT",
        &[
            "ey",
            "JCGIZEG8pSH4487q7J58m.ey",
            "J1CiAhzCueQpBenQtYh5Xj8TPQxjq4i.9DoV8gz4FkQ1okTBGzvAmwufUxbvJDCTbyvHNsG9eh6",
        ],
    ),
    ("DATABASE_URL", &["postgres://app:", "hunter22@db:5432/shop"]),
    ("AMQP", &["amqp://guest:", "s3cr3tpw@mq/"]),
    ("REDIS_URL", &["redis://:", "Zx81kkq9@cache:6379"]),
    ("DB_PASSWORD", &["hun", "ter2hunter2"]),
    ("password", &["correct", "horse"]),
    ("API_KEY", &["a1b2c3", "d4e5f6"]),
    ("apiKey", &["qwer", "ty-12345"]),
    ("client-secret", &["abc", "def123"]),
    ("ACCESS_TOKEN", &["tok-", "778899aa"]),
    ("db.passwd", &["letme", "in99"]),
    ("SIGNING", &["Yo4gfqrc5XlrWi0B26R08qzjI6GKFSuf"]),
    ("SESSION", &["rdZSlB5er8bOfZqfM2oeq3hDavJA76rNicHTp8hkqdlm"]),
    ("COOKIE_KEY", &["7tOtHWnsCGRlrwZbqcabUGJmGEp7CgQ0PBQFI14zGtSnovm14TUOizwd1iaeOV4q"]),
    ("ENC", &["d512c9791e558e08baa7196b50ac2f86"]),
    ("ENC", &["702824c1c099724caf4941d4072014b3ce107f80e222f828767efc2f91624a89"]),
    ("SALT", &["40f1f836f99eee3692f09e2e8c662248b483b7ffc050fec9"]),
    ("PASSPHRASE", &["blue", "-moon-77"]),
    ("private_key", &["MII", "Eabc"]),
];

const HARMLESS: &[(&str, &str)] = &[
    ("LOG_LEVEL", "info"),
    ("PORT", "8080"),
    ("DB_HOST", "db.internal.example"),
    ("DATABASE_URL", "postgres://db:5432/shop"),
    ("DATABASE_URL", "postgres://app:${DB_PASSWORD}@db/shop"),
    ("PASSWORD", "${DB_PASSWORD}"),
    ("PASSWORD", "{{ vault.db }}"),
    ("PASSWORD_FILE", "/run/secrets/db"),
    ("TOKEN_URL", "https://auth.example/token"),
    ("TOKEN_TTL", "3600s"),
    ("SECRET_NAME", "shop-db-credentials"),
    ("API_KEY", "changeme"),
    ("API_KEY", "<your key>"),
    ("API_KEY", "********"),
    ("MAX_TOKENS", "4096000"),
    ("TOKEN_LIMIT", "1000000"),
    (
        "IMAGE",
        "registry.example/shop/web@sha256:4dbca3a0aac36098b2cc2bd818319478da6bd0c621de49f145fda9988c79fc35",
    ),
    ("GIT_COMMIT", "526f7eaed46725a2a7b860dcd6c8a1f8b46287cc"),
    ("COMMIT_SHA", "ed9041dff02cee737443e210471948d33296c870"),
    ("BUILD", "09e8a7f770d9106fd287db7f1adbc60926f6967e"),
    ("REQUEST_ID", "123e4567-e89b-12d3-a456-426614174000"),
    ("JAVA_OPTS", "-Xmx512m -XX:+UseG1GC -Dfile.encoding=UTF-8"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"),
    ("FEATURES", "new-checkout-flow-with-recommendations-enabled"),
    ("ALLOWED_ORIGINS", "https://shop.example,https://admin.shop.example"),
    ("GREETING", "Welcome to the shop of our friends"),
    ("CHECKSUM", "7893f57fd14c1604d115cea325a65e19cbae530282bd36cb9d21f6be6abf0d7c"),
    (
        "INTEGRITY",
        "sha512-cycDeZ6dqmVe5Mvxrv99NcqVTSu7rtaUWM6ZO88eb0ogET9D9XyYq6B0Fi7FlaZ7Vt0SXjMpu3uDxYYMfGmzWk",
    ),
    ("CRON", "0 3 * * 1-5"),
    ("TZ", "America/Argentina/Buenos_Aires"),
    ("QUEUE", "orders.created.v1.high-priority"),
    ("CLASS", "com.example.shop.checkout.PaymentServiceFactoryBean"),
    ("S3_PATH", "s3://shop-artifacts/releases/2026/11/web-1.2.0.tar.gz"),
    ("AUTH_ENABLED", "true"),
    ("PASSWORD_POLICY", "at least twelve characters"),
    ("SECRET_ROTATION", "true"),
    ("TOKEN", "$SERVICE_TOKEN"),
    ("NATS_URL", "nats://nats-0.nats.svc.cluster.local:4222"),
    ("KEYBOARD", "qwertz"),
    ("CERT", "-----BEGIN CERTIFICATE-----"),
];

#[test]
fn what_is_a_secret_is_told_from_what_is_not() {
    assert!(SECRETS.len() + HARMLESS.len() >= 60);
    let value = |parts: &[&str]| parts.concat();
    let missed: Vec<_> =
        SECRETS.iter().filter(|(name, parts)| suspicious(name, &value(parts)).is_none()).collect();
    let wrong: Vec<_> =
        HARMLESS.iter().filter_map(|(name, text)| Some((name, text, suspicious(name, text)?))).collect();

    assert!(missed.is_empty(), "not found: {missed:?}");
    assert!(wrong.is_empty(), "no secrets: {wrong:?}");
}

#[test]
fn a_finding_never_shows_the_secret() {
    for (name, parts) in SECRETS {
        let value = parts.concat();
        if let Some(suspicion) = suspicious(name, &value) {
            assert!(!suspicion.to_string().contains(&value), "{name}");
        }
    }
}

/// `(rule, severity)` of what is found in a module on a target, without limits and health, which are tested apart.
fn found(target: &str, inner: &str) -> Vec<(String, Severity)> {
    let module = format!(
        r#"{{"name":"web","resources":{{"cpu":"1","memory":"1Gi"}},"health":{{"probe":{{"tcp":{{}}}}}},{inner}}}"#
    );
    check(&spec(target, &module), Timestamp(0))
        .into_iter()
        .map(|found| (found.rule, found.severity))
        .collect()
}

#[test]
fn the_rules_by_example() {
    use Severity::{Critical, High, Low, Medium};
    const PINNED: &str = r#""run":{"image":"web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","user":"10001"}"#;
    let pinned = |more: &str| format!("{PINNED},{more}");
    let run = |more: &str| format!(r#""run":{{"image":"web:1.2","user":"10001"{more}}}"#);
    type Expected = Vec<(&'static str, Severity)>;
    let cases: Vec<(&str, String, Expected)> = vec![
        ("docker", PINNED.to_owned(), vec![]),
        ("docker", run(""), vec![("unpinned-image", High)]),
        ("process", run(""), vec![("unpinned-image", Medium)]),
        ("docker", r#""run":{"image":"web","user":"10001"}"#.to_owned(), vec![("latest-tag", High)]),
        ("docker", r#""run":{"image":"host:5000/web","user":"1"}"#.to_owned(), vec![("latest-tag", High)]),
        ("docker", r#""run":{"image":"host:5000/web:latest","user":"1"}"#.to_owned(), vec![("latest-tag", High)]),
        ("docker", r#""run":{"image":"host:5000/web:2","user":"1"}"#.to_owned(), vec![("unpinned-image", High)]),
        (
            "docker",
            r#""run":{"image":"web:1","user":"1","digest":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}"#.to_owned(),
            vec![],
        ),
        ("docker", PINNED.replace("10001", "0"), vec![("root-user", High)]),
        ("docker", PINNED.replace("10001", "root:root"), vec![("root-user", High)]),
        ("docker", PINNED.replace("10001", "1000:0"), vec![]),
        ("docker", PINNED.replace(r#","user":"10001""#, ""), vec![("no-user", Medium)]),
        ("docker", PINNED.replace(r#""user""#, r#""privileged":true,"user""#), vec![("privileged", Critical)]),
        ("docker", pinned(r#""volumes":[{"host":"/var/run/docker.sock","path":"/d"}]"#), vec![("host-mount", Critical)]),
        ("docker", pinned(r#""volumes":[{"host":"/","path":"/d"}]"#), vec![("host-mount", High)]),
        ("docker", pinned(r#""volumes":[{"host":"/etc/ssl","path":"/d","readOnly":true}]"#), vec![("host-mount", High)]),
        ("docker", pinned(r#""volumes":[{"host":"/etcetera","path":"/d"}]"#), vec![("host-mount", Medium)]),
        ("docker", pinned(r#""volumes":[{"host":"/srv/data","path":"/d","readOnly":true}]"#), vec![("host-mount", Low)]),
        ("docker", pinned(r#""volumes":[{"name":"data","path":"/d"}]"#), vec![]),
        ("docker", pinned(r#""expose":{"listen":443}"#), vec![("privileged-port", Medium)]),
        ("docker", pinned(r#""ports":[{"name":"http","container":80}]"#), vec![("privileged-port", Low)]),
        ("docker", pinned(r#""environment":{"DB_PASSWORD":"hunter2hunter2"}"#), vec![("plaintext-secret", High)]),
        ("process", r#""run":{"command":["web","--api-key","a1b2c3d4e5f6"]}"#.to_owned(), vec![("plaintext-secret", High)]),
        ("process", r#""run":{"command":["web","--password=hunter22"]}"#.to_owned(), vec![("plaintext-secret", High)]),
        ("process", r#""run":{"command":["web","--port={port}","--token-file=/run/x"]}"#.to_owned(), vec![]),
        (
            "process",
            r#""run":{"command":["web"]},"config":[{"path":"a.yaml","content":"db:\n  password: hunter22\n  host: db\n"}]"#.to_owned(),
            vec![("plaintext-secret", High)],
        ),
        ("process", r#""run":{"command":["web"]},"config":[{"path":"a.yaml","content":"level: info\n"}]"#.to_owned(), vec![]),
    ];
    for (target, inner, expected) in cases {
        let expected: Vec<(String, Severity)> =
            expected.into_iter().map(|(rule, severity)| (format!("security/{rule}"), severity)).collect();
        assert_eq!(found(target, &inner), expected, "{target}: {inner}");
    }
}

#[test]
fn a_module_without_limits_and_health_check_is_told() {
    let spec = spec("process", r#"{"name":"web","run":{"command":["web"]},"resources":{"cpu":"1"}}"#);

    let told: Vec<String> = check(&spec, Timestamp(0)).into_iter().map(|found| found.message).collect();

    assert_eq!(told, ["memory is not limited", "has no health check: that it runs is all that is known"]);
}

fn waived(reason: &str, expires: &str, privileged: bool) -> Vec<(String, bool)> {
    let mut spec = spec(
        "docker",
        r#"{"name":"web","run":{"image":"web:1","user":"1"},"resources":{"cpu":"1","memory":"1Gi"},"health":{"probe":{"tcp":{}}}}"#,
    );
    spec.modules[0].run.privileged = privileged;
    let rule = if privileged { "security/privileged" } else { "security/unpinned-image" };
    spec.waivers.push(model::spec::Waiver {
        rule: rule.to_owned(),
        module: None,
        reason: reason.to_owned(),
        expires: expires.to_owned(),
    });
    // 2026-03-01T12:00:00Z
    let found = check(&spec, Timestamp(1_772_366_400_000));
    found.into_iter().map(|found| (found.rule, found.waived.is_some())).collect()
}

#[test]
fn a_waiver_holds_through_its_last_day_and_not_longer() {
    let rule = "security/unpinned-image".to_owned();

    assert_eq!(waived("vendor", "2026-03-01", false), [(rule.clone(), true)]);
    assert_eq!(
        waived("vendor", "2026-02-28", false),
        [(rule.clone(), false), ("security/waiver-expired".to_owned(), false)]
    );
    assert_eq!(waived("vendor", "soon", false)[0], (rule, false));
}

#[test]
fn a_critical_finding_is_waived_only_by_name() {
    assert_eq!(waived("we need it", "2027-01-01", true)[1], ("security/privileged".to_owned(), false));
    assert_eq!(
        waived("privileged: a sensor driver", "2027-01-01", true)[1],
        ("security/privileged".to_owned(), true)
    );
}

#[test]
fn a_secret_that_is_not_there_is_found_before_anything_is_touched() {
    let named = spec(
        "process",
        r#"{"name":"web","run":{"command":["a"]},"secrets":[{"name":"TOKEN","from":{"file":"token"}}]},
           {"name":"db","run":{"command":["b"]}}"#,
    );
    let folder = tempfile::tempdir().unwrap();
    let with = AgentsConfig { secrets_dir: Some(folder.path().to_owned()), ..AgentsConfig::default() };

    let without = missing_secrets(&named, &AgentsConfig::default());
    let absent = missing_secrets(&named, &with);
    std::fs::write(folder.path().join("token"), "hush").unwrap();

    assert_eq!(without.len(), 1);
    assert_eq!((without[0].rule.as_str(), without[0].severity), ("security/secret-missing", Severity::High));
    assert!(
        without[0].message.contains("secrets_dir") && without[0].cure.contains("[agents]"),
        "{without:?}"
    );
    assert!(absent[0].message.contains("secret TOKEN of module web: token"), "{absent:?}");
    assert!(missing_secrets(&named, &with).is_empty());
}

#[tokio::test]
async fn a_registry_inside_is_found_when_the_plan_is_reviewed_unless_it_is_allowed() {
    let allowing = |entries: &[&str]| AgentsConfig {
        egress_allow: entries.iter().map(|entry| (*entry).to_owned()).collect(),
        ..AgentsConfig::default()
    };
    let image = |name: &str| spec("docker", &format!(r#"{{"name":"web","run":{{"image":"{name}"}}}}"#));
    let metadata = image("169.254.169.254/latest/meta-data:1");
    let local = image("localhost:5000/web:1");

    let refused = registries_inside(&local, &AgentsConfig::default()).await;
    let never = registries_inside(&metadata, &allowing(&["loopback", "private"])).await;

    assert_eq!((refused.len(), refused[0].severity), (1, Severity::High), "{refused:?}");
    assert_eq!(
        (refused[0].rule.as_str(), refused[0].field.as_str()),
        ("security/registry-inside", "modules[0].run.image")
    );
    assert!(
        refused[0].message.starts_with("the image would be fetched from localhost:5000: "),
        "{refused:?}"
    );
    assert!(never[0].message.contains("a link-local address"), "{never:?}");
    assert!(registries_inside(&local, &allowing(&["loopback"])).await.is_empty());
    for elsewhere in ["web:1", "shop/web:1", "registry.invalid/web:1"] {
        assert!(
            registries_inside(&image(elsewhere), &AgentsConfig::default()).await.is_empty(),
            "{elsewhere}"
        );
    }
}
