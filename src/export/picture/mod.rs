//! Charts as pictures: SVG, and PNG drawn from it. One drawer makes both, and the charts of the report.

mod bars;
mod canvas;
mod names;
mod paper;
mod plot;
mod png;
mod scale;
mod sheet;
mod stamp;
mod words;

pub(crate) use self::{
    canvas::{Anchor, Element, Letters, Paint},
    paper::{Piece, pdf as paper},
    words::{Ruler, Weight},
};
use self::{
    canvas::{Ink, ON_DARK, ON_LIGHT},
    sheet::{Frame, Sheet},
    words::{escaped, plain},
};
pub use self::{
    png::Pixels,
    stamp::{STAMP, Stamp},
};
use crate::chart::Figure;

/// How a picture is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PictureFormat {
    /// Lines and letters, sharp at any size.
    #[default]
    Svg,
    /// Dots.
    Png,
}

impl PictureFormat {
    /// The name, and the end of a file's.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Png => "png",
        }
    }
}

/// The ground of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PictureTheme {
    /// Dark on white.
    #[default]
    Light,
    /// Light on near-black.
    Dark,
}

impl PictureTheme {
    /// The name.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    const fn ink(self) -> Ink {
        match self {
            Self::Light => ON_LIGHT,
            Self::Dark => ON_DARK,
        }
    }
}

/// How a picture looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its ground.
    pub theme: PictureTheme,
    /// Its width in points.
    pub width: u32,
    /// Its height in points; what it needs if absent.
    pub height: Option<u32>,
    /// Dots a point, of a PNG file.
    pub scale: u32,
}

impl Default for Look {
    fn default() -> Self {
        Self { theme: PictureTheme::Light, width: Self::WIDTH, height: None, scale: 1 }
    }
}

impl Look {
    /// The width that is drawn if none is chosen.
    pub const WIDTH: u32 = 960;
    /// The shortest side.
    pub const SIDE_MIN: u32 = 160;
    /// The longest.
    pub const SIDE_MAX: u32 = 4000;
    /// The most dots a point.
    pub const SCALE_MAX: u32 = 3;
    /// The most dots of a picture: 256 MB while it is drawn.
    pub const DOTS_MAX: u64 = 64_000_000;

    /// Width and height from text such as "1200x630", in points.
    pub fn size_from(text: &str) -> Result<(u32, u32), String> {
        let (least, most) = (Self::SIDE_MIN, Self::SIDE_MAX);
        let refused = || {
            format!(
                "\"{}\" is no size of a picture: write WIDTHxHEIGHT in points, each from {least} to {most}, such as 1200x630",
                plain(text)
            )
        };
        let (width, height) = text.trim().split_once(['x', 'X', '×']).ok_or_else(refused)?;
        let side = |text: &str| text.trim().parse::<u32>().ok().filter(|side| (least..=most).contains(side));
        side(width).zip(side(height)).ok_or_else(refused)
    }

    /// That a picture of this look can be drawn.
    pub fn check(&self, format: PictureFormat) -> Result<(), PictureError> {
        let sides = [self.width, self.height.unwrap_or(Self::SIDE_MIN)];
        let is_side = |side: &u32| (Self::SIDE_MIN..=Self::SIDE_MAX).contains(side);
        if !sides.iter().all(is_side) || !(1..=Self::SCALE_MAX).contains(&self.scale) {
            return Err(PictureError::Size);
        }
        check_dots(sides.map(f64::from), if format == PictureFormat::Png { self.scale } else { 1 })
    }
}

fn check_dots([width, height]: [f64; 2], scale: u32) -> Result<(), PictureError> {
    let dots = width * height * f64::from(scale * scale);
    if dots <= Look::DOTS_MAX as f64 { Ok(()) } else { Err(PictureError::Dots { dots: dots as u64 }) }
}

/// Why there is no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// A side or the scale is out of bounds.
    #[error(
        "a picture is from {} to {} points wide and high, and has 1 to {} dots a point",
        Look::SIDE_MIN,
        Look::SIDE_MAX,
        Look::SCALE_MAX
    )]
    Size,
    /// It has too many dots.
    #[error("a picture of {dots} dots is too large; choose a smaller size or scale, at most {} dots", Look::DOTS_MAX)]
    Dots {
        /// How many.
        dots: u64,
    },
    /// It could not be drawn.
    #[error("the picture could not be drawn: {0}")]
    Drawing(String),
}

/// A figure as a file. `named` are its runs as a command line finds them again, for the command that makes it anew; `options` are
/// the flags that it needs beside those of the look.
pub fn picture(
    figure: &Figure,
    format: PictureFormat,
    look: &Look,
    named: &[String],
    options: &[String],
) -> Result<Vec<u8>, PictureError> {
    look.check(format)?;
    let sheet = sheet(figure, look);
    let stamp = Stamp::of(figure, [named, options], format, look);
    match format {
        PictureFormat::Svg => Ok(svg(figure, &sheet, &stamp, look.theme.ink()).into_bytes()),
        PictureFormat::Png => {
            let pixels = dots(figure, &sheet, &stamp, look)?;
            png::file(&pixels, look.scale, stamp.png(&Stamp::description(figure)))
        }
    }
}

/// A figure as dots, for the clipboard.
pub fn pixels(figure: &Figure, look: &Look) -> Result<Pixels, PictureError> {
    look.check(PictureFormat::Png)?;
    dots(figure, &sheet(figure, look), &Stamp::of(figure, [&[], &[]], PictureFormat::Png, look), look)
}

/// A figure as part of a page, without heading and caption; the page's style sheet has the colours.
pub(super) fn page_svg(figure: &Figure, width: u32) -> String {
    let Drawing { size: [width, height], elements } = drawing(figure, f64::from(width));
    format!(
        "<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">\n{}</svg>",
        escaped(&plain(&figure.title)),
        canvas::svg(&elements, Ink::Page)
    )
}

/// A figure without heading and caption as what is to be drawn, for a page on the screen.
pub(crate) fn drawing(figure: &Figure, width: f64) -> Drawing {
    let sheet = sheet::draw(figure, Frame::Bare, width, None);
    Drawing { size: sheet.drawn, elements: sheet.elements }
}

/// What is to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Drawing {
    /// Its width and height in points.
    pub(crate) size: [f64; 2],
    /// From the lowest to the topmost.
    pub(crate) elements: Vec<Element>,
}

fn sheet(figure: &Figure, look: &Look) -> Sheet {
    sheet::draw(figure, Frame::Whole, f64::from(look.width), look.height.map(f64::from))
}

fn dots(figure: &Figure, sheet: &Sheet, stamp: &Stamp, look: &Look) -> Result<Pixels, PictureError> {
    let (ink, scale) = (look.theme.ink(), look.scale);
    check_dots(sheet.size, scale)?;
    png::pixels(&svg(figure, sheet, stamp, ink), sheet.size, scale)
}

fn svg(figure: &Figure, sheet: &Sheet, stamp: &Stamp, ink: Ink) -> String {
    let ([width, height], [across, down]) = (sheet.size, sheet.drawn);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" \
         height=\"{height:.0}\" viewBox=\"0 0 {across:.2} {down:.2}\" \
         font-family=\"Inter, 'Helvetica Neue', Arial, sans-serif\" role=\"img\">\n<title>{}</title>\n<desc>{}</desc>\n{}{}</svg>\n",
        escaped(&plain(&figure.title)),
        escaped(&Stamp::description(figure)),
        stamp.svg(),
        canvas::svg(&sheet.elements, ink)
    )
}
