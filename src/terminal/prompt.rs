//! Questions on the terminal.

use dialoguer::theme::SimpleTheme;
use dialoguer::{Confirm, Password};
use zeroize::Zeroizing;

/// Asks a plain yes or no; no is the default.
pub fn confirm(question: &str) -> bool {
    let answer = Confirm::with_theme(&SimpleTheme)
        .with_prompt(question)
        .default(false)
        .interact_opt();
    matches!(answer, Ok(Some(true)))
}

/// Asks for a passphrase, which is not shown; `None` if there is no answer.
pub fn passphrase(question: &str) -> Option<Zeroizing<String>> {
    let answer = Password::with_theme(&SimpleTheme)
        .with_prompt(question)
        .interact();
    answer.ok().map(Zeroizing::new)
}
