//! How it looks: colours by role for light and dark, fonts, text styles, spacing. The only file that makes colours of
//! the palette's numbers.

use std::sync::Arc;

use eframe::egui::{
    Color32, Context, FontData, FontDefinitions, FontFamily, FontId, RichText, Shadow, Stroke, Style, TextStyle, Theme,
    Ui, Vec2, style::Widgets,
};

use crate::{
    chart::{
        Tint,
        palette::{self, Palette},
    },
    engine::EngineId,
};

/// The colours of one theme, by what they are for.
#[derive(Debug)]
pub struct Tokens {
    /// Behind everything.
    pub ground: Color32,
    /// Cards, the navigation and the status line.
    pub panel: Color32,
    /// Popups and the palette.
    pub raised: Color32,
    /// Quiet buttons, the row under the pointer, empty bars.
    pub hover: Color32,
    /// Hairlines.
    pub line: Color32,
    /// Text that is read first.
    pub text: Color32,
    /// Text that explains.
    pub dim: Color32,
    /// Text that can be missed.
    pub faint: Color32,
    /// The fill of the primary button and of selections.
    pub accent: Color32,
    /// Text on `accent`.
    pub on_accent: Color32,
    /// The accent as a thin line: focus rings, bars.
    pub accent_line: Color32,
    /// Done, within bounds.
    pub good: Color32,
    /// Doubtful.
    pub warn: Color32,
    /// Wrong.
    pub bad: Color32,
    /// The lines of charts, in order.
    pub series: [Color32; 6],
    /// Laid over the window behind the palette.
    pub veil: Color32,
}

#[expect(clippy::disallowed_methods, reason = "this is the file that spells colours")]
const fn hex(rgb: u32) -> Color32 {
    Color32::from_rgb((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8)
}

/// The dark theme.
pub const DARK: Tokens = tokens(&palette::DARK, Color32::from_black_alpha(130));

/// The light theme.
pub const LIGHT: Tokens = tokens(&palette::LIGHT, Color32::from_black_alpha(70));

const fn tokens(palette: &Palette, veil: Color32) -> Tokens {
    let [first, second, third, fourth, fifth, sixth] = palette.series;
    Tokens {
        ground: hex(palette.ground),
        panel: hex(palette.panel),
        raised: hex(palette.raised),
        hover: hex(palette.hover),
        line: hex(palette.line),
        text: hex(palette.text),
        dim: hex(palette.dim),
        faint: hex(palette.faint),
        accent: hex(palette.accent),
        on_accent: hex(palette.on_accent),
        accent_line: hex(palette.accent_line),
        good: hex(palette.good),
        warn: hex(palette.warn),
        bad: hex(palette.bad),
        series: [hex(first), hex(second), hex(third), hex(fourth), hex(fifth), hex(sixth)],
        veil,
    }
}

impl Tokens {
    /// The tokens of the theme in use.
    pub fn of(ui: &Ui) -> &'static Self {
        match ui.theme() {
            Theme::Dark => &DARK,
            Theme::Light => &LIGHT,
        }
    }

    /// The colour of an engine, the same in every chart.
    pub fn engine(&self, engine: EngineId) -> Color32 {
        self.tint(Tint::of(engine))
    }

    /// The colour that a figure means.
    pub fn tint(&self, tint: Tint) -> Color32 {
        match tint {
            Tint::Data(place) => self.data(place),
            Tint::Faint => self.faint,
            Tint::Ink => self.text,
            Tint::Good => self.good,
            Tint::Bad => self.bad,
        }
    }

    /// The colour of data at `place`.
    pub fn data(&self, place: usize) -> Color32 {
        self.series.get(place % self.series.len()).copied().unwrap_or(self.text)
    }
}

/// Steps of the 4-point scale.
pub mod space {
    /// Between a label and its value.
    pub const XS: f32 = 4.0;
    /// Between things that belong together.
    pub const S: f32 = 8.0;
    /// Between cards.
    pub const M: f32 = 12.0;
    /// Inside cards.
    pub const L: f32 = 16.0;
    /// Beside the content.
    pub const XL: f32 = 24.0;
}

