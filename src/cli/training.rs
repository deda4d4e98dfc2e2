//! `drill --guided`: an exercise. The trainee hears what whoever is called hears, looks at a node that is broken, and chooses;
//! each choice is carried out on the throw-away node as the commands that it stands for, and judged at the end.

mod ground;

use std::ffi::OsString;

use crate::cli::args::Drill;
use crate::cli::context::Context;
use crate::cli::guided::silence;
use crate::clock::{self, Stopwatch};
use crate::crypto;
use crate::drill::Scenario;
use crate::drill::score::{self, Exercise, Grade, Remedy, Sheet, Taken};
use crate::error::Failure;
use crate::exit::Exit;
use crate::pki::utc::Utc;
use crate::render::text::{Paint, Tone, labelled};
use crate::terminal::question::{Interview, Reply, Silence};
use crate::terminal::say;

use ground::Ground;

/// What can be done next; looks come first, so that a trainee who only presses Enter has looked.
#[derive(Clone, Copy)]
enum Next {
    Act,
    Clock,
    Explain,
    GiveUp,
    Look(&'static str),
}

const NEXT: [(&str, Next); 9] = [
    ("look: what is broken: inspect", Next::Look("inspect")),
    ("look: what would be done: plan", Next::Look("plan")),
    ("look: what can be proved: verify", Next::Look("verify")),
    (
        "look: where the CAs stand: ca rotate",
        Next::Look("ca rotate"),
    ),
    (
        "look: who can log in until when: kubeconfig list",
        Next::Look("kubeconfig list"),
    ),
    ("look: the node's clock beside yours: date", Next::Clock),
    ("read: what a code means: explain", Next::Explain),
    ("act: choose a way out", Next::Act),
    ("give up, and see the score", Next::GiveUp),
];

pub(super) fn guided(context: &Context, arguments: &Drill) -> Result<Exit, Failure> {
    if !context.can_ask() {
        let text = "a guided drill asks questions, and there is no terminal to ask on";
        return Err(Failure::usage(text, "leave --guided out"));
    }
    context.catch_signals()?;
    let scenario = match &arguments.scenario {
        Some(name) => super::drill::scenario(name)?,
        None => any_scenario()?,
    };
    let ground = Ground::prepare(arguments, scenario)?;
    let mut trainee = Trainee::new(context, &ground, scenario);
    trainee.introduce();
    match trainee.practise() {
        Ok(()) => {
            let sheet = score::sheet(&trainee.exercise());
            say(&text(&sheet, &context.painter));
            let score = ground.end(&sheet)?;
            say(&row("as JSON", &score.display().to_string()));
            Ok(if sheet.recovered {
                Exit::Done
            } else {
                Exit::Declined
            })
        },
        Err(why) => {
            let mut failure = silence(why);
            failure.hints = vec![ground.abandon()?];
            Err(failure)
        },
    }
}

/// One of all, so that nobody knows it, whoever starts the exercise included.
fn any_scenario() -> Result<Scenario, Failure> {
    let mut random = [0u8; 1];
    crypto::random(&mut random)
        .map_err(|error| Failure::new(Exit::Refused, error.to_string(), "try again"))?;
    let index = usize::from(random[0]) % Scenario::ALL.len();
    Ok(Scenario::ALL[index])
}

/// Somebody who practises, and what they have done until now.
struct Trainee<'a> {
    context: &'a Context<'a>,
    ground: &'a Ground,
    interview: Interview<'a>,
    scenario: Scenario,
    watch: Stopwatch,
    /// Whether the node's clock is still as the scenario has left it.
    clock_is_untouched: bool,
    looked: Vec<String>,
    taken: Vec<Taken>,
}

impl<'a> Trainee<'a> {
    fn new(context: &'a Context<'a>, ground: &'a Ground, scenario: Scenario) -> Self {
        Self {
            context,
            ground,
            interview: context.interview(),
            scenario,
            watch: Stopwatch::start(),
            clock_is_untouched: true,
            looked: Vec::new(),
            taken: Vec::new(),
        }
    }

    fn introduce(&self) {
        say("An exercise. At 03:12 you are called:\n\n");
        say(&labelled("  >", "  >", self.scenario.page()));
        let rest = if self.ground.is_kept {
            "all of it stays"
        } else {
            "only the score stays"
        };
        let work = self.ground.work.display();
        let rules =
            format!("nothing but {work} is touched; when the exercise ends, {rest}; the time runs");
        let node = self.ground.node().display().to_string();
        say(&format!("\n{}", row("its files", &node)));
        say(&row("the rules", &rules));
    }

    /// Until the node is rescued, or the trainee gives up.
    fn practise(&mut self) -> Result<(), Silence> {
        loop {
            say("\nWhat do you do?\n");
            let items = NEXT.map(|(label, _)| label.to_owned());
            let is_over = match self.interview.choose(&items)? {
                Reply::Back => false,
                Reply::Given(index) => self.go(NEXT[index].1)?,
                Reply::Quit => true,
            };
            if is_over {
                return Ok(());
            }
        }
    }

