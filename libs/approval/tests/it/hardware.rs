//! Hardware keys, played: their format is that of OpenSSH, and ssh-keygen says so. What they sign is made here because no
//! machine of a test has one.

use approval::{Ballot, NAMESPACE, sshsig};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::approval::{Signature, Signed, Terms};
use sha2::{Digest as _, Sha256};

use crate::scene::{NONCE, Scene, clause, words};

const APPLICATION: &str = "ssh:";

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(part);
}

enum Token {
    Ed(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Token {
    fn kind(&self) -> &'static str {
        match self {
            Token::Ed(_) => "sk-ssh-ed25519@openssh.com",
            Token::P256(_) => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    fn blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        put(&mut blob, self.kind().as_bytes());
        match self {
            Token::Ed(pair) => put(&mut blob, pair.public_key().as_ref()),
            Token::P256(pair) => {
                put(&mut blob, b"nistp256");
                put(&mut blob, pair.public_key().as_ref());
            }
        }
        put(&mut blob, APPLICATION.as_bytes());
        blob
    }

    /// With these flags: 1 touched, 4 verified.
    fn sign(&self, text: &str, flags: u8) -> Signed {
        let data = sshsig::signed(NAMESPACE, "sha512", text.as_bytes()).unwrap();
        let mut over = Sha256::digest(APPLICATION.as_bytes()).to_vec();
        let tail = [flags, 0, 0, 0, 7];
        over.extend_from_slice(&tail);
        over.extend_from_slice(&Sha256::digest(&data));
        let raw = match self {
            Token::Ed(pair) => pair.sign(&over).as_ref().to_vec(),
            Token::P256(pair) => {
                let fixed = pair.sign(&SystemRandom::new(), &over).unwrap();
                let mut pair = Vec::new();
                for half in fixed.as_ref().chunks(32) {
                    let mut number = half.to_vec();
                    while number[0] == 0 && number[1] < 0x80 {
                        number.remove(0);
                    }
                    if number[0] >= 0x80 {
                        number.insert(0, 0);
                    }
                    put(&mut pair, &number);
                }
                pair
            }
        };
        let mut signature = Vec::new();
        put(&mut signature, self.kind().as_bytes());
        put(&mut signature, &raw);
        signature.extend_from_slice(&tail);
        let file = sshsig::file(&self.blob(), NAMESPACE, &signature);
        Signed { statement: text.to_owned(), signature: Signature::Sshsig(file) }
    }
}

fn tokens() -> [Token; 2] {
    let random = SystemRandom::new();
    let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    [
        Token::Ed(Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap()),
        Token::P256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, p256.as_ref()).unwrap()),
    ]
}

#[test]
fn a_hardware_key_counts_when_it_was_touched() {
    let scene = Scene::new();
    for token in tokens() {
        let file = format!("ann {} {}\n", token.kind(), STANDARD.encode(token.blob()));
        let terms = scene.terms(&file, vec![clause(1, &[])]);
        let text = scene.statement(&terms, words("ann", NONCE)).text();
        let ballot = Ballot::open(&terms, false, None);

        let touched = token.sign(&text, 1);
        assert!(scene.keygen_says_yes(&file, "ann", &touched), "{}", token.kind());
        scene.examine(&ballot, &touched).unwrap_or_else(|refusal| panic!("{}: {refusal}", token.kind()));

        // ssh-keygen does not ask for it; sshd does, and so do we.
        let refusal = scene.examine(&ballot, &token.sign(&text, 0)).unwrap_err().to_string();
        assert!(refusal.contains("was not touched"), "{refusal}");

        let mut flags = token.sign(&text, 0);
        let Signature::Sshsig(signature) = &mut flags.signature;
        let body: String = signature.lines().filter(|line| !line.starts_with('-')).collect();
        let mut bytes = STANDARD.decode(body).unwrap();
        let at = bytes.len() - 5;
        bytes[at] = 1;
        *signature = format!(
            "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
            STANDARD.encode(bytes)
        );
        assert!(!scene.keygen_says_yes(&file, "ann", &flags));
        let refusal = scene.examine(&ballot, &flags).unwrap_err().to_string();
        assert!(refusal.contains("does not fit"), "a flag can be written: {refusal}");
    }
}

#[test]
fn a_hardware_key_must_ask_for_its_pin_where_the_operator_says_so() {
    let scene = Scene::new();
    for token in tokens() {
        let file = format!("ann {} {}\n", token.kind(), STANDARD.encode(token.blob()));
        let terms = Terms { verified: true, ..scene.terms(&file, vec![clause(1, &[])]) };
        let text = scene.statement(&terms, words("ann", NONCE)).text();
        let ballot = Ballot::open(&terms, false, None);

        let refusal = scene.examine(&ballot, &token.sign(&text, 1)).unwrap_err().to_string();
        assert!(refusal.contains("verified = true wants it"), "{refusal}");
        assert!(scene.examine(&ballot, &token.sign(&text, 5)).is_ok());
    }
}
