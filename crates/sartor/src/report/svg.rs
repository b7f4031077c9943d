//! Pictures as inline SVG: two axes and marks. Colours are classes, so that the page's light and dark style apply.

use std::fmt::Write;

/// Width of a plot, in units of its `viewBox`.
pub const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 46.0;
/// About how many ticks an axis has.
const TICKS: f64 = 5.0;
/// Share of the data's span left free at both ends of an axis.
const MARGIN: f64 = 0.08;

/// One axis: its label and the span of its data.
#[derive(Debug, Clone)]
pub struct Axis {
    label: String,
    low: f64,
    high: f64,
}

impl Axis {
    /// An axis that spans the values, with a margin.
    pub fn around(label: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let finite = values.into_iter().filter(|value| value.is_finite());
        let (low, high) =
            finite.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        let margin = if high > low { MARGIN * (high - low) } else { low.abs().max(1.0) * MARGIN };
        Self { label: label.to_owned(), low: low - margin, high: high + margin }
    }

    fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// Round values inside the axis.
    fn ticks(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / TICKS;
        let power = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].into_iter().map(|s| s * power).find(|&s| s >= rough).unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|index| index as f64 * step).collect()
    }
}

/// The shape of a mark; colour never carries the meaning alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Small round: one of many.
    Dot,
    /// Square: a reference.
    Square,
    /// Diamond: another reference.
    Diamond,
    /// Ringed: the chosen one.
    Chosen,
}

