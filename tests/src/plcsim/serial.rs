//! The adapter's side of a serial port: a pseudo-terminal with a link to it, as the links
//! under `/dev/serial/by-id` are.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) struct Pty(AsyncFd<OwnedFd>);

impl Pty {
    /// Makes one; the link is made anew. Errors say which path.
    pub(super) fn open(link: &Path) -> io::Result<Self> {
        let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", link.display()));
        let open = || -> io::Result<OwnedFd> {
            // A child that inherited it would keep the port plugged in.
            let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
            grantpt(&master)?;
            unlockpt(&master)?;
            fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
            let name = ptsname(&master, Vec::new())?;
            let _ = std::fs::remove_file(link);
            std::os::unix::fs::symlink(name.to_string_lossy().as_ref(), link)?;
            Ok(master)
        };
        let master = open().map_err(told)?;
        // What is deprecated is a type whose descriptor may change; an `OwnedFd` keeps its own.
        #[allow(deprecated)]
        Ok(Self(AsyncFd::new(master)?))
    }
}

impl AsyncRead for Pty {
    /// Fails while nobody has the other side open.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let unfilled = buf.initialize_unfilled();
            if let Ok(read) = ready.try_io(|file| rustix::io::read(file, &mut *unfilled).map_err(io::Error::from)) {
                buf.advance(read?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Pty {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(written) = ready.try_io(|file| rustix::io::write(file, bytes).map_err(io::Error::from)) {
                return Poll::Ready(written);
            }
        }
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
