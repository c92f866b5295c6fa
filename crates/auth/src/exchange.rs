//! One authentication, from the choice of a mechanism to its end (RFC 6120 §6.4).

use storage::StorageError;
use xmpp::BareJid;
use zeroize::Zeroizing;

use crate::budget::{Budgets, Login};
use crate::credentials::Known;
use crate::hash::Hash;
use crate::password::Password;
use crate::scram::{self, ClientFinal, ClientFirst, Flag, Plain};
use crate::{Auth, Channel, log_failure};
use xmpp::{SaslCondition, SaslFailure};

/// What the server says next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client is to answer this.
    Challenge(Vec<u8>),
    /// The client is who it says.
    Success {
        /// The account.
        account: BareJid,
        /// Data to send along, by which the client knows the server.
        data: Option<Vec<u8>>,
    },
    /// It is not, or that cannot be told. The exchange is over; another may be started.
    Failure(SaslFailure),
}

/// One running authentication. Dropped when the client aborts.
pub struct Exchange {
    auth: Auth,
    host: String,
    channel: Channel,
    mechanism: String,
    /// The name the client gave, at the host.
    name: Option<String>,
    state: State,
}

enum State {
    Plain,
    Scram(Hash),
    /// With channel binding.
    ScramPlus(Hash),
    /// One of these accounts, which the client's certificate names.
    External(Vec<BareJid>),
    Proof(Box<Proof>),
    Over,
}

/// What was said before the client's proof.
struct Proof {
    account: Option<BareJid>,
    known: Known,
    /// What the client must repeat: its GS2 header, and the data of the binding it named there.
    binding: Vec<u8>,
    nonce: String,
    client_first_bare: String,
    server_first: String,
}

