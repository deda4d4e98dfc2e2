//! The days that are left, at one time or at two, as bars.

use super::markup::Html;

/// One certificate: its name and the days that are left at each moment of the chart.
pub(super) struct Bar {
    pub(super) id: String,
    pub(super) days: Vec<Option<i64>>,
}

/// When the days are counted.
#[derive(Clone, Copy)]
pub(super) enum Moments {
    BeforeAndAfter,
    Now,
}

impl Moments {
    /// Their names, which are classes, too.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::BeforeAndAfter => &["before", "after"],
            Self::Now => &["now"],
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::BeforeAndAfter => {
                "One row for each certificate: the upper bar before, the lower bar after. \
                 Bars to the left of the line at 0 have expired."
            },
            Self::Now => {
                "One row for each certificate. Bars to the left of the line at 0 have expired."
            },
        }
    }
}

/// Days beyond which a bar is cut: authorities live for years, and would make leaves invisible.
const LIMIT: i64 = 400;

/// Pixels of the view box.
const LABEL: i64 = 180;
const PLOT: i64 = 420;
const NUMBERS: i64 = 120;
const ROW: i64 = 26;
const TOP: i64 = 24;

/// Draws the bars as inline SVG; the same numbers stand in the table below it.
pub(super) fn chart(bars: &[Bar], moments: Moments) -> Html {
    let days = || {
        bars.iter()
            .flat_map(|bar| &bar.days)
            .copied()
            .flatten()
            .map(clamped)
    };
    let (low, high) = (
        days().min().unwrap_or(0).min(0),
        days().max().unwrap_or(0).max(1),
    );
    let scale = Scale { low, high };
    let height = TOP + ROW * i64::try_from(bars.len()).unwrap_or(0) + 8;
    let lines = Html::join(scale.ticks().map(|day| scale.line(day, height)));
    let rows = bars
        .iter()
        .zip(0i64..)
        .map(|(bar, index)| row(bar, TOP + ROW * index, &scale, moments));
    let title = Html::text("Days of validity left").with("title", &[("id", "chart-title")]);
    let about = Html::text(moments.about()).with("desc", &[("id", "chart-about")]);
    let view = format!("0 0 {} {height}", LABEL + PLOT + NUMBERS);
    let svg = Html::join([title, about, lines, Html::join(rows)]).with(
        "svg",
        &[
            ("viewBox", view.as_str()),
            ("role", "img"),
            ("aria-labelledby", "chart-title chart-about"),
            ("class", "chart"),
        ],
    );
    let keys = moments.names().iter().map(|word| {
        let mark = Html::default().with(
            "span",
            &[("class", &format!("key {word}")), ("aria-hidden", "true")],
        );
        Html::spaced([mark, Html::text(word)]).within("span")
    });
    let unit = Html::text(format!("days left; bars end at {LIMIT} days"));
    let caption = Html::spaced(keys.chain([unit])).within("figcaption");
    Html::join([svg, caption]).within("figure")
}

fn row(bar: &Bar, y: i64, scale: &Scale, moments: Moments) -> Html {
    let label = text(LABEL - 8, y + 14, "end", &bar.id);
    let said = |days: &Option<i64>| days.map_or_else(|| "none".to_owned(), signed);
    let numbers: Vec<String> = bar.days.iter().map(said).collect();
    let numbers = text(LABEL + PLOT + 8, y + 14, "start", &numbers.join(" → "));
    // A single bar stands in the middle of its row.
    let top = if bar.days.len() == 1 { 6 } else { 1 };
    let tops = (0i64..).map(|index| y + top + 10 * index);
    let bars = bar.days.iter().zip(moments.names()).zip(tops);
    let bars = bars.filter_map(|((days, class), y)| Some(scale.bar((*days)?, y, class)));
    let parts = std::iter::once(label).chain(bars).chain([numbers]);
    Html::join(parts).within("g")
}

/// From days to pixels.
struct Scale {
    low: i64,
    high: i64,
}

impl Scale {
    fn x(&self, days: i64) -> i64 {
        LABEL + (clamped(days) - self.low) * PLOT / (self.high - self.low)
    }

    fn ticks(&self) -> impl Iterator<Item = i64> {
        (-LIMIT / 100..=LIMIT / 100)
            .map(|n| n * 100)
            .filter(|day| (self.low..=self.high).contains(day))
    }

    fn line(&self, day: i64, height: i64) -> Html {
        let (x, top, bottom) = (
            self.x(day).to_string(),
            (TOP - 4).to_string(),
            height.to_string(),
        );
        let class = if day == 0 { "zero" } else { "grid" };
        let line = Html::default().with(
            "line",
            &[
                ("x1", &x),
                ("x2", &x),
                ("y1", &top),
                ("y2", &bottom),
                ("class", class),
            ],
        );
        Html::join([line, text(self.x(day), TOP - 9, "middle", &signed(day))])
    }

    fn bar(&self, days: i64, y: i64, class: &str) -> Html {
        let (from, to) = (self.x(0).min(self.x(days)), self.x(0).max(self.x(days)));
        // A day must be seen, too.
        let (x, width, y) = (
            from.to_string(),
            (to - from).max(2).to_string(),
            y.to_string(),
        );
        let place = [
            ("x", x.as_str()),
            ("y", &y),
            ("width", &width),
            ("height", "9"),
            ("class", class),
        ];
        Html::default().with("rect", &place)
    }
}

fn text(x: i64, y: i64, anchor: &str, words: &str) -> Html {
    let (x, y) = (x.to_string(), y.to_string());
    Html::text(words).with("text", &[("x", &x), ("y", &y), ("text-anchor", anchor)])
}

fn clamped(days: i64) -> i64 {
    days.clamp(-LIMIT, LIMIT)
}

/// With a true minus sign, which does not break.
pub(super) fn signed(days: i64) -> String {
    if days < 0 {
        format!("\u{2212}{}", days.unsigned_abs())
    } else {
        days.to_string()
    }
}
