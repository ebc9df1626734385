//! What an attempt to connect tells its pool.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use httpcore_core_primitives::{AddressRefused, ConnectTarget};

use crate::route::Route;

/// What an attempt to connect has found out so far. Part of a [`ConnectContext`](crate::ConnectContext);
/// clones are handles to the same record.
///
/// [`Connect`](crate::Connect) writes it. A record that the pool does not need keeps nothing.
#[derive(Clone, Debug, Default)]
pub struct ConnectRecord(Option<Arc<Mutex<Vec<Target>>>>);

/// A [`ConnectTarget`] that has been connected to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    address: Option<SocketAddr>,
    host: Box<str>,
    port: u16,
    hop: usize,
    is_proxy: bool,
}

impl ConnectRecord {
    /// The record of an attempt along `route`.
    pub(crate) fn for_route(route: &Route) -> Self {
        ConnectRecord((!route.filters().is_empty()).then(Arc::default))
    }

    /// Records that `target` is what the connection leads to at its hop, in place of what was recorded
    /// for that hop.
    pub fn connected_to(&self, target: &ConnectTarget<'_>) {
        let Some(mut targets) = self.lock() else {
            return;
        };
        targets.retain(|known| known.hop != target.hop);
        targets.push(Target {
            address: target.address,
            host: target.host.into(),
            port: target.port,
            hop: target.hop,
            is_proxy: target.is_proxy,
        });
    }

    pub(crate) fn into_targets(self) -> Vec<Target> {
        self.lock()
            .map(|mut targets| std::mem::take(&mut *targets))
            .unwrap_or_default()
    }

    fn lock(&self) -> Option<MutexGuard<'_, Vec<Target>>> {
        let targets = self.0.as_deref()?;
        Some(targets.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Target {
    /// Calls the filters of `route` again.
    pub(crate) fn check(&self, route: &Route) -> Result<(), AddressRefused> {
        let target =
            ConnectTarget::new(&self.host, self.port, self.address).at_hop(self.hop, self.is_proxy);
        let mut filters = route.filters().iter();
        filters.try_for_each(|filter| filter.check(&target))
    }
}
