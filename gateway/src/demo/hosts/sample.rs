//! A plausible value for a JSON schema: arguments of a tool call, and answers in JSON mode.

use serde_json::{Map, Number, Value, json};

/// Deeper than this a schema is answered with null.
const DEPTH: usize = 12;

/// A value that fits the schema, as far as simple schemas go.
pub(super) fn sample(schema: &Value) -> Value {
    value_of(schema, schema, "", DEPTH)
}

fn value_of(root: &Value, schema: &Value, name: &str, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    if let Some(target) = schema["$ref"].as_str() {
        let found = target
            .strip_prefix('#')
            .and_then(|pointer| root.pointer(pointer));
        return found.map_or(Value::Null, |found| value_of(root, found, name, depth - 1));
    }
    if let Some(fixed) = schema.get("const") {
        return fixed.clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
        return default.clone();
    }
    for several in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema[several]
            .as_array()
            .and_then(|schemas| schemas.first())
        {
            return value_of(root, first, name, depth - 1);
        }
    }
    match kind(schema) {
        "object" => object(root, schema, depth),
        "array" => {
            let least = schema["minItems"].as_u64().unwrap_or(1).clamp(1, 8);
            let items = (0..least).map(|_| value_of(root, &schema["items"], name, depth - 1));
            Value::Array(items.collect())
        }
        "string" => Value::String(string(schema, name)),
        "integer" => json!(schema["minimum"].as_i64().unwrap_or(1)),
        "number" => schema["minimum"]
            .as_f64()
            .and_then(Number::from_f64)
            .map_or_else(|| json!(1), Value::Number),
        "boolean" => Value::Bool(true),
        _ => Value::Null,
    }
}

fn kind(schema: &Value) -> &str {
    let named = match &schema["type"] {
        Value::String(kind) => Some(kind.as_str()),
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null"),
        _ => None,
    };
    match named {
        Some(kind) => kind,
        None if schema["properties"].is_object() => "object",
        None if schema["items"].is_object() => "array",
        None => "string",
    }
}

fn object(root: &Value, schema: &Value, depth: usize) -> Value {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut fields = Map::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        if required.is_empty() || required.contains(&name.as_str()) {
            fields.insert(name.clone(), value_of(root, field, name, depth - 1));
        }
    }
    Value::Object(fields)
}

fn string(schema: &Value, name: &str) -> String {
    let name = name.to_lowercase();
    let named = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let text = match schema["format"].as_str() {
        Some("date") => "2026-11-24",
        Some("date-time") => "2026-11-24T12:00:00Z",
        Some("time") => "12:00:00Z",
        Some("email") => "demonstration@example.com",
        Some("uri" | "url") => "https://example.com/",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        _ if named(&["city", "location", "place"]) => "Lisbon",
        _ if named(&["country"]) => "Portugal",
        _ if named(&["date", "day"]) => "2026-11-24",
        _ if named(&["path", "file"]) => "README.md",
        _ if named(&["url", "link"]) => "https://example.com/",
        _ if named(&["command", "cmd"]) => "ls",
        _ if named(&["query", "search", "question"]) => "demonstration",
        _ if named(&["name", "title"]) => "Demonstration",
        _ => "demonstration",
    };
    let mut text = text.to_owned();
    let least = usize::try_from(schema["minLength"].as_u64().unwrap_or(0).min(1_000)).unwrap_or(0);
    while text.len() < least {
        text.push('.');
    }
    if let Some(most) = schema["maxLength"]
        .as_u64()
        .and_then(|most| usize::try_from(most).ok())
    {
        text = text.chars().take(most).collect();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tools_arguments_fit_its_schema() {
        let schema = json!({
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"enum": ["celsius", "kelvin"]},
                "days": {"type": "integer", "minimum": 3},
                "tags": {"type": "array", "items": {"type": ["string", "null"]}},
                "where": {"$ref": "#/$defs/point"},
                "unneeded": {"type": "string"},
            },
            "required": ["city", "unit", "days", "tags", "where"],
            "$defs": {"point": {"type": "object", "properties": {"x": {"type": "number"}}}},
        });
        assert_eq!(
            sample(&schema),
            json!({"city": "Lisbon", "unit": "celsius", "days": 3, "tags": ["demonstration"], "where": {"x": 1}})
        );
    }

    #[test]
    fn a_schema_that_names_itself_comes_to_an_end() {
        let schema = json!({"properties": {"next": {"$ref": "#"}}});
        assert!(sample(&schema)["next"].is_object());
    }
}
