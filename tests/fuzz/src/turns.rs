//! What becomes of a conversation on its way through the OpenAI-compatible wire: the wire's own
//! words for what its dialect lacks, and nothing else.

use tollgate::chat::{Part, Said, Turn, text_of};

/// The turns as a reader of the wire's body finds them.
pub fn through_wire(turns: &[Turn]) -> Vec<Turn> {
    let mut read = Vec::with_capacity(turns.len());
    // Tool messages hold text only: pictures follow in a message of the user's.
    let mut shown: Vec<Part> = Vec::new();
    for turn in turns {
        if !matches!(turn, Turn::Result { .. }) && !shown.is_empty() {
            read.push(Turn::User(std::mem::take(&mut shown)));
        }
        read.push(match turn {
            Turn::System(parts) => Turn::system(text_of(parts)),
            Turn::User(parts) if parts.iter().all(|part| matches!(part, Part::Text(_))) => {
                Turn::user(text_of(parts))
            }
            Turn::User(parts) => Turn::User(parts.clone()),
            Turn::Assistant(said) => Turn::Assistant(Said {
                reasoning: said.reasoning.clone().filter(|text| !text.is_empty()),
                calls: said
                    .calls
                    .iter()
                    .cloned()
                    .map(|mut call| {
                        if call.arguments.is_empty() {
                            call.arguments = "{}".to_owned();
                        }
                        call
                    })
                    .collect(),
                ..said.clone()
            }),
            Turn::Result {
                call,
                parts,
                failed,
            } => {
                let images: Vec<Part> = parts
                    .iter()
                    .filter(|part| matches!(part, Part::Image(_)))
                    .cloned()
                    .collect();
                let said = text_of(parts);
                let said = match (*failed, said.is_empty()) {
                    (true, true) => "The tool failed.".to_owned(),
                    (true, false) => format!("The tool failed:\n{said}"),
                    (false, true) if !images.is_empty() => {
                        "It is shown in the next message.".to_owned()
                    }
                    (false, _) => said,
                };
                if !images.is_empty() {
                    shown.push(Part::Text(format!("The result of {call} shows:")));
                    shown.extend(images);
                }
                Turn::Result {
                    call: call.clone(),
                    parts: vec![Part::Text(said)],
                    failed: false,
                }
            }
        });
    }
    if !shown.is_empty() {
        read.push(Turn::User(shown));
    }
    read
}

/// Whether its calls have names and ids of their own, and its results follow them: what hosts
/// demand, and not every dialect.
pub fn sound(turns: &[Turn]) -> bool {
    let mut ids: Vec<&str> = Vec::new();
    turns.iter().all(|turn| match turn {
        Turn::Assistant(said) => said.calls.iter().all(|call| {
            let known = ids.contains(&call.id.as_str());
            ids.push(&call.id);
            !known && !call.id.is_empty() && !call.name.is_empty()
        }),
        Turn::Result { call, .. } => ids.contains(&call.as_str()),
        Turn::System(_) | Turn::User(_) => true,
    })
}
