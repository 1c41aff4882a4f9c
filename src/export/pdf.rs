//! A page as PDF, by a browser that is already on the machine: no browser is part of this program, and none is fetched.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Browsers that print without a window, by the names that systems give them.
const BROWSERS: [&str; 8] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
];

/// Printing a report takes seconds; ten thousand rows take tens.
const PATIENCE: Duration = Duration::from_mins(2);

/// Why there is no PDF.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    /// None is installed.
    #[error(
        "no browser was found to print the report with (Chromium, Chrome or Edge); install one, or write --format html and \
         print that page"
    )]
    NoBrowser,
    /// It was started and gave nothing.
    #[error("{browser} printed no PDF ({reason}); write --format html and print that page")]
    Failed {
        /// Which.
        browser: &'static str,
        /// What became of it.
        reason: String,
    },
    /// Temporary files.
    #[error("no temporary folder could be made for the page ({0}); free some space")]
    Io(#[from] io::Error),
}

/// Prints a page with the first browser that is found.
pub fn pdf(html: &str) -> Result<Vec<u8>, PdfError> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("report.html"), html)?;
    for browser in BROWSERS {
        match print(browser, folder.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(PdfError::Failed { browser, reason: error.to_string() }),
            Ok(bytes) => return Ok(bytes),
        }
    }
    Err(PdfError::NoBrowser)
}

fn print(browser: &str, folder: &Path) -> io::Result<Vec<u8>> {
    let printed = folder.join("report.pdf");
    let mut command = Command::new(browser);
    command.args(["--headless", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer"]);
    // Chromium's sandbox refuses to work for root. The page is ours and has no script.
    #[cfg(unix)]
    if rustix::process::geteuid().is_root() {
        command.arg("--no-sandbox");
    }
    command.arg(with("--user-data-dir=", &folder.join("profile")));
    command.arg(with("--print-to-pdf=", &printed));
    command.arg(folder.join("report.html"));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let end = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() > end => {
                child.kill().ok();
                child.wait().ok();
                return Err(io::Error::other("it took longer than two minutes"));
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    let bytes = fs::read(&printed).unwrap_or_default();
    if bytes.starts_with(b"%PDF") { Ok(bytes) } else { Err(io::Error::other(format!("it ended with {status}"))) }
}

fn with(flag: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(flag);
    argument.push(path);
    argument
}
