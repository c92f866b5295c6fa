//! The messages of SCRAM (RFC 5802 §7), PLAIN and EXTERNAL, read and written; no state, no store.

use zeroize::Zeroizing;

use crate::encoding;
use crate::hash::Bytes;
use xmpp::{SaslCondition, SaslFailure};

/// The longest name, nonce or identity that is read, in bytes.
pub(crate) const FIELD_BYTES: usize = 1024;

/// What a client says of channel binding (`gs2-cbind-flag`).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    /// `n`: it cannot do that.
    Unbound,
    /// `y`: it can, and thinks that the server cannot.
    NotOffered,
    /// `p=`: it binds by this type.
    Bound(String),
}

impl Flag {
    fn parse(text: &str) -> Result<Flag, SaslFailure> {
        let is_name = |name: &&str| {
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
            !name.is_empty() && name.len() <= FIELD_BYTES && name.bytes().all(letter)
        };
        match text {
            "n" => Ok(Flag::Unbound),
            "y" => Ok(Flag::NotOffered),
            _ => match text.strip_prefix("p=").filter(is_name) {
                Some(name) => Ok(Flag::Bound(name.to_owned())),
                None => Err(SaslFailure::malformed("an unknown GS2 flag")),
            },
        }
    }
}

/// `client-first-message`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientFirst {
    /// Whether it binds to the channel.
    pub(crate) flag: Flag,
    /// The GS2 header, as sent: `n,,`.
    pub(crate) gs2_header: String,
    /// Who the client wants to act as.
    pub(crate) authzid: Option<String>,
    /// Who the client is.
    pub(crate) username: String,
    /// Its nonce.
    pub(crate) nonce: String,
    /// All after the GS2 header, as sent.
    pub(crate) bare: String,
}

impl ClientFirst {
    /// Reads the message. Whether its flag fits the mechanism is the caller's to judge.
    pub(crate) fn parse(message: &[u8]) -> Result<ClientFirst, SaslFailure> {
        let text = utf8(message)?;
        let mut fields = text.splitn(3, ',');
        let (flag, identity, bare) = match (fields.next(), fields.next(), fields.next()) {
            (Some(flag), Some(identity), Some(bare)) => (flag, identity, bare),
            _ => return Err(SaslFailure::malformed("no GS2 header")),
        };
        let gs2_header = format!("{flag},{identity},");
        let flag = Flag::parse(flag)?;
        let authzid = match identity {
            "" => None,
            _ => Some(unescape(attribute(identity, 'a')?)?),
        };
        let mut attributes = bare.split(',');
        let first = attributes.next().unwrap_or_default();
        if first.starts_with("m=") {
            return Err(SaslFailure::malformed("an unknown mandatory extension"));
        }
        let username = unescape(attribute(first, 'n')?)?;
        if username.is_empty() {
            return Err(SaslFailure::malformed("the user name is empty"));
        }
        let nonce = nonce(attribute(attributes.next().unwrap_or_default(), 'r')?)?;
        extensions(attributes)?;
        Ok(ClientFirst {
            flag,
            gs2_header,
            authzid,
            username,
            nonce: nonce.to_owned(),
            bare: bare.to_owned(),
        })
    }
}

/// Writes `server-first-message`.
pub(crate) fn server_first(nonce: &str, salt: &[u8], iterations: u32) -> String {
    format!("r={nonce},s={},i={iterations}", encoding::encode(salt))
}

/// `client-final-message`.
pub(crate) struct ClientFinal {
    /// The GS2 header the client says it has sent, and the data of the channel binding.
    pub(crate) channel_binding: Vec<u8>,
    /// Both nonces.
    pub(crate) nonce: String,
    /// The proof.
    pub(crate) proof: Bytes,
    /// All before the proof, as sent.
    pub(crate) without_proof: String,
}

