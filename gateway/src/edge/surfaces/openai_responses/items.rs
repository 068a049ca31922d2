//! The items of an answer's output: as they are said, and as they are written down in any state.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::IgnoredAny;

use super::custom;
use super::logprobs::Logprob;
use super::tools::Kind;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
}

/// An item as this dialect writes it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item<'a> {
    Reasoning {
        id: &'a str,
        summary: Vec<Piece<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<Vec<Piece<'a>>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<&'a str>,
    },
    Message {
        id: &'a str,
        status: Status,
        role: &'static str,
        content: Vec<Piece<'a>>,
    },
    FunctionCall {
        id: &'a str,
        status: Status,
        call_id: &'a str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'a str>,
        arguments: &'a str,
    },
    CustomToolCall {
        id: &'a str,
        status: Status,
        call_id: &'a str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'a str>,
        input: Cow<'a, str>,
    },
    FunctionCallOutput {
        id: &'a str,
        status: Status,
        call_id: &'a str,
        output: Output<'a>,
    },
    CustomToolCallOutput {
        id: &'a str,
        status: Status,
        call_id: &'a str,
        output: Output<'a>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Output<'a> {
    Text(&'a str),
    Pieces(Vec<Piece<'a>>),
}

/// A piece of an item's content.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Piece<'a> {
    SummaryText {
        text: &'a str,
    },
    ReasoningText {
        text: &'a str,
    },
    OutputText {
        annotations: [(); 0],
        logprobs: &'a [Logprob],
        text: &'a str,
    },
    InputText {
        text: &'a str,
    },
    InputImage {
        detail: &'static str,
        image_url: String,
    },
}

/// An item being said.
#[derive(Debug)]
pub(super) struct Spoken {
    pub id: String,
    pub status: Status,
    pub said: What,
}

#[derive(Debug)]
pub(super) enum What {
    Thinking {
        text: String,
        /// Told as a summary, which some callers want, or as the raw text that it is.
        summary: bool,
        sealed: Option<String>,
    },
    Text {
        text: String,
        logprobs: Vec<Logprob>,
    },
    Call {
        call_id: String,
        name: String,
        namespace: Option<String>,
        kind: Kind,
        arguments: String,
    },
}

impl Spoken {
    /// As it begins: what is said of it comes in pieces.
    pub(super) fn begun(&self) -> Item<'_> {
        match &self.said {
            What::Thinking { .. } => Item::Reasoning {
                id: &self.id,
                summary: Vec::new(),
                content: None,
                encrypted_content: None,
            },
            What::Text { .. } => Item::Message {
                id: &self.id,
                status: Status::InProgress,
                role: "assistant",
                content: Vec::new(),
            },
            What::Call { .. } => self.call(Status::InProgress, ""),
        }
    }

    /// As it stands now.
    pub(super) fn item(&self) -> Item<'_> {
        match &self.said {
            What::Thinking {
                text,
                summary,
                sealed,
            } => {
                let piece = self.piece(text);
                let (summary, content) = if *summary {
                    (vec![piece], None)
                } else {
                    (Vec::new(), Some(vec![piece]))
                };
                Item::Reasoning {
                    id: &self.id,
                    summary,
                    content,
                    encrypted_content: sealed.as_deref(),
                }
            }
            What::Text { text, .. } => Item::Message {
                id: &self.id,
                status: self.status,
                role: "assistant",
                content: vec![self.piece(text)],
            },
            What::Call { arguments, .. } => self.call(self.status, arguments),
        }
    }

    /// Its content with this text; a call has none.
    pub(super) fn piece<'a>(&'a self, text: &'a str) -> Piece<'a> {
        match &self.said {
            What::Thinking { summary: true, .. } => Piece::SummaryText { text },
            What::Thinking { .. } => Piece::ReasoningText { text },
            What::Text { logprobs, .. } => Piece::OutputText {
                annotations: [],
                // The part that begins has none yet.
                logprobs: if text.is_empty() { &[] } else { logprobs },
                text,
            },
            What::Call { arguments, .. } => Piece::InputText { text: arguments },
        }
    }

    /// What was said of it.
    pub(super) fn text(&self) -> &str {
        match &self.said {
            What::Thinking { text, .. } | What::Text { text, .. } => text,
            What::Call { arguments, .. } => arguments,
        }
    }

    /// Whether it is a call whose arguments are complete.
    pub(super) fn is_valid_call(&self) -> bool {
        matches!(self.said, What::Call { .. })
            && serde_json::from_str::<IgnoredAny>(self.text()).is_ok()
    }

    fn call<'a>(&'a self, status: Status, said: &'a str) -> Item<'a> {
        let What::Call {
            call_id,
            name,
            namespace,
            kind,
            ..
        } = &self.said
        else {
            return self.item();
        };
        let (id, namespace) = (self.id.as_str(), namespace.as_deref());
        match kind {
            Kind::Function => Item::FunctionCall {
                id,
                status,
                call_id,
                name,
                namespace,
                arguments: said,
            },
            Kind::Custom => Item::CustomToolCall {
                id,
                status,
                call_id,
                name,
                namespace,
                input: custom::unwrapped(said),
            },
        }
    }
}
