//! The comparison in words, alike on the screen, in a terminal and in a document.

use super::{Comparison, Figure, ModelGroup, ModelRow, Place, Row, Status, Versus};
use crate::units::{Quantity, Scale, Unit, number};

/// Beside what is shown but not compared.
pub const BARRED: &str = "†";

impl Place {
    /// As in "PyTorch on the processor".
    pub fn phrase(&self) -> String {
        match self {
            Self::Processor => "the processor".to_owned(),
            place => place.label(),
        }
    }
}

impl Figure {
    /// "14.48 GB", "7.700 t/s", "1.600 s".
    pub fn text(&self) -> String {
        match self.unit {
            Unit::TokenPerSecond => format!("{} t/s", number(self.value)),
            unit => Quantity::new(self.value, unit).to_string(),
        }
    }
}

impl Row {
    /// The unit in which its figures are written: that of the highest.
    pub fn scale(&self) -> Scale {
        let figures = self.cells.iter().flatten().filter_map(|cell| cell.figure);
        let highest = figures.map(|figure| figure.value).fold(0.0, f64::max);
        self.workload.unit().scale_for(highest)
    }
}

impl ModelGroup {
    /// What is compared in it: "16 bits on the processor: Prefill 512, Decode 128 at depth 0"; nothing if nothing is.
    pub fn explanation(&self) -> Option<String> {
        let tasks: Vec<&str> =
            [&self.prefill, &self.decode, &self.training].into_iter().flatten().map(String::as_str).collect();
        let alone = if self.rows.len() == 1 { "; nothing else of as many bits to compare with" } else { "" };
        let peaks =
            if self.peaks_differ { "; by peak memory each means something else, so that none is the best" } else { "" };
        let text = format!("{} bits on {}: {}{alone}{peaks}", self.bits, self.place.phrase(), tasks.join(", "));
        (!tasks.is_empty()).then_some(text)
    }
}

impl ModelRow {
    /// "mistral-7b Q4_K_M".
    pub fn model_label(&self) -> String {
        format!("{} {}", self.model, self.precision)
    }

    /// "4.83".
    pub fn bits_text(&self) -> String {
        let bits = self.bits_per_weight;
        if bits.is_finite() { format!("{bits:.2}") } else { "—".to_owned() }
    }

    /// Why it isn't compared, doesn't work, or lacks a figure, said of `title`.
    fn notes(&self, title: &str) -> Vec<String> {
        let of = format!("{title} with {}", self.model_label());
        let barred = self.barred.iter().map(|reason| format!("{BARRED} {of}: not compared, {reason}"));
        let status = match &self.status {
            Status::Partly(reason) | Status::Fails(reason) => Some(format!("{of} {} ({reason})", self.status.word())),
            Status::Cut(reason) | Status::Unmeasured(reason) => {
                Some(format!("{of}: {} ({reason})", self.status.word()))
            }
            Status::Works | Status::Waits => None,
        };
        let refused = self.slots.iter().filter_map(|slot| slot.absence.as_deref());
        let refused = refused.filter(|reason| status.is_none() && reason.starts_with("unsupported"));
        let refused: Vec<String> = refused.map(|reason| format!("{of}: {reason}")).collect();
        barred.chain(status).chain(refused).collect()
    }
}

impl Comparison {
    /// The title of a column.
    pub fn title(&self, column: usize) -> &str {
        self.columns.get(column).map_or("", |column| column.title.as_str())
    }

    /// What is compared in the models' summary, and what speaks against a row.
    pub fn model_notes(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for group in &self.models {
            let alike = |other: &&ModelGroup| (other.bits, &other.place) == (group.bits, &group.place);
            let several = self.models.iter().filter(alike).count() > 1;
            let model = group.rows.first().filter(|_| several).map(|row| format!("{}: ", row.model));
            let explained = group.explanation().map(|line| model.unwrap_or_default() + &line);
            let explained = explained.filter(|line| !lines.contains(line));
            lines.extend(explained);
            lines.extend(group.rows.iter().flat_map(|row| row.notes(self.title(row.column))));
        }
        lines
    }

    /// "GEMM: PyTorch beside MLX", with the device where there are several.
    pub fn versus_title(&self, versus: &Versus) -> String {
        let place = self.columns.get(versus.baseline).map(|column| &column.place);
        let several = self.columns.iter().any(|column| Some(&column.place) != place);
        let place = place.filter(|_| several).map_or_else(String::new, |place| format!(" ({})", place.label()));
        format!("GEMM: {} beside {}{place}", self.title(versus.baseline), self.title(versus.other))
    }
}