impl ClientFinal {
    /// Reads the message.
    pub(crate) fn parse(message: &[u8]) -> Result<ClientFinal, SaslFailure> {
        let text = utf8(message)?;
        let (without_proof, last) = text
            .rsplit_once(',')
            .ok_or_else(|| SaslFailure::malformed("no proof"))?;
        let proof = encoding::strict(attribute(last, 'p')?)
            .map_err(|()| SaslFailure::malformed("the proof is not base64"))?;
        let mut attributes = without_proof.split(',');
        let channel_binding =
            encoding::strict(attribute(attributes.next().unwrap_or_default(), 'c')?)
                .map_err(|()| SaslFailure::malformed("the channel binding is not base64"))?;
        let nonce = attribute(attributes.next().unwrap_or_default(), 'r')?;
        if nonce.len() > 2 * FIELD_BYTES {
            return Err(SaslFailure::malformed("a field is too long"));
        }
        extensions(attributes)?;
        Ok(ClientFinal {
            channel_binding: channel_binding.to_vec(),
            nonce: nonce.to_owned(),
            proof,
            without_proof: without_proof.to_owned(),
        })
    }
}

/// Writes `AuthMessage`, which both sides sign.
pub(crate) fn auth_message(
    client_first_bare: &str,
    server_first: &str,
    client_final_without_proof: &str,
) -> Vec<u8> {
    [client_first_bare, server_first, client_final_without_proof]
        .join(",")
        .into_bytes()
}

/// Writes `server-final-message`.
pub(crate) fn server_final(signature: &[u8]) -> Vec<u8> {
    format!("v={}", encoding::encode(signature)).into_bytes()
}

fn utf8(message: &[u8]) -> Result<&str, SaslFailure> {
    let text = std::str::from_utf8(message).map_err(|_| SaslFailure::malformed("not UTF-8"))?;
    if text.contains('\0') {
        return Err(SaslFailure::malformed("a NUL"));
    }
    Ok(text)
}

/// The value of the attribute `name` that `field` must be.
fn attribute(field: &str, name: char) -> Result<&str, SaslFailure> {
    field
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('='))
        .ok_or_else(|| {
            SaslFailure::malformed(&format!("the attribute {name} is not where it must be"))
        })
}

/// Reads a `saslname`: `=2C` is a comma, `=3D` an equals sign, no other use of `=`.
fn unescape(name: &str) -> Result<String, SaslFailure> {
    if name.len() > FIELD_BYTES {
        return Err(SaslFailure::malformed("a field is too long"));
    }
    let mut parts = name.split('=');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, rest) = if let Some(rest) = part.strip_prefix("2C") {
            (',', rest)
        } else if let Some(rest) = part.strip_prefix("3D") {
            ('=', rest)
        } else {
            return Err(SaslFailure::malformed("a name with a wrong escape"));
        };
        plain.push(sign);
        plain.push_str(rest);
    }
    Ok(plain)
}

/// Checks a client's nonce: printable ASCII without comma.
fn nonce(value: &str) -> Result<&str, SaslFailure> {
    let printable = value
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b',');
    if value.is_empty() || !printable || value.len() > FIELD_BYTES {
        return Err(SaslFailure::malformed("an invalid nonce"));
    }
    Ok(value)
}

/// Checks optional extensions, which are ignored: a letter, `=`, a value.
fn extensions<'a>(fields: impl Iterator<Item = &'a str>) -> Result<(), SaslFailure> {
    for field in fields {
        let mut chars = field.chars();
        let well_formed = chars.next().is_some_and(|name| name.is_ascii_alphabetic())
            && chars.next() == Some('=')
            && chars.next().is_some();
        if !well_formed || field.starts_with("m=") || field.len() > FIELD_BYTES {
            return Err(SaslFailure::malformed(
                "an extension that is not understood",
            ));
        }
    }
    Ok(())
}

/// The authorization identity that is EXTERNAL's only message (RFC 4422 appendix A); none for an empty one.
pub(crate) fn identity(message: &[u8]) -> Result<Option<&str>, SaslFailure> {
    let text = utf8(message)?;
    if text.len() > FIELD_BYTES {
        return Err(SaslFailure::malformed("a field is too long"));
    }
    Ok((!text.is_empty()).then_some(text))
}

/// The three fields of PLAIN (RFC 4616 §2).
pub(crate) struct Plain {
    pub(crate) authzid: Option<String>,
    pub(crate) authcid: String,
    pub(crate) password: Zeroizing<String>,
}

