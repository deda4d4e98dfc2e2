//! What a person sees: every command on a serial console, by golden files in `golden/screens`.
//!
//! A golden file is the screen as it was, lines that the terminal broke included; what changes from run to run is `#`.
//! After a change that is meant, `RESCUE_KIT_GOLDEN=write cargo test --test suite screens` writes them anew: read the
//! difference before you commit it.

pub(crate) mod stage;
mod stories;

use crate::cases::assert_golden;
use crate::pty::{CONSOLE, Size};

use stage::{Shown, Stage};
use stories::{STORIES, Story};

/// A terminal of somebody with a large screen.
const LARGE: Size = Size {
    columns: 200,
    rows: 60,
};

#[test]
fn a_rescue_is_seen_as_in_the_golden_files() {
    as_golden("rescue");
}

#[test]
fn certificates_from_elsewhere_are_seen_as_in_the_golden_files() {
    as_golden("elsewhere");
}

#[test]
fn other_authorities_are_seen_as_in_the_golden_files() {
    as_golden("authorities");
}

#[test]
fn refusals_are_seen_as_in_the_golden_files() {
    as_golden("refused");
}

#[test]
fn rehearsals_and_sticks_are_seen_as_in_the_golden_files() {
    as_golden("rehearsal");
}

#[test]
fn what_can_be_looked_up_is_seen_as_in_the_golden_files() {
    as_golden("lookup");
}

#[test]
fn the_help_of_every_command_is_seen_as_in_the_golden_files() {
    let stage = Stage::new();
    for group in stories::commands() {
        let (name, commands) = (&group[0], &group);
        let shown = commands.iter().map(|command| {
            let line = format!("{command} --help");
            stage.shown(&line, CONSOLE, &[])
        });
        let shown: Vec<Shown> = shown.collect();
        for shown in &shown {
            assert_eq!(shown.code, 0, "{}", shown.line);
            assert_eq!(shown.too_long(), Vec::<String>::new(), "{}", shown.line);
        }
        let text: Vec<String> = shown.iter().map(Shown::text).collect();
        let name = name.split(' ').next_back().unwrap();
        assert_golden(&format!("screens/help/{name}.txt"), &text.join("\n"));
    }
}

#[test]
fn no_escape_sequence_is_printed_where_colour_is_not_wanted() {
    let plain = |story: &Story, env: (&str, &str)| {
        for shown in play(story, CONSOLE, &[env]) {
            assert!(!shown.transcript.contains('\u{1b}'), "{env:?} {shown:?}");
        }
    };
    for story in &STORIES {
        plain(story, ("NO_COLOR", "1"));
    }
    plain(&STORIES[0], ("TERM", "dumb"));
}

#[test]
fn a_large_terminal_shows_the_same_words() {
    for story in &STORIES {
        let console = play(story, CONSOLE, &[]);
        let large = play(story, LARGE, &[]);
        for (console, large) in console.iter().zip(&large) {
            assert_eq!(console.words(), large.words(), "{}", console.line);
        }
    }
}

/// Plays a story on a serial console, and compares each screen of it.
fn as_golden(name: &str) {
    let story = STORIES.iter().find(|story| story.name == name).unwrap();
    let shown = play(story, CONSOLE, &[]);
    for (shown, scene) in shown.iter().zip(story.scenes) {
        assert_golden(&format!("screens/{name}/{}.txt", scene.name), &shown.text());
    }
    let long: Vec<String> = shown.iter().flat_map(Shown::too_long).collect();
    assert_eq!(long, Vec::<String>::new());
}

/// What each line of a story showed, in order, in a directory of its own.
fn play(story: &Story, size: Size, env: &[(&str, &str)]) -> Vec<Shown> {
    let stage = Stage::new();
    for line in story.before {
        stage.prepare(line);
    }
    let scenes = story.scenes.iter();
    let shown: Vec<Shown> = scenes
        .map(|scene| stage.shown(scene.line, size, env))
        .collect();
    let codes = story.scenes.iter().zip(&shown);
    let wrong: Vec<String> = codes
        .filter(|(scene, shown)| scene.code != shown.code)
        .map(|(_, shown)| shown.text())
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    shown
}
