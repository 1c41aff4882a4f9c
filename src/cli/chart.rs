//! `roofline chart`: charts of runs as pictures.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::output::{self, Error, Exit};
use crate::{
    chart::{self, Chart, Figure},
    export::{self, Look, PictureFormat, PictureTheme},
    record::{self, Run, Store},
};

/// Which charts of which runs, and how they look.
#[derive(Debug, Args)]
pub struct ChartArguments {
    /// The runs, as for report, then the name of a chart: "all", or one that `roofline chart RUN list` lists
    #[arg(required = true, value_name = "RUN… NAME")]
    pub words: Vec<String>,
    /// How it is kept; png if PATH ends in .png, else svg
    #[arg(long)]
    pub format: Option<ChartFormat>,
    /// Dots a point, of a PNG file: 1, 2 or 3
    #[arg(long, default_value = "1", allow_negative_numbers = true, value_parser = parse_scale)]
    pub scale: u32,
    /// The ground
    #[arg(long, default_value = "light")]
    pub theme: ChartTheme,
    /// Width and height in points, from 160 to 4000 each; without it 960 wide and as high as needed
    #[arg(long, value_name = "WxH", allow_hyphen_values = true, value_parser = Look::size_from)]
    pub size: Option<(u32, u32)>,
    /// The file, or the folder that several go into; "-" is standard output
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub output: String,
    /// Replace files that are there already
    #[arg(long)]
    pub force: bool,
}

/// How a picture is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ChartFormat {
    /// Lines and letters
    Svg,
    /// Dots
    Png,
}

/// The ground of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ChartTheme {
    /// Dark on white
    Light,
    /// Light on near-black
    Dark,
}

fn parse_scale(text: &str) -> Result<u32, String> {
    let scale = text.parse().ok().filter(|scale| (1..=Look::SCALE_MAX).contains(scale));
    scale.ok_or_else(|| format!("choose from 1 to {}", Look::SCALE_MAX))
}

impl ChartArguments {
    fn format(&self) -> PictureFormat {
        let end = Path::new(&self.output).extension().map(|end| end.to_string_lossy().to_lowercase());
        match (self.format, end.as_deref()) {
            (Some(ChartFormat::Png), _) | (None, Some("png")) => PictureFormat::Png,
            (Some(ChartFormat::Svg) | None, _) => PictureFormat::Svg,
        }
    }

    fn look(&self) -> Look {
        let theme = match self.theme {
            ChartTheme::Light => PictureTheme::Light,
            ChartTheme::Dark => PictureTheme::Dark,
        };
        let (width, height) = self.size.map_or((Look::WIDTH, None), |(width, height)| (width, Some(height)));
        Look { theme, width, height, scale: self.scale }
    }
}

/// A figure and the runs that it shows, as they were named.
struct Wanted {
    figure: Figure,
    named: Vec<String>,
}

/// Finds the runs and writes their charts.
pub(super) fn chart(arguments: &ChartArguments, data_dir: &Path) -> Result<Exit, Error> {
    let Some((name, names)) = arguments.words.split_last().filter(|(_, names)| !names.is_empty()) else {
        return Err(Error::usage(format!(
            "a run and a chart are needed: roofline chart RUN NAME, where NAME is all, list, or one of {}",
            Chart::ALL.map(Chart::id).join(", ")
        )));
    };
    let (format, look) = (arguments.format(), arguments.look());
    look.check(format).map_err(Error::usage)?;
    let store = Store::at(data_dir);
    let runs: Result<Vec<Run>, _> = names.iter().map(|name| record::named(&store, name)).collect();
    let runs = runs.map_err(|error| Error::of_name(&error))?;
    if name == "list" {
        return list(&runs);
    }
    let wanted = find(&runs, names, name)?;
    let targets = targets(arguments, format, &wanted)?;
    for (wanted, target) in wanted.iter().zip(targets) {
        let bytes = export::picture(&wanted.figure, format, &look, &wanted.named).map_err(Error::failure)?;
        match target {
            Some(path) => {
                output::write_new(&path, &bytes, arguments.force)?;
                output::complain(&format!("written: {}", path.display()));
            }
            None => print(&bytes, format)?,
        }
    }
    Ok(Exit::Success)
}

