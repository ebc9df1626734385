//! Plots as SVG, embedded in the page without external resources. Colours are the page's.

use std::fmt::Write as _;

use super::results::show;

/// One bar.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    /// Minimum and maximum, if there was more than one measurement.
    pub(crate) spread: Option<(f64, f64)>,
    /// The text after the bar.
    pub(crate) shown: String,
    pub(crate) is_ours: bool,
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// One of the page's colours, from 0.
    pub(crate) colour: usize,
}

const WIDTH: f64 = 620.0;
const LABELS: f64 = 150.0;
const VALUES: f64 = 90.0;
const STEP: f64 = 24.0;

/// Draws horizontal bars with names and numbers; the goal is a vertical line.
pub(crate) fn bars(bars: &[Bar], goal: Option<f64>) -> String {
    let top = if goal.is_some() { 22.0 } else { 6.0 };
    let height = top + STEP * bars.len() as f64 + 4.0;
    let ends = bars
        .iter()
        .map(|bar| bar.spread.map_or(bar.value, |(_, most)| most));
    let most = ends.chain(goal).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let room = WIDTH - LABELS - VALUES;
    let x = |value: f64| LABELS + value / most * room;
    let mut svg = open(WIDTH, height);
    // Drawn first, so that the numbers stay readable.
    if let Some(goal) = goal {
        let at = x(goal);
        let _ = write!(
            svg,
            r#"<path class="goal" d="M{at:.1} {:.1}V{:.1}"/><text class="small" x="{at:.1}" y="13" text-anchor="middle">goal</text>"#,
            top - 4.0,
            height - 2.0,
        );
    }
    for (n, bar) in bars.iter().enumerate() {
        let y = top + STEP * n as f64;
        let class = if bar.is_ours { "ours" } else { "bar" };
        let (middle, width) = (y + 12.0, (x(bar.value) - LABELS).max(1.0));
        let text = y + 16.0;
        let _ = write!(
            svg,
            r#"<text x="{:.1}" y="{text:.1}" text-anchor="end">{}</text><rect class="{class}" x="{LABELS}" y="{:.1}" width="{width:.1}" height="16"/>"#,
            LABELS - 8.0,
            escape(&bar.label),
            y + 4.0,
        );
        let mut end = x(bar.value);
        if let Some((least, most)) = bar.spread {
            let _ = write!(
                svg,
                r#"<path class="spread" d="M{:.1} {middle:.1}H{:.1}M{:.1} {:.1}v8M{:.1} {:.1}v8"/>"#,
                x(least),
                x(most),
                x(least),
                middle - 4.0,
                x(most),
                middle - 4.0,
            );
            end = end.max(x(most));
        }
        let shown = escape(&bar.shown);
        let _ = write!(
            svg,
            r#"<text x="{:.1}" y="{text:.1}">{shown}</text>"#,
            end + 6.0
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Draws lines over logarithmic axes, with their names at their ends.
pub(crate) fn lines(lines: &[Line], x_axis: &str, y_axis: &str) -> String {
    let (height, left, right, top, bottom) = (320.0, 94.0, 150.0, 12.0, 46.0);
    let all = || lines.iter().flat_map(|line| &line.points);
    let Some((x_from, x_to)) = ends(all().map(|point| point.0)) else {
        return String::new();
    };
    let Some((y_from, y_to)) = ends(all().map(|point| point.1)) else {
        return String::new();
    };
    // Whole decades, so that both ends have marks.
    let (y_from, y_to) = (y_from.log10().floor(), y_to.log10().ceil());
    let (x_from, x_to) = (x_from.log10(), x_to.log10());
    let place = |value: f64, from: f64, to: f64| (value.log10() - from) / (to - from).max(1e-9);
    let x = |value: f64| left + place(value, x_from, x_to) * (WIDTH - left - right);
    let y = |value: f64| height - bottom - place(value, y_from, y_to) * (height - bottom - top);
    let mut svg = open(WIDTH, height);
    for power in y_from as i32..=y_to as i32 {
        let value = 10f64.powi(power);
        let at = y(value);
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{left} {at:.1}H{:.1}"/><text class="small" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            WIDTH - right,
            left - 6.0,
            at + 4.0,
            whole(value),
        );
    }
    let mut marks: Vec<f64> = all().map(|point| point.0).collect();
    if marks.iter().any(|mark| mark.fract() != 0.0) {
        marks = (0..=x_to.floor() as i32)
            .map(|power| 10f64.powi(power))
            .collect();
        marks.retain(|mark| mark.log10() >= x_from);
    }
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    let mut last = f64::MIN;
    for mark in marks {
        let at = x(mark);
        if at - last < 34.0 {
            continue; // it would overlap the previous one
        }
        last = at;
        let _ = write!(
            svg,
            r#"<text class="small" x="{at:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            height - bottom + 16.0,
            whole(mark),
        );
    }
    let _ = write!(
        svg,
        r#"<text class="small" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text><text class="small" transform="translate(12 {:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
        (left + WIDTH - right) / 2.0,
        height - 8.0,
        escape(x_axis),
        (top + height - bottom) / 2.0,
        escape(y_axis),
    );
    let mut labels: Vec<(f64, &Line)> = Vec::new();
    for line in lines {
        let points = line.points.iter();
        let points: Vec<_> = points
            .map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value)))
            .collect();
        let _ = write!(
            svg,
            r#"<polyline class="line c{}" points="{}"/>"#,
            line.colour,
            points.join(" ")
        );
        if let Some((_, end)) = line.points.last() {
            labels.push((y(*end), line));
        }
    }
    for (at, line) in apart(labels, height - bottom) {
        let _ = write!(
            svg,
            r#"<text class="t{}" x="{:.1}" y="{:.1}">{}</text>"#,
            line.colour,
            WIDTH - right + 6.0,
            at + 4.0,
            escape(&line.label),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Formats a mark on an axis: decimals only below 1.
fn whole(value: f64) -> String {
    let shown = show(value);
    let is_whole = value.fract() == 0.0 && value < 1000.0;
    if is_whole {
        format!("{value:.0}")
    } else {
        shown
    }
}

/// Moves labels so that none overlaps another and none is below `bottom`.
fn apart(mut labels: Vec<(f64, &Line)>, bottom: f64) -> Vec<(f64, &Line)> {
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    for n in 1..labels.len() {
        labels[n].0 = labels[n].0.max(labels[n - 1].0 + 15.0);
    }
    let mut most = bottom;
    for label in labels.iter_mut().rev() {
        label.0 = label.0.min(most);
        most = label.0 - 15.0;
    }
    labels
}

fn ends(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let positive: Vec<f64> = values.filter(|value| *value > 0.0).collect();
    let from = positive.iter().copied().reduce(f64::min)?;
    let to = positive.iter().copied().reduce(f64::max)?;
    Some((from, to))
}

fn open(width: f64, height: f64) -> String {
    format!(
        r#"<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" xmlns="http://www.w3.org/2000/svg">"#
    )
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_proportional_to_their_values() {
        let bar = |label: &str, value| Bar {
            label: label.into(),
            value,
            spread: None,
            shown: String::new(),
            is_ours: false,
        };
        let svg = bars(&[bar("a<b", 10.0), bar("b", 5.0)], None);
        let room = WIDTH - LABELS - VALUES;
        assert!(svg.contains(&format!(r#"width="{room:.1}" height="16""#)));
        assert!(svg.contains(&format!(r#"width="{:.1}" height="16""#, room / 2.0)));
        assert!(svg.contains("a&lt;b"));
    }

    #[test]
    fn labels_do_not_overlap() {
        let line = Line {
            label: String::new(),
            points: Vec::new(),
            colour: 0,
        };
        let at = [50.0, 51.0, 52.0, 99.0].map(|at| (at, &line));
        let placed: Vec<f64> = apart(at.into(), 100.0)
            .iter()
            .map(|label| label.0)
            .collect();
        assert_eq!(placed, [50.0, 65.0, 80.0, 99.0]);
        let low = [98.0, 99.0].map(|at| (at, &line));
        let placed: Vec<f64> = apart(low.into(), 100.0)
            .iter()
            .map(|label| label.0)
            .collect();
        assert_eq!(placed, [85.0, 100.0]);
    }
}
