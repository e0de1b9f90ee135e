//! Builds the tree from the parser's events, within the bounds of `model::limits`.

use std::collections::HashMap;

use model::{fault::Complaint, limits};

use super::{
    Entry, Kind, Node, Path, Place, Segment,
    events::{Broken, CORE, Event, Events, Properties},
    scalar, shown_text, shown_word,
    surrogates::{self, Replaced},
};

/// How large a document may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of its text.
    pub bytes: usize,
    /// Bytes of text that it may expand to, aliases included: with many aliases of one long text the number of nodes
    /// alone is no bound.
    pub expanded: usize,
    /// Values, aliases included.
    pub nodes: usize,
    /// Lists and mappings within each other.
    pub depth: usize,
}

/// Those of a spec.
const SPEC: Bounds = Bounds {
    bytes: limits::SPEC_BYTES,
    expanded: 4 * limits::SPEC_BYTES,
    nodes: limits::SPEC_NODES,
    depth: limits::SPEC_DEPTH,
};

/// Longest key, so that paths stay short however many there are.
const KEY_BYTES: usize = 1024;

/// The tree, and the complaints that did not keep it from being built. No tree when there is none to speak of; then
/// there is at least one complaint. Plain scalars mean what YAML 1.2 says.
pub(crate) fn load(text: &str) -> (Option<Node>, Vec<Complaint>) {
    load_as(text, scalar::plain, SPEC)
}

/// The same for a document of another kind, with bounds of its own.
pub(crate) fn load_within(text: &str, bounds: Bounds) -> (Option<Node>, Vec<Complaint>) {
    load_as(text, scalar::plain, bounds)
}

/// The same for a Compose file, whose plain scalars mean what Compose takes them for.
pub(crate) fn load_compose(text: &str) -> (Option<Node>, Vec<Complaint>) {
    load_as(text, scalar::compose, SPEC)
}

fn load_as(text: &str, plain: fn(&str) -> Kind, bounds: Bounds) -> (Option<Node>, Vec<Complaint>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(complaint) = unreadable(text, bounds.bytes) {
        return (None, vec![complaint]);
    }
    let (text, replaced) = surrogates::replace(text);
    let mut loader = Loader {
        plain,
        bounds,
        replaced,
        open: Vec::new(),
        anchors: HashMap::new(),
        spent: Size::default(),
        documents: 0,
        root: None,
        complaints: Vec::new(),
    };
    match loader.run(&text) {
        Ok(()) if loader.root.is_some() => (loader.root, loader.complaints),
        Ok(()) => {
            loader.complaints.push(complaint(
                Place { line: 1, column: 1 },
                &Path::default(),
                "the document is empty",
                "",
            ));
            (None, loader.complaints)
        }
        Err(fatal) => {
            loader.complaints.push(*fatal);
            (None, loader.complaints)
        }
    }
}

fn complaint(place: Place, path: &Path, message: impl Into<String>, cure: impl Into<String>) -> Complaint {
    Complaint {
        field: path.to_string(),
        line: place.line,
        column: place.column,
        message: message.into(),
        cure: cure.into(),
    }
}

/// What no parser should see: texts that are too long, and control characters (YAML allows none of them unescaped;
/// the parser takes a NUL for the end of the text, which would hide what follows).
fn unreadable(text: &str, most: usize) -> Option<Complaint> {
    if text.len() > most {
        return Some(complaint(
            Place { line: 1, column: 1 },
            &Path::default(),
            format!("the document has {} bytes, more than {most}", text.len()),
            "",
        ));
    }
    let mut place = Place { line: 1, column: 1 };
    let mut before = '\0';
    for c in text.chars() {
        if is_forbidden(c) {
            let message = format!("the control character U+{:04X} stands here", u32::from(c));
            return Some(complaint(
                place,
                &Path::default(),
                message,
                "a spec is text: remove it, or write it escaped in quotes",
            ));
        }
        match c {
            '\n' if before == '\r' => {}
            '\n' | '\r' => place = Place { line: place.line + 1, column: 1 },
            _ => place.column += 1,
        }
        before = c;
    }
    None
}

