//! What every kit holds, compiled in: a stick is filled from the binary alone, without a network.

use crate::kit::{File, MANUAL};
use crate::profile::builtin;
use crate::render::manual;
use crate::{runbook, template};

const MANUAL_TEXT: &str = include_str!("../../rescue-kit.md");

/// Texts as they are in the repository.
const TEXTS: [(&str, &str); 6] = [
    ("CONTENTS.txt", include_str!("../../kit/CONTENTS.txt")),
    ("README.txt", include_str!("../../kit/README.txt")),
    (MANUAL, MANUAL_TEXT),
    ("LICENSE-MIT", include_str!("../../LICENSE-MIT")),
    (
        "ansible/hosts.ini",
        include_str!("../../kit/ansible/hosts.ini"),
    ),
    (
        "ansible/rescue.yml",
        include_str!("../../kit/ansible/rescue.yml"),
    ),
];

/// Scripts.
const SCRIPTS: [(&str, &str); 2] = [
    (
        "scripts/install.sh",
        include_str!("../../kit/scripts/install.sh"),
    ),
    (
        "scripts/nodes.sh",
        include_str!("../../kit/scripts/nodes.sh"),
    ),
];

/// Everything but the binary, completions and man pages; in no order.
pub fn contents() -> Vec<File> {
    let mut files = vec![
        File::new("rescue-kit.html", manual::html(MANUAL_TEXT)),
        File::new("templates/ca.json", template::CA),
    ];
    files.extend(TEXTS.map(|(name, text)| File::new(name, text)));
    files.extend(SCRIPTS.map(|(name, text)| File::program(name, text)));
    let profile = |name| {
        Some(File::new(
            format!("profiles/{name}.toml"),
            builtin::text(name)?,
        ))
    };
    files.extend(builtin::names().filter_map(profile));
    let template = |name| {
        Some(File::new(
            format!("templates/{name}.json"),
            template::text(name)?,
        ))
    };
    files.extend(template::names().into_iter().filter_map(template));
    let pages = runbook::texts();
    files.extend(pages.map(|(name, text)| File::new(format!("runbook/{name}.txt"), text)));
    files
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_those_that_every_file_system_keeps() {
        let files = contents();
        let folded: BTreeSet<String> = files.iter().map(|file| file.name.to_lowercase()).collect();
        assert_eq!(folded.len(), files.len());
        for file in files {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            let parts: Vec<&str> = file.name.split('/').collect();
            assert!(parts.len() <= 2, "{}", file.name);
            for part in parts {
                assert!(
                    part.chars().all(plain) && !part.ends_with('.'),
                    "{}",
                    file.name
                );
            }
        }
    }
}
