//! [`Located`] values in JSON Schema: the place is ours, the file holds only the value.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::Located;

impl<T: JsonSchema> JsonSchema for Located<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