fn is_forbidden(c: char) -> bool {
    let line_or_tab = matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    (c.is_control() && !line_or_tab) || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// The first complaint after which reading on makes no sense.
type Fatal = Box<Complaint>;

/// A list or map that is still open.
struct Frame {
    place: Place,
    anchor: Option<String>,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: HashMap<String, Place>, key: Option<Key>, merged: Vec<Node> },
}

impl Content {
    fn waits_for_key(&self) -> bool {
        matches!(self, Content::Map { key: None, .. })
    }
}

struct Key {
    text: String,
    place: Place,
    merge: bool,
}

/// How much a node is, all within it included.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

struct Loader {
    /// What a plain scalar means.
    plain: fn(&str) -> Kind,
    bounds: Bounds,
    open: Vec<Frame>,
    anchors: HashMap<String, (Node, Size)>,
    spent: Size,
    documents: usize,
    replaced: Replaced,
    root: Option<Node>,
    complaints: Vec<Complaint>,
}

impl Loader {
    fn run(&mut self, text: &str) -> Result<(), Fatal> {
        let mut events = Events::new(text);
        while let Some((event, place)) = events.next().map_err(|broken| self.not_yaml(text, &broken))? {
            let place = self.replaced.original(place);
            match event {
                Event::Document => self.document(place)?,
                Event::Alias(anchor) => self.alias(&anchor, place)?,
                Event::Scalar { text, plain, properties } => self.scalar(&text, plain, properties, place)?,
                Event::List(properties) => {
                    self.begin(Content::List(Vec::new()), properties, "seq", place)?;
                }
                Event::Map(properties) => {
                    let content = Content::Map {
                        entries: Vec::new(),
                        seen: HashMap::new(),
                        key: None,
                        merged: Vec::new(),
                    };
                    self.begin(content, properties, "map", place)?;
                }
                Event::End => self.end()?,
            }
        }
        Ok(())
    }

    fn not_yaml(&self, text: &str, broken: &Broken) -> Fatal {
        let place = self.replaced.original(broken.place);
        let line = text.lines().nth(place.line.saturating_sub(1) as usize).unwrap_or_default();
        let indentation = &line[..line.len() - line.trim_start().len()];
        let within = place.column as usize <= indentation.chars().count() + 1;
        let (message, cure) = if within && indentation.contains('\t') {
            ("a tab stands in the indentation".to_owned(), "indent with spaces")
        } else {
            (format!("this is not YAML: {}", broken.what), broken.cure)
        };
        Box::new(complaint(place, &self.path(), message, cure))
    }

