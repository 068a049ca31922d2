//! Pictures by the address that callers give them, which may hold the picture itself.

use crate::chat::{Image, Refusal};

/// Reads `https://...` or `data:image/png;base64,...`; `field` is blamed.
pub(super) fn of_url(url: &str, field: &str) -> Result<Image, Refusal> {
    let Some(rest) = url.strip_prefix("data:") else {
        return Ok(Image::Url(url.to_owned()));
    };
    let inline = rest
        .split_once(',')
        .and_then(|(kind, data)| Some((kind.strip_suffix(";base64")?, data)));
    match inline {
        Some((media_type, data)) => Ok(Image::Inline {
            media_type: media_type.to_owned(),
            data: data.to_owned(),
        }),
        None => Err(Refusal::invalid(
            field,
            format!("`{field}` must be an address, or `data:` with a media type and base64"),
        )),
    }
}

/// The address that [`of_url`] reads as this picture.
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
            assert_eq!(url_of(&of_url(url, "image_url").expect("a picture")), url);
        }
        assert!(of_url("data:image/png,raw", "image_url").is_err());
    }
}
