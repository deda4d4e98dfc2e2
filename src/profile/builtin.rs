//! The profiles that are compiled in, and how a layout is recognised.

use crate::profile::{Profile, ProfileError};

/// The built-in profiles in the order in which they are tried: the more particular layout first.
const TEXTS: [(&str, &str); 4] = [
    ("systemd", include_str!("../../profiles/systemd.toml")),
    (
        "kubeadm-external-etcd",
        include_str!("../../profiles/kubeadm-external-etcd.toml"),
    ),
    (
        "kubeadm-worker",
        include_str!("../../profiles/kubeadm-worker.toml"),
    ),
    ("kubeadm", include_str!("../../profiles/kubeadm.toml")),
];

/// The names of the built-in profiles, in the order in which they are tried.
pub fn names() -> impl Iterator<Item = &'static str> {
    TEXTS.iter().map(|(name, _)| *name)
}

/// The text of a built-in profile.
pub fn text(name: &str) -> Option<&'static str> {
    TEXTS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}

/// Reads a profile's text and lays it over the built-in profile that it extends.
pub fn load(text: &str) -> Result<Profile, ProfileError> {
    let profile = Profile::parse(text)?;
    let Some(base) = profile.extends.clone() else {
        return Ok(profile);
    };
    let base_text = self::text(&base).ok_or(ProfileError::Base(base))?;
    Ok(profile.over(load(base_text)?))
}

/// Whether the layout is the one on a disk, with one reason for each rule that decided; `exists` looks at a path.
pub fn detected(profile: &Profile, exists: impl Fn(&str) -> bool) -> Result<Vec<String>, String> {
    let rule = &profile.detect;
    let mut reasons = Vec::new();
    for path in &rule.all {
        if !exists(path) {
            return Err(format!("{path} is absent"));
        }
        reasons.push(format!("{path} is present"));
    }
    if let Some(found) = rule.any.iter().find(|path| exists(path)) {
        reasons.push(format!("{found} is present"));
    } else if !rule.any.is_empty() {
        return Err(format!("none of {} is present", rule.any.join(", ")));
    }
    for path in &rule.none {
        if exists(path) {
            return Err(format!("{path} is present"));
        }
        reasons.push(format!("{path} is absent"));
    }
    Ok(reasons)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template;

    #[test]
    fn every_built_in_profile_is_without_defects() {
        for name in names() {
            let profile = load(text(name).unwrap()).unwrap();
            assert_eq!(profile.name, name);
            assert_eq!(
                profile.defects(&template::names()),
                Vec::<String>::new(),
                "{name}"
            );
        }
    }

    #[test]
    fn external_etcd_is_told_by_the_absent_manifest() {
        let profile = load(text("kubeadm-external-etcd").unwrap()).unwrap();
        let stacked = |path: &str| path.contains("manifests/");
        let external = |path: &str| path.contains("manifests/kube-");
        assert!(detected(&profile, stacked).is_err());
        assert!(detected(&profile, external).is_ok());
        assert!(!profile.credential.contains_key("etcd-server"));
    }
}
