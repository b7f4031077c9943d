//! Running a command that may hang, fail or talk without end.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Bytes of output kept; the rest is read and dropped.
const KEPT: usize = 1 << 20;
/// How long output may trail behind the end of its process.
const TRAILING: Duration = Duration::from_millis(200);
/// Longest pause between two looks at a process.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A path as one word of the shell.
pub fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// The standard output of a command line, or why there is none. A command that takes too long is ended, with the
/// processes it started.
pub fn run(line: &str, timeout: Duration) -> Result<String, String> {
    let start = Instant::now();
    let mut child = spawn(line).map_err(|error| format!("cannot start the shell: {error}"))?;
    let (output, complaints) = (Gathered::of(child.stdout.take()), Gathered::of(child.stderr.take()));
    match wait(&mut child, start, timeout) {
        Some(status) if status.success() => Ok(output.text()),
        Some(status) => Err(failed(status, &complaints.text())),
        None => {
            end(&mut child);
            Err(format!("no answer within {} s", timeout.as_secs_f64()))
        }
    }
}

fn spawn(line: &str) -> std::io::Result<Child> {
    let mut command = Command::new("sh");
    command.args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn()
}

/// Waits until the process ends, looking ever more rarely.
fn wait(child: &mut Child, start: Instant, timeout: Duration) -> Option<ExitStatus> {
    let mut pause = Duration::from_micros(200);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            _ if start.elapsed() >= timeout => return None,
            _ => std::thread::sleep(pause.min(timeout.saturating_sub(start.elapsed()))),
        }
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Ends a process and what it started.
fn end(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = rustix::process::Pid::from_raw(child.id() as i32) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn failed(status: ExitStatus, complaints: &str) -> String {
    let last = complaints.lines().rev().map(str::trim).find(|line| !line.is_empty());
    match last {
        Some(line) => format!("the command ended with {status}: {line}"),
        None => format!("the command ended with {status}"),
    }
}

/// Output, gathered while the process runs so that it never waits for its reader.
struct Gathered {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Gathered {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let reader = pipe.map(|pipe| std::thread::spawn(move || gather(pipe, &kept)));
        Self { bytes, reader }
    }

    /// What has come; a process left in the background may hold the pipe open, so the end is not waited for long.
    fn text(&self) -> String {
        let start = Instant::now();
        while self.reader.as_ref().is_some_and(|reader| !reader.is_finished()) && start.elapsed() < TRAILING {
            std::thread::sleep(Duration::from_micros(200));
        }
        let bytes = self.bytes.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Keeps the last bytes of a stream.
fn gather(mut pipe: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut chunk = [0; 8192];
    while let Ok(count @ 1..) = pipe.read(&mut chunk) {
        let mut bytes = kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        bytes.extend_from_slice(&chunk[..count]);
        let excess = bytes.len().saturating_sub(KEPT);
        bytes.drain(..excess);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const PLENTY: Duration = Duration::from_secs(20);
    const LITTLE: Duration = Duration::from_millis(150);

    #[test]
    fn output_is_read_and_paths_are_one_word() {
        let path = Path::new("/a b/it's.onnx");
        let line = format!("printf %s {}", quoted(path));
        assert_eq!(run(&line, PLENTY).unwrap(), path.display().to_string());
    }

    #[test]
    fn failures_tell_status_and_last_complaint() {
        let error = run("echo one >&2; echo two >&2; exit 3", PLENTY).unwrap_err();
        assert!(error.contains("3") && error.ends_with("two"), "{error}");
    }

    #[test]
    fn what_hangs_is_ended_with_its_children() {
        let start = Instant::now();
        for line in ["sleep 30", "sleep 30 & sleep 30", "trap '' TERM; sleep 30; sleep 30"] {
            let error = run(line, LITTLE).unwrap_err();
            assert!(error.contains("no answer within 0.15 s"), "{error}");
        }
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn endless_talk_neither_blocks_nor_fills_the_memory() {
        let text = run("yes | head -c 3000000; echo; echo 1.5", PLENTY).unwrap();
        assert!(text.len() <= KEPT && text.ends_with("1.5\n"));
        assert!(run("yes", LITTLE).is_err());
    }

    #[test]
    fn a_process_left_behind_is_not_waited_for() {
        let start = Instant::now();
        assert_eq!(run("echo 1.5; sleep 5 &", PLENTY).unwrap(), "1.5\n");
        assert!(start.elapsed() < Duration::from_secs(3));
    }
}
