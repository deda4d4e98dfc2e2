//! Questions on the terminal.

use dialoguer::theme::SimpleTheme;
use dialoguer::{Confirm, Password, Select};
use zeroize::Zeroizing;

/// An answer to a question that changes something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Say more, then ask again.
    Explain,
    /// Do not.
    No,
    /// Do.
    Yes,
}

/// Asks yes, no or explain; anything but a clear yes is a no.
pub fn consent(question: &str) -> Answer {
    let choice = Select::with_theme(&SimpleTheme)
        .with_prompt(question)
        .items(["no, change nothing", "yes", "explain, show what differs"])
        .default(0)
        .interact_opt();
    match choice {
        Ok(Some(1)) => Answer::Yes,
        Ok(Some(2)) => Answer::Explain,
        _ => Answer::No,
    }
}

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
