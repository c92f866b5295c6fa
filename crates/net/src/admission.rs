//! How many strangers are let in at once.
//!
//! A connection holds a [`Ticket`] until it has shown who it is. Over the total, a listener accepts no more
//! until one that holds a ticket has logged in or gone: the others wait in the system's queue. Over the share of one
//! address, the connection is closed. This machine's own addresses have no share, only the total.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// As many places as can be counted.
const MOST: usize = Semaphore::MAX_PERMITS;

/// The places for connections that have not logged in. Clones are the same.
#[derive(Clone)]
pub struct Admission(Arc<Inner>);

struct Inner {
    places: Arc<Semaphore>,
    total: Mutex<Total>,
    per_address: AtomicUsize,
    here: Mutex<HashMap<IpAddr, usize>>,
}

/// How many places there are to be.
struct Total {
    places: usize,
    /// Places that are taken and will not be given again when they are free: there are to be fewer.
    over: usize,
}

impl Admission {
    /// So many places, of which one address may have so many. At least one each.
    pub fn new(places: usize, per_address: usize) -> Admission {
        let places = places.clamp(1, MOST);
        Admission(Arc::new(Inner {
            places: Arc::new(Semaphore::new(places)),
            total: Mutex::new(Total { places, over: 0 }),
            per_address: AtomicUsize::new(per_address.max(1)),
            here: Mutex::default(),
        }))
    }

    /// As many places from now on. Nobody who has one loses it: with fewer, some are not given again.
    pub fn set(&self, places: usize, per_address: usize) {
        let places = places.clamp(1, MOST);
        self.0
            .per_address
            .store(per_address.max(1), Ordering::Relaxed);
        let mut total = self.0.total.lock();
        let before = std::mem::replace(&mut total.places, places);
        if let Some(more) = places.checked_sub(before) {
            let back = total.over.min(more);
            total.over -= back;
            self.0.places.add_permits(more - back);
        } else {
            let fewer = before - places;
            total.over += fewer - self.0.places.forget_permits(fewer);
        }
    }

    /// Waits for a place.
    pub(crate) async fn place(&self) -> Place {
        let permit = Arc::clone(&self.0.places).acquire_owned().await;
        Place {
            permit: Some(permit.expect("the places are never closed")),
            of: Arc::clone(&self.0),
        }
    }

    /// Gives the ticket of a client from `address` that is no connection of its own; none where there is no place now,
    /// or too many came from there.
    pub fn ticket_now(&self, address: IpAddr) -> Option<Ticket> {
        let permit = Arc::clone(&self.0.places).try_acquire_owned().ok()?;
        let place = Place {
            permit: Some(permit),
            of: Arc::clone(&self.0),
        };
        self.ticket(place, address)
    }

    /// Turns a place into the ticket of a connection on which many speak, who are not known yet: it has a place and
    /// counts for nobody's share.
    pub(crate) fn ticket_of_forwarder(place: Place) -> Ticket {
        Ticket {
            _place: place,
            counted: None,
        }
    }

    /// Whether somebody has to wait for a place.
    pub(crate) fn is_full(&self) -> bool {
        self.0.places.available_permits() == 0
    }

    /// Turns a place into the ticket of a connection from `address`; none if too many came from there.
    pub(crate) fn ticket(&self, place: Place, address: IpAddr) -> Option<Ticket> {
        let address = network_of(address);
        if address.is_loopback() {
            return Some(Admission::ticket_of_forwarder(place));
        }
        let mut here = self.0.here.lock();
        let count = here.entry(address).or_default();
        if *count >= self.0.per_address.load(Ordering::Relaxed) {
            return None;
        }
        *count += 1;
        Some(Ticket {
            _place: place,
            counted: Some((address, Arc::clone(&self.0))),
        })
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("free", &self.0.places.available_permits())
            .finish_non_exhaustive()
    }
}

/// A place whose holder's address is not known yet.
pub(crate) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    of: Arc<Inner>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut total = self.of.total.lock();
        if total.over > 0
            && let Some(permit) = self.permit.take()
        {
            total.over -= 1;
            permit.forget();
        }
    }
}

/// The ticket of one connection. Dropped when it has logged in, or with the connection.
pub struct Ticket {
    _place: Place,
    counted: Option<(IpAddr, Arc<Inner>)>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some((address, of)) = &self.counted else {
            return;
        };
        let mut here = of.here.lock();
        if let Some(count) = here.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                here.remove(address);
            }
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.counted.as_ref().map(|(address, _)| address);
        f.debug_tuple("Ticket").field(&address).finish()
    }
}

/// What an address is counted by: in IPv6 the /64 network that one customer is given.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into()
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// A ticket, if there is a place at once and a share left.
    fn enter(admission: &Admission, address: &str) -> Option<Ticket> {
        let place = admission.place().now_or_never()?;
        admission.ticket(place, at(address))
    }

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let admission = Admission::new(100, 2);
        let first = enter(&admission, "192.0.2.1").expect("a ticket");
        let _second = enter(&admission, "::ffff:192.0.2.1").expect("a ticket");
        assert!(enter(&admission, "192.0.2.1").is_none());
        assert!(enter(&admission, "192.0.2.2").is_some());
        drop(first);
        assert!(enter(&admission, "192.0.2.1").is_some());
        let _six: Vec<_> = ["2001:db8::1", "2001:db8::2"]
            .map(|a| enter(&admission, a))
            .into();
        assert!(enter(&admission, "2001:db8::3").is_none(), "one network");
        assert!(enter(&admission, "2001:db8:0:1::3").is_some());
    }

    #[test]
    fn places_are_added_and_taken_back_while_people_have_them() {
        let admission = Admission::new(2, 1);
        let mut here: Vec<_> = ["192.0.2.1", "192.0.2.2"]
            .map(|address| enter(&admission, address).expect("a ticket"))
            .into();
        assert!(enter(&admission, "192.0.2.3").is_none());
        admission.set(3, 2);
        here.push(enter(&admission, "192.0.2.1").expect("a place more, and a share"));
        assert!(admission.is_full());
        // Fewer: nobody has to go, and nobody comes before there is room again.
        admission.set(1, 2);
        here.pop();
        here.pop();
        assert!(enter(&admission, "192.0.2.4").is_none());
        here.pop();
        let one = enter(&admission, "192.0.2.4").expect("the one place");
        assert!(enter(&admission, "192.0.2.5").is_none());
        // Fewer and more again, while one place is still over.
        admission.set(3, 2);
        here.push(enter(&admission, "192.0.2.5").expect("a place"));
        here.push(enter(&admission, "192.0.2.6").expect("a place"));
        admission.set(1, 2);
        admission.set(2, 2);
        drop(one);
        assert!(enter(&admission, "192.0.2.7").is_none());
        here.pop();
        assert!(enter(&admission, "192.0.2.7").is_some());
    }

    #[test]
    fn the_total_holds_for_all_and_the_machine_itself_has_no_share() {
        let admission = Admission::new(3, 1);
        let tickets: Vec<_> = ["127.0.0.1", "127.0.0.1", "::1"]
            .map(|address| enter(&admission, address).expect("a ticket"))
            .into();
        assert!(admission.is_full());
        assert!(admission.ticket_now(at("127.0.0.1")).is_none());
        assert!(enter(&admission, "192.0.2.1").is_none());
        drop(tickets);
        assert!(enter(&admission, "192.0.2.1").is_some());
        assert!(!admission.is_full());
        let _one = admission.ticket_now(at("192.0.2.1")).expect("a ticket");
        assert!(admission.ticket_now(at("192.0.2.1")).is_none());
    }
}