/// The names of all charts that the runs have, each with its heading.
fn list(runs: &[Run]) -> Result<Exit, Error> {
    let mut text = String::new();
    for run in runs {
        for figure in chart::figures(run) {
            let line = format!("{:<16} {}\n", figure.name, figure.title);
            if !text.contains(&line) {
                text.push_str(&line);
            }
        }
    }
    if chart::compare_figure(&runs.iter().collect::<Vec<_>>()).is_ok() {
        let line = format!("{:<16} {}\n", Chart::Compare.id(), Chart::Compare.title());
        text.push_str(&line);
    }
    output::write("-", &text)?;
    Ok(Exit::Success)
}

/// The figures of one name, of several with commas between, or all that there are.
fn find(runs: &[Run], names: &[String], name: &str) -> Result<Vec<Wanted>, Error> {
    let mut wanted = Vec::new();
    let all: Vec<&Run> = runs.iter().collect();
    let compare = |figure| Wanted { figure, named: names.to_vec() };
    if name == Chart::Compare.id() {
        return Ok(vec![compare(chart::compare_figure(&all).map_err(Error::failure)?)]);
    }
    for (run, named) in runs.iter().zip(names) {
        let figures = if name == "all" { chart::figures(run) } else { some(run, name)? };
        if figures.is_empty() {
            return Err(Error::failure(format!(
                "nothing in this run can be drawn: no entry of it has a figure: {named}"
            )));
        }
        wanted.extend(figures.into_iter().map(|figure| Wanted { figure, named: vec![named.clone()] }));
    }
    if name == "all" && runs.len() > 1 {
        wanted.extend(chart::compare_figure(&all).ok().map(compare));
    }
    Ok(wanted)
}

fn some(run: &Run, names: &str) -> Result<Vec<Figure>, Error> {
    let has = || {
        let names: Vec<&str> = chart::figures(run).iter().map(|figure| figure.name).collect();
        if names.is_empty() { "it has none at all".to_owned() } else { format!("it has {}", names.join(", ")) }
    };
    let one = |name: &str| {
        let found = Chart::ALL.into_iter().find(|chart| chart.id() == name);
        let found = found.ok_or_else(|| {
            Error::usage(format!(
                "no chart is called \"{}\"; run {}: {}, or write all",
                shown(name),
                shown(&run.id),
                has()
            ))
        })?;
        found.figure(run).map_err(|absent| Error::failure(format!("{absent}; {}", has())))
    };
    names.split(',').map(str::trim).map(one).collect()
}

/// A name as it may stand in a message: one line, and no control characters.
fn shown(name: &str) -> String {
    name.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Where each picture goes; `None` is standard output. Nothing is written before all are known.
fn targets(
    arguments: &ChartArguments,
    format: PictureFormat,
    wanted: &[Wanted],
) -> Result<Vec<Option<PathBuf>>, Error> {
    let output = Path::new(&arguments.output);
    if wanted.len() == 1 && arguments.output == "-" {
        return Ok(vec![None]);
    }
    if wanted.len() == 1 && !output.is_dir() {
        return Ok(vec![Some(output.to_owned())]);
    }
    if !output.is_dir() {
        return Err(Error::usage(format!(
            "these are {} pictures; name a folder that is there with --output: {}",
            wanted.len(),
            output.display()
        )));
    }
    let path = |wanted: &Wanted| {
        let runs: Vec<String> =
            wanted.figure.origins.iter().map(|origin| export::safe_name(&origin.run)).take(2).collect();
        Some(output.join(format!("{}-{}.{}", runs.join("-"), wanted.figure.name, format.id())))
    };
    Ok(wanted.iter().map(path).collect())
}

fn print(bytes: &[u8], format: PictureFormat) -> Result<(), Error> {
    let mut out = io::stdout();
    if format == PictureFormat::Png && out.is_terminal() {
        return Err(Error::usage("a PNG file is no text for a terminal; name a file with --output"));
    }
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::failure(format!("the picture could not be written to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
