//! No two files of a crate stand on each other. A file and those below it (`a.rs` and `a/b.rs`) are one family: what they
//! use of each other does not count.

use std::collections::{BTreeMap, BTreeSet};

use super::{assert_none, files, without_tests};

/// Circles that are still there: the crate's folder, then its files. Nothing is added here; what is open goes.
const KNOWN: [(&str, &str); 4] = [
    ("libs/bus", "connect outbox"),
    ("libs/bus", "examine log"),
    ("libs/bus", "settings streams"),
    ("libs/chassis", "error tasks"),
];

/// A module of a crate: its path of names, empty for the root.
type Module = Vec<String>;

/// The files of one crate, and what each makes public again under its own name.
struct Crate {
    texts: BTreeMap<Module, String>,
    again: BTreeMap<(Module, String), Vec<String>>,
}

/// The crates by their folders.
fn crates() -> BTreeMap<String, Crate> {
    let mut found: BTreeMap<String, Crate> = BTreeMap::new();
    for (path, text) in files(".rs") {
        let Some((folder, file)) = path.split_once("/src/") else { continue };
        let name = file.trim_end_matches(".rs");
        let apart = ["gen/", "bin/"].iter().any(|part| name.starts_with(part));
        if apart || name == "main" || name.split('/').any(|part| part == "tests") {
            continue;
        }
        let module = match name {
            "lib" => Vec::new(),
            name => name.split('/').map(str::to_owned).collect(),
        };
        let lines = without_tests(&path, &text);
        let code: Vec<&str> = lines.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let made = || Crate { texts: BTreeMap::new(), again: BTreeMap::new() };
        found.entry(folder.to_owned()).or_insert_with(made).texts.insert(module, code.join("\n"));
    }
    for one in found.values_mut() {
        let named = one.texts.iter().flat_map(|(module, text)| {
            let public = uses(text).into_iter().filter(|(public, _)| *public);
            public.filter_map(move |(_, path)| Some(((module.clone(), path.last()?.clone()), path)))
        });
        one.again = named.collect();
    }
    found
}

/// The paths that `use` names, each whole; whether it makes them public again.
fn uses(text: &str) -> Vec<(bool, Vec<String>)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("use ") {
        let before = text[..at].rsplit('\n').next().unwrap_or_default().trim();
        if !(before.is_empty() || before.starts_with("pub")) {
            continue;
        }
        let tree = text[at + 4..].split(';').next().unwrap_or_default();
        let mut paths = Vec::new();
        spread(tree, &mut Vec::new(), &mut paths);
        found.extend(paths.into_iter().map(|path| (before.starts_with("pub"), path)));
    }
    found
}

/// `a::{b, c::d}` as its paths.
fn spread(tree: &str, before: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let depth = before.len();
    if let Some((head, inner)) = tree.split_once('{') {
        let names = head.split("::").map(str::trim).filter(|name| !name.is_empty());
        before.extend(names.map(str::to_owned));
        let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
        let (mut open, mut from) = (0_usize, 0);
        for (at, letter) in inner.char_indices() {
            match letter {
                '{' => open += 1,
                '}' => open = open.saturating_sub(1),
                ',' if open == 0 => {
                    spread(&inner[from..at], before, found);
                    from = at + 1;
                }
                _ => {}
            }
        }
        spread(&inner[from..], before, found);
    } else if !tree.is_empty() {
        let plain = tree.split(" as ").next().unwrap_or_default();
        let names = plain.split("::").map(|name| name.trim().to_owned());
        found.push(before.iter().cloned().chain(names).collect());
    }
    before.truncate(depth);
}

/// Paths that stand in the code itself, such as `crate::a::b()`.
fn spelled(text: &str) -> Vec<Vec<String>> {
    let begins = |start: &'static str| text.match_indices(start).map(|(at, _)| at);
    let mut found = Vec::new();
    for at in begins("crate::").chain(begins("super::")) {
        if text[..at].ends_with(|before: char| before.is_alphanumeric() || "_:".contains(before)) {
            continue;
        }
        let end = |letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == ':');
        let path = text[at..].split(end).next().unwrap_or_default();
        found.push(path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect());
    }
    found
}