impl Exchange {
    pub(crate) fn new(
        auth: Auth,
        host: &str,
        mechanism: &str,
        channel: Channel,
    ) -> Result<Exchange, SaslFailure> {
        let named = |name: fn(Hash) -> &'static str| {
            Hash::ALL.into_iter().find(|hash| name(*hash) == mechanism)
        };
        let state = if let Some(hash) = named(Hash::mechanism) {
            State::Scram(hash)
        } else if let Some(hash) = named(Hash::mechanism_plus)
            && !channel.bindings.is_empty()
        {
            State::ScramPlus(hash)
        } else if mechanism == crate::PLAIN && channel.protected {
            State::Plain
        } else if mechanism == crate::EXTERNAL
            && let certified = channel.certified_at(host)
            && !certified.is_empty()
        {
            State::External(certified)
        } else if mechanism == crate::PLAIN {
            return Err(SaslCondition::EncryptionRequired.into());
        } else {
            return Err(SaslCondition::InvalidMechanism.into());
        };
        Ok(Exchange {
            auth,
            host: host.to_owned(),
            channel,
            mechanism: mechanism.to_owned(),
            name: None,
            state,
        })
    }

    /// Takes the initial response, if there is one; without, asks for it by an empty challenge.
    pub async fn begin(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            Some(response) => self.step(response).await,
            None => Step::Challenge(Vec::new()),
        }
    }

    /// Takes the client's next response, decoded, and says what comes next.
    ///
    /// After a success or failure every further response fails with `malformed-request`.
    pub async fn step(&mut self, response: &[u8]) -> Step {
        let outcome = match std::mem::replace(&mut self.state, State::Over) {
            State::Plain => self.plain(response).await,
            State::Scram(hash) => self.scram_first(hash, false, response).await,
            State::ScramPlus(hash) => self.scram_first(hash, true, response).await,
            State::External(certified) => self.external(&certified, response).await,
            State::Proof(proof) => self.scram_final(*proof, response),
            State::Over => Err(SaslFailure::malformed("no authentication is under way")),
        };
        outcome.unwrap_or_else(|failure| {
            let (address, name) = (self.channel.address, self.name.as_deref());
            log_failure(address, &self.mechanism, name, &failure);
            Step::Failure(failure)
        })
    }

    /// RFC 4616.
    async fn plain(&mut self, response: &[u8]) -> Result<Step, SaslFailure> {
        let plain = Plain::parse(response)?;
        self.name = Some(format!("{}@{}", plain.authcid, self.host));
        let account = account_of(&plain.authcid, &self.host);
        check_authzid(plain.authzid.as_deref(), account.as_ref())?;
        self.within_budget(account.as_ref())?;
        let password = Password::new(String::clone(&plain.password));
        let Ok(prepared) = password.prepare() else {
            self.draw(account.as_ref(), Budgets::failed);
            return Err(SaslCondition::NotAuthorized.into());
        };
        let known = self.look_up(&plain.authcid, account.as_ref(), None).await?;
        let turn = self
            .auth
            .turn()
            .await
            .map_err(|error| cannot_tell(&error))?;
        // Those who came at the same time and had their turn before may have used it up.
        self.within_budget(account.as_ref())?;
        let right = self
            .auth
            .is_password_of(turn, &known, prepared.clone())
            .await
            .map_err(|error| cannot_tell(&error))?;
        let step = self.judge(right, &known, account.clone(), None)?;
        if let Some(account) = &account {
            self.auth.upgrade(account, &known, prepared).await;
        }
        Ok(step)
    }

    /// XEP-0178 §2: the client is the account it names, or the only one that its certificate names. Draws on no
    /// budget: there is nothing to guess.
    async fn external(
        &mut self,
        certified: &[BareJid],
        response: &[u8],
    ) -> Result<Step, SaslFailure> {
        let authzid = scram::identity(response)?;
        let account = match (authzid, certified) {
            (None, [only]) => only,
            (None, _) => {
                return Err(SaslCondition::InvalidAuthzid.text("the certificate names several"));
            }
            (Some(authzid), _) => {
                self.name = Some(authzid.to_owned());
                let named = certified.iter().find(|own| is_named(authzid, own));
                named.ok_or_else(|| SaslFailure::from(SaslCondition::InvalidAuthzid))?
            }
        };
        self.name = Some(account.to_string());
        let owner = self.auth.account(account).await;
        match owner.map_err(|error| cannot_tell(&error))? {
            Some(owner) if owner.disabled => Err(SaslCondition::AccountDisabled.into()),
            Some(_) => Ok(Step::Success {
                account: account.clone(),
                data: None,
            }),
            None => Err(SaslCondition::NotAuthorized.into()),
        }
    }

    /// RFC 5802 §5: the client's first message, and ours.
    async fn scram_first(
        &mut self,
        hash: Hash,
        plus: bool,
        response: &[u8],
    ) -> Result<Step, SaslFailure> {
        let first = ClientFirst::parse(response)?;
        self.name = Some(format!("{}@{}", first.username, self.host));
        let mut binding = first.gs2_header.clone().into_bytes();
        binding.extend_from_slice(self.binding(&first.flag, plus)?);
        let account = account_of(&first.username, &self.host);
        check_authzid(first.authzid.as_deref(), account.as_ref())?;
        self.within_budget(account.as_ref())?;
        let known = self
            .look_up(&first.username, account.as_ref(), Some(hash))
            .await?;
        let nonce = format!(
            "{}{}",
            first.nonce,
            self.auth.nonce().map_err(|error| cannot_tell(&error))?
        );
        let server_first = scram::server_first(&nonce, &known.keys.salt, known.keys.iterations);
        let challenge = server_first.clone().into_bytes();
        self.state = State::Proof(Box::new(Proof {
            account,
            known,
            binding,
            nonce,
            client_first_bare: first.bare,
            server_first,
        }));
        Ok(Step::Challenge(challenge))
    }

    /// The data of the channel binding that the client's flag names (RFC 5802 §6). The texts of the failures are
    /// those of SCRAM's `e=` (§7).
    fn binding(&self, flag: &Flag, plus: bool) -> Result<&[u8], SaslFailure> {
        match flag {
            Flag::Bound(name) if plus => self.channel.binding(name).ok_or_else(|| {
                SaslCondition::NotAuthorized.text("unsupported-channel-binding-type")
            }),
            Flag::Bound(_) => Err(SaslFailure::malformed(
                "this mechanism has no channel binding",
            )),
            Flag::Unbound | Flag::NotOffered if plus => Err(SaslFailure::malformed(
                "this mechanism needs a channel binding",
            )),
            // Somebody between us took the offer out of the features.
            Flag::NotOffered if self.auth.offers_binding(&self.host, &self.channel) => {
                Err(SaslCondition::NotAuthorized.text("server-does-support-channel-binding"))
            }
            Flag::Unbound | Flag::NotOffered => Ok(&[]),
        }
    }

    async fn look_up(
        &self,
        username: &str,
        account: Option<&BareJid>,
        hash: Option<Hash>,
    ) -> Result<Known, SaslFailure> {
        let name = account.map_or_else(|| format!("{username}@{}", self.host), ToString::to_string);
        let known = self.auth.known(&name, account, hash).await;
        known.map_err(|error| cannot_tell(&error))
    }

    /// RFC 5802 §5: the client's proof, and ours.
    fn scram_final(&self, proof: Proof, response: &[u8]) -> Result<Step, SaslFailure> {
        let last = ClientFinal::parse(response)?;
        scram::agrees(&last, &proof.binding, &proof.nonce)?;
        // Other exchanges that were begun as early may have used it up.
        self.within_budget(proof.account.as_ref())?;
        let message = scram::auth_message(
            &proof.client_first_bare,
            &proof.server_first,
            &last.without_proof,
        );
        let right = proof.known.keys.accepts(&message, &last.proof);
        let signature = proof.known.keys.signature(&message);
        let data = Some(scram::server_final(&signature));
        self.judge(right, &proof.known, proof.account, data)
    }

    /// The end of an exchange whose credentials were right or wrong; the only place where a failure is counted.
    fn judge(
        &self,
        right: bool,
        known: &Known,
        account: Option<BareJid>,
        data: Option<Vec<u8>>,
    ) -> Result<Step, SaslFailure> {
        match (account, &known.owner) {
            (Some(_), Some(owner)) if right && owner.disabled => {
                Err(SaslCondition::AccountDisabled.into())
            }
            (Some(account), Some(_)) if right => {
                self.draw(Some(&account), Budgets::succeeded);
                Ok(Step::Success { account, data })
            }
            (account, _) => {
                self.draw(account.as_ref(), Budgets::failed);
                Err(SaslCondition::NotAuthorized.into())
            }
        }
    }

    /// Refuses, before anything is looked up or hashed, a login that has to wait.
    fn within_budget(&self, account: Option<&BareJid>) -> Result<(), SaslFailure> {
        let Some(wait) = self.draw(account, Budgets::wait) else {
            return Ok(());
        };
        let seconds = wait.as_secs() + 1;
        let text = format!("too many failed logins; try again in {seconds} s");
        Err(SaslCondition::TemporaryAuthFailure.text(text))
    }

    fn draw<T>(&self, account: Option<&BareJid>, from: fn(&Budgets, Login<'_>) -> T) -> T {
        let account = account.map(ToString::to_string);
        let login = Login {
            account: account.as_deref(),
            address: self.channel.address,
        };
        from(self.auth.budgets(), login)
    }
}

