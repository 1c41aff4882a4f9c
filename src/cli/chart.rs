//! `roofline chart`: charts of runs as pictures.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use clap::{Args, ValueEnum};

use super::{
    named::{Named, Saved},
    output::{self, Error, Exit},
};
use crate::{
    analysis::comparison::{Compared, Options},
    chart::{self, Chart, Figure},
    engine::EngineId,
    export::{self, Look, PictureFormat, PictureTheme},
    record::Run,
};

/// Which charts of which runs, and how they look.
#[derive(Debug, Args)]
pub struct ChartArguments {
    /// The runs, as for report, then the name of a chart: "all", or one that `roofline chart RUN list` lists
    #[arg(required = true, value_name = "RUN… NAME")]
    pub words: Vec<OsString>,
    /// For compare: the engines of one run instead of several runs
    #[arg(long)]
    pub engines: bool,
    /// With --engines: what the others are held against
    #[arg(long, value_name = "ENGINE", requires = "engines")]
    pub baseline: Option<EngineId>,
    /// For compare: bars for every metric, not only for each entry's first
    #[arg(long)]
    pub all_metrics: bool,
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
    pub output: PathBuf,
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
        let end = self.output.extension().map(|end| end.to_string_lossy().to_lowercase());
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

    fn comparing(&self) -> Options {
        Options { all_metrics: self.all_metrics, ..Options::default() }
    }

    /// The words that make the same comparison again.
    fn comparing_words(&self) -> Vec<String> {
        let lead = self.baseline.map(|engine| format!("--baseline {engine}"));
        let engines = self.engines.then(|| "--engines".to_owned());
        engines.into_iter().chain(lead).chain(self.all_metrics.then(|| "--all-metrics".to_owned())).collect()
    }
}

/// A figure, and what a command line calls the runs that it shows.
struct Wanted {
    figure: Figure,
    named: Vec<String>,
    options: Vec<String>,
}

impl Wanted {
    fn of(figure: Figure, named: &[Named]) -> Self {
        let mut options: Vec<String> = named.iter().flat_map(|named| named.options.clone()).collect();
        options.dedup();
        Self { figure, named: named.iter().map(|named| named.name.clone()).collect(), options }
    }
}

/// Finds the runs and writes their charts.
pub(super) fn chart(arguments: &ChartArguments, saved: &Saved<'_>) -> Result<Exit, Error> {
    let words = arguments.words.split_last().filter(|(_, names)| !names.is_empty());
    let Some((name, names)) = words.and_then(|(name, names)| Some((name.to_str()?, names))) else {
        // The trend is of all saved runs; the window makes it.
        let charts: Vec<&str> = Chart::ALL.into_iter().filter(|chart| *chart != Chart::Trend).map(Chart::id).collect();
        return Err(Error::usage(format!(
            "a run and a chart are needed: roofline chart RUN NAME, where NAME is all, list, or one of {}",
            charts.join(", ")
        )));
    };
    if (arguments.engines || arguments.all_metrics) && name != Chart::Compare.id() {
        return Err(Error::usage("--engines and --all-metrics are for the chart compare alone"));
    }
    let (format, look) = (arguments.format(), arguments.look());
    look.check(format).map_err(Error::usage)?;
    if !arguments.output.is_dir() {
        let (what, end) = if format == PictureFormat::Png { ("PNG", "png") } else { ("SVG", "svg") };
        output::check_ending(&arguments.output, what, &[end])?;
    }
    let runs = saved.find_all(names)?;
    if name == "list" {
        return list(&runs);
    }
    let wanted = if name == Chart::Compare.id() { vec![compare(arguments, &runs)?] } else { find(&runs, name)? };
    let targets = targets(arguments, format, &wanted)?;
    for (wanted, target) in wanted.iter().zip(targets) {
        let bytes = export::picture(&wanted.figure, format, &look, &wanted.named, &wanted.options);
        let bytes = bytes.map_err(Error::failure)?;
        match target {
            Some(path) => {
                output::write_allowed(&path, &bytes)?;
                output::complain(&format!("written: {}", path.display()));
            }
            None => print(&bytes, format)?,
        }
    }
    Ok(Exit::Success)
}

