//! Whether an engine outside this program runs the same model as this program does: greedy tokens must agree before speeds
//! are held against each other. How that is found out is each engine's affair; what follows from it is the same for all.

use crate::measure::{Report, Stop};

/// What was found with the small model in f32.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parity {
    /// It runs the same; the sentence says how much was compared.
    Same(String),
    /// It does not.
    Other(String),
    /// That could not be found out, because.
    Unknown(String),
}

impl Parity {
    /// What came of the attempt to find out. Only Cancel ends the entry: a small model that can't be run says nothing of the
    /// large one.
    pub(super) fn of(found: Result<Self, Stop>) -> Result<Self, Stop> {
        match found {
            Err(Stop::Cancelled) => Err(Stop::Cancelled),
            Err(stop) => Ok(Self::Unknown(format!("the small model could not be run for comparison: {stop}"))),
            found => found,
        }
    }

    /// Puts it into a report.
    pub(super) fn tell(&self, report: &mut Report) {
        match self {
            Self::Same(numbers) => {
                report.settings.insert("parity".to_owned(), format!("on the small model in f32, {numbers}"));
            }
            Self::Other(numbers) => {
                report.disagrees = Some(format!(
                    "it runs another model than the other engines, so that speeds can't be compared: on the small model in \
                     f32, {numbers}"
                ));
            }
            Self::Unknown(why) => report.unproven = Some(format!("whether it runs the same model is not known: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_another_model_or_may_do_so_is_never_ranked() {
        let told = |found: Result<Parity, Stop>| {
            let mut report = Report::default();
            Parity::of(found).unwrap().tell(&mut report);
            report
        };
        assert!(told(Ok(Parity::Same("12 of 12".into()))).settings["parity"].contains("12 of 12"));
        assert!(told(Ok(Parity::Other("0 of 12".into()))).disagrees.unwrap().contains("0 of 12"));
        let unknown = told(Err(Stop::Unsupported("no f32".into())));
        assert!(unknown.disagrees.is_none() && unknown.unproven.as_ref().unwrap().contains("no f32"), "{unknown:?}");
        assert_eq!(Parity::of(Err(Stop::Cancelled)), Err(Stop::Cancelled));
    }
}
