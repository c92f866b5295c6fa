//! What administrators ask of a room's process.

use storage::{Affiliated, Affiliation};
use xmpp::{BareJid, Jid, StanzaError};

use crate::room::{Phase, Room};
use crate::rules::Role;

/// What a room can be asked.
pub(crate) enum Call {
    /// Make it, with these options, an owner if any.
    Create(Vec<(String, String)>, Option<BareJid>),
    /// End it.
    Destroy(Option<String>, Option<Jid>),
    /// Who is there.
    Occupants,
    /// Who is associated with it.
    Affiliations,
    /// Associate somebody with it.
    SetAffiliation(BareJid, Affiliation, Option<String>),
    /// Its options.
    Options,
    /// Change options.
    SetOptions(Vec<(String, String)>),
}

/// Somebody who is there.
pub(crate) struct Present {
    pub(crate) nick: String,
    pub(crate) jid: Jid,
    pub(crate) role: Role,
    pub(crate) affiliation: Affiliation,
}

/// What it answers.
pub(crate) enum Reply {
    Done,
    Occupants(Vec<Present>),
    Affiliations(Vec<Affiliated>),
    Options(Vec<(&'static str, String)>),
    /// It could not, and why.
    Refused(String),
}

impl Room {
    /// Does what an administrator asks.
    pub(crate) async fn command(&mut self, call: Call) -> Reply {
        match self.obey(call).await {
            Ok(reply) => reply,
            Err(error) => Reply::Refused(error.text.clone().unwrap_or_else(|| error.to_string())),
        }
    }

    async fn obey(&mut self, call: Call) -> Result<Reply, StanzaError> {
        if self.phase == Phase::Absent && !matches!(call, Call::Create(..)) {
            return Ok(Reply::Refused("there is no such room".into()));
        }
        Ok(match call {
            Call::Create(options, owner) => self.make(&options, owner).await?,
            Call::Destroy(reason, venue) => {
                self.end(venue.as_ref(), reason, None).await?;
                Reply::Done
            }
            Call::Occupants => {
                let present = |(_, who): (u64, &crate::occupants::Occupant)| {
                    let (nick, role, affiliation) = (who.nick.clone(), who.role, who.affiliation);
                    let devices = who.devices.iter();
                    let row = move |device: &crate::occupants::Device| Present {
                        nick: nick.clone(),
                        jid: Jid::clone(&device.to),
                        role,
                        affiliation,
                    };
                    devices.map(row).collect::<Vec<_>>()
                };
                Reply::Occupants(self.occupants.iter().flat_map(present).collect())
            }
            Call::Affiliations => Reply::Affiliations(self.affiliations.all().cloned().collect()),
            Call::SetAffiliation(user, affiliation, reason) => {
                let mut row = self.changed_row(&user, affiliation);
                row.reason = reason;
                let rows = [(user, row)].into();
                self.keeps_an_owner(&rows)?;
                let changed = self.keep_affiliations(rows.into_values().collect()).await?;
                let mut after = Vec::new();
                let invited = self.apply_affiliations(changed, None, &mut after);
                self.push_all(after);
                let here = self.here();
                for user in invited {
                    self.invite_member(&user, &here);
                }
                Reply::Done
            }
            Call::Options => Reply::Options(self.config.options()),
            Call::SetOptions(options) => {
                let config = match self.with_options(&options) {
                    Ok(config) => config,
                    Err(why) => return Ok(Reply::Refused(why)),
                };
                self.reconfigure(config, Vec::new(), None).await?;
                Reply::Done
            }
        })
    }

    fn with_options(
        &self,
        options: &[(String, String)],
    ) -> Result<crate::config::RoomConfig, String> {
        let (mut config, bounds) = (self.config.clone(), self.service.bounds());
        for (name, value) in options {
            config.set(name, value, &bounds)?;
        }
        if config.protected && config.password.is_empty() {
            return Err("roomsecret: a protected room needs a password".into());
        }
        Ok(config)
    }

    async fn make(
        &mut self,
        options: &[(String, String)],
        owner: Option<BareJid>,
    ) -> Result<Reply, StanzaError> {
        if self.phase != Phase::Absent {
            return Ok(Reply::Refused("there is such a room already".into()));
        }
        self.forget();
        // One that nobody is in would end at once.
        self.config.persistent = true;
        let config = match self.with_options(options) {
            Ok(config) => config,
            Err(why) => return Ok(Reply::Refused(why)),
        };
        self.created = self.now();
        self.phase = Phase::Locked;
        if let Some(owner) = owner {
            self.affiliations.put(Affiliated {
                version: 1,
                ..self.changed_row(&owner, Affiliation::Owner)
            });
        }
        let made = self.reconfigure(config, Vec::new(), None).await;
        if made.is_err() {
            self.forget();
        }
        made.map(|_| Reply::Done)
    }
}
