//! Leadership: a member of etcd that leads hands over before it stops, so that the others do not wait for an election.

use crate::access::with_causes;
use crate::converge::{ANSWER, Actor};
use crate::live::Outcome;

impl Actor<'_> {
    /// Hands leadership to a member that answers; says what came of it, and nothing if this member does not lead.
    ///
    /// A failure is no reason not to stop: then the others elect a leader after a second or two.
    pub(super) fn hand_over(&self) -> Option<String> {
        let client = self.access().etcd(ANSWER).ok()?;
        let status = client.status().ok().filter(crate::etcd::Status::leads)?;
        let members = client.members().ok()?;
        let answering = self.inventory.live.iter().flat_map(|live| &live.members);
        let answering: Vec<&str> = answering
            .filter(|member| !member.here && member.state == Outcome::Pass)
            .map(|member| member.name.as_str())
            .collect();
        let heir = members.iter().find(|member| {
            member.id != status.member_id
                && !member.is_learner
                && answering.contains(&member.name.as_str())
        })?;
        Some(match client.move_leader(&heir.id) {
            Ok(()) => format!("handed leadership to {}", heir.name),
            Err(error) => format!(
                "could not hand leadership to {}: {}",
                heir.name,
                with_causes(&error)
            ),
        })
    }
}