impl Crate {
    /// The file in which a path, as it is spelled in `module`, ends.
    fn file_of(&self, module: &Module, path: &[String], depth: u32) -> Option<Module> {
        let mut at = module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (at, rest) = (Vec::new(), &path[1..]),
            "super" | "self" => {
                while let Some(word) = rest.first().filter(|word| ["super", "self"].contains(&word.as_str()))
                {
                    if word == "super" {
                        at.pop();
                    }
                    rest = &rest[1..];
                }
            }
            first => {
                at.push(first.to_owned());
                if !self.texts.contains_key(&at) {
                    return None;
                }
                rest = &path[1..];
            }
        }
        while let Some(name) = rest.first() {
            let below: Module = at.iter().chain([name]).cloned().collect();
            if !self.texts.contains_key(&below) {
                break;
            }
            (at, rest) = (below, &rest[1..]);
        }
        let through = rest.first().and_then(|name| self.again.get(&(at.clone(), name.clone())));
        let origin = through.filter(|_| depth < 6).and_then(|path| self.file_of(&at, path, depth + 1));
        origin.or(Some(at))
    }

    /// Which files each file uses, but for its own family.
    fn edges(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let mut edges = BTreeMap::new();
        for (module, text) in &self.texts {
            let used = uses(text).into_iter().filter(|(public, _)| !public).map(|(_, path)| path);
            let ours = used.chain(spelled(text)).filter(|path| {
                path.first().is_some_and(|first| ["crate", "super", "self"].contains(&first.as_str()))
            });
            let found = ours.filter_map(|path| self.file_of(module, &path, 0));
            let apart = found.filter(|used| !used.starts_with(module) && !module.starts_with(used));
            edges.insert(module.clone(), apart.collect());
        }
        edges
    }

    /// Sets of files that can all be reached from each other.
    fn circles(&self) -> BTreeSet<BTreeSet<String>> {
        let edges = self.edges();
        let reach = |from: &Module| {
            let mut seen: BTreeSet<Module> = BTreeSet::new();
            let mut next = vec![from.clone()];
            while let Some(at) = next.pop() {
                next.extend(
                    edges.get(&at).into_iter().flatten().filter(|to| seen.insert((*to).clone())).cloned(),
                );
            }
            seen
        };
        let reached: BTreeMap<&Module, BTreeSet<Module>> =
            edges.keys().map(|from| (from, reach(from))).collect();
        let mut circles = BTreeSet::new();
        for (from, seen) in &reached {
            let back = seen.iter().filter(|to| reached.get(to).is_some_and(|theirs| theirs.contains(*from)));
            let circle: BTreeSet<String> = back.map(|module| module.join("/")).collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles
    }
}

#[test]
fn no_files_stand_on_each_other_in_a_circle() {
    let known: Vec<(&str, BTreeSet<String>)> = KNOWN
        .iter()
        .map(|(folder, names)| (*folder, names.split(' ').map(str::to_owned).collect()))
        .collect();
    let mut open: BTreeSet<usize> = (0..known.len()).collect();
    let mut broken = Vec::new();

    for (folder, one) in crates() {
        for circle in one.circles() {
            let names = circle.iter().cloned().collect::<Vec<_>>().join(" ");
            match known.iter().position(|(of, known)| *of == folder && circle.is_subset(known)) {
                Some(at) => {
                    open.remove(&at);
                    if known[at].1.len() > circle.len() {
                        broken.push(format!("{folder}: the circle is smaller now, write {names:?}"));
                    }
                }
                None => broken.push(format!("{folder}: {names}")),
            }
        }
    }

    broken.extend(open.into_iter().map(|at| format!("{} is open: take it off the list", KNOWN[at].1)));
    assert_none(&broken, "of two files that use each other, a third holds what both need");
}
