//! `drill --guided`: somebody looks, chooses, is right or wrong, gives up, or is cut off; on a real terminal.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::cases::assert_golden;
use crate::harness::{BINARY, run};
use crate::pty::{CONSOLE, Key, Terminal};
use crate::screens::stage::Stage;

/// How every question ends.
const PROMPT: &str = "(< back, q quit):";

/// The numbers of the menus.
const INSPECT: &str = "1";
const CLOCK: &str = "6";
const EXPLAIN: &str = "7";
const ACT: &str = "8";
const RENEW: &str = "1";
const RENEW_AUTHORITY: &str = "2";
const REQUEST: &str = "3";
const RESTORE: &str = "4";
const ROTATE: &str = "5";
const SET_CLOCK: &str = "6";

/// All ways out, in the order of the menu.
const WAYS: [&str; 6] = [RENEW, RENEW_AUTHORITY, REQUEST, RESTORE, ROTATE, SET_CLOCK];

/// What each of them is worth as the first choice.
const FIRST: [(&str, [&str; 6]); 5] = [
    (
        "ca-expired",
        ["wrong", "right", "wrong", "wrong", "wrong", "wrong"],
    ),
    (
        "ca-key-missing",
        ["wrong", "wrong", "right", "wrong", "too_much", "wrong"],
    ),
    (
        "clock-wrong",
        ["wrong", "wrong", "wrong", "wrong", "wrong", "right"],
    ),
    (
        "foreign-ca",
        ["wrong", "wrong", "wrong", "right", "wrong", "wrong"],
    ),
    (
        "wrong-san",
        [
            "right", "too_much", "too_much", "wrong", "too_much", "wrong",
        ],
    ),
];

/// An exercise on a terminal, in a directory of its own.
struct Lesson {
    terminal: Terminal,
    dir: TempDir,
}

impl Lesson {
    fn start(words: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let temp = dir.path().to_str().unwrap();
        let words = [&[BINARY, "drill", "--guided"], words].concat();
        let terminal = Terminal::start(CONSOLE, &words, &[("TMPDIR", temp), ("USER", "root")]);
        Self { terminal, dir }
    }

    fn on(scenario: &str) -> Self {
        Self::start(&["--scenario", scenario])
    }

    #[track_caller]
    fn answer(&mut self, question: &str, answer: &str) {
        self.terminal.wait_for_prompt(question, PROMPT);
        self.terminal.type_text(answer);
        self.terminal.press(Key::Enter);
    }

    #[track_caller]
    fn look(&mut self, with: &str) {
        self.answer("What do you do?", with);
    }

    #[track_caller]
    fn act(&mut self, way: &str) {
        self.answer("What do you do?", ACT);
        self.answer("Which way out?", way);
    }

    /// The end of the exercise: its code, and the score if there is one.
    #[track_caller]
    fn end(mut self, code: i32) -> Ended {
        let seen = self.terminal.exit();
        let screen = self.terminal.everything();
        assert_eq!(seen, code, "{screen}");
        let left = left(self.dir.path());
        let score = left.iter().find(|path| path.ends_with("score.json"));
        let score = score.map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap());
        Ended {
            screen,
            left,
            score: score.unwrap_or_default(),
        }
    }
}

struct Ended {
    screen: String,
    left: Vec<PathBuf>,
    score: Value,
}

impl Ended {
    #[track_caller]
    fn says(&self, text: &str) -> &Self {
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat(&self.screen).contains(&flat(text)), "{}", self.screen);
        self
    }

    fn grades(&self) -> Vec<&str> {
        let chosen = self.score["chosen"].as_array().unwrap();
        chosen
            .iter()
            .map(|one| one["grade"].as_str().unwrap())
            .collect()
    }
}

/// Every file below a directory.
fn left(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.push(path.clone());
            all.extend(left(&path));
        } else {
            all.push(path);
        }
    }
    all
}

#[test]
fn who_looks_first_and_does_what_is_right_has_all_points() {
    let mut lesson = Lesson::on("ca-expired");
    lesson.terminal.wait_for("At 03:12 you are called:");
    lesson.look(INSPECT);
    lesson.terminal.wait_for("cause: CA ca");
    lesson.look(EXPLAIN);
    lesson.answer("Which code?", "1");
    lesson
        .terminal
        .wait_for("RK0101 A CA's certificate has expired");
    lesson.act(RENEW_AUTHORITY);
    let ended = lesson.end(0);
    ended
        .says("cp1 is well: everything can be verified")
        .says("was broken all three CAs expired on")
        .says("you looked inspect, explain RK0101")
        .says("right: with its own key a CA gets a later end")
        .says("points 100 of 100");
    assert_eq!(ended.score["schema"], "rescue-kit/score/v1");
    assert_eq!(ended.score["points"], 100);
    assert_eq!(ended.score["recovered"], true);
    // The directory and the score, whose place was said, and nothing else.
    assert_eq!(ended.left.len(), 2, "{:?}", ended.left);
    let score = ended.left[1].display().to_string();
    assert!(
        ended.screen.replace('\n', "").contains(&score),
        "{}",
        ended.screen
    );
}

#[test]
fn an_exercise_is_seen_as_in_its_golden_file() {
    let line = "rescue-kit drill --guided --scenario ca-key-missing --dir exercise";
    let answers = [
        ("What do you do?", INSPECT),
        ("What do you do?", ACT),
        ("Which way out?", RENEW),
        ("What do you do?", ACT),
        ("Which way out?", REQUEST),
    ];
    let shown = Stage::new().asked(line, CONSOLE, &[], &answers);
    assert_eq!((shown.code, shown.too_long()), (0, Vec::new()));
    assert_golden("screens/rehearsal/guided.txt", &shown.text());
}

