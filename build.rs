//! Stamps the commit and target into the build.
use std::process::Command;

fn main() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=ROOFLINE_COMMIT={commit}");
    println!("cargo:rustc-env=ROOFLINE_TARGET={}", std::env::var("TARGET").unwrap_or_default());
}
