//! The catalog that ships inside the program, for the demonstration: it runs from any folder. A
//! gateway in service reads its catalog from files, which its operator can change.

/// Path below the catalog folder, and content.
pub const SHIPPED: [(&str, &str); 15] = [
    (
        "aliases.toml",
        include_str!("../../../config/catalog/aliases.toml"),
    ),
    (
        "azure.toml",
        include_str!("../../../config/catalog/azure.toml"),
    ),
    (
        "bedrock.toml",
        include_str!("../../../config/catalog/bedrock.toml"),
    ),
    (
        "calendars/china.toml",
        include_str!("../../../config/catalog/calendars/china.toml"),
    ),
    (
        "deepinfra.toml",
        include_str!("../../../config/catalog/deepinfra.toml"),
    ),
    (
        "deepseek.toml",
        include_str!("../../../config/catalog/deepseek.toml"),
    ),
    (
        "fireworks.toml",
        include_str!("../../../config/catalog/fireworks.toml"),
    ),
    (
        "lightning.toml",
        include_str!("../../../config/catalog/lightning.toml"),
    ),
    (
        "models.toml",
        include_str!("../../../config/catalog/models.toml"),
    ),
    (
        "nebius.toml",
        include_str!("../../../config/catalog/nebius.toml"),
    ),
    (
        "novita.toml",
        include_str!("../../../config/catalog/novita.toml"),
    ),
    (
        "selfhosted.toml",
        include_str!("../../../config/catalog/selfhosted.toml"),
    ),
    (
        "siliconflow.toml",
        include_str!("../../../config/catalog/siliconflow.toml"),
    ),
    (
        "together.toml",
        include_str!("../../../config/catalog/together.toml"),
    ),
    (
        "vertex.toml",
        include_str!("../../../config/catalog/vertex.toml"),
    ),
];

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn what_ships_is_what_lies_in_the_folder() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config/catalog");
        let on_disk = Catalog::load(&[folder]).expect("the real catalog");
        let shipped = SHIPPED.map(|(path, text)| (path.to_owned(), text.to_owned()));
        let shipped = Catalog::from_files(shipped.into()).expect("the shipped catalog");
        assert_eq!(on_disk.version, shipped.version);
    }
}