impl Mark {
    /// The shape itself, without the ring of the chosen one; `inside` stands between its tags.
    pub fn shape(self, (left, top): (f64, f64), class: &str, inside: &str) -> String {
        let square = |turn: &str| {
            let (x, y) = (left - 5.0, top - 5.0);
            format!(
                r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="10" height="10"{turn}>{inside}</rect>"#
            )
        };
        let round = |radius: usize| {
            format!(r#"<circle class="{class}" cx="{left:.1}" cy="{top:.1}" r="{radius}">{inside}</circle>"#)
        };
        match self {
            Self::Dot => round(4),
            Self::Square => square(""),
            Self::Diamond => square(&format!(r#" transform="rotate(45 {left:.1} {top:.1})""#)),
            Self::Chosen => round(6),
        }
    }
}

/// A picture in the making.
#[derive(Debug, Clone)]
pub struct Plot {
    x: Axis,
    y: Axis,
    body: String,
}

impl Plot {
    /// Empty axes with grid, ticks and labels.
    pub fn new(x: Axis, y: Axis) -> Self {
        let mut plot = Self { x, y, body: String::new() };
        plot.draw_grid();
        plot
    }

    fn left_of(&self, x: f64) -> f64 {
        LEFT + self.x.share(x) * (WIDTH - LEFT - RIGHT)
    }

    fn top_of(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.share(y) * (HEIGHT - TOP - BOTTOM)
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    fn draw_grid(&mut self) {
        let bottom = HEIGHT - BOTTOM;
        for tick in self.x.ticks() {
            let left = self.left_of(tick);
            self.push(format_args!(
                r#"<line class="grid" x1="{left:.1}" x2="{left:.1}" y1="{TOP}" y2="{bottom}"/>"#
            ));
            let (text, below) = (number(tick), bottom + 16.0);
            self.push(format_args!(
                r#"<text class="tick" x="{left:.1}" y="{below}" text-anchor="middle">{text}</text>"#
            ));
        }
        for tick in self.y.ticks() {
            let (top, right) = (self.top_of(tick), WIDTH - RIGHT);
            self.push(format_args!(
                r#"<line class="grid" x1="{LEFT}" x2="{right}" y1="{top:.1}" y2="{top:.1}"/>"#
            ));
            let (text, left, middle) = (number(tick), LEFT - 7.0, top + 4.0);
            self.push(format_args!(
                r#"<text class="tick" x="{left}" y="{middle:.1}" text-anchor="end">{text}</text>"#
            ));
        }
        self.draw_labels();
    }

    fn draw_labels(&mut self) {
        let (x, y) = (escape(&self.x.label), escape(&self.y.label));
        let (centre, low) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8.0);
        self.push(format_args!(
            r#"<text class="label" x="{centre}" y="{low}" text-anchor="middle">{x}</text>"#
        ));
        let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
        self.push(format_args!(
            r#"<text class="label" transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{y}</text>"#
        ));
    }

    /// A line through points.
    pub fn line(&mut self, points: &[(f64, f64)], class: &str) {
        let place = |&(x, y): &(f64, f64)| format!("{:.1},{:.1}", self.left_of(x), self.top_of(y));
        let path: Vec<String> = points.iter().map(place).collect();
        self.push(format_args!(r#"<polyline class="line {class}" points="{}"/>"#, path.join(" ")));
    }

    /// A dashed limit across the picture, named at its top.
    pub fn limit(&mut self, x: f64, name: &str) {
        let (left, bottom, name) = (self.left_of(x), HEIGHT - BOTTOM, escape(name));
        self.push(format_args!(
            r#"<line class="limit" x1="{left:.1}" x2="{left:.1}" y1="{TOP}" y2="{bottom}"/>"#
        ));
        let (beside, under) = (left - 5.0, TOP + 11.0);
        self.push(format_args!(
            r#"<text class="tick" x="{beside:.1}" y="{under}" text-anchor="end">{name}</text>"#
        ));
    }

    /// An interval in y.
    pub fn interval(&mut self, x: f64, (low, high): (f64, f64), class: &str) {
        let (left, top, bottom) = (self.left_of(x), self.top_of(high), self.top_of(low));
        self.push(format_args!(
            r#"<line class="interval {class}" x1="{left:.1}" x2="{left:.1}" y1="{top:.1}" y2="{bottom:.1}"/>"#
        ));
    }

    /// A mark; `title` shows when pointed at.
    pub fn mark(&mut self, (x, y): (f64, f64), mark: Mark, class: &str, title: &str) {
        let (left, top) = (self.left_of(x), self.top_of(y));
        if mark == Mark::Chosen {
            self.push(format_args!(r#"<circle class="ring" cx="{left:.1}" cy="{top:.1}" r="10"/>"#));
        }
        let title = format!("<title>{}</title>", escape(title));
        self.push(format_args!("{}", mark.shape((left, top), class, &title)));
    }

    /// The picture as an SVG element; `description` is for those who cannot see it.
    pub fn finish(self, description: &str) -> String {
        let description = escape(description);
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{description}\">\n{}</svg>\n",
            self.body
        )
    }
}

/// A tick's number without needless digits.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    let text = match () {
        () if magnitude >= 1000.0 => return format!("{value:.0}"),
        () if magnitude >= 10.0 => format!("{value:.1}"),
        () if magnitude >= 0.1 => format!("{value:.2}"),
        () => format!("{value:.4}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text that is safe inside HTML and attributes.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        for (low, high) in [(0.0, 1.0), (83.2, 91.7), (0.0012, 0.0049), (5.0, 5.0)] {
            let axis = Axis::around("x", [low, high]);
            let ticks = axis.ticks();
            assert!((3..=8).contains(&ticks.len()), "{low} {high}: {ticks:?}");
            assert!(ticks.iter().all(|&tick| tick >= axis.low && tick <= axis.high), "{ticks:?}");
        }
    }

    #[test]
    fn an_axis_without_data_is_still_an_axis() {
        let axis = Axis::around("x", [f64::NAN]);
        assert!(axis.low < axis.high);
    }

    #[test]
    fn marks_stay_inside_the_picture() {
        let mut plot = Plot::new(Axis::around("x", [0.0, 10.0]), Axis::around("y", [0.0, 1.0]));
        plot.mark((10.0, 1.0), Mark::Dot, "dot", "<best>");
        assert!(plot.left_of(10.0) < WIDTH && plot.top_of(1.0) > 0.0);
        assert!(plot.finish("d").contains("&lt;best&gt;"));
    }
}
