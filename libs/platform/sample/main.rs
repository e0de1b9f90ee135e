//! The program that the scenarios start. Plain std, one file: `scenarios::sample` compiles it with rustc.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

unsafe extern "C" {
    fn signal(number: i32, handler: usize) -> usize;
}
const SIGTERM: i32 = 15;
const IGNORE: usize = 1;

extern "C" fn end(_: i32) {
    std::process::exit(0)
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    println!("sample {}", words.join(" "));
    let number = |text: &str| text.parse::<u64>().expect("a number");
    // The first process of a container ignores what it has no handler for.
    unsafe { signal(SIGTERM, if words[0] == "deaf" { IGNORE } else { end as *const () as usize }) };
    match words[..] {
        ["serve", port] => serve(port),
        ["ask", variable] => std::process::exit(ask(&std::env::var(variable).expect("an address")) as i32),
        ["exit", code] => std::process::exit(number(code) as i32),
        ["eat", mebibytes] => eat(number(mebibytes)),
        ["mute"] | ["deaf"] => sleep(),
        ["brood"] => {
            std::process::Command::new(std::env::current_exe().expect("a path")).arg("deaf").spawn().expect("a child");
            sleep();
        }
        _ => std::process::exit(64),
    }
}

/// Whether nobody answers well at an address, `host:port`.
fn ask(address: &str) -> bool {
    let asked = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let answer = asked();
    println!("asked {address}: {answer:?}");
    !answer.is_ok_and(|text| text.starts_with("HTTP/1.1 200"))
}

fn sleep() {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn eat(mebibytes: u64) {
    let mut held = Vec::new();
    for _ in 0..mebibytes {
        held.push(vec![1u8; 1 << 20]);
        std::hint::black_box(&held);
    }
    println!("ate {mebibytes} MiB");
    sleep();
}

fn serve(port: &str) {
    let listener = TcpListener::bind(("0.0.0.0", port.parse().expect("a port"))).expect("a free port");
    for stream in listener.incoming().flatten() {
        let _ = answer(stream);
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut asked = Vec::new();
    let mut part = [0u8; 1024];
    while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            read => asked.extend_from_slice(&part[..read]),
        }
    }
    let asked = String::from_utf8_lossy(&asked).into_owned();
    let path = asked.split(' ').nth(1).unwrap_or("/").to_owned();
    let config = std::env::var("CODE_CONFIG_DIR").unwrap_or_default();
    let found = match path.split_at(path[1..].find('/').map_or(path.len(), |slash| slash + 1)) {
        ("/env", name) => std::env::var(&name[1..]).ok(),
        ("/config", name) => std::fs::read_to_string(format!("{config}{name}")).ok(),
        ("/file", name) => std::fs::read_to_string(name).ok(),
        ("/write", name) => std::fs::write(name, "written").ok().map(|()| "written".to_owned()),
        ("/names", _) => Some(std::env::vars().map(|(name, _)| name).collect::<Vec<_>>().join(" ")),
        _ => Some("well".to_owned()),
    };
    let (status, body) = found.map_or(("404 Not Found", "none".to_owned()), |text| ("200 OK", text));
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}
