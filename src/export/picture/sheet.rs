//! The sheet around a chart: heading, legend, the chart, and the line that says where it comes from. Nothing is cut off: where
//! the size that was asked for has too little room, everything is drawn smaller.

use super::{
    bars,
    canvas::{Anchor, Canvas, Element, Letters, Paint},
    plot,
    words::{Ruler, Weight},
};
use crate::{
    chart::{Body, Dash, Figure, Marker, Origin, Tint, Trace},
    record::AppInfo,
};

const EDGE: f64 = 24.0;
const TITLE: f64 = 17.0;
const SMALL: f64 = 12.0;
const CAPTION: f64 = 10.5;
const CAPTION_LINE: f64 = 15.0;
const LEGEND_LINE: f64 = 19.0;
const LINES_MAX: usize = 3;
/// The height of a plot for which none was chosen, in the usual width.
const USUAL: [f64; 2] = [960.0, 540.0];
/// More of a caption is left out; all of it is in the metadata.
const ORIGINS_MAX: usize = 6;

/// A chart that is drawn.
pub(super) struct Sheet {
    /// Its elements.
    pub elements: Vec<Element>,
    /// The size that was asked for.
    pub size: [f64; 2],
    /// The size that it was drawn in: as large, or larger with the same proportions.
    pub drawn: [f64; 2],
}

/// What surrounds the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A picture of its own.
    Whole,
    /// Part of a page that has a heading and says where it comes from.
    Bare,
}

/// Draws a figure. Without a height it becomes as high as it needs.
pub(super) fn draw(figure: &Figure, frame: Frame, width: f64, height: Option<f64>) -> Sheet {
    let mut canvas = Canvas::new();
    let shrink = fitting(figure, &canvas.ruler, frame, width, height);
    let drawn_width = width * shrink;
    let least = Layout::of(figure, &canvas.ruler, frame, drawn_width).least();
    let usual = match (&figure.body, frame) {
        (Body::Plot(_), Frame::Whole) => least.max(drawn_width * USUAL[1] / USUAL[0]),
        (Body::Plot(_), Frame::Bare) => least.max(drawn_width * 0.42),
        (Body::Bars(_), _) => least,
    };
    let drawn_height = height.map_or(usual, |height| height * shrink);
    fill(&mut canvas, figure, frame, drawn_width, drawn_height);
    let size = [width, height.unwrap_or(drawn_height / shrink).round()];
    Sheet { elements: canvas.into_elements(), size, drawn: [drawn_width, drawn_height] }
}

/// How much larger than asked for it must be drawn so that all has room.
fn fitting(figure: &Figure, ruler: &Ruler<'_>, frame: Frame, width: f64, height: Option<f64>) -> f64 {
    const STEP: f64 = 1.08;
    const STEPS: i32 = 80;
    let fits = |shrink: &f64| {
        let enough =
            height.is_none_or(|height| Layout::of(figure, ruler, frame, width * shrink).least() <= height * shrink);
        width * shrink >= plot::WIDTH + 2.0 * EDGE && enough
    };
    (0..STEPS).map(|step| STEP.powi(step)).find(fits).unwrap_or_else(|| STEP.powi(STEPS))
}

/// What stands around the chart, and the height of each part.
struct Layout {
    edge: f64,
    title: Vec<String>,
    note: Vec<String>,
    legend: Vec<Vec<Item>>,
    caption: Vec<String>,
    body: f64,
}

struct Item {
    label: String,
    tint: Tint,
    dash: Option<Dash>,
    marker: Option<Marker>,
    width: f64,
}

impl Layout {
    fn of(figure: &Figure, ruler: &Ruler<'_>, frame: Frame, width: f64) -> Self {
        let (edge, whole) = if frame == Frame::Whole { (EDGE, true) } else { (0.0, false) };
        let room = width - 2.0 * edge;
        let note = notes(figure, whole);
        Self {
            edge,
            title: if whole { vec![ruler.cut(&figure.title, TITLE, Weight::Medium, room)] } else { Vec::new() },
            note: ruler.wrap(&note, SMALL, room, LINES_MAX),
            legend: legend(figure, ruler, room),
            caption: if whole { caption(figure, ruler, room) } else { Vec::new() },
            body: match &figure.body {
                Body::Plot(_) => plot::HEIGHT,
                Body::Bars(list) => bars::height(list),
            },
        }
    }

    /// The height above the chart, and below it.
    fn around(&self) -> [f64; 2] {
        let title = self.title.len() as f64 * (TITLE + 9.0);
        let note = self.note.len() as f64 * (SMALL + 5.0);
        let legend = self.legend.len() as f64 * LEGEND_LINE;
        let gap = if title + note + legend > 0.0 { 8.0 } else { 0.0 };
        let below = if self.caption.is_empty() { 0.0 } else { 16.0 + self.caption.len() as f64 * CAPTION_LINE };
        [self.edge + title + note + legend + gap, below + self.edge * 0.75]
    }

