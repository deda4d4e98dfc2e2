//! The terminal of the tests is one: programs find their size, their device, their signals, and what they draw is seen.

use std::path::Path;

use crate::pty::{CONSOLE, Key, Size, Terminal};

#[test]
fn a_program_finds_the_size_of_its_terminal() {
    for size in [
        CONSOLE,
        Size {
            columns: 200,
            rows: 60,
        },
    ] {
        let mut terminal = Terminal::start(size, &["stty", "size"], &[]);
        assert_eq!(terminal.exit(), 0);
        assert_eq!(terminal.screen(), format!("{} {}", size.rows, size.columns));
    }
}

#[test]
fn what_is_typed_is_read_and_what_is_printed_is_shown() {
    let mut terminal = Terminal::start(CONSOLE, &["cat"], &[]);
    terminal.type_text("helllo");
    for _ in 0..2 {
        terminal.press(Key::Backspace);
    }
    terminal.type_text("o");
    terminal.press(Key::Enter);
    terminal.wait_for("hello hello");
    assert_eq!(terminal.screen(), "hello\nhello");
    terminal.press(Key::CtrlD);
    assert_eq!(terminal.exit(), 0);
}

#[test]
fn the_terminal_device_opens_and_variables_are_those_that_were_given() {
    let line = "echo to the device > /dev/tty; echo $TERM $COLOUR";
    let env = [("TERM", "dumb"), ("COLOUR", "none")];
    let mut terminal = Terminal::start(CONSOLE, &["sh", "-c", line], &env);
    assert_eq!(terminal.exit(), 0);
    assert_eq!(terminal.screen(), "to the device\ndumb none");
}

#[test]
fn what_is_drawn_is_seen_and_what_was_printed_is_kept() {
    let line = r"printf 'wrong\r\033[1mright\033[0m\n'; seq 30; printf '%090d' 7";
    let mut terminal = Terminal::start(CONSOLE, &["sh", "-c", line], &[]);
    assert_eq!(terminal.exit(), 0);
    assert!(
        terminal.screen().starts_with("9\n10\n"),
        "{}",
        terminal.screen()
    );
    assert!(terminal.everything().starts_with("right\n1\n2\n"));
    assert!(terminal.transcript().starts_with("wrong\r\u{1b}[1mright"));
    let rows = terminal.rows();
    let broken: Vec<usize> = (0..rows.len()).filter(|row| rows[*row].broken).collect();
    assert_eq!(broken, [31]);
}

#[test]
fn an_interrupt_and_a_dropped_connection_reach_the_program() {
    let caught = "trap 'echo caught; exit 5' INT; echo ready; while :; do read line; done";
    let mut terminal = Terminal::start(CONSOLE, &["sh", "-c", caught], &[]);
    terminal.wait_for("ready");
    terminal.interrupt();
    terminal.wait_for("caught");
    assert_eq!(terminal.exit(), 5);

    let mut terminal = Terminal::start(CONSOLE, &["sh", "-c", "echo ready; exec cat"], &[]);
    terminal.wait_for("ready");
    terminal.hang_up();
    assert_eq!(terminal.exit(), 128 + 1);
}

#[test]
fn a_program_that_reads_keys_is_told_from_one_that_reads_lines() {
    let line = "echo which key; stty -icanon -echo; head -c 7 | od -An -c";
    let mut terminal = Terminal::start(CONSOLE, &["sh", "-c", line], &[]);
    terminal.wait_for_question("which key");
    for key in [Key::Down, Key::Up, Key::Escape] {
        terminal.press(key);
    }
    assert_eq!(terminal.exit(), 0);
    assert_eq!(terminal.screen(), "which key\n 033   [   B 033   [   A 033");
}

#[test]
fn no_program_outlives_its_terminal() {
    let line = "echo $$; echo ready; exec cat";
    let mut terminal = Terminal::start(CONSOLE, &["sh", "-c", line], &[]);
    terminal.wait_for("ready");
    let screen = terminal.screen();
    let process = Path::new("/proc").join(screen.lines().next().unwrap());
    assert!(process.exists(), "{screen}");
    drop(terminal);
    assert!(!process.exists());
}