    /// Does what was chosen; whether that ends the exercise.
    fn go(&mut self, next: Next) -> Result<bool, Silence> {
        match next {
            Next::Act => self.act(),
            Next::Clock => {
                self.looked.push("date".to_owned());
                say(&row("the node", &self.node_time().to_string()));
                say(&row("your watch", &clock::system_now().to_string()));
                Ok(false)
            },
            Next::Explain => self.explain(),
            Next::GiveUp => Ok(true),
            Next::Look(words) => {
                self.looked.push(words.to_owned());
                self.perform(&words.split(' ').map(str::to_owned).collect::<Vec<_>>())?;
                Ok(false)
            },
        }
    }

    fn explain(&mut self) -> Result<bool, Silence> {
        let codes = self.ground.codes(self.clock());
        say("\nWhich code?\n");
        match self.interview.choose(&codes)? {
            Reply::Back => {},
            Reply::Quit => return Ok(true),
            Reply::Given(index) => {
                self.looked.push(format!("explain {}", codes[index]));
                self.perform(&["explain".to_owned(), codes[index].clone()])?;
            },
        }
        Ok(false)
    }

    fn act(&mut self) -> Result<bool, Silence> {
        say("\nWhich way out?\n");
        let items = Remedy::ALL.map(|remedy| remedy.label().to_owned());
        let remedy = match self.interview.choose(&items)? {
            Reply::Back => return Ok(false),
            Reply::Quit => return Ok(true),
            Reply::Given(index) => Remedy::ALL[index],
        };
        if remedy == Remedy::SetClock {
            self.set_clock();
        }
        for words in self.ground.commands(remedy, self.taken.len() + 1) {
            // A CA that is asked for nothing says so, and the next one may be asked.
            let may_fail = words.starts_with(&["csr".to_owned(), "sign".to_owned()]);
            if self.perform(&words)? != Exit::Done.code() && !may_fail {
                break;
            }
        }
        let recovered = self.ground.is_well(self.clock());
        self.taken.push(Taken {
            remedy,
            looks: self.looked.len(),
            recovered,
        });
        let (tone, text) = if recovered {
            (Tone::Good, "cp1 is well: everything can be verified")
        } else {
            (Tone::Bad, "cp1 is not well yet")
        };
        say(&format!("\n{}\n", self.context.painter.paint(tone, text)));
        Ok(recovered)
    }

    fn set_clock(&mut self) {
        let (was, is) = (self.node_time(), clock::system_now());
        self.clock_is_untouched = false;
        say(&format!("$ date --utc --set {is}\n"));
        say(&row("was", &was.to_string()));
    }

    /// Types a command: it is shown, and does on the throw-away node what it would do on a real one.
    fn perform(&self, words: &[String]) -> Result<u8, Silence> {
        let words = self.ground.command_line(words, self.clock());
        say(&format!("\n$ {}\n", words.join(" ")));
        let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
        let code = super::main(&words);
        match self.context.signal() {
            Some(signal) => Err(Silence::Signal(signal)),
            None => Ok(code),
        }
    }

    /// What the node's clock says, where it is wrong.
    fn clock(&self) -> Option<Utc> {
        self.ground.made.now.filter(|_| self.clock_is_untouched)
    }

    fn node_time(&self) -> Utc {
        self.clock().unwrap_or_else(clock::system_now)
    }

    fn exercise(self) -> Exercise {
        let seconds = self.watch.millis() / 1000;
        Exercise {
            scenario: self.scenario,
            broken: self.ground.made.broken.clone(),
            looked: self.looked,
            taken: self.taken,
            at: clock::system_now().plus(-i64::try_from(seconds).unwrap_or(0)),
            seconds,
        }
    }
}

/// The sheet for people.
fn text(sheet: &Sheet, paint: &dyn Paint) -> String {
    let mut text = format!("\n{}\n", paint.paint(Tone::Heading, "--- score ---"));
    let label = |index: usize, label: &'static str| if index == 0 { label } else { "" };
    for (index, what) in sheet.broken.iter().enumerate() {
        text.push_str(&row(label(index, "was broken"), what));
    }
    let looked = match sheet.looked.as_slice() {
        [] => "not at all".to_owned(),
        looked => looked.join(", "),
    };
    text.push_str(&row("you looked", &looked));
    for (index, judged) in sheet.chosen.iter().enumerate() {
        text.push_str(&row(label(index, "you chose"), judged.remedy.label()));
        let (word, tone) = grade(judged.grade);
        let painted = format!("{:13}{}", "", paint.paint(tone, word));
        let plain = format!("{:13}{word}", "");
        text.push_str(&labelled(&painted, &plain, judged.why));
    }
    for (index, remedy) in sheet.right.iter().enumerate() {
        text.push_str(&row(label(index, "right was"), remedy.label()));
    }
    let time = format!("{} min {} s", sheet.seconds / 60, sheet.seconds % 60);
    let end = if sheet.recovered {
        format!("after {time}")
    } else {
        format!("no, given up after {time}")
    };
    text.push_str(&row("rescued", &end));
    text.push_str(&row("points", &format!("{} of {}", sheet.points, sheet.of)));
    text
}

fn grade(grade: Grade) -> (&'static str, Tone) {
    match grade {
        Grade::Right => ("right:", Tone::Good),
        Grade::TooMuch => ("too much:", Tone::Warn),
        Grade::Wrong => ("wrong:", Tone::Bad),
    }
}

fn row(label: &str, text: &str) -> String {
    let label = format!("{label:<12}");
    labelled(&label, &label, text)
}
