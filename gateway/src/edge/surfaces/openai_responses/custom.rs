//! Custom tools, whose input is free text, as functions with one text argument: hosts of this
//! family know functions only.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

/// The form that a custom tool asks its input to have.
#[derive(Deserialize)]
pub(super) struct InputFormat {
    r#type: String,
    syntax: Option<String>,
    definition: Option<String>,
}

/// The arguments of the function that stands for the tool.
pub(super) fn parameters(format: Option<&InputFormat>) -> Arc<RawValue> {
    let mut input = json!({ "type": "string" });
    if let Some(format) = format.filter(|format| format.r#type == "grammar") {
        // No host here constrains by a grammar; the model is told it instead.
        input["description"] = json!(format!(
            "Must follow this {} grammar:\n{}",
            format.syntax.as_deref().unwrap_or_default(),
            format.definition.as_deref().unwrap_or_default(),
        ));
    }
    let schema = json!({
        "type": "object",
        "properties": { "input": input },
        "required": ["input"],
        "additionalProperties": false,
    });
    Arc::from(to_raw_value(&schema).expect("a JSON value is JSON"))
}

#[derive(Deserialize, Serialize)]
struct Arguments<'a> {
    #[serde(borrow)]
    input: Cow<'a, str>,
}

/// The function's arguments for a tool's input.
pub(super) fn wrapped(input: &str) -> String {
    serde_json::to_string(&Arguments {
        input: Cow::Borrowed(input),
    })
    .expect("a text is JSON")
}

/// The tool's input from the function's arguments. Where the model did not keep to the schema,
/// what it wrote is the input: the tool will say what is wrong with it.
pub(super) fn unwrapped(arguments: &str) -> Cow<'_, str> {
    match serde_json::from_str::<Arguments<'_>>(arguments) {
        Ok(Arguments { input }) => input,
        Err(_) => Cow::Borrowed(arguments),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_input_survives_its_wrapping(input in any::<String>()) {
            let arguments = wrapped(&input);
            let again = unwrapped(&arguments);
            prop_assert_eq!(again.as_ref(), input.as_str());
        }
    }

    #[test]
    fn what_is_not_wrapped_is_the_input_itself() {
        assert_eq!(unwrapped("*** Begin Patch"), "*** Begin Patch");
        assert_eq!(unwrapped(r#"{"input":7}"#), r#"{"input":7}"#);
    }
}
