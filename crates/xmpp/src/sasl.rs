//! How an authentication fails, in the words of the protocol (RFC 6120 §6.5).

use std::fmt;

/// The defined conditions of `<failure/>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaslCondition {
    /// The client sent `<abort/>` (§6.5.1).
    Aborted,
    /// The account has been disabled (§6.5.2).
    AccountDisabled,
    /// The credentials have expired (§6.5.3).
    CredentialsExpired,
    /// The mechanism needs an encrypted stream (§6.5.4).
    EncryptionRequired,
    /// What was sent is not base64 (§6.5.5).
    IncorrectEncoding,
    /// The authorization identity is not one the client may act as (§6.5.6).
    InvalidAuthzid,
    /// There is no such mechanism here (§6.5.7).
    InvalidMechanism,
    /// What was sent breaks the mechanism's grammar (§6.5.8).
    MalformedRequest,
    /// The mechanism is too weak for this account (§6.5.9).
    MechanismTooWeak,
    /// The credentials are wrong, or there is no such account (§6.5.10).
    NotAuthorized,
    /// It cannot be told now (§6.5.11).
    TemporaryAuthFailure,
}

impl SaslCondition {
    /// A failure of this condition with an explanation in English.
    pub fn text(self, text: impl Into<String>) -> SaslFailure {
        SaslFailure {
            condition: self,
            text: Some(text.into()),
        }
    }

    /// The name of the condition's element.
    pub fn as_str(self) -> &'static str {
        match self {
            SaslCondition::Aborted => "aborted",
            SaslCondition::AccountDisabled => "account-disabled",
            SaslCondition::CredentialsExpired => "credentials-expired",
            SaslCondition::EncryptionRequired => "encryption-required",
            SaslCondition::IncorrectEncoding => "incorrect-encoding",
            SaslCondition::InvalidAuthzid => "invalid-authzid",
            SaslCondition::InvalidMechanism => "invalid-mechanism",
            SaslCondition::MalformedRequest => "malformed-request",
            SaslCondition::MechanismTooWeak => "mechanism-too-weak",
            SaslCondition::NotAuthorized => "not-authorized",
            SaslCondition::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }
}

/// Why an authentication failed. Says nothing that tells a wrong password from a missing account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaslFailure {
    /// The condition.
    pub condition: SaslCondition,
    /// An explanation in English, for the `<text/>` element.
    pub text: Option<String>,
}

impl SaslFailure {
    /// A breach of the mechanism's grammar.
    pub fn malformed(text: &str) -> SaslFailure {
        SaslCondition::MalformedRequest.text(text)
    }
}

impl From<SaslCondition> for SaslFailure {
    fn from(condition: SaslCondition) -> SaslFailure {
        SaslFailure {
            condition,
            text: None,
        }
    }
}

impl fmt::Display for SaslFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.condition.as_str())?;
        match &self.text {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SaslFailure {}
