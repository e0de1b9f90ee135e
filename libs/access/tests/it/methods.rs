use access::{
    Authenticated, Factor, Issuer, KeyKind, Keys, Member, Method, NotAuthenticated, Password, Passwords,
    Proof, Stored, Tokens, TotpSecret,
};
use ground::Secret;
use model::Timestamp;

use crate::directory::{Journal, at, member};

const PASSWORD: &str = "velvet orbit cactus ledger";
/// Of the standard: at this second the code is 287082.
const SECRET: &[u8; 20] = b"12345678901234567890";
const MOMENT: Timestamp = Timestamp(59_000);

type Of<T> = Box<dyn Fn(&Member) -> Option<T> + Send + Sync>;

fn passwords() -> Passwords<Of<Stored>, Of<TotpSecret>> {
    let stored = Password::new(PASSWORD, &[]).unwrap().store().unwrap();
    Passwords {
        stored: Box::new(move |_| Some(stored.clone())),
        app: Box::new(|_| Some(TotpSecret::from_bytes(*SECRET))),
    }
}

fn by_password(who: &str, password: &str, code: Option<&str>) -> Proof {
    Proof::Password { member: member(who), password: Secret::new(password), code: code.map(Secret::new) }
}

#[test]
fn each_way_takes_its_own_proof_and_no_other() {
    let mut journal = Journal::with(&["user:ann"]);
    let key = journal.key("user:ann", KeyKind::Personal, 0).unwrap();
    let proof = Proof::Key(Secret::new(key.text().reveal()));
    let ways: [Box<dyn Method>; 3] =
        [Box::new(Keys), Box::new(passwords()), Box::new(Tokens(Issuer::new("https://i.example", "us", [])))];

    let answers: Vec<_> =
        ways.iter().map(|way| way.authenticate(&proof, &journal.directory, at(0))).collect();

    assert!(matches!(&answers[0], Ok(Authenticated::ByKey { member: who, scopes })
        if *who == member("user:ann") && scopes.cover("deployment.view")));
    assert_eq!(answers[1], Err(NotAuthenticated::OtherMethod));
    assert_eq!(answers[2], Err(NotAuthenticated::OtherMethod));
    let wrong = Proof::Key(Secret::new("Bearer nothing"));
    assert!(matches!(Keys.authenticate(&wrong, &journal.directory, at(0)), Err(NotAuthenticated::Key(_))));
    let token = Proof::Token(Secret::new("null"));
    assert!(matches!(
        ways[2].authenticate(&token, &journal.directory, at(0)),
        Err(NotAuthenticated::Token(_))
    ));
}

#[test]
fn a_password_counts_for_people_who_have_one_and_the_answer_does_not_say_who_is_there() {
    let mut journal = Journal::with(&["user:ann", "user:bob", "service-account:ci"]);
    for who in ["user:ann", "user:bob"] {
        let set = journal.directory.set_factor(&member(who), Factor::Password, MOMENT);
        journal.tell(set).unwrap();
    }
    let disabled = journal.directory.disable(&member("user:bob"), MOMENT);
    journal.tell(disabled).unwrap();
    let way = passwords();
    let ask = |who, password| way.authenticate(&by_password(who, password, None), &journal.directory, MOMENT);

    assert_eq!(
        ask("user:ann", PASSWORD),
        Ok(Authenticated::ByPassword { member: member("user:ann"), step: None })
    );
    for (who, password) in [
        ("user:ann", "velvet orbit cactus ledge"),
        ("user:bob", PASSWORD),
        ("user:nobody", PASSWORD),
        ("service-account:ci", PASSWORD),
    ] {
        assert_eq!(ask(who, password), Err(NotAuthenticated::Unknown), "{who}");
    }
}

#[test]
fn with_an_app_the_code_is_asked_for_and_good_once() {
    let mut journal = Journal::with(&["user:ann"]);
    for factor in [Factor::Password, Factor::Totp] {
        let set = journal.directory.set_factor(&member("user:ann"), factor, MOMENT);
        journal.tell(set).unwrap();
    }
    let way = passwords();

    for code in [None, Some("287083"), Some("")] {
        let answer = way.authenticate(&by_password("user:ann", PASSWORD, code), &journal.directory, MOMENT);
        assert_eq!(answer, Err(NotAuthenticated::Code));
    }
    let proof = by_password("user:ann", PASSWORD, Some("287082"));
    let Ok(Authenticated::ByPassword { step: Some(step), .. }) =
        way.authenticate(&proof, &journal.directory, MOMENT)
    else {
        panic!("the code is right");
    };
    let used = journal.directory.use_step(&member("user:ann"), step);
    journal.tell(used).unwrap();
    assert_eq!(way.authenticate(&proof, &journal.directory, MOMENT), Err(NotAuthenticated::Code), "used");
}
