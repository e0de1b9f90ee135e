//! Containers for tests: the greeter as an image, a way to Docker that can be cut, and nothing left behind.
//!
//! The image holds the greeter that cargo built beside this test and the few libraries it is linked with, so it is
//! always the greeter of this source and costs no second build.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use model::Digest;
use nix::fcntl::{Flock, FlockArg};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
};

use super::program;

/// An image on this machine.
#[derive(Clone, Debug)]
pub struct Image {
    /// Name and tag.
    pub name: String,
    /// Its id.
    pub digest: String,
}

/// Whether a Docker daemon answers. Says so when none does: then a test that needs one has nothing to say.
pub fn is_there() -> bool {
    let there = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
    let there = there.is_ok_and(|output| output.status.success());
    if !there {
        testkit::skip("no Docker daemon answers", "tools/setup.sh --all sets one up");
    }
    there
}

/// The greeter's image, made when it is not there.
pub fn greeter() -> Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(make).clone()
}

fn make() -> Image {
    image_of("greeter", &program("greeter"))
}

/// An image of this program, made when it is not there: `/NAME` with its libraries and nothing else.
pub fn image_of(program: &str, file: &Path) -> Image {
    let digest = Digest::of_bytes(&fs::read(file).unwrap()).short();
    let name = format!("code-tests/{program}:{digest}");
    let lock = fs::File::create(std::env::temp_dir().join("code-tests-image.lock")).unwrap();
    let _alone = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    let id = || {
        let output =
            Command::new("docker").args(["image", "inspect", "--format", "{{.Id}}", &name]).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if id().is_none() {
        import(file, &name);
        // Those of older sources go; one that is in use stays.
        let all =
            docker(&["images", "--format", "{{.Repository}}:{{.Tag}}", &format!("code-tests/{program}")]);
        all.lines().filter(|old| *old != name).for_each(|old| drop(docker(&["rmi", old])));
    }
    Image { digest: id().unwrap_or_else(|| panic!("docker import made no image {name}")), name }
}

fn import(program: &Path, name: &str) {
    let folder = program.parent().unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--create", "--dereference", "--absolute-names", "--mode=a+rx", "--directory"])
        .arg(folder)
        .arg(program.file_name().unwrap());
    let mut tar = tar.args(libraries(program)).stdout(Stdio::piped()).spawn().unwrap();
    let output = Command::new("docker")
        .args(["import", "-", name])
        .stdin(tar.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(tar.wait().unwrap().success(), "tar could not pack {}", program.display());
    assert!(output.status.success(), "docker import: {}", String::from_utf8_lossy(&output.stderr));
}

/// Every file `ldd` names: `libc.so.6 => /lib/…/libc.so.6 (0x…)`, and the loader alone in its line.
fn libraries(of: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(of).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}

/// Only one test at a time has the daemon: what is measured is the engine and not the others.
pub fn alone() -> Flock<fs::File> {
    let file = fs::File::create(std::env::temp_dir().join("code-tests-docker.lock")).unwrap();
    Flock::lock(file, FlockArg::LockExclusive).unwrap()
}

/// Every container of an environment: module, version, image and whether it runs, sorted.
pub fn containers(environment: &str) -> Vec<(String, String, String)> {
    let format =
        "{{.Label \"code.target\"}}|{{.Label \"code.module\"}}|{{.Label \"code.version\"}}|{{.State}}";
    let text = docker(&["ps", "--all", "--filter", "label=code.managed=true", "--format", format]);
    let mut found = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split('|').collect();
        if let [target, module, version, state] = words[..]
            && target.starts_with(&format!("{environment}--"))
        {
            found.push((module.to_owned(), version.to_owned(), state.to_owned()));
        }
    }
    found.sort();
    found
}

/// Removes containers and networks of an environment.
pub(super) fn remove_all_of(environment: &str) {
    let format = "{{.ID}} {{.Label \"code.target\"}}";
    let text = docker(&["ps", "--all", "--filter", "label=code.managed=true", "--format", format]);
    for line in text.lines() {
        if let Some((id, target)) = line.split_once(' ')
            && target.starts_with(&format!("{environment}--"))
        {
            docker(&["rm", "--force", "--volumes", id]);
        }
    }
    let networks = docker(&["network", "ls", "--format", "{{.Name}}"]);
    for network in networks.lines().filter(|name| name.starts_with(&format!("code-{environment}--"))) {
        docker(&["network", "rm", network]);
    }
}

/// What a command of Docker's prints; nothing when it fails.
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// A socket before Docker's own that can be cut and healed.
pub struct Socket {
    path: PathBuf,
    up: watch::Sender<bool>,
    _serving: JoinSet<()>,
}

impl Socket {
    /// Listens at `path`.
    pub fn before_docker(path: PathBuf) -> Socket {
        let listener = UnixListener::bind(&path).unwrap();
        let (up, seen) = watch::channel(true);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *seen.borrow() {
                    open.spawn(pass(client, seen.clone()));
                }
                while open.try_join_next().is_some() {}
            }
        });
        Socket { path, up, _serving: serving }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes what is open and what comes.
    pub fn cut(&self) {
        self.up.send_replace(false);
    }

    /// As if nothing had been.
    pub fn heal(&self) {
        self.up.send_replace(true);
    }
}

async fn pass(mut client: UnixStream, mut up: watch::Receiver<bool>) {
    let Ok(mut daemon) = UnixStream::connect("/var/run/docker.sock").await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut daemon) => {}
        _ = up.wait_for(|up| !up) => {}
    }
}
