//! Facts: what the node's own files and interfaces say about it, each with where it was read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A value and its origin.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fact {
    /// The value as text.
    pub value: String,
    /// Where it comes from, for people: `--advertise-address in kube-apiserver.yaml`.
    pub why: String,
}

/// Facts by key: `flag:kube-apiserver:advertise-address`, `fact:node-name`, `kubeconfig`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Facts(BTreeMap<String, Vec<Fact>>);

impl Facts {
    /// Adds a value under `key`, unless the same value is there already.
    pub fn add(
        &mut self,
        key: impl Into<String>,
        value: impl Into<String>,
        why: impl Into<String>,
    ) {
        let (value, why) = (value.into(), why.into());
        let values = self.0.entry(key.into()).or_default();
        if values.iter().all(|known| known.value != value) {
            values.push(Fact { value, why });
        }
    }

    /// The values under `key`, in the order in which they were found.
    pub fn all(&self, key: &str) -> &[Fact] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// The first value under `key`.
    pub fn first(&self, key: &str) -> Option<&Fact> {
        self.all(key).first()
    }

    /// All keys with their values, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Fact])> {
        self.0
            .iter()
            .map(|(key, values)| (key.as_str(), values.as_slice()))
    }
}
