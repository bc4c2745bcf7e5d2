//! Files with unique names that are removed when dropped.

use serde_json::Value;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A path in the system's folder for temporary files that no other test uses.
pub fn unique_path(extension: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Relaxed);
    std::env::temp_dir().join(format!("streamgauge-{}-{number}.{extension}", std::process::id()))
}

/// A file with a given text, removed when dropped.
pub struct TemporaryFile(PathBuf);

impl TemporaryFile {
    pub fn new(extension: &str, text: &str) -> Self {
        let path = unique_path(extension);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The path of a request log, whose file is removed when dropped.
pub struct TemporaryLog(String);

impl Default for TemporaryLog {
    fn default() -> Self {
        Self(unique_path("jsonl").to_str().unwrap().to_owned())
    }
}

impl TemporaryLog {
    pub fn path(&self) -> &str {
        &self.0
    }

    /// The lines written so far.
    pub fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for TemporaryLog {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
