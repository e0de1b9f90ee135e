//! The file of signers: what is read, and what is refused by line, value and cure.

use approval::Signers;

use crate::scene::Scene;

#[test]
fn a_line_that_cannot_be_used_is_named_with_its_cure() {
    let scene = Scene::new();
    let (one, two) = (scene.public("ann"), scene.public("bob"));
    let blob = one.rsplit(' ').next().unwrap();

    for (file, line, says) in [
        (format!("ann {one}\nbob {one}\n"), 2, "stands on line 1 already"),
        (format!("# people\n\nann,bob {one}\n"), 3, "a line for each"),
        (format!("*@example.com {one}\n"), 1, "without patterns"),
        (format!("group:ops {one}\n"), 1, "has no colon"),
        (format!("ann cert-authority {one}\n"), 1, "cert-authority: certificates of SSH are not taken"),
        (format!("ann namespaces=\"code-*\" {one}\n"), 1, "without patterns: write each"),
        (format!("ann valid-before=\"20261121\" {one}\n"), 1, "20261121: is no time in UTC"),
        (format!("ann valid-before=\"20261399Z\" {one}\n"), 1, "is no time in UTC"),
        (format!("ann no-touch-required {one}\n"), 1, "no option that is known"),
        (format!("ann ssh-rsa {blob}\n"), 1, "the key after it is of kind ssh-ed25519"),
        (format!("ann {}\n", &one[..one.len() - 8]), 1, "is no"),
        ("ann\n".to_owned(), 1, "is no line of an allowed_signers file"),
        (format!("ann {}\n", scene.make("old", "rsa")), 1, "keys of kind ssh-rsa are not taken"),
    ] {
        let bad = Signers::read(&file).expect_err(&file);

        assert_eq!(bad.len(), 1, "{bad:?}");
        assert_eq!(bad[0].line, line, "{}", bad[0]);
        assert!(bad[0].to_string().contains(says), "{} instead of {says}", bad[0]);
    }
    let both = Signers::read(&format!("ann,x {one}\nbob {two}\ncat\n")).unwrap_err();
    assert_eq!(both.iter().map(|bad| bad.line).collect::<Vec<_>>(), [1, 3]);
    assert!(Signers::read(&"#".repeat(300_000)).is_err(), "a file of any length is read");
}

#[test]
fn what_is_read_is_read_the_same_again() {
    let scene = Scene::new();
    let file = format!(
        "ann@example.com namespaces=\"git,code-approval@code.example\",valid-after=\"202611210551Z\",valid-before=\"20270101Z\" {} \
         the laptop\n\tbob {}\n",
        scene.public("ann"),
        scene.public("bob")
    );
    let read = Signers::read(&file).unwrap();

    assert_eq!(read.names(), ["ann@example.com", "bob"]);
    assert!(read.in_words()[0].ends_with(", from 2026-11-21T05:51:00.000Z, until 2027-01-01T00:00:00.000Z"));
    let key = read.of("bob").next().unwrap();
    assert_eq!(key.principal().to_string(), "bob (by signature)");
    let printed =
        std::process::Command::new("ssh-keygen").arg("-lf").arg(scene.path("bob.pub")).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains(&key.key.fingerprint()), "{printed}");
}
