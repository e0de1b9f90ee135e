//! Data planes of one folder take turns, and no connection is refused meanwhile.
//!
//! One plane holds the folder's lock and listens on a socket in it. The next one asks there for the open ports, begins
//! to serve at them beside the first, and says so; then the first lets go of the lock, takes no new connections and
//! ends when its last one has. What waits in a port's queue is lost to nobody: both have the same port.

use std::{
    fs,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ground::{
    blocking,
    holder::{self, Held},
};
use parking_lot::Mutex;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::{net::UnixListener, time::Instant};

use crate::{error::Error, proxy::Plane};

/// How long the next plane may take until it serves, and each word between the two.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the lock of a plane that was killed, or that lets go, is waited for.
const LETTING_GO: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);
/// How long ports that were handed over may take to be served.
const OPENING: Duration = Duration::from_secs(5);
/// How often is looked whether the place is still there.
const HOME: Duration = Duration::from_secs(2);
/// Ports in one message; the kernel takes 253.
const AT_ONCE: usize = 64;
/// Here are ports; these were all; I serve.
const PORTS: u8 = b'P';
const ALL: u8 = b'A';
const SERVING: u8 = b'S';

/// The folder that planes take turns in.
#[derive(Clone, Debug)]
pub struct Place(PathBuf);

/// The open ports of the plane before, which waits to hear that they are served.
struct Offer {
    ports: Vec<TcpListener>,
    from: UnixStream,
}

/// A plane's turn at its place.
#[derive(Clone)]
pub(crate) struct Turn {
    place: Place,
    held: Arc<Mutex<Option<Held>>>,
}

/// What the plane before left, until it is served.
pub(crate) struct Before(Option<Offer>);

impl Turn {
    /// Begins a turn, after the plane that serves there now if one does; the plane takes its ports.
    ///
    /// # Errors
    /// A plane is there that does not hand over, or the folder cannot be used.
    pub(crate) async fn begin(place: Place, plane: &Plane) -> Result<(Turn, Before), Error> {
        let mut offer = place.offer().await;
        let held = if offer.is_none() { Some(place.hold().await?) } else { None };
        if let Some(offer) = &mut offer {
            tracing::info!(ports = offer.ports.len(), "taking the place of the data plane before");
            plane.inherit(std::mem::take(&mut offer.ports));
        }
        Ok((Turn { place, held: Arc::new(Mutex::new(held)) }, Before(offer)))
    }

    /// The plane serves: the one before ends.
    ///
    /// # Errors
    /// It does not let go.
    pub(crate) async fn take(&self, before: Before, plane: &Plane) -> Result<(), Error> {
        let Some(offer) = before.0 else { return Ok(()) };
        plane.opened(OPENING).await;
        plane.close_inherited();
        if let Err(error) = offer.take().await {
            tracing::warn!(%error, "the data plane before ended by itself");
        }
        *self.held.lock() = Some(self.place.hold().await?);
        Ok(())
    }

    /// Ends the turn when another plane takes the place, and then this process. A place that was removed will be found by
    /// nobody again, and ends the turn as well.
    ///
    /// # Errors
    /// Others cannot ask.
    pub(crate) async fn end(self, plane: Plane, drain: Duration) -> Result<(), Error> {
        tokio::select! {
            asked = self.place.succeeded(|| plane.sockets()) => {
                asked?;
                tracing::info!("another data plane serves from now on");
                drop(self.held.lock().take());
                plane.hand_over(drain).await;
            }
            () = self.place.removed() => tracing::warn!(place = %self.place.0.display(), "the home is gone"),
        }
        if let Err(error) = nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM) {
            tracing::error!(%error, "cannot end this process");
        }
        Ok(())
    }
}

impl Place {
    /// The place in this folder, which is made when it is first taken.
    pub fn new(folder: impl Into<PathBuf>) -> Place {
        Place(folder.into())
    }

    /// What the plane that serves here holds and signs.
    pub fn lock_file(&self) -> PathBuf {
        self.0.join("plane.lock")
    }

    fn socket(&self) -> PathBuf {
        self.0.join("plane.sock")
    }

    async fn removed(&self) {
        while !matches!(self.lock_file().try_exists(), Ok(false)) {
            tokio::time::sleep(HOME).await;
        }
    }

