//! The placeholders in the texts of a spec: `{port}`, `{port:NAME}`, and `{brace}` for a brace that begins none.
//! Everything that fills or checks them asks here.
//!
//! Braces mean other things elsewhere, so only these three are placeholders, and not behind a `$` (`${port}` is a
//! shell's variable) nor in doubled braces (`{{port}}` is another template's word).

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Stands as it is.
    Text(&'a str),
    /// The number of the port of this name; of the first port without one.
    Port(Option<&'a str>),
}

/// The pieces of a text, in order.
pub fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for (at, end, inner) in braces(text) {
        let part = match inner {
            "port" => Part::Port(None),
            "brace" => Part::Text("{"),
            _ => match inner.strip_prefix("port:") {
                Some(name) => Part::Port(Some(name)),
                None => continue,
            },
        };
        parts.extend([Part::Text(&text[begin..at]), part]);
        begin = end;
    }
    parts.push(Part::Text(&text[begin..]));
    parts.retain(|part| *part != Part::Text(""));
    parts
}

/// The text written so that nothing in it is a placeholder: filled, it is as it was.
pub fn literal(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    let mut begin = 0;
    for (at, _, inner) in braces(text) {
        if matches!(inner, "port" | "brace") || inner.starts_with("port:") {
            all.push_str(&text[begin..at]);
            all.push_str("{brace}");
            begin = at + 1;
        }
    }
    all + &text[begin..]
}

/// Where single braces open and close, and what stands between them; innermost ones only.
fn braces(text: &str) -> impl Iterator<Item = (usize, usize, &str)> {
    text.match_indices('{').filter_map(|(at, _)| {
        let inner = &text[at + 1..];
        let inner = &inner[..inner.find(['{', '}'])?];
        let end = at + 1 + inner.len();
        let (before, after) = (&text[..at], text[end..].strip_prefix('}')?);
        let foreign = before.ends_with('$') || (before.ends_with('{') && after.starts_with('}'));
        (!foreign).then_some((at, end + 1, inner))
    })
}

/// Words in single braces that look like a placeholder and are none, such as `{host}` or `{Port}`: a name of letters,
/// digits, `_`, `-` and `.`, perhaps with `:` and another.
pub fn unknown(text: &str) -> Vec<&str> {
    let name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
    };
    let looks = |inner: &str| {
        let (head, tail) = inner.split_once(':').map_or((inner, None), |(head, tail)| (head, Some(tail)));
        name(head) && tail.is_none_or(name) && head != "port" && inner != "brace"
    };
    braces(text).filter(|(_, _, inner)| looks(inner)).map(|(at, end, _)| &text[at..end]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_forms_are_placeholders() {
        use Part::{Port, Text};
        for (text, expected) in [
            ("", vec![]),
            ("--at={port}", vec![Text("--at="), Port(None)]),
            ("{port:admin}{x}", vec![Port(Some("admin")), Text("{x}")]),
            ("{portal} {port", vec![Text("{portal} {port")]),
            ("${port} {{port}} {{{port}}}", vec![Text("${port} {{port}} {{{port}}}")]),
            ("a{brace}port}b", vec![Text("a"), Text("{"), Text("port}b")]),
            ("{\"port\":{port}}", vec![Text("{\"port\":"), Port(None), Text("}")]),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_placeholder_is_named() {
        assert_eq!(
            unknown("http://{host}:{port}/{Port} {port:x} {peer:db}"),
            ["{host}", "{Port}", "{peer:db}"]
        );
        for literal in [
            r#"{"a": {"b": 1}}"#,
            "{}",
            "{ listen 80; }",
            "${HOME}",
            "{{ name }}",
            "{{name}}",
            "{0}",
            "{brace}",
        ] {
            assert_eq!(unknown(literal), Vec::<&str>::new(), "{literal}");
        }
    }

    #[test]
    fn a_literal_text_comes_back_as_it_was() {
        let pieces = ["{", "}", "port", ":a", "$", "brace", "é"];
        // All texts of five pieces.
        for number in 0..pieces.len().pow(5) {
            let text: String =
                (0..5).map(|place| pieces[number / pieces.len().pow(place) % pieces.len()]).collect();
            let written = literal(&text);
            let back: String = parts(&written)
                .iter()
                .map(|part| match part {
                    Part::Text(text) => *text,
                    Part::Port(_) => "(port)",
                })
                .collect();
            assert_eq!(back, text, "{written}");
        }
    }
}
