//! A report as one HTML page: style and charts inside, no script, nothing fetched. The template engine escapes all text.

use minijinja::{AutoEscape, Environment, context, syntax::SyntaxConfig, value::Serde};

use super::document::Document;
use crate::chart::palette::{DARK, LIGHT, Palette};

const TEMPLATE: &str = include_str!("../../assets/report.html");

/// Why a page could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the page could not be made from its template: {0}")]
pub struct HtmlError(#[from] minijinja::Error);

/// The page.
pub(super) fn page(documents: &[Document]) -> Result<String, HtmlError> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    let title = match documents {
        [one] => one.title.clone(),
        several => format!("Reports of {} runs", several.len()),
    };
    Ok(environment.render_str(
        TEMPLATE,
        context! { title, light => colours(&LIGHT), dark => colours(&DARK), documents => Serde(documents) },
    )?)
}

/// The colours of a theme as the page's style sheet names them.
fn colours(palette: &Palette) -> String {
    let named = [
        ("ink", palette.text),
        ("soft", palette.dim),
        ("line", palette.line),
        ("wash", palette.ground),
        ("page", palette.panel),
        ("good", palette.good),
        ("bad", palette.bad),
    ];
    let named = named.into_iter().map(|(name, rgb)| format!("--{name}: #{rgb:06x};"));
    let series = palette.series.into_iter().enumerate().map(|(place, rgb)| format!("--b{place}: #{rgb:06x};"));
    named.chain(series).collect::<Vec<_>>().join(" ")
}