/// The height of a control.
pub const CONTROL: f32 = 28.0;

const MEDIUM: &str = "medium";

/// The face of emphasis.
pub fn medium_family() -> FontFamily {
    FontFamily::Name(MEDIUM.into())
}

/// The style of small labels and notes.
pub fn label_style() -> TextStyle {
    TextStyle::Name("label".into())
}

/// Small text that names what stands beside or under it.
pub fn label(text: impl Into<String>) -> RichText {
    RichText::new(text).text_style(label_style())
}

/// The heading of a card.
pub fn section(text: impl Into<String>) -> RichText {
    RichText::new(text).text_style(TextStyle::Name("section".into()))
}

/// A headline number.
pub fn value(text: impl Into<String>) -> RichText {
    RichText::new(text).text_style(TextStyle::Name("value".into()))
}

/// Emphasis by weight, for what is selected and the primary button.
pub fn medium(text: impl Into<String>) -> RichText {
    RichText::new(text).family(FontFamily::Name(MEDIUM.into()))
}

/// The font of ticks in charts.
pub fn tick_font() -> FontId {
    FontId::new(11.0, FontFamily::Monospace)
}

/// Gives the context its fonts and both styles.
pub fn apply(context: &Context) {
    context.set_fonts(fonts());
    for (theme, tokens) in [(Theme::Dark, &DARK), (Theme::Light, &LIGHT)] {
        context.style_mut_of(theme, |style| {
            set_text(style);
            set_spacing(style);
            set_colours(style, tokens);
            set_still(style);
        });
    }
}

fn fonts() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    let files: [(&str, &'static [u8]); 3] = [
        ("inter", include_bytes!("../../assets/fonts/Inter-Regular.otf")),
        ("inter-medium", include_bytes!("../../assets/fonts/Inter-Medium.otf")),
        ("jetbrains-mono", include_bytes!("../../assets/fonts/JetBrainsMono-Regular.ttf")),
    ];
    for (name, bytes) in files {
        fonts.font_data.insert(name.to_owned(), Arc::new(FontData::from_static(bytes)));
    }
    let fallback = fonts.families.get(&FontFamily::Proportional).cloned().unwrap_or_default();
    let behind = |first: &str| -> Vec<String> { [first.to_owned()].into_iter().chain(fallback.clone()).collect() };
    let (regular, medium, mut mono) = (behind("inter"), behind("inter-medium"), behind("jetbrains-mono"));
    mono.insert(1, "inter".to_owned());
    fonts.families.insert(FontFamily::Proportional, regular);
    fonts.families.insert(FontFamily::Name(MEDIUM.into()), medium);
    fonts.families.insert(FontFamily::Monospace, mono);
    fonts
}

fn set_text(style: &mut Style) {
    let plain = |size| FontId::new(size, FontFamily::Proportional);
    style.text_styles = [
        (TextStyle::Small, plain(11.5)),
        (TextStyle::Body, plain(13.0)),
        (TextStyle::Button, plain(13.0)),
        (TextStyle::Monospace, FontId::new(12.5, FontFamily::Monospace)),
        (TextStyle::Heading, FontId::new(20.0, FontFamily::Name(MEDIUM.into()))),
        (label_style(), plain(11.5)),
        (TextStyle::Name("section".into()), FontId::new(14.0, FontFamily::Name(MEDIUM.into()))),
        (TextStyle::Name("value".into()), FontId::new(24.0, FontFamily::Monospace)),
    ]
    .into();
    style.interaction.selectable_labels = false;
}

fn set_spacing(style: &mut Style) {
    let spacing = &mut style.spacing;
    spacing.item_spacing = Vec2::splat(space::S);
    spacing.button_padding = Vec2::new(space::M, 5.0);
    spacing.interact_size.y = CONTROL;
    spacing.scroll.bar_width = 6.0;
    // In the margin beside the cards, not over them.
    spacing.scroll.bar_outer_margin = -10.0;
    spacing.tooltip_width = 420.0;
    spacing.menu_margin = eframe::egui::Margin::same(6);
}

