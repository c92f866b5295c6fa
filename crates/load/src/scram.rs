//! The client's half of SCRAM (RFC 5802, RFC 7677), without channel binding, and PLAIN (RFC 4616).
//!
//! Hashing a password thousands of times would be most of what the generator does, so salted keys are kept by account;
//! a server that gives an account another salt is heard.

use std::cell::RefCell;
use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How clients log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// RFC 5802.
    ScramSha1,
    /// RFC 7677.
    ScramSha256,
}

impl Mechanism {
    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha1 => "SCRAM-SHA-1",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
        }
    }
}

/// What PLAIN says, in base64.
pub fn plain(user: &str, password: &str) -> String {
    STANDARD.encode(format!("\0{user}\0{password}"))
}

/// What is worth keeping of a password once it was hashed.
#[derive(Clone)]
struct Keys {
    salt: String,
    iterations: u32,
    client: Vec<u8>,
    stored: Vec<u8>,
    server: Vec<u8>,
}

/// Salted keys by account.
#[derive(Default)]
pub struct KeyCache {
    keys: RefCell<HashMap<String, Keys>>,
}

/// One login under way.
pub struct Exchange<'a> {
    mechanism: Mechanism,
    account: &'a str,
    password: &'a str,
    client_first_bare: String,
    nonce: String,
    proof_of_server: Vec<u8>,
}

