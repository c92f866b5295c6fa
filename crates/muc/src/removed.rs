//! An account was removed: what it was to a room ends, also in a room that is open.

use otp::Ctx;
use storage::{Affiliated, Affiliation, Batch};
use xmpp::BareJid;

use crate::admin::Changed;
use crate::room::{Phase, Room};

impl Room {
    /// Takes affiliation, reserved nickname, hats and requests of an account away. The store has forgotten its
    /// affiliations already: what is written is the mark of their end (XEP-0463), and nobody waits for it.
    pub(crate) fn account_gone(&mut self, user: &BareJid, ctx: &mut Ctx<Room>) {
        self.requests.remove(user);
        let mut batch = Batch::new();
        let wore = self.hats.iter().any(|hat| hat.wearers.contains(user));
        if wore {
            for hat in &mut self.hats {
                hat.wearers.retain(|wearer| wearer != user);
            }
            batch.put_room(self.stored(&self.config));
            for number in self.occupants.of(user) {
                if let Some(who) = self.occupants.change(number) {
                    who.hats.clear();
                }
            }
        }
        let before = self.affiliations.row(user).map(|row| row.affiliation);
        let mut changed = Vec::new();
        if let Some(before) = before {
            let row = Affiliated {
                jid: user.clone(),
                affiliation: Affiliation::None,
                nick: None,
                reason: None,
                version: self.affiliations.version() + 1,
            };
            batch.set_affiliation(&self.address, row.clone());
            self.affiliations.put(row.clone());
            changed.push(Changed { before, row });
        }
        if self.phase == Phase::Open && !batch.is_empty() {
            self.store(batch, Vec::new(), Vec::new(), ctx);
        }
        let mut after = Vec::new();
        let _ = self.apply_affiliations(changed, None, &mut after);
        self.push_all(after);
        self.tidy(ctx);
    }
}