impl Plain {
    /// Reads `[authzid] NUL authcid NUL password`.
    pub(crate) fn parse(message: &[u8]) -> Result<Plain, SaslFailure> {
        let text = std::str::from_utf8(message).map_err(|_| SaslFailure::malformed("not UTF-8"))?;
        let mut fields = text.split('\0');
        let (authzid, authcid, password) =
            match (fields.next(), fields.next(), fields.next(), fields.next()) {
                (Some(authzid), Some(authcid), Some(password), None) => {
                    (authzid, authcid, password)
                }
                _ => return Err(SaslFailure::malformed("there must be two NULs")),
            };
        if authcid.is_empty() || password.is_empty() {
            return Err(SaslFailure::malformed("a field is empty"));
        }
        if [authzid, authcid, password]
            .iter()
            .any(|field| field.len() > FIELD_BYTES)
        {
            return Err(SaslFailure::malformed("a field is too long"));
        }
        Ok(Plain {
            authzid: (!authzid.is_empty()).then(|| authzid.to_owned()),
            authcid: authcid.to_owned(),
            password: Zeroizing::new(password.to_owned()),
        })
    }
}

/// Checks what the client says it has sent against what it sent.
pub(crate) fn agrees(last: &ClientFinal, binding: &[u8], nonce: &str) -> Result<(), SaslFailure> {
    if last.channel_binding != binding {
        return Err(SaslCondition::NotAuthorized.text("channel-bindings-dont-match"));
    }
    if last.nonce != nonce {
        return Err(SaslCondition::NotAuthorized.text("the nonce was changed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;
    use crate::keys::Keys;
    use crate::password::Password;

    /// One exchange as printed in an RFC: all our messages follow from the client's.
    fn plays(
        hash: Hash,
        client_first: &str,
        nonce: &str,
        salt: &str,
        client_final: &str,
        expected: [&str; 2],
    ) {
        let first = ClientFirst::parse(client_first.as_bytes()).unwrap();
        assert_eq!(first.username, "user");
        let password = Password::from("pencil").prepare().ok().unwrap();
        let keys = Keys::derive(
            hash,
            &password,
            encoding::strict(salt).unwrap().to_vec(),
            4096,
        );
        let challenge = server_first(nonce, &keys.salt, keys.iterations);
        assert_eq!(challenge, expected[0]);
        let last = ClientFinal::parse(client_final.as_bytes()).ok().unwrap();
        assert_eq!(agrees(&last, first.gs2_header.as_bytes(), nonce), Ok(()));
        let message = auth_message(&first.bare, &challenge, &last.without_proof);
        assert!(keys.accepts(&message, &last.proof));
        assert_eq!(
            server_final(&keys.signature(&message)),
            expected[1].as_bytes()
        );
        for bit in 0..last.proof.len() * 8 {
            let mut forged = last.proof.to_vec();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!keys.accepts(&message, &forged), "bit {bit}");
        }
        assert!(!keys.accepts(&message, &last.proof[1..]));
    }

    #[test]
    fn rfc5802_section_5() {
        plays(
            Hash::Sha1,
            "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            "fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
            "QSXCR+Q6sek8bf92",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            [
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ],
        );
    }

    #[test]
    fn rfc7677_section_3() {
        plays(
            Hash::Sha256,
            "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            [
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ],
        );
    }

    /// No RFC prints an exchange over SHA-512: the one of RFC 7677, calculated by Python's hashlib.
    #[test]
    fn sha_512() {
        plays(
            Hash::Sha512,
            "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
            [
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
            ],
        );
    }

    #[test]
    fn names_are_unescaped() {
        let first = ClientFirst::parse(b"y,a=me=3Dx,n=a=2Cb=3Dc,r=n0nce,x=later").unwrap();
        assert_eq!(first.username, "a,b=c");
        assert_eq!(first.authzid.as_deref(), Some("me=x"));
        assert_eq!(first.gs2_header, "y,a=me=3Dx,");
        assert_eq!(first.flag, Flag::NotOffered);
        let bound = ClientFirst::parse(b"p=tls-exporter,,n=a,r=b").unwrap();
        assert_eq!(bound.flag, Flag::Bound("tls-exporter".to_owned()));
        assert_eq!(bound.gs2_header, "p=tls-exporter,,");
        assert_eq!(first.bare, "n=a=2Cb=3Dc,r=n0nce,x=later");
    }

    #[test]
    fn first_messages_against_the_grammar_are_refused() {
        let long = "n".repeat(FIELD_BYTES + 1);
        let cases = [
            String::new(),
            "n".into(),
            "n,".into(),
            "n,,".into(),
            "x,,n=user,r=abc".into(),
            "p,,n=user,r=abc".into(),
            "p=,,n=user,r=abc".into(),
            "p=tls exporter,,n=user,r=abc".into(),
            "N,,n=user,r=abc".into(),
            format!("p={long},,n=user,r=abc"),
            "n,b=x,n=user,r=abc".into(),
            "n,,m=ext,n=user,r=abc".into(),
            "n,,n=user,m=ext,r=abc".into(),
            "n,,n=user,r=abc,m=ext".into(),
            "n,,r=abc,n=user".into(),
            "n,,n=user".into(),
            "n,,n=,r=abc".into(),
            "n,,n=user,r=".into(),
            "n,,n=user,r=a b".into(),
            "n,,n=user,r=\u{e4}".into(),
            "n,,n=us=er,r=abc".into(),
            "n,,n=us=2cer,r=abc".into(),
            "n,,n=us\0er,r=abc".into(),
            "n,,n=user,r=abc,".into(),
            "n,,n=user,r=abc,1=x".into(),
            format!("n,,n={long},r=abc"),
            format!("n,a={long},n=user,r=abc"),
            format!("n,,n=user,r={long}"),
        ];
        for case in cases {
            let refused = ClientFirst::parse(case.as_bytes()).unwrap_err();
            assert_eq!(
                refused.condition,
                SaslCondition::MalformedRequest,
                "{case:?}"
            );
        }
        assert!(ClientFirst::parse(b"n,,n=\xff,r=abc").is_err());
    }

    #[test]
    fn final_messages_against_the_grammar_are_refused() {
        for case in [
            "",
            "p=AAAA",
            "c=biws,r=abc",
            "c=biws,r=abc,p=AAA",
            "c=biw,r=abc,p=AAAA",
            "r=abc,c=biws,p=AAAA",
            "c=biws,p=AAAA",
            "c=biws,r=abc,m=x,p=AAAA",
            "c=biws,r=abc,p=AAAA,",
            "c=biws,r=abc,p=AAAA,x=1",
        ] {
            let refused = ClientFinal::parse(case.as_bytes())
                .err()
                .map(|failure| failure.condition);
            assert_eq!(refused, Some(SaslCondition::MalformedRequest), "{case:?}");
        }
        assert!(ClientFinal::parse(b"c=biws,r=abc,x=ignored,p=AAAA").is_ok());
    }

    #[test]
    fn what_was_sent_first_cannot_be_changed() {
        let last = ClientFinal::parse(b"c=biws,r=abcdef,p=AAAA").ok().unwrap();
        assert_eq!(agrees(&last, b"n,,", "abcdef"), Ok(()));
        for (header, nonce) in [
            ("y,,", "abcdef"),
            ("n,a=x,", "abcdef"),
            ("n,,", "abcdeg"),
            ("n,,", "abcde"),
        ] {
            let refused = agrees(&last, header.as_bytes(), nonce).unwrap_err();
            assert_eq!(
                refused.condition,
                SaslCondition::NotAuthorized,
                "{header} {nonce}"
            );
        }
    }

    #[test]
    fn plain_has_two_nuls_and_short_fields() {
        let plain = Plain::parse(b"\0juliet\0r0m30").ok().unwrap();
        assert_eq!(
            (
                plain.authzid,
                plain.authcid.as_str(),
                plain.password.as_str()
            ),
            (None, "juliet", "r0m30")
        );
        let plain = Plain::parse(b"me@a.example\0juliet\0 r0m30 ").ok().unwrap();
        assert_eq!(plain.authzid.as_deref(), Some("me@a.example"));
        let longest = "x".repeat(FIELD_BYTES);
        assert!(Plain::parse(format!("\0juliet\0{longest}").as_bytes()).is_ok());
        let cases: [Vec<u8>; 9] = [
            b"".to_vec(),
            b"juliet".to_vec(),
            b"juliet\0r0m30".to_vec(),
            b"\0juliet\0r0m30\0".to_vec(),
            b"\0\0r0m30".to_vec(),
            b"\0juliet\0".to_vec(),
            b"\0juliet\0\xff".to_vec(),
            format!("\0juliet\0{longest}x").into_bytes(),
            format!("\0{longest}x\0r0m30").into_bytes(),
        ];
        for case in cases {
            let refused = Plain::parse(&case).err().map(|failure| failure.condition);
            assert_eq!(refused, Some(SaslCondition::MalformedRequest), "{case:?}");
        }
    }
}
