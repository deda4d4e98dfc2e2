//! The ledger of a site: a fold over the journals of all its runs.

use crate::flow::site::Site;
use crate::ledger::{self, Entry};
use crate::store::StoreError;

impl Site {
    /// Every entry of every readable run, in order of time.
    pub fn ledger(&self) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        for name in self.run_names()? {
            if let Ok(run) = self.open_run(&name) {
                entries.extend(ledger::entries(&run.plan, run.records()));
            }
        }
        entries.sort_by_key(|entry| entry.created_at);
        Ok(entries)
    }
}