    fn least(&self) -> f64 {
        let [above, below] = self.around();
        (above + self.body + below).ceil()
    }
}

/// What is said under the heading.
fn notes(figure: &Figure, whole: bool) -> String {
    let unit = match &figure.body {
        Body::Bars(list) if whole => list.label.as_str(),
        _ => "",
    };
    let shared = match &figure.body {
        Body::Bars(list) => bars::shared_detail(list).unwrap_or_default(),
        Body::Plot(_) => "",
    };
    let parts = [unit, shared, figure.note.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

/// "Measured on …", a line a run; with several runs the letters that name them.
fn caption(figure: &Figure, ruler: &Ruler<'_>, room: f64) -> Vec<String> {
    let line = |text: String| ruler.wrap(&text, CAPTION, room, 2);
    let letter = |place: usize| char::from(b'A' + place as u8);
    let text = |(place, origin): (usize, &Origin)| match figure.origins.len() {
        1 => format!("{} · {}", figure.title, origin.caption()),
        _ => format!("{}: {}", letter(place), origin.caption()),
    };
    let shown = figure.origins.iter().take(ORIGINS_MAX).enumerate();
    let mut lines: Vec<String> = shown.flat_map(|origin| line(text(origin))).collect();
    if figure.origins.is_empty() {
        // Only the window knows all saved runs, and no command makes it again.
        let program = AppInfo::current().program();
        lines = line(format!("{} · drawn in the window of {program}: History, Over time", figure.title));
    }
    let more = figure.origins.len().saturating_sub(ORIGINS_MAX);
    lines.extend((more > 0).then(|| format!("and {more} more runs")));
    lines
}

fn legend(figure: &Figure, ruler: &Ruler<'_>, room: f64) -> Vec<Vec<Item>> {
    let Body::Plot(plot) = &figure.body else { return Vec::new() };
    let named = || plot.traces.iter().filter(|trace| !trace.label.is_empty());
    let item = |trace: &Trace| {
        let label = ruler.cut(&trace.label, SMALL, Weight::Regular, room - 48.0);
        let sample = if trace.dash.is_some() { 34.0 } else { 18.0 };
        let width = sample + ruler.width(&label, SMALL, Weight::Regular) + 18.0;
        Item { label, tint: trace.tint, dash: trace.dash, marker: trace.marker, width }
    };
    let mut rows: Vec<Vec<Item>> = Vec::new();
    let mut used = f64::INFINITY;
    for item in named().map(item) {
        if used + item.width > room {
            rows.push(Vec::new());
            used = 0.0;
        }
        used += item.width;
        if let Some(row) = rows.last_mut() {
            row.push(item);
        }
    }
    rows
}

fn fill(canvas: &mut Canvas, figure: &Figure, frame: Frame, width: f64, height: f64) {
    let layout = Layout::of(figure, &canvas.ruler, frame, width);
    if frame == Frame::Whole {
        canvas.rect([0.0, 0.0, width, height], 0.0, Paint::Panel, false);
    }
    let mut y = layout.edge;
    for title in &layout.title {
        let letters = Letters { weight: Weight::Medium, ..Letters::new(TITLE, Paint::INK) };
        canvas.text([layout.edge, y + TITLE * 0.85], Anchor::Start, letters, title);
        y += TITLE + 9.0;
    }
    for note in &layout.note {
        canvas.text([layout.edge, y + SMALL * 0.85], Anchor::Start, Letters::new(SMALL, Paint::Dim), note);
        y += SMALL + 5.0;
    }
    for row in &layout.legend {
        draw_legend(canvas, row, [layout.edge, y]);
        y += LEGEND_LINE;
    }
    let [above, below] = layout.around();
    let room = [layout.edge, above, width - 2.0 * layout.edge, (height - above - below).max(layout.body)];
    match &figure.body {
        Body::Plot(plot) => plot::draw(canvas, plot, room),
        Body::Bars(list) => bars::draw(canvas, list, room),
    }
    let mut y = height - layout.edge * 0.75 - layout.caption.len() as f64 * CAPTION_LINE;
    for line in &layout.caption {
        canvas.text([layout.edge, y + CAPTION], Anchor::Start, Letters::new(CAPTION, Paint::FAINT), line);
        y += CAPTION_LINE;
    }
}

fn draw_legend(canvas: &mut Canvas, row: &[Item], [mut x, y]: [f64; 2]) {
    let middle = y + 8.0;
    for item in row {
        let paint = Paint::Tint(item.tint);
        let mut at = x;
        if let Some(dash) = item.dash {
            canvas.polyline(&[[x, middle], [x + 26.0, middle]], paint, dash);
            at = x + 34.0;
        }
        if let Some(marker) = item.marker {
            let place = if item.dash.is_some() { x + 13.0 } else { x + 5.0 };
            canvas.marker([place, middle], marker, 3.5, paint);
            at = at.max(x + 18.0);
        }
        canvas.text([at, middle + SMALL * 0.36], Anchor::Start, Letters::new(SMALL, Paint::INK), &item.label);
        x += item.width;
    }
}
