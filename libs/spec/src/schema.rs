//! The JSON Schema of a spec, for editors and other tools. It says what the types say; the rules beyond them are in
//! `check`.

use model::DeploymentSpec;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// Where the schema says it is known by: a name, not an address.
const ID: &str = "urn:code:deployment-spec:v1";

/// The JSON Schema (2020-12) of `apiVersion: code/v1`.
pub fn schema() -> Value {
    let mut schema =
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<DeploymentSpec>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("$id".to_owned(), ID.into());
        root.insert("title".to_owned(), "Deployment spec".into());
    }
    schema
}
