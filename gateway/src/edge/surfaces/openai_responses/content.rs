//! What messages and results are made of: texts, and pictures by the address that callers give
//! them, which may hold the picture itself.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::openai_chat::conversation::messages::image;
use crate::chat::{Image, Part, Refusal};

/// A piece of content, of whatever type.
#[derive(Deserialize)]
pub(super) struct Piece {
    r#type: Option<String>,
    pub text: Option<String>,
    refusal: Option<String>,
    image_url: Option<String>,
}

/// Content: a text, or a list of pieces.
pub(super) fn parts(content: Option<&RawValue>, field: &str) -> Result<Vec<Part>, Refusal> {
    let Some(content) = content else {
        return Ok(Vec::new());
    };
    if let Ok(text) = serde_json::from_str::<String>(content.get()) {
        return Ok(vec![Part::Text(text)]);
    }
    let pieces: Vec<Piece> = serde_json::from_str(content.get()).map_err(|wrong| {
        Refusal::invalid(
            field,
            format!("`{field}` must be a text or a list of parts: {wrong}"),
        )
    })?;
    let mut parts = Vec::with_capacity(pieces.len());
    for (index, piece) in pieces.into_iter().enumerate() {
        let field = format!("{field}[{index}]");
        parts.push(match piece.r#type.as_deref() {
            Some("input_text" | "output_text" | "text" | "reasoning_text" | "summary_text") => {
                Part::Text(needed_text(piece.text, &field)?)
            }
            Some("refusal") => Part::Text(needed_text(piece.refusal, &field)?),
            Some("input_image") => match piece.image_url {
                Some(url) => Part::Image(image(url, &format!("{field}.image_url"))?),
                None => {
                    return Err(Refusal::invalid(
                        &format!("{field}.image_url"),
                        format!(
                            "`{field}.image_url` is missing; pictures are taken by address or as `data:`, not by `file_id`"
                        ),
                    ));
                }
            },
            Some("input_file") => {
                return Err(Refusal::invalid(
                    &field,
                    format!("`{field}` is a file, which no model here reads; send its text"),
                ));
            }
            other => {
                return Err(Refusal::invalid(
                    &format!("{field}.type"),
                    format!(
                        "`{field}.type` is {}; only text and pictures can be sent",
                        other.unwrap_or("missing")
                    ),
                ));
            }
        });
    }
    Ok(parts)
}

fn needed_text(text: Option<String>, field: &str) -> Result<String, Refusal> {
    text.ok_or_else(|| {
        Refusal::invalid(&format!("{field}.text"), format!("`{field}` holds no text"))
    })
}

/// The address that reads as this picture.
pub(super) fn url_of(image: &Image) -> String {
    match image {
        Image::Url(url) => url.clone(),
        Image::Inline { media_type, data } => format!("data:{media_type};base64,{data}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_the_picture_that_it_writes() {
        for url in ["https://example.com/a.png", "data:image/png;base64,aGk="] {
            assert_eq!(
                url_of(&image(url.to_owned(), "image_url").expect("a picture")),
                url
            );
        }
        assert!(image("data:image/png,raw".to_owned(), "image_url").is_err());
    }
}
