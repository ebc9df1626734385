//! The results as one HTML page without external resources.

use std::fmt::Write as _;

use super::{
    goals::{Metric, of_ours},
    plots::{Bar, Line, bars, escape, lines},
    results::{Results, Row, Spread, show},
    tables::tables,
    workloads::How,
};

const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#fdfdfc;--fg:#1d2228;--dim:#626b75;--rule:#dcdfe3;--bar:#9fb0c3;\
--ours:#d1552b;--goal:#17823b;--c0:#d1552b;--c1:#2a6fbb;--c2:#17823b;--c3:#8a4bb3;--c4:#a87500;\
--c5:#0f8d93;--c6:#b03a6b;--c7:#666d77;--c8:#7a6a3a;--c9:#4d5bd1;--c10:#9c4a2f}\
@media (prefers-color-scheme:dark){:root{--bg:#15181c;--fg:#e4e7ea;--dim:#9aa4af;--rule:#343b43;\
--bar:#56677a;--ours:#f0794d;--goal:#54c878;--c0:#f0794d;--c1:#6cadf2;--c2:#54c878;--c3:#c18be6;\
--c4:#dfb042;--c5:#4cc7cd;--c6:#ec7ba8;--c7:#a4adb8;--c8:#c9b981;--c9:#9aa5ff;--c10:#d99a80}}\
*{box-sizing:border-box}body{margin:0 auto;max-width:1340px;padding:24px;background:var(--bg);\
color:var(--fg);font:15px/1.5 system-ui,sans-serif}h1{font-size:26px;margin:0 0 4px}\
h2{font-size:19px;margin:36px 0 4px;border-bottom:1px solid var(--rule);padding-bottom:4px}\
p{margin:4px 0 12px;max-width:80ch}.dim,.small{color:var(--dim);fill:var(--dim)}\
.plots{display:flex;flex-wrap:wrap;gap:20px 28px}figure{margin:0;width:620px;max-width:100%}\
figcaption{font-weight:600;margin-bottom:2px}svg{max-width:100%;height:auto;display:block}\
svg text{font:13px system-ui,sans-serif;fill:var(--fg);paint-order:stroke;stroke:var(--bg);\
stroke-width:4px}svg text.small{font-size:12px;fill:var(--dim)}\
.bar{fill:var(--bar)}.ours{fill:var(--ours)}.spread{stroke:var(--fg);fill:none;stroke-width:1.2}\
.goal{stroke:var(--goal);stroke-width:1.5;stroke-dasharray:5 4}.grid{stroke:var(--rule)}\
.line{fill:none;stroke-width:2}.table{overflow-x:auto;margin-bottom:8px}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13.5px}\
th,td{padding:4px 10px;border-bottom:1px solid var(--rule);text-align:right;white-space:nowrap}\
th:first-child,td:first-child{text-align:left}th{color:var(--dim);font-weight:600}\
td.us,th.us{color:var(--ours);font-weight:600}code{font:13px ui-monospace,monospace}";

const COLOURS: usize = 11;

pub(crate) fn page(results: &Results) -> String {
    let mut style = STYLE.to_owned();
    for n in 0..COLOURS {
        let _ = write!(
            style,
            ".c{n}{{stroke:var(--c{n})}}svg text.t{n}{{fill:var(--c{n})}}"
        );
    }
    let mut body = format!(
        "<h1>httpcore and other clients</h1><p class=\"dim\">{} · {} · <code>{}</code>, in {}</p>\
         <p>Counts repeat; times do not: they are ratios, measured alternately, with minimum and \
         maximum. <em>baseline</em> is mio and httparse with prepared requests: a lower bound. The \
         server has a processor of its own.</p>",
        escape(&results.date),
        escape(&results.machine),
        escape(&results.command),
        escape(&results.took),
    );
    section(&mut body, "Instructions for each request", results, |row| {
        let bars = collect(results, row, |_, client| {
            row.cells.get(client)?.instructions
        });
        (bars, of_ours(row, Metric::Instructions))
    });
    section(
        &mut body,
        "Processor time as a ratio to the baseline client",
        results,
        |row| (ratios(results, row, "baseline"), None),
    );
    section(
        &mut body,
        "Processor time as a ratio to hyper with its pool, where the baseline client cannot take part",
        results,
        |row| {
            if row.ratio("baseline", "baseline").is_some() {
                return (Vec::new(), None);
            }
            (ratios(results, row, "hyper-util"), None)
        },
    );
    explained(
        &mut body,
        "Bytes of the heap for each idle connection",
        "baseline, ours and bare hyper open them one by one, with a request on each. Other pools need all \
         requests at once, and what such a burst leaves behind is included. The table below has the \
         number of connections where it is smaller.",
        results,
        |row| {
            let bars = collect(results, row, |_, client| row.cells.get(client)?.heap);
            (bars, of_ours(row, Metric::Heap))
        },
    );
    section(
        &mut body,
        "Reads from the socket for 256 MiB",
        results,
        |row| {
            let is_download = row.workload.how == How::Download;
            let bars = collect(results, row, |_, client| {
                row.receives(client).filter(|_| is_download)
            });
            (bars, of_ours(row, Metric::Reads))
        },
    );
    explained(
        &mut body,
        "Milliseconds until the response from a name with two addresses, the first of which is dead",
        "Clients that wait for the first address until the system's own limit are stopped before; the table \
         below has the time.",
        results,
        |row| (waits(results, row), None),
    );
    latencies(&mut body, results);
    curves(&mut body, results);
    for table in tables(results) {
        let _ = write!(
            body,
            "<h2>{}</h2><p class=\"dim\">{}</p><div class=\"table\"><table>",
            table.title, table.note
        );
        let is_ours: Vec<bool> = table.head.iter().map(|head| head == "httpcore").collect();
        let mut line = |cells: &[String], tag: &str| {
            body.push_str("<tr>");
            for (cell, is_ours) in cells.iter().zip(&is_ours) {
                let class = if *is_ours { " class=\"us\"" } else { "" };
                let _ = write!(body, "<{tag}{class}>{}</{tag}>", escape(cell));
            }
            body.push_str("</tr>");
        };
        line(&table.head, "th");
        for row in &table.rows {
            line(row, "td");
        }
        body.push_str("</table></div>");
    }
    body.push_str("<h2>Versions</h2><div class=\"table\"><table>");
    for (name, version) in &results.versions {
        let _ = write!(
            body,
            "<tr><td>{}</td><td>{}</td></tr>",
            escape(name),
            escape(version)
        );
    }
    body.push_str("</table></div>");
    if !results.left_out.is_empty() {
        body.push_str("<h2>Left out</h2><ul>");
        for what in &results.left_out {
            let _ = write!(body, "<li>{}</li>", escape(what));
        }
        body.push_str("</ul>");
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>httpcore and other clients\
         </title><style>{style}</style><body>{body}</body></html>\n"
    )
}

/// Adds a plot for each workload with results.
fn section(
    body: &mut String,
    title: &str,
    results: &Results,
    plot: impl Fn(&Row) -> (Vec<Bar>, Option<f64>),
) {
    explained(body, title, "", results, plot);
}

/// Adds plots below a paragraph.
fn explained(
    body: &mut String,
    title: &str,
    text: &str,
    results: &Results,
    plot: impl Fn(&Row) -> (Vec<Bar>, Option<f64>),
) {
    let mut plots = String::new();
    for row in &results.rows {
        let (all, goal) = plot(row);
        if !all.is_empty() {
            figure(&mut plots, row.workload.title, &bars(&all, goal));
        }
    }
    if !plots.is_empty() {
        let _ = write!(body, "<h2>{title}</h2>");
        if !text.is_empty() {
            let _ = write!(body, "<p class=\"dim\">{text}</p>");
        }
        let _ = write!(body, "<div class=\"plots\">{plots}</div>");
    }
}

fn figure(to: &mut String, caption: &str, svg: &str) {
    let _ = write!(
        to,
        "<figure><figcaption>{}</figcaption>{svg}</figure>",
        escape(caption)
    );
}

fn collect(results: &Results, row: &Row, value: impl Fn(&Row, &str) -> Option<f64>) -> Vec<Bar> {
    let bar = |(client, title): &(&'static str, &'static str)| {
        let value = value(row, client)?;
        Some(Bar {
            label: (*title).to_owned(),
            value,
            spread: None,
            shown: show(value),
            is_ours: client.starts_with("ours"),
        })
    };
    results.clients.iter().filter_map(bar).collect()
}

fn ratios(results: &Results, row: &Row, base: &str) -> Vec<Bar> {
    let bar = |(client, title): &(&'static str, &'static str)| {
        let Spread {
            median,
            least,
            most,
        } = row.ratio(client, base)?;
        Some(Bar {
            label: (*title).to_owned(),
            value: median,
            spread: (*client != base).then_some((least, most)),
            shown: format!("{median:.2}"),
            is_ours: client.starts_with("ours"),
        })
    };
    let bars: Vec<Bar> = results.clients.iter().filter_map(bar).collect();
    // A client that is a hundred times slower would hide the others.
    let (shown, far): (Vec<Bar>, Vec<Bar>) = bars.into_iter().partition(|bar| bar.value < 12.0);
    let beyond = |bar: Bar| {
        let shown = format!("not drawn: {}", bar.shown);
        undrawn(bar.label, shown, bar.is_ours)
    };
    shown
        .into_iter()
        .chain(far.into_iter().map(beyond))
        .collect()
}

fn waits(results: &Results, row: &Row) -> Vec<Bar> {
    let bar = |(client, title): &(&'static str, &'static str)| {
        let is_ours = client.starts_with("ours");
        let Some(Spread {
            median,
            least,
            most,
        }) = row.wait(client)
        else {
            let seconds = row.cells.get(client)?.endless?;
            let shown = format!("not within {seconds} s");
            return Some(undrawn((*title).to_owned(), shown, is_ours));
        };
        Some(Bar {
            label: (*title).to_owned(),
            value: median / 1e6,
            spread: Some((least / 1e6, most / 1e6)),
            shown: show(median / 1e6),
            is_ours,
        })
    };
    results.clients.iter().filter_map(bar).collect()
}

/// Words in place of a bar.
fn undrawn(label: String, shown: String, is_ours: bool) -> Bar {
    Bar {
        label,
        value: 0.0,
        spread: None,
        shown,
        is_ours,
    }
}

/// Adds the distributions: the share of requests that took longer than a given time.
fn latencies(body: &mut String, results: &Results) {
    let mut plots = String::new();
    for row in &results.rows {
        let wanted = row.workload.how == How::ConcurrentDownload || row.workload.in_flight == 64;
        let lines: Vec<Line> = colours(results)
            .filter_map(|(client, title, colour)| {
                let latencies = &row.cells.get(client)?.latencies;
                let points = latencies
                    .iter()
                    .filter(|(q, _)| (0.25..1.0).contains(q))
                    .map(|(q, time)| (1.0 / (1.0 - q), time / 1e3));
                let points: Vec<_> = points.collect();
                (wanted && client != "python" && !points.is_empty()).then(|| Line {
                    label: title.to_owned(),
                    points,
                    colour,
                })
            })
            .collect();
        if !lines.is_empty() {
            let svg = plots_of(&lines, "one request in … took longer", "microseconds");
            figure(&mut plots, row.workload.title, &svg);
        }
    }
    if !plots.is_empty() {
        let _ = write!(
            body,
            "<h2>Latencies</h2><p class=\"dim\">Of one run, with logarithmic axes; Python is outside \
             their range.</p><div class=\"plots\">{plots}</div>"
        );
    }
}

fn plots_of(all: &[Line], x: &str, y: &str) -> String {
    lines(all, x, y)
}

/// Cost against concurrency.
fn curves(body: &mut String, results: &Results) {
    let lines: Vec<Line> = colours(results)
        .filter_map(|(client, title, colour)| {
            let curve = results.curves.get(client)?;
            let points = curve.iter().map(|(n, cpu)| (*n as f64, cpu / 1e3));
            Some(Line {
                label: title.to_owned(),
                points: points.collect(),
                colour,
            })
        })
        .filter(|line| !line.points.is_empty())
        .collect();
    if lines.is_empty() {
        return;
    }
    let mut plot = String::new();
    let svg = plots_of(
        &lines,
        "requests in flight",
        "microseconds of processor time",
    );
    figure(
        &mut plot,
        "Processor time for each small request over HTTP/1.1",
        &svg,
    );
    let _ = write!(
        body,
        "<h2>Cost against concurrency</h2><div class=\"plots\">{plot}</div>"
    );
}

/// Every client with a colour which it has in all plots; ours is the first.
fn colours<'a>(
    results: &'a Results,
) -> impl Iterator<Item = (&'static str, &'static str, usize)> + use<'a> {
    let mut next = 1;
    results.clients.iter().map(move |(client, title)| {
        let colour = if *client == "ours" {
            0
        } else {
            next += 1;
            1 + (next - 2) % (COLOURS - 1)
        };
        (*client, *title, colour)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{results::Cell, workloads::WORKLOADS};

    #[test]
    fn page_shows_the_results_and_loads_nothing() {
        let cell = Cell {
            instructions: Some(4711.0),
            cpu: vec![100.0, 120.0],
            latencies: vec![(0.5, 10.0), (0.99, 20.0)],
            ..Cell::default()
        };
        let results = Results {
            clients: vec![("baseline", "baseline"), ("ours", "httpcore")],
            rows: vec![Row {
                workload: WORKLOADS[1],
                cells: [("ours", cell.clone()), ("baseline", cell)].into(),
            }],
            left_out: vec!["wrk: not <installed>".into()],
            ..Results::default()
        };
        let page = page(&results);
        for part in [
            "4,711",
            "not &lt;installed&gt;",
            "polyline",
            "prefers-color-scheme",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for part in ["<script", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(part), "{part}");
        }
    }
}
