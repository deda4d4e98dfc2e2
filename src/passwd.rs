//! Users of a host, as `passwd(5)` lists them.

use std::path::PathBuf;

/// A user of a host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// The login name.
    pub name: String,
    /// The home directory, absolute.
    pub home: PathBuf,
}

/// Every user with a home; lines that are none are passed over.
pub fn accounts(text: &[u8]) -> Vec<Account> {
    let text = String::from_utf8_lossy(text);
    let account = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, _, _, _, home, _] = fields.as_slice() else {
            return None;
        };
        let home = PathBuf::from(home);
        let fits = !name.is_empty() && home.is_absolute() && home.parent().is_some();
        fits.then(|| Account {
            name: (*name).to_owned(),
            home,
        })
    };
    text.lines().filter_map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_lines_with_a_home_and_no_others() {
        let text =
            b"root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/sh\n+::::::\n# no\n\
                     jane:x:1000:1000:Jane,,,:/home/jane:/bin/sh\nbad:x:1:1:relative:home:/bin/sh";
        let homes: Vec<(String, PathBuf)> = accounts(text)
            .into_iter()
            .map(|account| (account.name, account.home))
            .collect();
        let want = [("root", "/root"), ("jane", "/home/jane")];
        assert_eq!(homes, want.map(|(n, h)| (n.to_owned(), PathBuf::from(h))));
    }
}