/// The account of a user name at a host, if the name can be one (RFC 6120 §6.3.8).
fn account_of(username: &str, host: &str) -> Option<BareJid> {
    let prepared = Zeroizing::new(stringprep::saslprep(username).ok()?.into_owned());
    if prepared.is_empty() || prepared.contains(['@', '/']) {
        return None;
    }
    let account = xmpp::parse_bare(&format!("{}@{host}", *prepared)).ok()?;
    (account.domain().as_str() == host && account.node().is_some()).then_some(account)
}

/// Lets a client act only as itself, named by its bare JID (RFC 6120 §6.3.8).
fn check_authzid(authzid: Option<&str>, account: Option<&BareJid>) -> Result<(), SaslFailure> {
    let Some(authzid) = authzid else {
        return Ok(());
    };
    if account.is_some_and(|own| is_named(authzid, own)) {
        Ok(())
    } else {
        Err(SaslCondition::InvalidAuthzid.into())
    }
}

/// Whether an authorization identity is the bare JID of `own`, in whatever writing.
fn is_named(authzid: &str, own: &BareJid) -> bool {
    let identity = xmpp::parse_bare(authzid);
    !authzid.contains('/') && identity.is_ok_and(|identity| identity == *own)
}

/// The third outcome: neither yes nor no. Logged here, where it goes no further.
fn cannot_tell(error: &StorageError) -> SaslFailure {
    tracing::error!(target: "natter::auth", %error, "an authentication could not be decided");
    SaslCondition::TemporaryAuthFailure.into()
}
