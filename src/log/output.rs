//! Where a log is written: a file, a FIFO, or a descriptor that the process inherited.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest write to an output that is no regular file. A pipe that reports room takes this much without waiting, and
/// does not mix it with the lines of other processes (`PIPE_BUF` on Linux).
const MAX_PIPE_WRITE: usize = 4096;

/// Output of a log.
#[derive(Debug)]
pub struct LogOutput {
    /// `None` while a FIFO has no reader.
    file: Option<File>,
    is_regular: bool,
    /// `None` for an inherited descriptor, which cannot be opened again.
    path: Option<PathBuf>,
    is_mid_line: bool,
}

impl LogOutput {
    /// Opens a file for appending, or creates it. A FIFO without a reader is opened at the first write that finds a reader.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut output =
            Self { file: None, is_regular: false, path: Some(path.to_owned()), is_mid_line: false };
        output.reopen()?;
        Ok(output)
    }

    /// Uses a copy of a descriptor, such as standard output.
    ///
    /// # Errors
    /// If the process has no free descriptor.
    pub fn inherited(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        let file = File::from(descriptor.try_clone_to_owned()?);
        Ok(Self {
            is_regular: file.metadata()?.is_file(),
            file: Some(file),
            path: None,
            is_mid_line: false,
        })
    }

    /// Whether [`LogOutput::reopen`] has a file to open.
    pub fn can_reopen(&self) -> bool {
        self.path.is_some()
    }

    /// Opens the file again, after log rotation renamed it. Does nothing for an inherited descriptor.
    ///
    /// # Errors
    /// If the file cannot be opened. The old file stays in use.
    pub fn reopen(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        // Without O_NONBLOCK, opening a FIFO waits for its reader.
        let nonblocking = nix::libc::O_NONBLOCK;
        let opened =
            OpenOptions::new().create(true).append(true).custom_flags(nonblocking).open(path);
        let file = match opened {
            Ok(file) => Some(file),
            Err(error) if is_fifo_without_reader(path, &error) => None,
            Err(error) => return Err(error),
        };
        self.is_regular = match &file {
            Some(file) => file.metadata()?.is_file(),
            None => false,
        };
        self.file = file;
        self.is_mid_line = false;
        Ok(())
    }

    /// Whether the last write ended within a line.
    pub fn is_mid_line(&self) -> bool {
        self.is_mid_line
    }

    /// Writes the first of these bytes, and returns their number. Waits at most `timeout` until the output accepts some.
    ///
    /// # Errors
    /// `WouldBlock` after the timeout, `BrokenPipe` if a FIFO has no reader, or the error of the write.
    pub fn write(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<usize> {
        if self.file.is_none() {
            self.reopen()?;
        }
        let Some(file) = &mut self.file else {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "no process reads the FIFO"));
        };
        let written = if self.is_regular {
            file.write(bytes)?
        } else {
            wait_for_room(file, timeout)?;
            file.write(first_part(bytes))?
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.is_mid_line = bytes.get(written - 1) != Some(&b'\n');
        Ok(written)
    }
}

/// Whether this is the error of a FIFO that no process has opened for reading. Sockets have the same error.
fn is_fifo_without_reader(path: &Path, error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::ENXIO)
        && std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Waits until a write of [`MAX_PIPE_WRITE`] bytes does not block, or would fail.
///
/// The descriptor itself stays as it is: with O_NONBLOCK, other processes that share it would get errors.
fn wait_for_room(file: &File, timeout: Duration) -> io::Result<()> {
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLOUT)], timeout)? {
        0 => Err(io::Error::new(io::ErrorKind::WouldBlock, "the output accepts no more bytes")),
        _ => Ok(()),
    }
}

/// The bytes of one write: whole lines if they fit.
fn first_part(bytes: &[u8]) -> &[u8] {
    let part = bytes.get(..MAX_PIPE_WRITE).unwrap_or(bytes);
    match memchr::memrchr(b'\n', part) {
        Some(end) => part.get(..=end).unwrap_or(part),
        None => part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_whole_lines_if_they_fit() {
        assert_eq!(first_part(b"one\ntwo\n"), b"one\ntwo\n");
        let long = [vec![b'x'; MAX_PIPE_WRITE - 4], b"\nnext\n".to_vec()].concat();
        assert_eq!(first_part(&long).len(), MAX_PIPE_WRITE - 3);
        assert_eq!(first_part(&[b'x'; 10_000]).len(), MAX_PIPE_WRITE);
    }

    #[test]
    fn a_full_pipe_is_reported_and_a_closed_one_fails() {
        let (reader, writer) = io::pipe().unwrap();
        let mut output = LogOutput::inherited(writer.as_fd()).unwrap();
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        let error = loop {
            match output.write(&line, Duration::from_millis(1)) {
                Ok(written) => assert_eq!(written, line.len(), "lines are not split"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(!output.is_mid_line());
        drop(reader);
        let error = output.write(&line, Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