fn set_colours(style: &mut Style, tokens: &Tokens) {
    let visuals = &mut style.visuals;
    visuals.panel_fill = tokens.ground;
    visuals.window_fill = tokens.raised;
    visuals.extreme_bg_color = tokens.panel;
    visuals.faint_bg_color = tokens.hover;
    visuals.window_stroke = Stroke::new(1.0, tokens.line);
    visuals.window_corner_radius = 10.into();
    visuals.menu_corner_radius = 8.into();
    visuals.selection.bg_fill = tokens.accent;
    visuals.selection.stroke = Stroke::new(1.0, tokens.on_accent);
    visuals.hyperlink_color = tokens.accent_line;
    visuals.error_fg_color = tokens.bad;
    visuals.warn_fg_color = tokens.warn;
    visuals.weak_text_color = Some(tokens.dim);
    visuals.text_cursor.stroke = Stroke::new(1.5, tokens.accent_line);
    visuals.popup_shadow = Shadow { offset: [0, 6], blur: 20, spread: 0, color: Color32::from_black_alpha(60) };
    visuals.window_shadow = visuals.popup_shadow;
    visuals.striped = false;
    visuals.indent_has_left_vline = false;
    set_widgets(&mut visuals.widgets, tokens);
}

fn set_widgets(widgets: &mut Widgets, tokens: &Tokens) {
    for widget in [
        &mut widgets.noninteractive,
        &mut widgets.inactive,
        &mut widgets.hovered,
        &mut widgets.active,
        &mut widgets.open,
    ] {
        widget.corner_radius = 6.into();
        widget.expansion = 0.0;
        widget.fg_stroke = Stroke::new(1.0, tokens.text);
        widget.bg_stroke = Stroke::NONE;
        widget.bg_fill = tokens.hover;
        widget.weak_bg_fill = tokens.hover;
    }
    widgets.noninteractive.bg_stroke = Stroke::new(1.0, tokens.line);
    widgets.hovered.weak_bg_fill = tokens.line;
    widgets.hovered.bg_fill = tokens.line;
    // The keyboard's focus shows as `active`: the ring must be seen on every ground.
    widgets.active.weak_bg_fill = tokens.line;
    widgets.active.bg_stroke = Stroke::new(1.5, tokens.accent_line);
}

/// Nothing moves by itself: a frame drawn for show would take the processor or GPU from what is measured.
fn set_still(style: &mut Style) {
    style.animation_time = 0.0;
    style.visuals.text_cursor.blink = false;
    style.scroll_animation = eframe::egui::style::ScrollAnimation::none();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contrast ratio of WCAG 2.2.
    fn contrast(a: Color32, b: Color32) -> f64 {
        let luminance = |colour: Color32| {
            let channel = |byte: u8| {
                let share = f64::from(byte) / 255.0;
                if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * channel(colour.r()) + 0.7152 * channel(colour.g()) + 0.0722 * channel(colour.b())
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_is_readable_on_every_ground_in_both_themes() {
        for tokens in [&DARK, &LIGHT] {
            let mut written = vec![tokens.text, tokens.dim, tokens.faint, tokens.good, tokens.warn, tokens.bad];
            written.extend(tokens.series);
            for (ground, colour) in [tokens.ground, tokens.panel, tokens.raised]
                .into_iter()
                .flat_map(|ground| written.iter().map(move |colour| (ground, *colour)))
            {
                let ratio = contrast(ground, colour);
                assert!(ratio >= 4.5, "{colour:?} on {ground:?} has {ratio:.2}");
            }
            for colour in [tokens.text, tokens.dim] {
                assert!(contrast(tokens.hover, colour) >= 4.5, "{colour:?} on hover");
            }
            assert!(contrast(tokens.accent, tokens.on_accent) >= 4.5);
            assert!(contrast(tokens.accent_line, tokens.panel) >= 3.0, "the focus ring is seen");
        }
    }
}
