//! Runs one of the system's own tools and takes what it prints, within a time limit.

use std::{
    io::Read as _,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// More than this from a tool is not read: the longest known answer, that of `system_profiler`, is under 100 kB.
const OUTPUT_BYTES_MAX: u64 = 4 << 20;

/// What `program` prints on standard output, or `None` if it can't be started, prints nothing, or takes longer than
/// `limit`. The exit status is not asked: `sysctl` prints the names it knows and fails for the others.
pub(super) fn output_of(program: &str, arguments: &[&str], limit: Duration) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let pipe = child.stdout.take();
    let (send, receive) = mpsc::sync_channel(1);
    let reader = thread::Builder::new().name("tool output".to_owned()).spawn(move || {
        let mut bytes = Vec::new();
        let read = pipe.and_then(|pipe| pipe.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes).ok());
        send.send(read.map(|_| bytes)).ok();
    });
    let bytes = if reader.is_ok() { receive.recv_timeout(limit).ok().flatten() } else { None };
    // A tool that still runs has closed its output or is too slow: either way nothing more is wanted of it.
    child.kill().ok();
    child.wait().ok();
    let text = String::from_utf8_lossy(&bytes?).into_owned();
    Some(text).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn prints_are_taken_whatever_the_exit_status() {
        assert_eq!(output_of("/bin/sh", &["-c", "echo some; exit 3"], LONG).as_deref(), Some("some\n"));
    }

    #[test]
    fn nothing_comes_of_a_missing_or_silent_tool() {
        assert_eq!(output_of("/nowhere/tool", &[], LONG), None);
        assert_eq!(output_of("/bin/sh", &["-c", "true"], LONG), None);
    }

    #[test]
    fn a_tool_that_hangs_is_given_up() {
        assert_eq!(output_of("/bin/sh", &["-c", "exec sleep 1000"], Duration::from_millis(20)), None);
    }

    #[test]
    fn an_endless_answer_is_cut() {
        let text = output_of("/bin/sh", &["-c", "exec yes"], LONG).unwrap();
        assert_eq!(text.len() as u64, OUTPUT_BYTES_MAX);
    }
}
