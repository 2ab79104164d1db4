//! Who may be connected: how many at once, how many from one address, and who has to go when somebody new comes. A connection that only
//! waits for its client, be it for a request or for the client to read an answer, gives way; one that is served does not.

use crate::error::lock;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::AbortHandle;

/// How many connections there may be, and how long each may keep the server waiting.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// At once.
    pub most: usize,
    /// At once, from one address; of IPv6 from one network of 64 bits, which is what a client has.
    pub most_of_an_address: usize,
    /// From the beginning of a connection, or from the end of an answer, to the end of the next request's head.
    pub head_patience: Duration,
    /// While an answer is sent, for the client to take some of it.
    pub write_patience: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        let (head_patience, write_patience) = (Duration::from_secs(60), Duration::from_secs(30));
        Self { most: 1024, most_of_an_address: 512, head_patience, write_patience }
    }
}

impl ConnectionLimits {
    /// With room for all whose texts are computed or wait, even if they come from one address, and for as many again.
    pub(super) fn with_room_for(self, places: usize) -> Self {
        Self { most: self.most.max(places.saturating_mul(2)), most_of_an_address: self.most_of_an_address.max(places), ..self }
    }
}

/// What a connection is about. In the order in which connections give way, the last never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// No request has come, or not all of its head.
    Idle,
    /// A request's body is on its way.
    Reading,
    /// The client does not take what is sent.
    Blocked,
    /// A request is served.
    Working,
}

impl Phase {
    /// With their names in metrics.
    pub const ALL: [(Self, &str); 4] =
        [(Self::Idle, "idle"), (Self::Reading, "reading"), (Self::Blocked, "blocked"), (Self::Working, "working")];
}

/// All connections.
#[derive(Debug)]
pub(super) struct Admission {
    pub limits: ConnectionLimits,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<u64, Entry>,
    /// Counts what happens: the later, the higher.
    clock: u64,
    num_closed: u64,
}

#[derive(Debug)]
struct Entry {
    network: IpAddr,
    phase: Phase,
    is_blocked: bool,
    since: u64,
    task: Option<AbortHandle>,
}

/// What is known of all connections at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ConnectionCounts {
    /// As [`Phase::ALL`].
    pub by_phase: [usize; 4],
    /// Closed so far to make room for new ones.
    pub num_closed: u64,
}

/// One of the connections; it is over when all copies are dropped.
#[derive(Debug, Clone)]
pub(super) struct Connection(Arc<Admitted>);

#[derive(Debug)]
struct Admitted {
    admission: Arc<Admission>,
    id: u64,
}

impl Admission {
    pub fn new(limits: ConnectionLimits) -> Self {
        Self { limits, table: Mutex::default() }
    }

    /// Takes on a connection from `address`, for which another may have to go; none if all others are served.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Connection> {
        let mut table = lock(&self.table);
        let network = network_of(address);
        let of_network = table.entries.values().filter(|entry| entry.network == network).count();
        if of_network >= self.limits.most_of_an_address && !table.close_one(|entry| entry.network == network)
            || table.entries.len() >= self.limits.most && !table.close_one(|_| true)
        {
            return None;
        }
        let id = table.tick();
        table.entries.insert(id, Entry { network, phase: Phase::Idle, is_blocked: false, since: id, task: None });
        Some(Connection(Arc::new(Admitted { admission: Arc::clone(self), id })))
    }

    /// Closes a connection that gives way, for the system lets no more be opened; whether there was one.
    pub fn make_room(&self) -> bool {
        lock(&self.table).close_one(|_| true)
    }

    pub fn counts(&self) -> ConnectionCounts {
        let table = lock(&self.table);
        let count = |phase: Phase| table.entries.values().filter(|entry| entry.shown_phase() == phase).count();
        ConnectionCounts { by_phase: Phase::ALL.map(|(phase, _)| count(phase)), num_closed: table.num_closed }
    }
}

impl Table {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Closes the one that gives way first among those of which `may_go` is true: of the address that has the most, the oldest in the
    /// phase that gives way first.
    fn close_one(&mut self, may_go: impl Fn(&Entry) -> bool) -> bool {
        let mut of_network: BTreeMap<IpAddr, usize> = BTreeMap::new();
        self.entries.values().for_each(|entry| *of_network.entry(entry.network).or_default() += 1);
        let candidates = self.entries.iter().filter(|(_, entry)| may_go(entry) && entry.shown_phase() != Phase::Working);
        let order = |entry: &Entry| (usize::MAX - of_network[&entry.network], entry.shown_phase(), entry.since);
        let Some(id) = candidates.min_by_key(|(_, entry)| order(entry)).map(|(id, _)| *id) else { return false };
        if let Some(task) = self.entries.remove(&id).and_then(|entry| entry.task) {
            task.abort();
        }
        self.num_closed += 1;
        true
    }
}

impl Entry {
    fn shown_phase(&self) -> Phase {
        if self.is_blocked { Phase::Blocked } else { self.phase }
    }
}

impl Connection {
    /// What ends it.
    pub fn set_task(&self, task: AbortHandle) {
        self.change(|entry| entry.task = Some(task));
    }

    pub fn enter(&self, phase: Phase) {
        self.change(|entry| entry.phase = phase);
    }

    /// Whether the client takes what is sent.
    pub fn set_blocked(&self, is_blocked: bool) {
        self.change(|entry| entry.is_blocked = is_blocked);
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        let mut table = lock(&self.0.admission.table);
        let now = table.tick();
        let Some(entry) = table.entries.get_mut(&self.0.id) else { return };
        let before = entry.shown_phase();
        change(entry);
        if entry.shown_phase() != before {
            entry.since = now;
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        lock(&self.admission.table).entries.remove(&self.id);
    }
}

/// What counts as one address: providers give each client 64 bits of IPv6.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