    fn document(&mut self, place: Place) -> Result<(), Fatal> {
        self.documents += 1;
        if self.documents > 1 {
            return Err(self.fatal(place, "a second document begins here", "write one spec per file"));
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        plain: bool,
        Properties { anchor, tag }: Properties,
        place: Place,
    ) -> Result<(), Fatal> {
        if self.key_slot().is_some() {
            self.spend(Size { nodes: 1, bytes: text.len(), depth: 0 }, place)?;
            if let Some(anchor) = anchor {
                let node = Node { place, kind: Kind::Text(text.to_owned()) };
                self.remember(anchor, &node, place)?;
            }
            return self.key(text, plain && tag.is_none() && text == "<<", place);
        }
        let kind = match tag {
            Some(tag) => self.tagged(text, &tag, place)?,
            None if plain => (self.plain)(text),
            None => Kind::Text(text.to_owned()),
        };
        self.spend(Size { nodes: 1, bytes: text.len(), depth: 0 }, place)?;
        self.put(Node { place, kind }, anchor)
    }

    /// A scalar with a tag of the core schema; any other tag is refused, for nothing here gives it a meaning.
    fn tagged(&mut self, text: &str, tag: &str, place: Place) -> Result<Kind, Fatal> {
        let kind = (self.plain)(text);
        let fits = match tag.strip_prefix(CORE).unwrap_or(tag) {
            "str" | "!" => return Ok(Kind::Text(text.to_owned())),
            "int" | "float" => matches!(kind, Kind::Number { .. }),
            "bool" => matches!(kind, Kind::Bool(_)),
            "null" => matches!(kind, Kind::Null),
            _ => false,
        };
        if fits { Ok(kind) } else { Err(self.bad_tag(tag, place)) }
    }

    fn bad_tag(&self, tag: &str, place: Place) -> Fatal {
        let name = match tag.strip_prefix(CORE) {
            Some(name) => shown_text(&format!("!!{name}")),
            None => shown_text(tag),
        };
        self.fatal(place, format!("the tag {name} means nothing here"), "remove it")
    }

    fn begin(
        &mut self,
        content: Content,
        Properties { anchor, tag }: Properties,
        kind: &str,
        place: Place,
    ) -> Result<(), Fatal> {
        if let Some(tag) = tag.filter(|tag| tag.strip_prefix(CORE) != Some(kind)) {
            return Err(self.bad_tag(&tag, place));
        }
        if self.key_slot().is_some() {
            return Err(self.fatal(
                place,
                "a list or mapping stands where a key is expected",
                "keys are texts",
            ));
        }
        if self.open.len() >= self.bounds.depth {
            return Err(self.fatal(place, self.too_deep(), ""));
        }
        self.spend(Size { nodes: 1, bytes: 0, depth: 0 }, place)?;
        self.open.push(Frame { place, anchor, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fatal> {
        let Some(frame) = self.open.pop() else { return Ok(()) };
        let kind = match frame.content {
            Content::List(items) => Kind::List(items),
            Content::Map { mut entries, mut seen, merged, .. } => {
                for entry in merged.into_iter().flat_map(into_entries) {
                    if seen.insert(entry.key.clone(), entry.place).is_none() {
                        entries.push(entry);
                    }
                }
                Kind::Map(entries)
            }
        };
        self.put(Node { place: frame.place, kind }, frame.anchor)
    }

    fn alias(&mut self, anchor: &str, place: Place) -> Result<(), Fatal> {
        if self.open.iter().any(|frame| frame.anchor.as_deref() == Some(anchor)) {
            return Err(self.fatal(place, "this alias stands within its own anchor", ""));
        }
        let Some((node, size)) = self.anchors.get(anchor) else {
            let message = format!("no anchor before this alias is named {}", shown_text(anchor));
            return Err(self.fatal(place, message, "write the anchor first, such as `&name`"));
        };
        if self.open.last().is_some_and(|frame| frame.content.waits_for_key()) {
            let Some(text) = node.scalar() else {
                return Err(self.fatal(
                    place,
                    "an alias of a list or mapping stands where a key is expected",
                    "keys are texts",
                ));
            };
            self.spend(Size { nodes: 1, bytes: text.len(), depth: 0 }, place)?;
            return self.key(&text, false, place);
        }
        let (size, depth) = (*size, self.open.len() + size.depth);
        if depth > self.bounds.depth {
            return Err(self.fatal(place, self.too_deep(), ""));
        }
        // Paid before it is copied, so that a bomb never goes off.
        let node = if self.affords(size) { Some(node.clone()) } else { None };
        self.spend(size, place)?;
        node.map_or(Ok(()), |node| self.put(node, None))
    }

    /// Puts a finished node where it belongs.
    fn put(&mut self, node: Node, anchor: Option<String>) -> Result<(), Fatal> {
        if let Some(anchor) = anchor {
            self.remember(anchor, &node, node.place)?;
        }
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key, seen, .. } => {
                let Some(found) = key.take() else { return Ok(()) };
                if found.merge {
                    return self.merge(node, found);
                }
                // A key that stands twice was complained about; the first one counts.
                if seen.get(&found.text) == Some(&found.place) {
                    entries.push(Entry { key: found.text, place: found.place, value: node });
                }
            }
        }
        Ok(())
    }

    /// `<<: *a` and `<<: [*a, *b]`: keys that do not stand here come from there, the first one wins.
    fn merge(&mut self, node: Node, key: Key) -> Result<(), Fatal> {
        let sources = match node.kind {
            Kind::List(items) => items,
            _ => vec![node],
        };
        if sources.iter().any(|source| !matches!(source.kind, Kind::Map(_))) {
            return Err(self.fatal(key.place, "<< takes a mapping or a list of mappings", ""));
        }
        if let Some(Frame { content: Content::Map { merged, .. }, .. }) = self.open.last_mut() {
            merged.extend(sources);
        }
        Ok(())
    }

    /// The place for a key, when the innermost map waits for one.
    fn key_slot(&mut self) -> Option<&mut Option<Key>> {
        match &mut self.open.last_mut()?.content {
            Content::Map { key, .. } if key.is_none() => Some(key),
            Content::Map { .. } | Content::List(_) => None,
        }
    }

    /// Takes the text as the key of the innermost map.
    fn key(&mut self, text: &str, merge: bool, place: Place) -> Result<(), Fatal> {
        if let Some(slot) = self.key_slot() {
            *slot = Some(Key { text: text.to_owned(), place, merge });
        }
        self.check_key()
    }

    fn check_key(&mut self) -> Result<(), Fatal> {
        let Some(Frame { content: Content::Map { seen, key: Some(key), .. }, .. }) = self.open.last_mut()
        else {
            return Ok(());
        };
        if key.merge {
            return Ok(());
        }
        let place = key.place;
        if key.text.len() > KEY_BYTES {
            let message = format!("a key of {} bytes, more than {KEY_BYTES}", key.text.len());
            return Err(self.fatal(place, message, ""));
        }
        match seen.get(&key.text) {
            Some(first) => {
                let message = format!("`{}` stands twice in this mapping", shown_word(&key.text));
                let cure = format!("keep one of the two; the first is at {}:{}", first.line, first.column);
                let path = self.path();
                self.complaints.push(complaint(place, &path, message, cure));
            }
            None => {
                seen.insert(key.text.clone(), key.place);
            }
        }
        Ok(())
    }

    fn remember(&mut self, anchor: String, node: &Node, place: Place) -> Result<(), Fatal> {
        let size = size(node);
        self.spend(size, place)?;
        self.anchors.insert(anchor, (node.clone(), size));
        Ok(())
    }

    fn affords(&self, size: Size) -> bool {
        self.spent.nodes + size.nodes <= self.bounds.nodes
            && self.spent.bytes + size.bytes <= self.bounds.expanded
    }

    fn spend(&mut self, size: Size, place: Place) -> Result<(), Fatal> {
        if !self.affords(size) {
            let message = format!(
                "the document expands to more than {} values or {} bytes here",
                self.bounds.nodes, self.bounds.expanded
            );
            return Err(self.fatal(place, message, "use fewer aliases"));
        }
        self.spent.nodes += size.nodes;
        self.spent.bytes += size.bytes;
        Ok(())
    }

    fn too_deep(&self) -> String {
        format!("the document is nested deeper than {}", self.bounds.depth)
    }

    fn fatal(&self, place: Place, message: impl Into<String>, cure: &str) -> Fatal {
        Box::new(complaint(place, &self.path(), message, cure))
    }

    /// The path of what is read now.
    fn path(&self) -> Path {
        self.open.iter().fold(Path::default(), |path, frame| match &frame.content {
            Content::List(items) => path.with(Segment::Index(items.len())),
            Content::Map { key: Some(key), .. } => path.field(&key.text),
            Content::Map { key: None, .. } => path,
        })
    }
}

fn into_entries(node: Node) -> Vec<Entry> {
    match node.kind {
        Kind::Map(entries) => entries,
        _ => Vec::new(),
    }
}

fn size(node: &Node) -> Size {
    let leaf = |bytes| Size { nodes: 1, bytes, depth: 0 };
    let around = |children: &mut dyn Iterator<Item = Size>| {
        let mut all = Size { nodes: 1, bytes: 0, depth: 1 };
        for child in children {
            all.nodes += child.nodes;
            all.bytes += child.bytes;
            all.depth = all.depth.max(child.depth + 1);
        }
        all
    };
    match &node.kind {
        Kind::Null | Kind::Bool(_) => leaf(0),
        Kind::Number { written: text, .. } | Kind::Text(text) => leaf(text.len()),
        Kind::List(items) => around(&mut items.iter().map(size)),
        Kind::Map(entries) => around(&mut entries.iter().map(|entry| {
            let value = size(&entry.value);
            Size { nodes: value.nodes + 1, bytes: value.bytes + entry.key.len(), depth: value.depth }
        })),
    }
}
