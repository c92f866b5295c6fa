//! The client's half of SASL: PLAIN and SCRAM over SHA-1, SHA-256 and SHA-512 (RFC 4616, RFC 5802, RFC 7677).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// A mechanism this client can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// The password itself: only for TLS and for loopback doors that allow it.
    Plain,
    /// RFC 5802.
    Scram(Hash),
    /// The same, bound to the TLS connection.
    ScramPlus(Hash),
}

/// A hash function of SCRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// RFC 5802.
    Sha1,
    /// RFC 7677.
    Sha256,
    /// As registered.
    Sha512,
}

impl Mechanism {
    /// All of them, the strongest first.
    pub const ALL: [Mechanism; 7] = [
        Mechanism::ScramPlus(Hash::Sha512),
        Mechanism::ScramPlus(Hash::Sha256),
        Mechanism::ScramPlus(Hash::Sha1),
        Mechanism::Scram(Hash::Sha512),
        Mechanism::Scram(Hash::Sha256),
        Mechanism::Scram(Hash::Sha1),
        Mechanism::Plain,
    ];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Scram(Hash::Sha1) => "SCRAM-SHA-1",
            Mechanism::Scram(Hash::Sha256) => "SCRAM-SHA-256",
            Mechanism::Scram(Hash::Sha512) => "SCRAM-SHA-512",
            Mechanism::ScramPlus(Hash::Sha1) => "SCRAM-SHA-1-PLUS",
            Mechanism::ScramPlus(Hash::Sha256) => "SCRAM-SHA-256-PLUS",
            Mechanism::ScramPlus(Hash::Sha512) => "SCRAM-SHA-512-PLUS",
        }
    }

    /// The mechanism of that registered name, if this client can do it.
    pub fn named(name: &str) -> Option<Mechanism> {
        let mut all = Mechanism::ALL.into_iter();
        all.find(|mechanism| mechanism.name() == name)
    }
}

/// What a login is bound to: the type of the channel binding and its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// For example `tls-exporter`.
    pub name: String,
    /// Its data.
    pub data: Vec<u8>,
}

/// Base64 of `bytes`, padded.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes `text` stands for.
///
/// # Errors
///
/// A sentence when it is not Base64.
pub fn decode(text: &str) -> Result<Vec<u8>, String> {
    STANDARD
        .decode(text.trim())
        .map_err(|error| format!("not Base64: {error}: {text:?}"))
}

/// PLAIN's only message (RFC 4616 §2).
pub fn plain(authzid: &str, user: &str, password: &str) -> Vec<u8> {
    format!("{authzid}\0{user}\0{password}").into_bytes()
}

/// A SCRAM exchange seen by the client.
pub struct Scram {
    hash: Hash,
    password: String,
    /// GS2 header and channel binding, as the last message repeats them.
    bound: Vec<u8>,
    first_bare: String,
    nonce: String,
    expected: Vec<u8>,
}

impl Scram {
    /// Begins an exchange for `user`, bound to the connection or not. Gives it and the client-first-message.
    pub fn begin(
        hash: Hash,
        user: &str,
        password: &str,
        binding: Option<&Binding>,
    ) -> (Scram, Vec<u8>) {
        let nonce = crate::client::unguessable();
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={user},r={nonce}");
        let gs2 = binding.map_or_else(|| "n,,".to_owned(), |by| format!("p={},,", by.name));
        let first = format!("{gs2}{first_bare}").into_bytes();
        let mut bound = gs2.into_bytes();
        bound.extend(binding.map(|by| by.data.as_slice()).unwrap_or_default());
        let scram = Scram {
            hash,
            bound,
            password: password.to_owned(),
            first_bare,
            nonce,
            expected: Vec::new(),
        };
        (scram, first)
    }