/// The names of all charts that the runs have, each with its heading.
fn list(runs: &[Named]) -> Result<Exit, Error> {
    let mut text = String::new();
    for named in runs {
        for figure in chart::figures(&named.run) {
            let line = format!("{:<16} {}\n", figure.name, figure.title);
            if !text.contains(&line) {
                text.push_str(&line);
            }
        }
    }
    let all: Vec<&Run> = runs.iter().map(|named| &named.run).collect();
    let compared = match all.as_slice() {
        [one] => engines_compared(one, None, Options::default()).ok().map(|figure| (figure, " (add --engines)")),
        several => chart::compare_figure(several, Options::default()).ok().map(|figure| (figure, "")),
    };
    if let Some((figure, beside)) = compared {
        writeln!(text, "{:<16} {}{beside}", figure.name, figure.title).ok();
    }
    output::write("-", &text)?;
    Ok(Exit::Success)
}

/// The runs beside each other, or the engines of one.
fn compare(arguments: &ChartArguments, runs: &[Named]) -> Result<Wanted, Error> {
    let all: Vec<&Run> = runs.iter().map(|named| &named.run).collect();
    let figure = match (arguments.engines, all.as_slice()) {
        (true, [one]) => engines_compared(one, arguments.baseline, arguments.comparing())?,
        (true, _) => return Err(Error::usage("--engines compares the engines of one run; name one")),
        (false, several) => chart::compare_figure(several, arguments.comparing()).map_err(Error::failure)?,
    };
    let mut wanted = Wanted::of(figure, runs);
    wanted.options.splice(0..0, arguments.comparing_words());
    Ok(wanted)
}

fn engines_compared(run: &Run, lead: Option<EngineId>, options: Options) -> Result<Figure, Error> {
    let compared = Compared::of_engines(run, lead, options);
    let compared = compared.map_err(|error| Error::usage(export::plain(&error.to_string())))?;
    let none = || Error::failure("the engines of this run have no figures that could be held against each other");
    chart::compared_figure(&compared, &[run]).ok_or_else(none)
}

/// The figures of one name, of several with commas between, or all that there are.
fn find(runs: &[Named], name: &str) -> Result<Vec<Wanted>, Error> {
    let mut wanted = Vec::new();
    for named in runs {
        let figures = if name == "all" { chart::figures(&named.run) } else { some(&named.run, name)? };
        if figures.is_empty() {
            return Err(Error::failure(format!(
                "nothing in this run can be drawn: no entry of it has a figure: {}",
                shown(&named.run.id)
            )));
        }
        wanted.extend(figures.into_iter().map(|figure| Wanted::of(figure, std::slice::from_ref(named))));
    }
    if name == "all" && runs.len() > 1 {
        let all: Vec<&Run> = runs.iter().map(|named| &named.run).collect();
        let figure = chart::compare_figure(&all, Options::default()).ok();
        wanted.extend(figure.map(|figure| Wanted::of(figure, runs)));
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
    let mut known = BTreeSet::new();
    names.split(',').map(str::trim).filter(|name| known.insert(*name)).map(one).collect()
}

/// A name as it may stand in a message: one line, and no control characters.
fn shown(name: &str) -> String {
    name.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Where each picture goes; `None` is standard output. Nothing is written before all are known to be writable.
fn targets(
    arguments: &ChartArguments,
    format: PictureFormat,
    wanted: &[Wanted],
) -> Result<Vec<Option<PathBuf>>, Error> {
    let output = arguments.output.as_path();
    if wanted.len() == 1 && output.as_os_str() == "-" {
        return Ok(vec![None]);
    }
    if wanted.len() == 1 && !output.is_dir() {
        output::allow_new(output, arguments.force)?;
        return Ok(vec![Some(output.to_owned())]);
    }
    if !output.is_dir() {
        return Err(Error::usage(format!(
            "these are {} pictures; name a folder that is there with --output: {}",
            wanted.len(),
            output.display()
        )));
    }
    let mut taken = BTreeSet::new();
    let mut paths = Vec::new();
    for wanted in wanted {
        let runs: Vec<String> =
            wanted.figure.origins.iter().map(|origin| export::safe_name(&origin.run)).take(2).collect();
        let name = format!("{}-{}", runs.join("-"), wanted.figure.name);
        // Runs of the same id, or ids that begin alike, have pictures of their own; so they do where case is no difference.
        let mut free = name.clone();
        for number in 2.. {
            if taken.insert(free.to_lowercase()) {
                break;
            }
            free = format!("{name}-{number}");
        }
        let path = output.join(format!("{free}.{}", format.id()));
        output::allow_new(&path, arguments.force)?;
        paths.push(Some(path));
    }
    Ok(paths)
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
