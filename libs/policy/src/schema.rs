//! The schema that policies are held against: the nouns from a file, the actions from their table.

use std::fmt::Write as _;

use crate::{
    Action, Level,
    action::{Group, Who},
    subject::Kind,
};

/// The group of actions for which a person proves anew that it is them.
pub(crate) const DELICATE: &str = "delicate";

/// The whole schema as text, for people who write policies.
pub fn text() -> String {
    let mut text = include_str!("../policies/nouns.cedarschema").to_owned();
    for group in Group::ALL {
        let _ = write!(text, "\naction \"{}\";", group.name());
    }
    let _ = write!(text, "\naction \"{DELICATE}\";\n");
    for action in Action::ALL {
        let principals = match action.who() {
            Who::Anyone => Kind::ALL.map(Kind::entity).join(", "),
            Who::People => Kind::User.entity().to_owned(),
            Who::Engine => Kind::Service.entity().to_owned(),
        };
        let resources: Vec<&str> = action.on().iter().copied().map(Level::entity).collect();
        let delicate = if action.is_delicate() { format!(", \"{DELICATE}\"") } else { String::new() };
        let _ = write!(
            text,
            "\n// {}\naction \"{}\" in [\"{}\"{delicate}] appliesTo {{\n    principal: [{principals}],\n    resource: [{}],\n    context: Facts,\n}};\n",
            action.about(),
            action.id(),
            action.group().name(),
            resources.join(", "),
        );
    }
    text
}