    /// The ports of the plane that serves here; none when none does or it does not hand over.
    async fn offer(&self) -> Option<Offer> {
        let path = self.socket();
        let asked = blocking(move || {
            let from = match UnixStream::connect(path) {
                Ok(from) => from,
                // Nobody is there.
                Err(_) => return Ok(None),
            };
            bound(&from)?;
            let ports = receive(&from)?;
            Ok::<_, io::Error>(Some(Offer { ports, from }))
        });
        match asked.await.map_err(io::Error::other).flatten() {
            Ok(offer) => offer,
            Err(error) => {
                tracing::warn!(%error, "the data plane before does not hand over its ports");
                None
            }
        }
    }

    /// Takes the place, and waits a moment for one that lets go of it.
    async fn hold(&self) -> Result<Held, Error> {
        let failed = |source| Error::Place { path: self.0.clone(), source };
        let (folder, lock) = (self.0.clone(), self.lock_file());
        let made = blocking(move || fs::create_dir_all(folder)).await.map_err(io::Error::other);
        made.flatten().map_err(failed)?;
        let until = Instant::now() + LETTING_GO;
        loop {
            let place = lock.clone();
            let held = blocking(move || holder::hold(&place)).await.map_err(io::Error::other);
            if let Some(held) = held.flatten().map_err(failed)? {
                held.sign().map_err(failed)?;
                return Ok(held);
            }
            if Instant::now() >= until {
                let pid = holder::holder(&lock).map_or(0, |who| who.pid);
                return Err(Error::Taken { path: self.0.clone(), pid });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits for the plane that takes this one's place, gives it the ports, and returns when it serves at them.
    async fn succeeded(&self, ports: impl Fn() -> Vec<OwnedFd>) -> Result<(), Error> {
        let failed = |source| Error::Place { path: self.0.clone(), source };
        let path = self.socket();
        // A plane that was killed left its own, on which nobody listens.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(failed)?;
        loop {
            let (stream, _) = listener.accept().await.map_err(failed)?;
            // Whoever may not be us gets no port.
            let is_ours = stream.peer_cred().is_ok_and(|peer| peer.uid() == nix::unistd::geteuid().as_raw());
            if !is_ours {
                tracing::warn!("a stranger asked for the open ports and gets none");
                continue;
            }
            let (stream, ports) = (stream.into_std().map_err(failed)?, ports());
            let given = blocking(move || give(stream, &ports)).await.map_err(io::Error::other);
            match given.flatten() {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::warn!(%error, "whoever asked for the open ports does not serve at them")
                }
            }
        }
    }
}

impl Offer {
    /// Tells the plane before that its ports are served.
    async fn take(mut self) -> io::Result<()> {
        let said = blocking(move || self.from.write_all(&[SERVING]));
        said.await.map_err(io::Error::other).flatten()
    }
}

fn bound(stream: &UnixStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

fn give(mut stream: UnixStream, ports: &[OwnedFd]) -> io::Result<()> {
    bound(&stream)?;
    for some in ports.chunks(AT_ONCE) {
        let handles: Vec<BorrowedFd<'_>> = some.iter().map(OwnedFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        if !message.push(SendAncillaryMessage::ScmRights(&handles)) {
            return Err(io::Error::other("the ports do not fit into a message"));
        }
        sendmsg(&stream, &[IoSlice::new(&[PORTS])], &mut message, SendFlags::empty())?;
    }
    stream.write_all(&[ALL])?;
    let mut word = [0];
    stream.read_exact(&mut word)?;
    if word == [SERVING] { Ok(()) } else { Err(io::Error::other("it said something else")) }
}

fn receive(stream: &UnixStream) -> io::Result<Vec<TcpListener>> {
    let mut ports = Vec::new();
    loop {
        let mut word = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut message = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(stream, &mut [IoSliceMut::new(&mut word)], &mut message, RecvFlags::CMSG_CLOEXEC)?;
        for part in message.drain() {
            if let RecvAncillaryMessage::ScmRights(handles) = part {
                ports.extend(handles.map(TcpListener::from));
            }
        }
        match (received.bytes, word) {
            (1, [PORTS]) => {}
            (1, [ALL]) => return Ok(ports),
            _ => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        }
    }
}
