//! A long list of parts of any height, of which only those in sight are laid out.

use eframe::egui::Ui;

/// The heights of its parts: as they were when they were last drawn, a guess before.
#[derive(Debug, Default)]
pub(super) struct Heights {
    width: f32,
    of: Vec<f32>,
}

impl Heights {
    /// Draws the parts in sight inside a scroll area, and leaves room for the others. `usual` is the height of a part that was
    /// never in sight.
    pub(super) fn show(&mut self, ui: &mut Ui, count: usize, usual: f32, mut add: impl FnMut(&mut Ui, usize)) {
        let width = ui.available_width();
        if self.of.len() != count || (self.width - width).abs() > 0.5 {
            (self.width, self.of) = (width, vec![usual; count]);
        }
        ui.scope(|ui| {
            let gaps = ui.spacing().item_spacing;
            ui.spacing_mut().item_spacing.y = 0.0;
            let (clip, top) = (ui.clip_rect(), ui.cursor().top());
            let mut above = 0.0;
            let mut first = 0;
            while let Some(height) = self.of.get(first).filter(|height| top + above + **height < clip.top()) {
                above += height;
                first += 1;
            }
            ui.add_space(above);
            let mut end = first;
            for (index, height) in self.of.iter_mut().enumerate().skip(first) {
                if ui.cursor().top() > clip.bottom() {
                    break;
                }
                let part = ui.push_id(index, |ui| {
                    ui.spacing_mut().item_spacing = gaps;
                    ui.set_width(width);
                    add(ui, index);
                });
                *height = part.response.rect.height();
                end = index + 1;
            }
            ui.add_space(self.of.iter().skip(end).sum());
        });
    }
}