impl<'a> Exchange<'a> {
    /// Begins a login of `user`. `account` is what its keys are kept under.
    pub fn new(
        mechanism: Mechanism,
        user: &str,
        account: &'a str,
        password: &'a str,
        nonce: String,
    ) -> Exchange<'a> {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Exchange {
            mechanism,
            account,
            password,
            client_first_bare: format!("n={user},r={nonce}"),
            nonce,
            proof_of_server: Vec::new(),
        }
    }

    /// The first message, in base64.
    pub fn first(&self) -> String {
        STANDARD.encode(format!("n,,{}", self.client_first_bare))
    }

    /// The answer to the server's challenge, both in base64.
    ///
    /// # Errors
    ///
    /// A sentence when the challenge is none.
    pub fn answer(&mut self, challenge: &str, cache: &KeyCache) -> Result<String, String> {
        let wrong = || {
            format!(
                "the challenge {challenge:?} is not one of {}",
                self.mechanism.name()
            )
        };
        let server_first = STANDARD.decode(challenge.trim()).map_err(|_| wrong())?;
        let server_first = String::from_utf8(server_first).map_err(|_| wrong())?;
        let value = |key: &str| {
            server_first
                .split(',')
                .find_map(|part| part.strip_prefix(key)?.strip_prefix('='))
                .ok_or_else(wrong)
        };
        let (nonce, salt) = (value("r")?, value("s")?);
        let iterations: u32 = value("i")?.parse().map_err(|_| wrong())?;
        if !nonce.starts_with(&self.nonce) || iterations == 0 {
            return Err(wrong());
        }
        let keys = self.keys(salt, iterations, cache).ok_or_else(wrong)?;
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{server_first},{without_proof}", self.client_first_bare);
        let signature = self.hmac(&keys.stored, signed.as_bytes());
        let proof: Vec<u8> = keys
            .client
            .iter()
            .zip(&signature)
            .map(|(a, b)| a ^ b)
            .collect();
        self.proof_of_server = self.hmac(&keys.server, signed.as_bytes());
        Ok(STANDARD.encode(format!("{without_proof},p={}", STANDARD.encode(proof))))
    }

    /// Whether `last`, in base64, shows that the server knows the password's keys too.
    pub fn is_the_server(&self, last: &str) -> bool {
        let shown = STANDARD
            .decode(last.trim())
            .ok()
            .and_then(|text| STANDARD.decode(text.strip_prefix(b"v=")?).ok());
        shown.is_some_and(|shown| shown.ct_eq(&self.proof_of_server).into())
    }

    fn keys(&self, salt: &str, iterations: u32, cache: &KeyCache) -> Option<Keys> {
        let kept = cache.keys.borrow().get(self.account).cloned();
        if let Some(keys) = kept.filter(|keys| keys.salt == salt && keys.iterations == iterations) {
            return Some(keys);
        }
        let raw = STANDARD.decode(salt).ok()?;
        let salted = match self.mechanism {
            Mechanism::ScramSha256 => {
                let mut out = vec![0; 32];
                pbkdf2::pbkdf2_hmac::<Sha256>(self.password.as_bytes(), &raw, iterations, &mut out);
                out
            }
            _ => {
                let mut out = vec![0; 20];
                pbkdf2::pbkdf2_hmac::<Sha1>(self.password.as_bytes(), &raw, iterations, &mut out);
                out
            }
        };
        let client = self.hmac(&salted, b"Client Key");
        let stored = match self.mechanism {
            Mechanism::ScramSha256 => Sha256::digest(&client).to_vec(),
            _ => Sha1::digest(&client).to_vec(),
        };
        let keys = Keys {
            salt: salt.to_owned(),
            iterations,
            stored,
            server: self.hmac(&salted, b"Server Key"),
            client,
        };
        cache
            .keys
            .borrow_mut()
            .insert(self.account.to_owned(), keys.clone());
        Some(keys)
    }

    fn hmac(&self, key: &[u8], text: &[u8]) -> Vec<u8> {
        const ANY: &str = "HMAC takes keys of any length";
        match self.mechanism {
            Mechanism::ScramSha256 => {
                let mut mac = Hmac::<Sha256>::new_from_slice(key).expect(ANY);
                mac.update(text);
                mac.finalize().into_bytes().to_vec()
            }
            _ => {
                let mut mac = Hmac::<Sha1>::new_from_slice(key).expect(ANY);
                mac.update(text);
                mac.finalize().into_bytes().to_vec()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(
        mechanism: Mechanism,
        nonce: &str,
        challenge: &str,
        cache: &KeyCache,
    ) -> (String, String, Vec<u8>) {
        let mut exchange = Exchange::new(
            mechanism,
            "user",
            "user@example",
            "pencil",
            nonce.to_owned(),
        );
        let first =
            String::from_utf8(STANDARD.decode(exchange.first()).expect("base64")).expect("text");
        let answer = exchange
            .answer(&STANDARD.encode(challenge), cache)
            .expect("a challenge");
        let answer = String::from_utf8(STANDARD.decode(answer).expect("base64")).expect("text");
        (first, answer, exchange.proof_of_server)
    }

    #[test]
    fn rfc_5802_section_5() {
        let cache = KeyCache::default();
        for _cold_then_kept in 0..2 {
            let (first, answer, server) = play(
                Mechanism::ScramSha1,
                "fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                &cache,
            );
            assert_eq!(first, "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
            assert_eq!(
                answer,
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
            );
            assert_eq!(STANDARD.encode(server), "rmF9pqV8S7suAoZWja4dJRkFsKQ=");
        }
    }

    #[test]
    fn rfc_7677_section_3() {
        let (_, answer, server) = play(
            Mechanism::ScramSha256,
            "rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            &KeyCache::default(),
        );
        assert_eq!(
            answer,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(
            STANDARD.encode(server),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn another_salt_is_heard() {
        let cache = KeyCache::default();
        let answers: Vec<String> = ["QSXCR+Q6sek8bf92", "QSXCR+Q6sek8bf93"]
            .map(|salt| {
                play(
                    Mechanism::ScramSha1,
                    "n",
                    &format!("r=n1,s={salt},i=1"),
                    &cache,
                )
                .1
            })
            .to_vec();
        assert_ne!(answers[0], answers[1]);
    }

    #[test]
    fn a_server_that_does_not_know_the_keys_is_not_believed() {
        let mut exchange = Exchange::new(Mechanism::ScramSha1, "u", "u@e", "p", "n".to_owned());
        exchange
            .answer(
                &STANDARD.encode("r=n1,s=QSXCR+Q6sek8bf92,i=1"),
                &KeyCache::default(),
            )
            .expect("a challenge");
        let right = STANDARD.encode(format!("v={}", STANDARD.encode(&exchange.proof_of_server)));
        assert!(exchange.is_the_server(&right));
        assert!(
            !exchange.is_the_server(&STANDARD.encode("v=cm1GOXBxVjhTN3N1QW9aV2phNGRKUmtGc0tRPQ=="))
        );
        assert!(!exchange.is_the_server(""));
    }

    #[test]
    fn foreign_challenges_are_refused() {
        let mut exchange = Exchange::new(Mechanism::ScramSha1, "u", "u@e", "p", "mine".to_owned());
        let cache = KeyCache::default();
        for challenge in [
            "r=other,s=QSXCR+Q6sek8bf92,i=1",
            "r=mine1,s=QSXCR+Q6sek8bf92,i=0",
            "r=mine1,i=1",
            "",
        ] {
            assert!(
                exchange
                    .answer(&STANDARD.encode(challenge), &cache)
                    .is_err(),
                "{challenge}"
            );
        }
        assert!(exchange.answer("not base64!", &cache).is_err());
    }
}
