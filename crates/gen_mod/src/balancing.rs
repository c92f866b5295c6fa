//! The option of modules that serve with several processes.

use router::BalanceBy;

config::choice! {
    /// What decides which process of a service takes a packet.
    pub enum Balancing {
        /// Chance.
        Random = "random",
        /// The sender's full address.
        Source = "source",
        /// The recipient's full address.
        Destination = "destination",
        /// The sender's bare address: all devices of an account meet the same process.
        BareSource = "bare_source",
        /// The recipient's bare address.
        BareDestination = "bare_destination",
    }
}

impl From<Balancing> for BalanceBy {
    fn from(balancing: Balancing) -> BalanceBy {
        match balancing {
            Balancing::Random => BalanceBy::Random,
            Balancing::Source => BalanceBy::Source,
            Balancing::Destination => BalanceBy::Destination,
            Balancing::BareSource => BalanceBy::BareSource,
            Balancing::BareDestination => BalanceBy::BareDestination,
        }
    }
}
