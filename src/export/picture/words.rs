//! Words in a picture: how wide they are, cut where they don't fit, and with nothing in them that XML or a reader chokes on.

use skrifa::{
    FontRef, MetadataProvider as _,
    charmap::Charmap,
    instance::{LocationRef, Size},
    metrics::GlyphMetrics,
};

/// The fonts that pictures are drawn with; a system's own are never used.
pub(super) const REGULAR: &[u8] = include_bytes!("../../../assets/fonts/Inter-Regular.otf");
/// For headings.
pub(super) const MEDIUM: &[u8] = include_bytes!("../../../assets/fonts/Inter-Medium.otf");
/// For what the first lacks.
pub(super) const MONO: &[u8] = include_bytes!("../../../assets/fonts/JetBrainsMono-Regular.ttf");

/// More of a name is never drawn.
const LETTERS_MAX: usize = 300;

/// How heavy letters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// For all but headings.
    Regular,
    /// For headings.
    Medium,
}

/// Measures words.
pub(crate) struct Ruler<'a> {
    regular: Option<Face<'a>>,
    medium: Option<Face<'a>>,
}

struct Face<'a> {
    letters: Charmap<'a>,
    widths: GlyphMetrics<'a>,
    units: f64,
}

impl<'a> Face<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let font = FontRef::new(bytes).ok()?;
        let units = f64::from(font.metrics(Size::unscaled(), LocationRef::default()).units_per_em);
        let widths = font.glyph_metrics(Size::unscaled(), LocationRef::default());
        (units > 0.0).then(|| Self { letters: font.charmap(), widths, units })
    }

    /// The width of a letter as a share of the size. What the font lacks counts as a full square.
    fn width(&self, letter: char) -> f64 {
        let width = self.letters.map(letter).and_then(|glyph| self.widths.advance_width(glyph));
        width.map_or(1.0, |width| f64::from(width) / self.units)
    }
}

impl Ruler<'static> {
    /// Over the fonts that come along.
    pub(crate) fn new() -> Self {
        Self { regular: Face::of(REGULAR), medium: Face::of(MEDIUM) }
    }
}

impl Ruler<'_> {
    /// How wide a text is.
    pub(crate) fn width(&self, text: &str, size: f64, weight: Weight) -> f64 {
        let face = match weight {
            Weight::Regular => &self.regular,
            Weight::Medium => &self.medium,
        };
        text.chars().map(|letter| face.as_ref().map_or(0.7, |face| face.width(letter))).sum::<f64>() * size
    }

    /// The text, or as much of it as fits, with "…".
    pub(crate) fn cut(&self, text: &str, size: f64, weight: Weight, room: f64) -> String {
        let text = plain(text);
        if self.width(&text, size, weight) <= room {
            return text;
        }
        let room = room - self.width("…", size, weight);
        let mut used = 0.0;
        let mut kept = String::new();
        for letter in text.chars() {
            used += self.width(letter.encode_utf8(&mut [0; 4]), size, weight);
            if used > room {
                break;
            }
            kept.push(letter);
        }
        format!("{}…", kept.trim_end())
    }

    /// The text in lines that fit, at most so many; the last is cut.
    pub(super) fn wrap(&self, text: &str, size: f64, room: f64, most: usize) -> Vec<String> {
        let mut lines = vec![String::new()];
        for word in plain(text).split_whitespace() {
            let full = lines.len() >= most;
            let Some(last) = lines.last_mut() else { break };
            let longer = if last.is_empty() { word.to_owned() } else { format!("{last} {word}") };
            if full || last.is_empty() || self.width(&longer, size, Weight::Regular) <= room {
                *last = longer;
            } else {
                lines.push(word.to_owned());
            }
        }
        lines.retain(|line| !line.is_empty());
        lines.into_iter().map(|line| self.cut(&line, size, Weight::Regular, room)).collect()
    }
}

/// Text of one line: no control characters, none that turn the direction of others, none that XML forbids, and not too long.
pub(super) fn plain(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}');
    let shown = |c: char| if c.is_control() || turns(c) || matches!(c, '\u{FFFE}' | '\u{FFFF}') { ' ' } else { c };
    let mut kept: String = text.chars().take(LETTERS_MAX).map(shown).collect();
    if text.chars().nth(LETTERS_MAX).is_some() {
        kept.push('…');
    }
    kept.trim().to_owned()
}

/// Text as XML has it, between tags and in quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_measured_cut_and_wrapped() {
        let ruler = Ruler::new();
        let width = |text: &str| ruler.width(text, 10.0, Weight::Regular);
        assert!(width("mmmm") > width("iiii") && (width("aa") - 2.0 * width("a")).abs() < 1e-9);
        assert!(ruler.width("Title", 10.0, Weight::Medium) > width("Title"));
        let cut = ruler.cut("a very long name of a model", 10.0, Weight::Regular, 60.0);
        assert!(cut.ends_with('…') && width(&cut) <= 60.0, "{cut}");
        assert_eq!(ruler.cut("short", 10.0, Weight::Regular, 60.0), "short");
        let lines = ruler.wrap("one two three four five six seven", 10.0, 60.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| width(line) <= 60.0), "{lines:?}");
    }

    #[test]
    fn text_is_inert() {
        assert_eq!(escaped("<script>alert(\"&'\")"), "&lt;script&gt;alert(&quot;&amp;&#39;&quot;)");
        assert_eq!(plain("a\nb\u{0}c\u{202E}d"), "a b c d");
        assert!(plain(&"x".repeat(100_000)).chars().count() <= LETTERS_MAX + 1);
    }
}
