//! Fields that are not read as they are, but made of others.
//!
//! The field of such a column carries its origin in its metadata, so that the schema of a request says how to read it.

use std::collections::HashMap;

use arrow::datatypes::Field;
use serde::{Deserialize, Serialize};

/// Metadata key of a field's [`Origin`], as JSON.
const ORIGIN: &str = "kt-export:origin";

/// What the values of a field are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// The value at a path: the column, and the key of each level below it.
    Path(Vec<String>),
    /// The texts of columns or paths, joined by one space.
    Joined(Vec<String>),
    /// The text of the first of several columns or paths that has a value.
    First(Vec<String>),
    /// The column of the same name, or one of those whose names differ from it in case: the one that has a value.
    Spellings(Vec<String>),
}

impl Origin {
    /// That of a field; `None` for a field that is read as it is.
    pub(crate) fn of(field: &Field) -> Option<Self> {
        serde_json::from_str(field.metadata().get(ORIGIN)?).ok()
    }

    /// The field with this origin.
    pub(crate) fn of_field(&self, field: Field) -> Field {
        let mut metadata = field.metadata().clone();
        metadata.insert(ORIGIN.to_owned(), serde_json::json!(self).to_string());
        field.with_metadata(metadata)
    }

    /// The field without its origin.
    pub(crate) fn without(field: Field) -> Field {
        let mut metadata = field.metadata().clone();
        metadata.remove(ORIGIN);
        field.with_metadata(metadata)
    }
}

/// The groups of columns whose names differ only in case, in the order of the columns.
pub(crate) fn same_but_for_case<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Vec<&'a str>> {
    let mut groups: Vec<Vec<&str>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for name in names {
        let place = *places.entry(name.to_lowercase()).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            group.push(name);
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn names_are_grouped_by_their_lower_case() {
        let names = ["id", "ts", "ID", "Größe", "GRÖSSE", "größe", "Id"];
        let groups = same_but_for_case(names.into_iter());
        assert_eq!(groups, [vec!["id", "ID", "Id"], vec!["Größe", "größe"]]);
    }

    #[test]
    fn an_origin_is_read_from_the_field_and_leaves_nothing_behind() {
        let field = Field::new("id", DataType::Int64, true);
        let origin = Origin::Spellings(vec!["ID".to_owned()]);
        let marked = origin.of_field(field.clone());
        assert_eq!(Origin::of(&marked), Some(origin));
        assert_eq!((Origin::of(&field), Origin::without(marked)), (None, field));
    }
}
