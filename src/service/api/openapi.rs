//! The description of the API: OpenAPI 3.1, made of the types that requests and answers have.

use axum::Json;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{exports, files};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "kt-export",
        description = "Exports of compliance evidence: create one, watch it, fetch its files.",
        license(name = "Apache-2.0")
    ),
    paths(
        exports::create,
        exports::create_kb_audit,
        exports::list,
        exports::list_kb_audit,
        exports::show,
        exports::cancel,
        exports::delete,
        files::file,
        files::manifest,
        files::report,
        files::sums,
        super::healthz,
        super::readyz
    ),
    modifiers(&Keys)
)]
struct Description;

/// How requests are authenticated.
struct Keys;

impl Modify for Keys {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let key = ApiKey::Header(ApiKeyValue::new("x-api-key"));
        openapi.components.get_or_insert_default().add_security_scheme("api_key", SecurityScheme::ApiKey(key));
    }
}

pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::export_format::ExportFormat;
    use crate::jobs::State;

    #[test]
    fn words_are_those_of_answers() {
        let document = serde_json::to_value(Description::openapi()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{document}");
        let words = |name: &str| document["components"]["schemas"][name]["enum"].clone();
        assert_eq!(words("Status"), json!(State::ALL.map(State::as_str)));
        let formats: Vec<Value> = ExportFormat::ALL.iter().map(|format| json!(format.as_str())).collect();
        assert_eq!(words("Format"), json!(formats));
    }
}
