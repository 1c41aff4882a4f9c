//! A picture in dots: the SVG, drawn with the fonts that come along and no others.

use std::sync::Arc;

use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree, fontdb::Database},
};

use super::{
    PictureError,
    words::{MEDIUM, MONO, REGULAR},
};

/// Dots from left to right and top to bottom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Dots across.
    pub width: u32,
    /// Dots down.
    pub height: u32,
    /// Red, green, blue and opacity of each.
    pub rgba: Vec<u8>,
}

/// Draws an SVG text, so many dots a point.
pub(super) fn pixels(svg: &str, [width, height]: [f64; 2], scale: u32) -> Result<Pixels, PictureError> {
    let mut fonts = Database::new();
    for font in [REGULAR, MEDIUM, MONO] {
        fonts.load_font_data(font.to_vec());
    }
    let options = Options { fontdb: Arc::new(fonts), font_family: "Inter".to_owned(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|error| PictureError::Drawing(error.to_string()))?;
    let [across, down] = [width, height].map(|side| (side * f64::from(scale)).round().max(1.0) as u32);
    let mut map =
        Pixmap::new(across, down).ok_or_else(|| PictureError::Drawing("there is no memory for it".to_owned()))?;
    resvg::render(&tree, Transform::from_scale(scale as f32, scale as f32), &mut map.as_mut());
    Ok(Pixels { width: across, height: down, rgba: map.take_demultiplied() })
}

/// The dots as a PNG file, with these texts inside.
pub(super) fn file(pixels: &Pixels, scale: u32, texts: Vec<(&'static str, String)>) -> Result<Vec<u8>, PictureError> {
    /// Dots a metre of a screen with one dot a point, 72 of them an inch.
    const DOTS: f64 = 72.0 / 0.0254;
    let failed = |error: png::EncodingError| PictureError::Drawing(error.to_string());
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, pixels.width, pixels.height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let dots = (DOTS * f64::from(scale)).round() as u32;
    encoder.set_pixel_dims(Some(png::PixelDimensions { xppu: dots, yppu: dots, unit: png::Unit::Meter }));
    for (keyword, text) in texts {
        encoder.add_itxt_chunk(keyword.to_owned(), text).map_err(failed)?;
    }
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&pixels.rgba).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}
