//! A serial port as a stream: raw, of eight data bits, for this process alone.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::{Mode, OFlags};
use rustix::termios::{
    ControlModes, InputModes, OptionalActions, QueueSelector, ioctl_tiocexcl, isatty, tcflush, tcgetattr, tcsetattr,
};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::{Parity, Serial};

#[derive(Debug)]
pub(super) struct Port(AsyncFd<OwnedFd>);

impl Port {
    /// Opens and sets it. What stood in its buffers is thrown away.
    pub(super) fn open(serial: &Serial) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(&serial.path, flags, Mode::empty())?;
        if !isatty(&file) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a serial port"));
        }
        // Another program that reads along would take bytes of answers away.
        ioctl_tiocexcl(&file)?;
        let mut settings = tcgetattr(&file)?;
        settings.make_raw();
        settings.set_speed(serial.baud)?;
        settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
        settings.control_modes.set(ControlModes::PARENB, serial.parity != Parity::None);
        settings.control_modes.set(ControlModes::PARODD, serial.parity == Parity::Odd);
        settings.control_modes.set(ControlModes::CSTOPB, serial.stop_bits == 2);
        settings.control_modes.remove(ControlModes::CRTSCTS);
        // A byte of wrong parity comes as a zero: the checksum finds it.
        settings.input_modes.set(InputModes::INPCK, serial.parity != Parity::None);
        tcsetattr(&file, OptionalActions::Now, &settings)?;
        tcflush(&file, QueueSelector::IOFlush)?;
        // What is deprecated is a type whose descriptor may change; an `OwnedFd` keeps its own.
        // The function in its place is `unsafe`, which this code has none of.
        #[allow(deprecated)]
        Ok(Self(AsyncFd::new(file)?))
    }
}

impl AsyncRead for Port {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let unfilled = buf.initialize_unfilled();
            match ready.try_io(|file| rustix::io::read(file, &mut *unfilled).map_err(io::Error::from)) {
                Ok(read) => {
                    buf.advance(read?);
                    return Poll::Ready(Ok(()));
                }
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Port {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(cx))?;
            match ready.try_io(|file| rustix::io::write(file, bytes).map_err(io::Error::from)) {
                Ok(written) => return Poll::Ready(written),
                Err(_would_block) => {}
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
