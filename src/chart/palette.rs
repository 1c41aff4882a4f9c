//! The colours of the window and of every picture, as numbers: one place for both. What the roles are used for is told in the
//! window's theme.

/// A colour as 0xRRGGBB.
pub type Rgb = u32;

/// What a theme's colours are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    /// Behind everything.
    pub ground: Rgb,
    /// Behind a chart or a table.
    pub panel: Rgb,
    /// Behind what lies above the rest.
    pub raised: Rgb,
    /// Under the pointer.
    pub hover: Rgb,
    /// Hairlines and grids.
    pub line: Rgb,
    /// What is read first.
    pub text: Rgb,
    /// What is read second.
    pub dim: Rgb,
    /// What is read last.
    pub faint: Rgb,
    /// The fill of the primary button and of selections.
    pub accent: Rgb,
    /// Text on `accent`.
    pub on_accent: Rgb,
    /// The accent as a thin line.
    pub accent_line: Rgb,
    /// Done, better.
    pub good: Rgb,
    /// Doubtful.
    pub warn: Rgb,
    /// Wrong, worse.
    pub bad: Rgb,
    /// The colours of data, in order.
    pub series: [Rgb; 6],
}

/// The dark theme's.
pub const DARK: Palette = Palette {
    ground: 0x121316,
    panel: 0x17191D,
    raised: 0x1E2126,
    hover: 0x262A31,
    line: 0x2A2E35,
    text: 0xE6E8EB,
    dim: 0x9BA3AD,
    faint: 0x858D98,
    accent: 0x2F6FE4,
    on_accent: 0xFFFFFF,
    accent_line: 0x4C8DFF,
    good: 0x59C97A,
    warn: 0xF0B44C,
    bad: 0xF26D6D,
    series: [0x5AA2FF, 0xF2A154, 0x59C9A5, 0xC38CFF, 0xF27E9D, 0xD6C453],
};

/// The light theme's.
pub const LIGHT: Palette = Palette {
    ground: 0xF5F6F8,
    panel: 0xFFFFFF,
    raised: 0xFFFFFF,
    hover: 0xEBEDF1,
    line: 0xDDE1E7,
    text: 0x16181C,
    dim: 0x5A626D,
    faint: 0x656D78,
    accent: 0x1F63D6,
    on_accent: 0xFFFFFF,
    accent_line: 0x1F63D6,
    good: 0x1F7A3D,
    warn: 0x8F5A00,
    bad: 0xB3261E,
    series: [0x1F63D6, 0xB4550F, 0x0A7A5F, 0x7038D4, 0xB02A57, 0x7C6A00],
};