#[test]
fn a_wrong_choice_is_carried_out_and_explained_and_another_may_follow() {
    let mut lesson = Lesson::on("ca-expired");
    lesson.act(RENEW);
    lesson.terminal.wait_for("refused; nothing was changed");
    lesson.terminal.wait_for("cp1 is not well yet");
    lesson.look(INSPECT);
    lesson.act(RENEW_AUTHORITY);
    let ended = lesson.end(0);
    ended
        .says("wrong: whatever a CA signs that has expired is refused by everybody")
        .says("points 30 of 100");
    assert_eq!(ended.grades(), ["wrong", "right"]);
}

#[test]
fn ways_of_more_than_one_step_are_carried_out_step_by_step() {
    let ways: [(&str, &[&str]); 3] = [
        ("ca-key-missing", &[REQUEST]),
        ("clock-wrong", &[SET_CLOCK, RENEW]),
        ("foreign-ca", &[RESTORE, RENEW]),
    ];
    for (scenario, ways) in ways {
        let mut lesson = Lesson::on(scenario);
        lesson.look(CLOCK);
        lesson.terminal.wait_for("your watch");
        for way in ways {
            lesson.act(way);
        }
        let ended = lesson.end(0);
        assert_eq!(ended.score["points"], 100, "{scenario}: {}", ended.screen);
    }
}

#[test]
fn what_works_and_was_not_needed_is_said_to_be_too_much() {
    for way in [REQUEST, ROTATE] {
        let mut lesson = Lesson::on("leaves-expired");
        lesson.look(INSPECT);
        lesson.act(way);
        let ended = lesson.end(0);
        ended.says("too much: it worked");
        assert_eq!(ended.grades(), ["too_much"]);
        assert_eq!(ended.score["points"], 80);
    }
}

#[test]
fn every_first_choice_is_carried_out_and_graded_as_the_node_fares() {
    std::thread::scope(|scope| {
        for (scenario, grades) in FIRST {
            scope.spawn(move || {
                for (way, grade) in WAYS.into_iter().zip(grades) {
                    let mut lesson = Lesson::on(scenario);
                    lesson.act(way);
                    // These two are a first step, after which the node is still to be rescued.
                    let is_over = grade != "wrong" && ![RESTORE, SET_CLOCK].contains(&way);
                    if !is_over {
                        lesson.look("q");
                    }
                    let ended = lesson.end(if is_over { 0 } else { 4 });
                    assert_eq!(ended.grades(), [grade], "{scenario}: {}", ended.screen);
                }
            });
        }
    });
}

#[test]
fn whoever_gives_up_at_any_question_sees_what_would_have_been_right() {
    let questions: [&[(&str, &str)]; 4] = [
        &[("What do you do?", "q")],
        &[("What do you do?", "9")],
        &[("What do you do?", EXPLAIN), ("Which code?", "q")],
        &[("What do you do?", ACT), ("Which way out?", "q")],
    ];
    for answers in questions {
        let mut lesson = Lesson::on("ca-key-missing");
        for (question, answer) in answers {
            lesson.answer(question, answer);
        }
        let ended = lesson.end(4);
        ended
            .says("right was have it signed where the CA's key is kept")
            .says("rescued no, given up after")
            .says("points 0 of 100");
        assert_eq!(ended.left.len(), 2, "{:?}", ended.left);
    }
}

#[test]
fn back_leads_to_the_question_before() {
    let mut lesson = Lesson::on("leaves-expired");
    lesson.answer("What do you do?", EXPLAIN);
    lesson.answer("Which code?", "<");
    lesson.answer("What do you do?", ACT);
    lesson.answer("Which way out?", "<");
    lesson.answer("What do you do?", "<");
    lesson.answer("What do you do?", "q");
    let ended = lesson.end(4);
    assert_eq!(ended.score["looked"], Value::Array(Vec::new()));
}

#[test]
fn an_interrupt_or_a_dropped_line_at_any_question_leaves_nothing() {
    let questions: [&[(&str, &str)]; 3] = [
        &[],
        &[("What do you do?", EXPLAIN)],
        &[("What do you do?", ACT)],
    ];
    for answers in questions {
        for code in [130, 129] {
            let mut lesson = Lesson::on("leaves-expired");
            for (question, answer) in answers {
                lesson.answer(question, answer);
            }
            lesson.terminal.wait_for_prompt("", PROMPT);
            if code == 130 {
                lesson.terminal.interrupt();
            } else {
                lesson.terminal.hang_up();
            }
            let ended = lesson.end(code);
            assert_eq!(ended.left, Vec::<PathBuf>::new());
            if code == 130 {
                ended.says("nothing of the exercise is left");
            }
        }
    }
}

#[test]
fn the_files_are_kept_if_that_is_asked_for() {
    let mut lesson = Lesson::start(&["--scenario", "kubelet-only", "--keep"]);
    lesson.look(INSPECT);
    lesson.act(RENEW);
    let ended = lesson.end(0);
    let kept = |name: &str| ended.left.iter().any(|path| path.ends_with(name));
    assert!(kept("node/etc/kubernetes/admin.conf") && kept("aside/elsewhere"));
    assert_eq!(ended.score["recovered"], true);
}

#[test]
fn without_a_terminal_it_is_a_usage_error() {
    let dir = TempDir::new().unwrap();
    let temp = dir.path().to_str().unwrap();
    run(&["drill", "--guided"], &[("TMPDIR", temp)])
        .exits(2)
        .says("a guided drill asks questions, and there is no terminal to ask on")
        .says("hint: leave --guided out");
    run(&["drill", "--guided", "--list"], &[]).exits(2);
    assert_eq!(left(dir.path()), Vec::<PathBuf>::new());
}