    /// Answers the server-first-message with the client-final-message.
    ///
    /// # Errors
    ///
    /// A sentence when the message is malformed or the nonce is not ours.
    pub fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String> {
        let text = std::str::from_utf8(challenge).map_err(|error| error.to_string())?;
        let field = |key: &str| {
            let found = text
                .split(',')
                .find_map(|part| part.strip_prefix(key)?.strip_prefix('='));
            found.ok_or_else(|| format!("no {key}= in {text:?}"))
        };
        let nonce = field("r")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(format!("the server's nonce does not extend ours: {text:?}"));
        }
        let salt = decode(field("s")?)?;
        let rounds: u32 = field("i")?
            .parse()
            .map_err(|_| format!("bad i= in {text:?}"))?;
        let without_proof = format!("c={},r={nonce}", encode(&self.bound));
        let signed = format!("{},{text},{without_proof}", self.first_bare);
        let (proof, expected) = match self.hash {
            Hash::Sha1 => prove_sha1(&self.password, &salt, rounds, &signed),
            Hash::Sha256 => prove_sha256(&self.password, &salt, rounds, &signed),
            Hash::Sha512 => prove_sha512(&self.password, &salt, rounds, &signed),
        };
        self.expected = expected;
        Ok(format!("{without_proof},p={}", encode(&proof)).into_bytes())
    }

    /// Checks the server-final-message: does the server know the credentials too?
    ///
    /// # Errors
    ///
    /// A sentence when the signature is missing or wrong.
    pub fn check(&self, last: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(last);
        let signature = text.split(',').find_map(|part| part.strip_prefix("v="));
        match signature.map(decode) {
            Some(Ok(found)) if found == self.expected && !found.is_empty() => Ok(()),
            _ => Err(format!(
                "the server's signature is missing or wrong: {text:?}"
            )),
        }
    }
}

macro_rules! prove {
    ($name:ident, $hash:ty, $length:literal) => {
        fn $name(password: &str, salt: &[u8], rounds: u32, signed: &str) -> (Vec<u8>, Vec<u8>) {
            let sign = |key: &[u8], text: &[u8]| {
                let mut mac =
                    Hmac::<$hash>::new_from_slice(key).expect("HMAC takes keys of any length");
                mac.update(text);
                mac.finalize().into_bytes().to_vec()
            };
            let mut salted = [0u8; $length];
            pbkdf2::pbkdf2_hmac::<$hash>(password.as_bytes(), salt, rounds, &mut salted);
            let client_key = sign(&salted, b"Client Key");
            let stored_key = <$hash>::digest(&client_key).to_vec();
            let signature = sign(&stored_key, signed.as_bytes());
            let proof = client_key
                .iter()
                .zip(&signature)
                .map(|(key, sign)| key ^ sign)
                .collect();
            let server_key = sign(&salted, b"Server Key");
            (proof, sign(&server_key, signed.as_bytes()))
        }
    };
}

prove!(prove_sha1, Sha1, 20);
prove!(prove_sha256, Sha256, 32);
prove!(prove_sha512, Sha512, 64);

#[cfg(test)]
mod tests {
    use super::*;

    fn example(hash: Hash, nonce: &str, challenge: &str, proof: &str, last: &str) {
        let mut scram = Scram {
            hash,
            password: "pencil".into(),
            bound: b"n,,".to_vec(),
            first_bare: format!("n=user,r={nonce}"),
            nonce: nonce.into(),
            expected: Vec::new(),
        };
        let answer = scram
            .answer(challenge.as_bytes())
            .expect("a good challenge");
        assert!(String::from_utf8_lossy(&answer).ends_with(proof));
        scram.check(last.as_bytes()).expect("a good signature");
        assert!(scram.check(b"v=AAAA").is_err());
    }

    #[test]
    fn rfc_5802_section_5() {
        example(
            Hash::Sha1,
            "fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        );
    }

    #[test]
    fn rfc_7677_section_3() {
        example(
            Hash::Sha256,
            "rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        );
    }
}
